"""Weddings as people enter them: the couple, the place, the date, and the phases of the day."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wedsync_apm.errors import FieldError

LONGEST_PHASE = timedelta(days=1)


class Phase(StrEnum):
    """The parts of a wedding day, in their order."""

    SET_UP = "set_up"
    CEREMONY = "ceremony"
    RECEPTION = "reception"
    TEAR_DOWN = "tear_down"


class WeddingStatus(StrEnum):
    """A cancelled wedding has no wedding day."""

    BOOKED = "booked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Window:
    """When a phase begins and ends, as instants."""

    phase: Phase
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class WeddingDraft:
    """What a person enters. Without a zone the organization's counts; without windows the usual
    ones do."""

    wedding_date: date
    couple_names: str | None = None
    venue_name: str | None = None
    time_zone: str | None = None
    status: WeddingStatus = WeddingStatus.BOOKED
    client_id: UUID | None = None
    contacts: Sequence[dict[str, Any]] = ()
    windows: Sequence[Window] = ()


def initials(couple_names: str | None) -> str:
    """ "Amelia Hart & James Moss" is "A & J": all that a viewer, an incident or a log may know."""
    people = re.split(r"\s*(?:&|\+|,|/|\band\b)\s*", couple_names or "")
    letters = [name.strip()[0].upper() for name in people if name.strip()]
    return " & ".join(letters[:4])


def find_faults(draft: WeddingDraft) -> list[FieldError]:
    """What is wrong with a draft, in the words that stand beside each field; empty: nothing."""
    faults: list[FieldError] = []
    if draft.time_zone is not None and not is_time_zone(draft.time_zone):
        faults.append(
            FieldError("time_zone", "is no time zone that is known; write it like Europe/London")
        )
    seen: set[Phase] = set()
    for index, window in enumerate(draft.windows):
        field = f"windows[{index}]"
        if window.phase in seen:
            faults.append(FieldError(f"{field}.phase", "is there twice"))
        seen.add(window.phase)
        if window.starts_at.tzinfo is None or window.ends_at.tzinfo is None:
            faults.append(FieldError(f"{field}.starts_at", "needs its offset, like +01:00"))
        elif not window.starts_at < window.ends_at:
            faults.append(FieldError(f"{field}.ends_at", "must be after starts_at"))
        elif window.ends_at - window.starts_at > LONGEST_PHASE:
            faults.append(FieldError(f"{field}.ends_at", "is more than a day after starts_at"))
    return faults


def is_time_zone(name: str) -> bool:
    """Whether the time zone database knows the name."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
