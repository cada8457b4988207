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
class WeddingGroup:
    """Weddings under one heading."""

    heading: str
    weddings: tuple[WeddingCard, ...]


@dataclass(frozen=True, slots=True)
class WeddingsView:
    """The calendar as an agenda."""

    groups: tuple[WeddingGroup, ...]
    are_names_hidden: bool
