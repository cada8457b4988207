"""Other monitoring systems that an organization has connected."""
