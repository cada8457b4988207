"""Whom to tell and when, at the front doors: every statement runs as the caller."""
