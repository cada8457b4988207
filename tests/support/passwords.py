"""Passwords that nobody has to wait for."""

from typing import Final

from argon2 import PasswordHasher

QUICK: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""A real hash takes a sixth of a second of a processor on purpose."""
