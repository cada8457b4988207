"""Samples in over HTTP: one module a protocol."""
