"""Organizations, their people, keys and secrets."""
