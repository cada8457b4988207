"""Unit, SQL, integration, acceptance and browser tests."""
