"""The wedding calendar."""
