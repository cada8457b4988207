"""Looks each minute whether anything that should happen to an incident or a message does not."""
