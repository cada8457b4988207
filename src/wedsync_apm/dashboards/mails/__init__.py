"""Dashboards that go out by mail, each day or week."""
