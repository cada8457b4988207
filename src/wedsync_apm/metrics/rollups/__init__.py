"""Rollups as numpy columns: made from samples, merged from narrower ones, read and written."""
