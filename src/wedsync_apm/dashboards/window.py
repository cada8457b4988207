"""Which time a dashboard shows, and which earlier time beside it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from wedsync_apm.dashboards.calendar import Wedding
from wedsync_apm.dashboards.model import Compare, Span, Window
from wedsync_apm.errors import FieldError, NotValid

LONGEST: Final = timedelta(days=400)
_POINTS: Final = 300
_STEPS: Final = (30, 60, 300, 900, 3600, 10800, 21600, 86400)
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class Shown:
    """From `begin` to before `end`, both whole steps since 1970; with `span` it ends now."""

    begin: datetime
    end: datetime
    step: timedelta
    span: Span | None
    compare: Compare

    @property
    def count(self) -> int:
        """How many steps there are."""
        return (self.end - self.begin) // self.step

    def earlier(self, by: timedelta) -> "Shown":
        """As long, that much before."""
        return Shown(self.begin - by, self.end - by, self.step, None, Compare.NONE)


def show(
    usual: Window,
    now: datetime,
    *,
    span: Span | None = None,
    compare: Compare | None = None,
    fixed: tuple[datetime, datetime] | None = None,
) -> Shown:
    """What is asked for, else what the document says. Raises NotValid for a range that is none."""
    compare = usual.compare if compare is None else compare
    if fixed is not None:
        begin, end = fixed
        if not timedelta() < end - begin <= LONGEST:
            reason = f"must be after start, and within {LONGEST.days} days of it"
            raise NotValid(errors=[FieldError("end", reason)])
        wanted = (end - begin).total_seconds() / _POINTS
        step = timedelta(seconds=next((one for one in _STEPS if one >= wanted), _STEPS[-1]))
        return Shown(_whole(begin, step), _whole(end, step, after=True), step, None, compare)
    span = usual.span if span is None else span
    end = _whole(now, span.step, after=True)
    return Shown(end - span.length, end, span.step, span, compare)


def _whole(at: datetime, step: timedelta, *, after: bool = False) -> datetime:
    seconds = step.total_seconds()
    number = at.timestamp() // seconds + (1 if after else 0)
    return datetime.fromtimestamp(number * seconds, UTC)


def back_to(
    shown: Shown, now: datetime, zone: str, weddings: Sequence[Wedding]
) -> timedelta | None:
    """How far back the time lies that is drawn beside the present one, in whole steps; None where
    there is none.

    Last Saturday is the same hour by the clock of `zone`. Of a wedding that the range touches the
    ceremony is laid upon that of the wedding before; else the same hour of the last wedding's day.
    """
    match shown.compare:
        case Compare.NONE:
            return None
        case Compare.LAST_SATURDAY:
            days = (now.astimezone(ZoneInfo(zone)).weekday() - _SATURDAY) % 7 or 7
            back = _days_back(now, days, zone)
        case Compare.LAST_WEDDING:
            found = _to_last_wedding(shown, now, weddings)
            if found is None:
                return None
            back = found
    steps = round(back / shown.step)
    return steps * shown.step if steps > 0 else None


def _to_last_wedding(shown: Shown, now: datetime, weddings: Sequence[Wedding]) -> timedelta | None:
    touched = [one for one in weddings if one.begins < shown.end and one.ends > shown.begin]
    present = max(touched, key=lambda one: one.begins, default=None)
    limit = present.begins if present else now
    over = [one for one in weddings if one.ends <= limit and one is not present]
    if not over:
        return None
    last = max(over, key=lambda one: one.anchor)
    if present is not None:
        return present.anchor - last.anchor
    days = (now.astimezone(ZoneInfo(last.zone)).date() - last.day).days
    return _days_back(now, days, last.zone) if days > 0 else None


def _days_back(now: datetime, days: int, zone: str) -> timedelta:
    """To the same hour by the clock, over a change of the clocks too."""
    local = now.astimezone(ZoneInfo(zone))
    earlier = (local.replace(tzinfo=None) - timedelta(days=days)).replace(tzinfo=ZoneInfo(zone))
    return now - earlier.astimezone(UTC)
