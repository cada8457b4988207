"""Saved dashboards: a versioned document, what its panels show, and templates to begin with."""
