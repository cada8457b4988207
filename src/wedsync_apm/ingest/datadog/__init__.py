"""Datadog's payloads, from clients of its API and from its Agent."""
