"""Exercises: everybody is called as in earnest, and how fast they answer is kept."""
