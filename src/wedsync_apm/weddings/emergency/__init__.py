"""Whom ladders tell in a wedding's own hours, beside the people on them."""
