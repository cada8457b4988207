"""What a file says about weddings, and what that changes."""

import hashlib
import unicodedata
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from wedsync_apm.weddings.model import (
    EARLIEST,
    LATEST,
    Phase,
    WeddingDraft,
    WeddingStatus,
    Window,
)

MOST_ENTRIES: Final = 1_000
"""Weddings of one file; more belong into several files."""
MOST_FAULTS: Final = 100
"""Faults that an answer lists; all are counted."""
LOOK_BACK: Final = timedelta(days=400)
LOOK_AHEAD: Final = timedelta(days=1100)
"""A repeating event is unrolled over this much around today."""


class FileKind(StrEnum):
    """What is understood."""

    CALENDAR = "icalendar"
    TABLE = "csv"


class DateOrder(StrEnum):
    """What 3/4/2027 means: 3 April, 4 March, or nothing, where the year comes first."""

    DMY = "dmy"
    MDY = "mdy"
    YMD = "ymd"


class Action(StrEnum):
    """What an entry did, or would do, to the calendar."""

    CREATED = "created"
    UPDATED = "updated"
    MOVED = "moved"
    CANCELLED = "cancelled"
    UNCHANGED = "unchanged"
    # an older version of an entry that is here already, a lead, a cancelled one that never was here
    SKIPPED = "skipped"


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader has to know of whoever sends the file."""

    time_zone: str
    """The organization's; UTC where it cannot be read."""
    today: date
    locale: str | None = None
    date_order: DateOrder | None = None
    """As the sender says; beats everything else."""
    matching: str | None = None
    """Only events that have this in their title or categories."""


class LocalWindow(msgspec.Struct, frozen=True):
    """A phase by the venue's clock."""

    phase: Phase
    starts: datetime
    ends: datetime


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One wedding as a file tells it. `place` is its line or the number of its event, from 1."""

    place: int
    external_uid: str
    recurrence: str = ""
    sequence: int = 0
    wedding_date: date
    time_zone: str | None = None
    status: WeddingStatus = WeddingStatus.BOOKED
    couple_names: str | None = None
    venue_name: str | None = None
    windows: tuple[LocalWindow, ...] = ()
    contacts: tuple[dict[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str | None = None
    """Why this is no wedding, though it can be read."""

    @property
    def content_hash(self) -> bytes:
        """The same for the same content, wherever in a file it stands."""
        said = msgspec.structs.replace(self, place=0, sequence=0, notes=())
        return hashlib.sha256(msgspec.json.encode(said, order="sorted")).digest()

    def draft(self) -> WeddingDraft:
        """The calendar's own words."""
        return WeddingDraft(
            wedding_date=self.wedding_date,
            couple_names=self.couple_names,
            venue_name=self.venue_name,
            time_zone=self.time_zone,
            status=self.status,
            contacts=self.contacts,
            windows=[Window(one.phase, one.starts, one.ends) for one in self.windows],
        )


class Fault(msgspec.Struct, frozen=True):
    """What could not be taken: which line or event (0: the file), which field of it, and why."""

    place: int
    field: str
    reason: str


class Reading(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """All that a file says."""

    entries: list[Entry] = []
    faults: list[Fault] = []
    date_order: DateOrder | None = None
    date_order_from: str | None = None
    ignored_columns: list[str] = []
    complete_uids: list[str] = []
    """Events that were unrolled whole: an occurrence that is here and not in the file is gone."""
    unrolled_from: date | None = None
    unrolled_to: date | None = None


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """What is known here of an entry that was imported before."""

    sequence: int
    content_hash: bytes
    wedding_date: date
    status: WeddingStatus


def judge(entry: Entry, present: Present | None) -> tuple[Action, str | None]:
    """What an entry does to the calendar, and why where that is nothing.

    The entry's own content decides, not what stands here now: what people have changed here since
    the last import stays until the entry itself changes.
    """
    if entry.skipped is not None:
        return Action.SKIPPED, entry.skipped
    is_cancelled = entry.status is WeddingStatus.CANCELLED
    if present is None:
        if is_cancelled:
            return Action.SKIPPED, "cancelled before it was ever here"
        return Action.CREATED, None
    if entry.sequence < present.sequence:
        return Action.SKIPPED, "an older version of what is here already"
    return _judge_change(entry, present, is_cancelled), None


def _judge_change(entry: Entry, present: Present, is_cancelled: bool) -> Action:
    if entry.content_hash == present.content_hash:
        return Action.UNCHANGED
    if is_cancelled:
        was_cancelled = present.status is WeddingStatus.CANCELLED
        return Action.UNCHANGED if was_cancelled else Action.CANCELLED
    return Action.UPDATED if entry.wedding_date == present.wedding_date else Action.MOVED


class Unreadable(Exception):
    """A value that cannot be taken; the message is the reason, in words for people."""


def clean(text: str) -> str:
    """The text on one line, without control characters and marks that turn its direction round."""
    kept = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in text
        # joiners belong to the spelling of names in Persian and Hindi
        if c in "\u200c\u200d" or unicodedata.category(c) not in ("Cf", "Cs", "Co")
    )
    plain = unicodedata.normalize("NFC", kept)
    return " ".join(plain.split())


def read_text(text: str, most: int) -> str | None:
    """A name or place. Raises Unreadable for one that is too long, or a spreadsheet's formula."""
    plain = clean(text)
    if len(plain) > most:
        raise Unreadable(f"is longer than {most} characters")
    if plain[:1] in ("=", "+", "-", "@"):
        raise Unreadable("begins like a spreadsheet's formula")
    return plain or None


def read_year(year: int) -> int:
    """The year. Raises Unreadable for one in which no wedding of today's takes place."""
    if not EARLIEST.year <= year <= LATEST.year:
        raise Unreadable(f"is in {year}; {EARLIEST.year} to {LATEST.year} are possible")
    return year


def local_windows(windows: Sequence[Window]) -> tuple[LocalWindow, ...]:
    """Planned phases in the words of an entry."""
    return tuple(LocalWindow(one.phase, one.starts_at, one.ends_at) for one in windows)


_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def state_date(day: date) -> str:
    """A date that nobody can take for another one: "Saturday 5 June 2027"."""
    return f"{_DAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]} {day.year}"
