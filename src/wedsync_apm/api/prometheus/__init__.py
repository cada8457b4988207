"""Prometheus' HTTP API over an organization's samples: `/prometheus/api/v1/…`."""
