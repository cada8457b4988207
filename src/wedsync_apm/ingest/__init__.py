"""Samples on their way in: one module per wire protocol, the limits, and the writer."""
