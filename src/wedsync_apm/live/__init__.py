"""What changes, told to whoever is connected, as it happens."""
