"""The platform watches itself: host, processes and PostgreSQL, sent through the public HTTP API."""
