"""What one rung of a ladder came to."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

LOOK_AGAIN: Final = timedelta(seconds=5)
"""How often an incident that is held back is looked at, so that people are told when that ends."""


class Weddings(StrEnum):
    """Whether a step counts while a wedding is under way."""

    ANY = "any"
    ONLY = "only"
    NEVER = "never"


class Clock(StrEnum):
    """By whose clock a step's hours are read."""

    ORGANIZATION = "organization"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Climb:
    """What became of one due run: who was told, and when the next rung is due."""

    organization_id: UUID
    incident_id: UUID
    state: str
    next_at: datetime | None
    told: int
    is_passed: bool
    """The rung does not count at that time, so nobody was told by it."""
    is_unheard: bool
    """Nobody answered, or nobody could be told: the platform's own people were called."""
