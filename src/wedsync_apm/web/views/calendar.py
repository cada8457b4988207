"""The wedding calendar: a month of days, and one of them opened."""

from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID

from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.views.wedding import Bar

GuardKind = Literal["freeze", "enhanced", "maximum", "order"]


@dataclass(frozen=True, slots=True)
class GuardWord:
    """What the platform does on a day: its word, and why."""

    kind: GuardKind
    words: str
    why: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A wedding on a day. One that has moved away stands here with where it went."""

    id: UUID
    couple: str
    time: str
    zone_note: str
    venue: str
    status: Status | None
    is_off: bool = False
    """It does not take place on this day."""
    twin: str = ""
    """What else stands for the same wedding."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the month, or one beside it that fills the week."""

    on: date
    number: str
    name: str
    href: str
    entries: tuple[Entry, ...]
    guard: tuple[GuardWord, ...]
    is_outside: bool
    is_today: bool
    is_open: bool

    @property
    def is_quiet(self) -> bool:
        """Nothing to say of it on a phone's list."""
        is_told = any(one.kind != "freeze" for one in self.guard)
        return not (self.entries or is_told or self.is_today or self.is_open)


@dataclass(frozen=True, slots=True)
class OpenWedding:
    """A wedding of the opened day with its phases."""

    entry: Entry
    bar: Bar | None


@dataclass(frozen=True, slots=True)
class OpenDay:
    """The day that somebody looks into."""

    title: str
    guard: tuple[GuardWord, ...]
    weddings: tuple[OpenWedding, ...]
    new_href: str


@dataclass(frozen=True, slots=True)
class MonthView:
    """The whole page."""

    title: str
    previous: str
    following: str
    today: str
    weeks: tuple[tuple[Day, ...], ...]
    day_names: tuple[str, ...]
    opened: OpenDay | None
    now: str
    """How closely the platform watches at this moment."""
    season: str
    zone_note: str
    may_edit: bool
    are_names_hidden: bool
    is_empty: bool
    is_cut: bool
    """There are more weddings than the page reads."""
