"""Weddings as people see them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the day. `left` and `width` place it on the bar, in thousandths."""

    name: str
    begins: datetime
    ends: datetime
    state: Literal["past", "now", "next"]
    left: int
    width: int


@dataclass(frozen=True, slots=True)
class Milestone:
    """The next thing that begins."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class WeddingCard:
    """One wedding; times are shown in `zone`, the venue's. `marker` is now, in thousandths."""

    id: UUID
    couple: str
    venue: str
    zone: str
    phases: tuple[Phase, ...]
    milestone: Milestone | None
    marker: int | None
    when: str = ""


@dataclass(frozen=True, slots=True)
class Hour:
    """A mark on a bar: `left` in thousandths of it."""

    left: int
    label: str


@dataclass(frozen=True, slots=True)
class Part:
    """A phase on a bar, in thousandths, with its times at the venue and, elsewhere, here."""

    name: str
    left: int
    width: int
    times: str
    here: str
    state: Literal["past", "now", "next"]


@dataclass(frozen=True, slots=True)
class Bar:
    """The phases of a day by the venue's clock. `marker` is now, in thousandths."""

    label: str
    parts: tuple[Part, ...]
    hours: tuple[Hour, ...]
    marker: int | None
    is_assumed: bool
    """Nobody has entered the times: the usual ones are shown."""
