"""What other systems tell us of our messages: somebody there has it in hand.

A channel's `inbound.hear` reads a callback and says what it holds. It is pure: it believes nothing
before the signature fits, and does nothing itself.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

RECEIVER_LIMIT: Final = 200  # characters of a name


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Somebody took an incident in hand, over there.

    Without a `generation` the callback does not say which coming of the trouble was meant: the one
    that was under way at `at`.
    """

    incident_id: UUID
    generation: int | None
    receiver: str
    event_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Heard:
    """The HTTP status to answer with, and what to do. 401 is for whoever cannot sign."""

    status: int
    acknowledged: tuple[Acknowledged, ...] = ()
    drills: tuple[UUID, ...] = ()
    """The messages of drills that somebody answered."""


FORGED: Final = Heard(401)
UNREADABLE: Final = Heard(400)
NOTHING: Final = Heard(200)


def is_signed(given: Iterable[str], secrets: Iterable[str], signed: bytes) -> bool:
    """Whether one of the hexadecimal signatures is HMAC-SHA256 of `signed` by one of the secrets.

    All pairs are compared, each in constant time.
    """
    found = False
    signatures = [one.strip().lower().encode("utf-8", "replace") for one in given][:10]
    for secret in secrets:
        ours = hmac.new(secret.encode(), signed, sha256).hexdigest().encode()
        for signature in signatures:
            found |= hmac.compare_digest(ours, signature)
    return found


def person(name: object, otherwise: str) -> str:
    """A name from outside on one line and of bearable length."""
    text = name if isinstance(name, str) else ""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain[:RECEIVER_LIMIT] or otherwise
