"""API keys: 256 random bits, shown once, kept as their SHA-256.

The secret is random throughout, so a slow hash would only slow down every request.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "wsk_"


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key. `secret` goes to its user and nowhere else; `prefix` is how lists show it."""

    secret: str = field(repr=False)
    key_hash: bytes = field(repr=False)
    prefix: str


def mint_key() -> MintedKey:
    """A fresh key."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return MintedKey(secret, hash_key(secret), secret[: len(PREFIX) + 6])


def hash_key(secret: str) -> bytes:
    """What the database keeps of a key."""
    return hashlib.sha256(secret.encode()).digest()
