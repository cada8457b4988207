"""What a status page says, in plain words: to couples and guests, never to engineers. Pure.

The words are the vendor's own or fixed ones; a name of a couple, a cause, a figure of a measurement
or another vendor is never among what these functions get.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wedsync_apm.errors import FieldError, NotValid

SLUG: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
LONGEST_SLUG: Final = 60
SHORTEST_SLUG: Final = 3
MOST_CHECKS: Final = 20
MARKED_SECONDS: Final = 60
"""Trouble of a day that lasted less is none to speak of."""


class State(StrEnum):
    """What a service does, as everybody understands it."""

    WORKING = "working"
    SLOW = "slow"
    DOWN = "down"
    PLANNED = "planned"
    UNKNOWN = "unknown"


_STATES: Final[Mapping[str, State]] = {
    "healthy": State.WORKING,
    "warning": State.SLOW,
    "critical": State.DOWN,
    "maintenance": State.PLANNED,
}


class Mark(StrEnum):
    """One day of a service."""

    GOOD = "good"
    SLOW = "slow"
    DOWN = "down"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Day:
    """A day by the clock of the vendor's zone, in seconds."""

    day: date
    slow: int
    down: int
    known: int

    @property
    def mark(self) -> Mark:
        """The worst of it."""
        if self.down >= MARKED_SECONDS:
            return Mark.DOWN
        if self.slow >= MARKED_SECONDS:
            return Mark.SLOW
        return Mark.GOOD if self.known >= MARKED_SECONDS else Mark.NONE


@dataclass(frozen=True, slots=True)
class Service:
    """A service that the page shows."""

    id: str
    name: str
    state: State
    since: datetime
    checked_at: datetime | None
    days: tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A coming and going of trouble with one service."""

    service: str
    state: str
    """`slow`, `down` or `over`."""
    began_at: datetime
    ended_at: datetime | None
    headline: str
    still_works: str
    is_in_hand: bool
    next_update_at: datetime | None
    check_id: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What the vendor says in his own words."""

    body: str
    posted_at: datetime
    next_update_at: datetime | None


@dataclass(frozen=True, slots=True)
class Planned:
    """Work that is announced."""

    services: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that a page shows at `at`."""

    slug: str
    title: str
    intro: str
    is_public: bool
    is_indexed: bool
    zone: str
    at: datetime
    services: tuple[Service, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]
    planned: tuple[Planned, ...]

    @property
    def open_problems(self) -> tuple[Problem, ...]:
        """Those that are not over."""
        return tuple(one for one in self.problems if one.ended_at is None)

    @property
    def known_at(self) -> datetime | None:
        """When anything was looked at last; None if nothing ever was."""
        return max((s.checked_at for s in self.services if s.checked_at), default=None)


def read_status(content: Mapping[str, Any]) -> Status:
    """From what the database tells."""
    return Status(
        slug=content["slug"],
        title=plain(content["title"]),
        intro=plain(content["intro"]),
        is_public=content["is_public"],
        is_indexed=content["is_indexed"],
        zone=content["time_zone"],
        at=datetime.fromisoformat(content["at"]),
        services=tuple(_service(one) for one in content["services"]),
        problems=tuple(read_problem(one) for one in content["problems"]),
        notes=tuple(
            Note(_lines(one["body"]), _moment(one["posted_at"]), _maybe(one["next_update_at"]))
            for one in content["notes"]
        ),
        planned=tuple(
            Planned(
                tuple(map(plain, one["services"])),
                _moment(one["starts_at"]),
                _moment(one["ends_at"]),
            )
            for one in content["planned"]
        ),
    )


def _service(one: Mapping[str, Any]) -> Service:
    state = _STATES.get(one["status"], State.UNKNOWN) if one["is_known"] else State.UNKNOWN
    checked_at = _maybe(one["checked_at"])
    # What was held of it ends with the last look.
    is_stale = state is State.UNKNOWN and one["status"] in _STATES
    return Service(
        id=one["id"],
        name=plain(one["name"]),
        state=state,
        since=checked_at if is_stale and checked_at else _moment(one["since"]),
        checked_at=checked_at,
        days=tuple(Day(date.fromisoformat(day), *counts) for day, *counts in one["days"]),
    )


def read_problem(one: Mapping[str, Any]) -> Problem:
    """From what the database tells, or a message's payload."""
    words = one.get("vendor_text") or {}
    return Problem(
        service=plain(str(one["service"])),
        state=str(one["state"]),
        began_at=_moment(one["began_at"]),
        ended_at=_maybe(one["ended_at"]),
        headline=headline(words),
        still_works=_text(words, "still_works"),
        is_in_hand=bool(one["is_in_hand"]),
        next_update_at=_maybe(one["next_update_at"]),
        check_id=str(one.get("check_id", "")),
    )


def headline(words: Mapping[str, Any]) -> str:
    """The vendor's words of a problem, said to others: "Your order form is slow" is "The order form
    is slow" for them. Empty where there are none."""
    subject, problem = _text(words, "subject"), _text(words, "problem")
    if not (subject and problem):
        return ""
    own = re.fullmatch(r"your\s+(.+)", subject, re.IGNORECASE)
    return f"The {own[1]} {problem}" if own else f"{subject} {problem}"


def _text(words: Mapping[str, Any], name: str) -> str:
    value = words.get(name)
    return " ".join(plain(value).split()).rstrip(".") if isinstance(value, str) else ""


def plain(text: str) -> str:
    """Without control characters and marks that turn the direction of writing, on one line."""
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text)


def _lines(text: str) -> str:
    """The same for what may have several lines."""
    return "\n".join(plain(line) for line in text.splitlines())


def zone_of(name: str) -> ZoneInfo:
    """A time zone; UTC for a name that is none."""
    try:
        return ZoneInfo(name)
    except (ValueError, ZoneInfoNotFoundError):
        return ZoneInfo("UTC")


def marked_days(service: Service) -> Sequence[Day]:
    """The days that had trouble, the latest first."""
    return [day for day in reversed(service.days) if day.mark in (Mark.SLOW, Mark.DOWN)]


def check_slug(slug: str) -> str:
    """The slug. Raises NotValid for what is none."""
    if not (SHORTEST_SLUG <= len(slug) <= LONGEST_SLUG and SLUG.fullmatch(slug)):
        reason = "is 3 to 60 small letters, digits and single hyphens between them"
        raise NotValid(errors=[FieldError("slug", reason)])
    return slug


def suggest_slug(name: str) -> str:
    """An address for a page, from a name: "Fern & Field Flowers" is fern-field-flowers."""
    parts = re.findall(r"[a-z0-9]+", name.casefold())
    slug = "-".join(parts)[:LONGEST_SLUG].strip("-")
    return slug if len(slug) >= SHORTEST_SLUG else "status"


def clock_words(at: datetime, now: datetime, zone: str) -> str:
    """A time by the vendor's clock: 13:40, and with its day where that is not today."""
    local, today = at.astimezone(zone_of(zone)), now.astimezone(zone_of(zone))
    if local.date() == today.date():
        return f"{local:%H:%M}"
    return f"{local:%a} {local.day} {local:%B}, {local:%H:%M}"


def length_words(span: timedelta) -> str:
    """How long something took: 40 s, 21 min, 3 h 20 min, 2 days."""
    seconds = max(0, round(span.total_seconds()))
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds} s"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{minutes // (24 * 60)} days"


def _moment(value: Any) -> datetime:
    return datetime.fromisoformat(value)


def _maybe(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
