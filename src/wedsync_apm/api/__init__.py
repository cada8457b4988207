"""The HTTP front door for programs: JSON under /api/v1, and what the process says of itself."""
