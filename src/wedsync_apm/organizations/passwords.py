"""Passwords of standalone sign-in: argon2id, at the library's recommended cost.

Both calls take tens of milliseconds of one core on purpose; from a running loop, call them in a
thread.
"""

import asyncio
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wedsync_apm.errors import FieldError, NotValid

SHORTEST: Final = 10
LONGEST: Final = 1024
"""Characters. Longer ones would let anybody make us hash megabytes."""
AT_A_TIME: Final = 2
"""Each hash takes 64 MiB and a core for a while."""

_HASHER: Final = PasswordHasher()


def hash_password(password: str) -> str:
    """The hash to store. Raises NotValid for a password that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        reason = f"has {len(password)} characters; {SHORTEST} to {LONGEST} are possible"
        raise NotValid(errors=[FieldError("password", reason)])
    return _HASHER.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is right. For None, no such user, the answer takes as long and is no."""
    if len(password) > LONGEST:
        return False
    try:
        _HASHER.verify(password_hash or _decoy(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@cache
def _decoy() -> str:
    return _HASHER.hash("nobody has this password")


class PasswordChecker:
    """Checks passwords beside a running event loop, two at a time."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_A_TIME)

    async def check(self, password_hash: str | None, password: str) -> bool:
        """As `verify_password`, without blocking the loop."""
        async with self._slots:
            return await asyncio.to_thread(verify_password, password_hash, password)
