"""Ladders: who is told next, when, and who is told that it is over."""
