"""Which couple marries today: at any hour, of any day, some venue is in the middle of it.

The date is the venue's own and, for whoever counts in UTC, also today's there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

UNDER_WAY: Final = timedelta(minutes=30)
"""For how long from now a phase of the planned wedding is under way at least."""

_DAY_BEGINS: Final = time(8)
# From and to in hours of the wedding day; no gap between the phases.
_PHASES: Final = (
    ("set_up", 8.0, 13.5),
    ("ceremony", 13.5, 15.0),
    ("reception", 15.0, 24.0),
    ("tear_down", 24.0, 26.0),
)


@dataclass(frozen=True, slots=True)
class Venue:
    """A place with its own clock."""

    name: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A wedding on its date, with every phase as an interval of absolute time."""

    venue: Venue
    wedding_date: date
    phases: dict[str, tuple[datetime, datetime]]

    def phase_at(self, at: datetime) -> str | None:
        """The phase under way; None before the first and after the last."""
        for name, (starts, ends) in self.phases.items():
            if starts <= at < ends:
                return name
        return None


def plan_today(now: datetime, venues: Sequence[Venue]) -> Plan:
    """A wedding that is under way from now for at least half an hour, at the first venue that fits.

    Raises ValueError when the venues' clocks leave an hour of the day uncovered.
    """
    today = now.astimezone(UTC).date()
    for venue in venues:
        local = now.astimezone(ZoneInfo(venue.time_zone))
        later = (now + UNDER_WAY).astimezone(ZoneInfo(venue.time_zone))
        if local.date() == later.date() == today and local.time() >= _DAY_BEGINS:
            return plan_on(today, venue)
    raise ValueError(f"none of the venues has a wedding day in progress at {now.isoformat()}")


def plan_on(wedding_date: date, venue: Venue) -> Plan:
    """A wedding on that date, its phases at the usual hours of the venue's clock."""
    return Plan(
        venue,
        wedding_date,
        {
            name: (_at(wedding_date, starts, venue), _at(wedding_date, ends, venue))
            for name, starts, ends in _PHASES
        },
    )


def next_saturdays(now: datetime, time_zone: str, count: int) -> list[date]:
    """The coming Saturdays of that calendar, neither today nor tomorrow among them."""
    today = now.astimezone(ZoneInfo(time_zone)).date()
    first = today + timedelta(days=(5 - today.weekday()) % 7)
    if first <= today + timedelta(days=1):
        first += timedelta(days=7)
    return [first + timedelta(weeks=n) for n in range(count)]


def _at(day: date, hours: float, venue: Venue) -> datetime:
    # As the clock on the wall shows it, on days on which it is put forward or back too.
    days, rest = divmod(hours, 24)
    wall = datetime.combine(
        day + timedelta(days=int(days)),
        time(int(rest), round(rest % 1 * 60)),
        tzinfo=ZoneInfo(venue.time_zone),
    )
    return wall.astimezone(UTC)
