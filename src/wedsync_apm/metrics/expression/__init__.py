"""Expressions of the Prometheus query language: what they say, and what they come to."""
