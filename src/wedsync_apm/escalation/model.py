"""A ladder and what one rung of it came to."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.errors import FieldError
from wedsync_apm.types import EscalationLevel

LAST_WAIT: Final = timedelta(minutes=5)
"""How long the last rung has at least before the ladder is climbed again or given up; a quarter of
it while a wedding is under way."""


@dataclass(frozen=True, slots=True)
class StepDraft:
    """A rung. `delay` counts from the rung before, the first one's from the start of the incident;
    without a `wedding_delay` it is a quarter of the delay while a wedding is under way."""

    contact_method_ids: tuple[UUID, ...]
    level: EscalationLevel = EscalationLevel.NONE
    delay: timedelta = timedelta()
    wedding_delay: timedelta | None = None


@dataclass(frozen=True, slots=True)
class PolicyDraft:
    """A ladder as people write it."""

    name: str
    steps: tuple[StepDraft, ...]
    is_default: bool = False
    repeat_count: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A stored rung."""

    position: int
    level: EscalationLevel
    delay: timedelta
    wedding_delay: timedelta
    contact_method_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A stored ladder."""

    id: UUID
    organization_id: UUID
    name: str
    is_default: bool
    repeat_count: int
    steps: tuple[Step, ...]


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


def find_faults(draft: PolicyDraft) -> list[FieldError]:
    """What is wrong with a ladder, in the words that stand beside each field; empty: nothing."""
    faults: list[FieldError] = []
    if not 1 <= len(draft.name.strip()) <= 200:
        faults.append(FieldError("name", "needs 1 to 200 characters"))
    if not 0 <= draft.repeat_count <= 20:
        faults.append(FieldError("repeat_count", "needs to be between 0 and 20"))
    if not draft.steps:
        faults.append(FieldError("steps", "needs at least one step"))
    for index, step in enumerate(draft.steps):
        for name in ("delay", "wedding_delay"):
            value = getattr(step, name)
            if value is not None and not timedelta() <= value <= timedelta(days=1):
                faults.append(FieldError(name, "needs to be between 0 seconds and 1 day", index))
        if not step.contact_method_ids:
            faults.append(FieldError("contact_method_ids", "needs somebody to tell", index))
    return faults
