"""Heartbeats: what is to be heard of regularly, and is missed when it is not."""
