"""What one rung of a ladder came to."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

LAST_WAIT: Final = timedelta(minutes=5)
"""How long the last rung has at least before the ladder is climbed again or given up; a quarter of
it while a wedding is under way."""


@dataclass(frozen=True, slots=True)
class Climb:
    """What became of one due run: who was told, and when the next rung is due."""

    organization_id: UUID
    incident_id: UUID
    state: str
    next_at: datetime | None
    told: int
    is_unheard: bool
    """Nobody answered, or nobody could be told: the platform's own people were called."""
