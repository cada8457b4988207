"""Samples and rollups as numpy columns, for charts: as few rows and as little work for each as can
be."""
