"""Weddings as charts need them: when their parts lie. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wedsync_apm.weddings.model import is_time_zone
from wedsync_apm.weddings.twins import find_twins


@dataclass(frozen=True, slots=True)
class Part:
    """A phase of a wedding."""

    phase: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Wedding:
    """A wedding with its parts, the first one first; the day alone where nobody has entered any."""

    id: UUID
    initials: str
    names: str | None
    venue: str
    zone: str
    day: date
    parts: tuple[Part, ...]

    @property
    def begins(self) -> datetime:
        """When its first part does."""
        return self.parts[0].begins

    @property
    def ends(self) -> datetime:
        """When its last part does."""
        return max(part.ends for part in self.parts)

    @property
    def anchor(self) -> datetime:
        """By what two weddings are compared: when the ceremony begins, else the first part."""
        return next((one.begins for one in self.parts if one.phase == "ceremony"), self.begins)


def weddings_of(rows: Sequence[Mapping[str, Any]], zone: str) -> list[Wedding]:
    """The weddings of a calendar's rows that take place, each once, by when they begin."""
    doubled = {twin.client_id for twin in find_twins(rows) if twin.is_sure}
    going = [row for row in rows if row["status"] != "cancelled" and row["id"] not in doubled]
    return sorted((_wedding(row, zone) for row in going), key=lambda one: one.begins)


def _wedding(row: Mapping[str, Any], zone: str) -> Wedding:
    own = row["time_zone"] or zone
    own = own if is_time_zone(own) else zone
    parts = sorted(_parts(row["windows"] or ()), key=lambda one: one.begins)
    day: date = row["wedding_date"]
    if not parts:
        begins = datetime.combine(day, time(), ZoneInfo(own))
        ends = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(own))
        parts = [Part("day", begins, ends)]
    return Wedding(
        row["id"],
        row["couple_initials"] or "",
        row["couple_names"],
        row["venue_name"] or "",
        own,
        day,
        tuple(parts),
    )


def _parts(windows: Iterable[Mapping[str, Any]]) -> list[Part]:
    return [
        Part(
            str(one["phase"]),
            datetime.fromisoformat(one["starts_at"]),
            datetime.fromisoformat(one["ends_at"]),
        )
        for one in windows
    ]


def next_part(weddings: Iterable[Wedding], now: datetime) -> tuple[Wedding, Part] | None:
    """The part that begins next, and whose it is."""
    ahead = [(one, part) for one in weddings for part in one.parts if part.begins > now]
    return min(ahead, key=lambda pair: pair[1].begins, default=None)
