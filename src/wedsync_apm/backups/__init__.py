"""Backups: taken, sealed, proven by restoring them, and given back to a point in time."""
