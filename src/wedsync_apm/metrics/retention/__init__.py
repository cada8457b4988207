"""How long samples and rollups are kept, and how they go."""
