"""Incidents: what is wrong now, who has it in hand, and everything that happened to it."""
