"""Contacts and deliveries at the front doors: every statement runs as the caller."""
