"""Weddings as people enter them: the couple, the place, the date, and the phases of the day."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from wedsync_apm.errors import FieldError, NotValid

LONGEST_PHASE = timedelta(days=1)
EARLIEST: Final = date(1990, 1, 1)
LATEST: Final = date(2100, 12, 31)
"""No wedding of today's is dated outside of these, wherever it comes from."""
DAYS_BEFORE: Final = timedelta(days=2)
DAYS_AFTER: Final = timedelta(days=3)
"""From midnight of the wedding's date on: a phase lies within these, by the venue's clock."""


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


class Audience(StrEnum):
    """The weakest role that may know who marries; a viewer never may."""

    MEMBER = "MEMBER"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True)
class Window:
    """When a phase begins and ends: with an offset, instants; without, the venue's own clock.

    The venue's clock is what is kept: a ceremony at 14:30 stays at 14:30 whatever governments do
    to their time zones.
    """

    phase: Phase
    starts_at: datetime
    ends_at: datetime

    @property
    def is_local(self) -> bool:
        """Whether both are times of the venue's clock."""
        return self.starts_at.tzinfo is None and self.ends_at.tzinfo is None


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
    visible_to: Audience = Audience.MEMBER

    def moved_to(self, day: date) -> "WeddingDraft":
        """The same on another day: what the venue's clock shows in each phase stays.

        Everything that moves a wedding does it by this. Raises NotValid for a day that is none.
        """
        if fault := fault_of_date(day):
            raise NotValid(errors=[fault])
        by = timedelta(days=(day - self.wedding_date).days)
        windows = [Window(w.phase, w.starts_at + by, w.ends_at + by) for w in self.windows]
        return replace(self, wedding_date=day, windows=windows)


SET_UP_FOR = timedelta(hours=5)
CEREMONY_FOR = timedelta(hours=3)
SHORTEST_RECEPTION = timedelta(hours=4)
TEAR_DOWN_FOR = timedelta(hours=2)
NIGHT_ENDS: Final = time(8)
LONGEST_DAY: Final = timedelta(hours=18)
"""What ends before it begins ends in the night after: before eight, and within these hours."""


def plan_day(
    ceremony: datetime, *, reception: datetime | None = None, ends: datetime | None = None
) -> tuple[Window, ...]:
    """The phases around a ceremony at a time of the venue's clock, as the calendar plans them too.

    The reception begins three hours after the ceremony, or half-way where the day `ends` before
    that, and lasts until midnight, at least four hours, where nobody says otherwise.
    Raises ValueError for times that are not in this order.
    """
    if reception is None:
        reception = ceremony + CEREMONY_FOR
        if ends is not None and reception >= ends:
            reception = ceremony + (ends - ceremony) / 2
    if not ceremony < reception or (ends is not None and not reception < ends):
        raise ValueError("a ceremony, its reception and the end follow upon each other")
    if ends is None:
        midnight = datetime.combine(ceremony.date() + timedelta(days=1), time())
        ends = max(midnight, reception + SHORTEST_RECEPTION)
    return (
        Window(Phase.SET_UP, ceremony - SET_UP_FOR, ceremony),
        Window(Phase.CEREMONY, ceremony, reception),
        Window(Phase.RECEPTION, reception, ends),
        Window(Phase.TEAR_DOWN, ends, ends + TEAR_DOWN_FOR),
    )


def read_times(
    day: date, ceremony: time | None, reception: time | None, ends: time | None
) -> tuple[tuple[Window, ...], list[FieldError]]:
    """The phases around three times of a day as people enter them, or what is wrong with them.

    Faults name `ceremony`, `reception` or `ends`. A time before the one that it follows is in the
    night after, if it can be that; nothing else is guessed.
    """
    if ceremony is None:
        words = "needs the time of the ceremony, too"
        told = (("reception", reception), ("ends", ends))
        return (), [FieldError(name, words) for name, clock in told if clock is not None]
    begins = datetime.combine(day, ceremony)

    def after(clock: time) -> datetime | None:
        at = datetime.combine(day, clock)
        if at > begins:
            return at
        at += timedelta(days=1)
        return at if clock < NIGHT_ENDS and at - begins <= LONGEST_DAY else None

    faults: list[FieldError] = []
    follows = after(reception) if reception is not None else None
    finishes = after(ends) if ends is not None else None
    if reception is not None and follows is None:
        words = f"at {reception:%H:%M} is not after the ceremony at {ceremony:%H:%M}"
        faults.append(FieldError("reception", words))
    if ends is not None and finishes is None:
        words = f"at {ends:%H:%M} is not after the ceremony at {ceremony:%H:%M}"
        faults.append(FieldError("ends", words))
    if reception is not None and follows and ends is not None and finishes and finishes <= follows:
        words = f"at {ends:%H:%M} is not after the reception at {reception:%H:%M}"
        faults.append(FieldError("ends", words))
    return ((), faults) if faults else (plan_day(begins, reception=follows, ends=finishes), [])


def halved(windows: Sequence[Window]) -> str | None:
    """That a reception which nobody entered begins half-way, in words; None for one that does not.

    `windows` are a plan whose reception was not entered.
    """
    starts = {window.phase: window.starts_at for window in windows}
    if not windows or starts[Phase.RECEPTION] == starts[Phase.CEREMONY] + CEREMONY_FOR:
        return None
    return (
        f"the day ends at {starts[Phase.TEAR_DOWN]:%H:%M}, so the reception is taken to begin"
        f" half-way, at {starts[Phase.RECEPTION]:%H:%M}"
    )


def initials(couple_names: str | None) -> str:
    """ "Amelia Hart & James Moss" is "A & J": all that a viewer, an incident or a log may know."""
    people = re.split(r"\s*(?:&|\+|,|/|\band\b)\s*", couple_names or "")
    letters = [name.strip()[0].upper() for name in people if name.strip()]
    return " & ".join(letters[:4])


def find_faults(draft: WeddingDraft) -> list[FieldError]:
    """What is wrong with a draft, in the words that stand beside each field; empty: nothing."""
    faults: list[FieldError] = []
    if fault := fault_of_date(draft.wedding_date):
        faults.append(fault)
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
        if not window.is_local and None in (window.starts_at.tzinfo, window.ends_at.tzinfo):
            faults.append(FieldError(f"{field}.starts_at", "needs its offset, like +01:00"))
        elif not window.starts_at < window.ends_at:
            faults.append(FieldError(f"{field}.ends_at", "must be after starts_at"))
        elif window.ends_at - window.starts_at > LONGEST_PHASE:
            faults.append(FieldError(f"{field}.ends_at", "is more than a day after starts_at"))
        elif window.is_local and not _is_near(window, draft.wedding_date):
            faults.append(FieldError(field, "is not within two days of the wedding"))
    return faults


def fault_of_date(day: date) -> FieldError | None:
    """What is wrong with the date of a wedding."""
    if EARLIEST <= day <= LATEST:
        return None
    words = f"is in {day.year}; {EARLIEST.year} to {LATEST.year} are possible"
    return FieldError("wedding_date", words)


def _is_near(window: Window, day: date) -> bool:
    from_midnight = [
        at - datetime.combine(day, time()) for at in (window.starts_at, window.ends_at)
    ]
    return from_midnight[0] >= -DAYS_BEFORE and from_midnight[1] <= DAYS_AFTER


def is_time_zone(name: str) -> bool:
    """Whether the time zone database knows the name."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
