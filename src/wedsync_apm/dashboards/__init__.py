"""Saved dashboards."""
