"""API keys: `apm_<i|r|a|p>_<43 characters>_<6 characters>`.

The middle is 32 random bytes in base64url. The end is a checksum of all before it, so that a
mistyped or made-up key is refused without asking the database, and a scanner finds leaked ones.
Only the SHA-256 is stored: 256 random bits need nothing slower.
"""

import base64
import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import Final

from wedsync_apm.types import KeyScope

_LETTERS: Final = {KeyScope.INGEST: "i", KeyScope.READ: "r", KeyScope.ADMIN: "a"}
_PLATFORM: Final = "p"
_SHAPE: Final = re.compile(r"apm_([irap])_[A-Za-z0-9_-]{43}_([0-9A-Za-z]{6})", re.ASCII)
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX: Final = "apm_"
SHOWN_CHARACTERS: Final = 12


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `secret` is shown once and stored nowhere."""

    secret: str = field(repr=False)
    key_hash: bytes
    prefix: str
    """The beginning of the secret, by which people tell their keys apart."""


def make_key(scope: KeyScope, *, is_platform: bool = False) -> NewKey:
    """A new random key for the scope; a platform key only takes samples in."""
    letter = _PLATFORM if is_platform else _LETTERS[scope]
    body = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    head = f"{PREFIX}{letter}_{body}"
    secret = f"{head}_{_checksum(head)}"
    return NewKey(secret, hash_key(secret), secret[:SHOWN_CHARACTERS])


def is_well_formed(secret: str) -> bool:
    """Whether this can be a key at all: its shape and its checksum fit."""
    match = _SHAPE.fullmatch(secret)
    return match is not None and _checksum(secret[: match.start(2) - 1]) == match[2]


def hash_key(secret: str) -> bytes:
    """What is stored of a key, and what it is found by."""
    return hashlib.sha256(secret.encode()).digest()


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, len(_DIGITS))
        digits += _DIGITS[digit]
    return digits
