"""Passwords of the standalone sign-in: argon2id, with the library's present parameters.

One hash takes some 50 ms of a core and 64 MiB, so at most two are computed at a time, off the loop.
"""

import asyncio
import secrets
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher()
_AT_A_TIME: Final = 2
LONGEST_PASSWORD: Final = 1024


def hash_password(password: str) -> str:
    """The hash to store; it names its own parameters."""
    return _HASHER.hash(password)


def check_password(stored: str, password: str) -> bool:
    """Whether it is this password. False, too, for a hash that cannot be read."""
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def dummy_hash() -> str:
    """A hash that nothing matches: checking it takes as long as checking a real one."""
    return _HASHER.hash(secrets.token_urlsafe(32))


class PasswordChecker:
    """Checks passwords for one event loop without blocking it."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def check(self, stored: str | None, password: str) -> bool:
        """Whether `stored` is the hash of `password`; None takes just as long and is False."""
        async with self._slots:
            return await asyncio.to_thread(_check, stored, password)


def _check(stored: str | None, password: str) -> bool:
    return check_password(stored or dummy_hash(), password) and stored is not None
