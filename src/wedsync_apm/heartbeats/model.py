"""When a heartbeat is expected next: after a period, or at the times of a cron expression. Pure.

The expressions are those of cron(5): minute, hour, day of the month, month, day of the week; lists,
ranges, steps and names. Where both days are restricted, either is enough. By the clock on the wall
of a zone:

| the clock is | a fixed hour, as in `30 2 * * *` | every hour, as in `30 * * * *` |
|---|---|---|
| set forward over the time | expected when it is set | not expected |
| set back, so that the time comes twice | expected the first time | expected both times |
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wedsync_apm.errors import FieldError, NotValid

TOKEN_PREFIX: Final = "hb_"  # noqa: S105 -- tells a token from an id, and is no secret
PING_PATH: Final = "/api/v1/heartbeats"
LONGEST_GAP_DAYS: Final = 8 * 366
"""A 29th of February can be eight years away."""
_NEAR: Final = timedelta(hours=3)
"""No clock is set by more."""
_MINUTE: Final = timedelta(minutes=1)
_MONTHS: Final = [
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
]
_DAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


def make_token() -> str:
    """A new secret for an address: 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def address(base_url: str, token: str) -> str:
    """Where to ping."""
    return f"{base_url}{PING_PATH}/{token}"


class Signal(StrEnum):
    """What a ping says."""

    SUCCESS = "success"
    START = "start"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression that was read."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    is_every_hour: bool
    are_days_free: bool
    are_weekdays_free: bool

    def next_after(self, at: datetime, zone: ZoneInfo) -> datetime | None:
        """The first expected instant after `at`, in UTC; None if there is none in eight years."""
        start = at.astimezone(zone).replace(tzinfo=None) - _NEAR
        found: datetime | None = None
        for wall in self._walls_from(start):
            if found is not None and wall > found.astimezone(zone).replace(tzinfo=None) + _NEAR:
                break
            for instant in self._instants_of(wall, zone):
                if instant > at and (found is None or instant < found):
                    found = instant
        return found

    def _walls_from(self, start: datetime) -> Iterator[datetime]:
        for ahead in range(LONGEST_GAP_DAYS):
            day = start.date() + timedelta(days=ahead)
            if not self._is_on(day):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    wall = datetime.combine(day, time(hour, minute))
                    if wall >= start:
                        yield wall

    def _is_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.are_days_free or self.are_weekdays_free:
            return by_day and by_weekday
        return by_day or by_weekday

    def _instants_of(self, wall: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
        first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
        if first == second:
            return (first,)
        if first < second:
            return (first, second) if self.is_every_hour else (first,)
        if self.is_every_hour:
            return ()
        # The time is never shown: the moment at which the clock is set lies between the two.
        before = second.astimezone(zone).utcoffset()
        while second.astimezone(zone).utcoffset() == before:
            second += _MINUTE
        return (second,)


@lru_cache(maxsize=1000)
def read_cron(text: str) -> Cron:
    """The expression. Raises NotValid with what is wrong, for the field `cron`."""
    parts = text.lower().split()
    if len(parts) != 5:
        raise _refusal("needs five parts: minute, hour, day of the month, month, day of the week")
    minutes = _values(parts[0], 0, 59)
    hours = _values(parts[1], 0, 23)
    days = _values(parts[2], 1, 31)
    months = _values(parts[3], 1, 12, _MONTHS, 1)
    weekdays = {value % 7 for value in _values(parts[4], 0, 7, _DAYS)}
    cron = Cron(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(days),
        frozenset(months),
        frozenset(weekdays),
        is_every_hour=parts[1].startswith("*"),
        are_days_free=parts[2].startswith("*"),
        are_weekdays_free=parts[4].startswith("*"),
    )
    if cron.next_after(datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC")) is None:
        raise _refusal("names a day that never comes")
    return cron


def _refusal(reason: str) -> NotValid:
    return NotValid(errors=[FieldError("cron", reason)])


def _values(
    part: str, least: int, most: int, names: list[str] | None = None, first: int = 0
) -> set[int]:
    found: set[int] = set()
    for one in part.split(","):
        span, slash, step_text = one.partition("/")
        step = 1
        if slash:
            if not step_text.isascii() or not step_text.isdigit() or not 1 <= int(step_text) <= 99:
                raise _refusal(f"{one[:20]!r} has no step that can be read")
            step = int(step_text)
        if span == "*":
            low, high = least, most
        else:
            begin, dash, end = span.partition("-")
            low = _number(begin, names, first)
            high = _number(end, names, first) if dash else (most if slash else low)
        if not least <= low <= high <= most:
            raise _refusal(f"{one[:20]!r} does not lie within {least}-{most}")
        found.update(range(low, high + 1, step))
    return found


def _number(text: str, names: list[str] | None, first: int) -> int:
    if names is not None and text in names:
        return names.index(text) + first
    if not text.isascii() or not text.isdigit() or len(text) > 2:
        raise _refusal(f"{text[:20]!r} is no number or name that can stand there")
    return int(text)


def due_after(
    at: datetime, *, period: timedelta | None, cron: str | None, time_zone: str | None
) -> datetime:
    """When it is expected next, having been heard of at `at`. Raises NotValid for a broken rhythm.

    Exactly one of `period` and `cron` is given, `time_zone` with `cron`.
    """
    if period is not None:
        return at + period
    if cron is None or time_zone is None:
        raise _refusal("needs a time zone")
    try:
        zone = ZoneInfo(time_zone)
    except (ValueError, ZoneInfoNotFoundError) as exc:
        raise NotValid(errors=[FieldError("time_zone", "is no time zone")]) from exc
    due = read_cron(cron).next_after(at, zone)
    if due is None:
        raise _refusal("names a day that never comes")
    return due


def check_rhythm(
    *, has_period: bool, cron: str | None, time_zone: str | None, at: datetime
) -> None:
    """Raises NotValid for what is no rhythm: it has a period, or a cron expression in a zone."""
    if has_period is (cron is not None):
        raise NotValid(errors=[FieldError("period", "or cron is needed, and not both")])
    if cron is not None:
        if time_zone is None:
            raise NotValid(errors=[FieldError("time_zone", "is needed beside cron")])
        due_after(at, period=None, cron=cron, time_zone=time_zone)
    elif time_zone is not None:
        raise NotValid(errors=[FieldError("time_zone", "goes with cron")])
