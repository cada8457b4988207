"""A status page as the vendor's own people set it up."""
