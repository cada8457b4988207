"""Who is on call: rotations by the clock on the wall, overrides, temporary schedules."""
