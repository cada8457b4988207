"""Who is watched, and how far each organization is with its first steps."""
