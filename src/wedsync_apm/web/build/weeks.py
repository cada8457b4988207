"""A week from Monday on, by the reader's clock. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from wedsync_apm.escalation.schedules.model import Span
from wedsync_apm.web.words import say as words

WEEK: Final = timedelta(days=7)
EARLIEST: Final = date(2000, 1, 3)
LATEST: Final = date(2100, 12, 27)
_FRIDAY_EVENING: Final = time(18)
_MONDAY_MORNING: Final = time(9)


@dataclass(frozen=True, slots=True)
class Week:
    """Seven days from Monday on, by the reader's clock."""

    monday: date
    zone: str

    @property
    def begins(self) -> datetime:
        """When it begins."""
        return self._midnight(0)

    @property
    def ends(self) -> datetime:
        """When the next one begins."""
        return self._midnight(7)

    def _midnight(self, days: int) -> datetime:
        day = self.monday + timedelta(days=days)
        return datetime.combine(day, time(), ZoneInfo(self.zone))

    def midnights(self) -> tuple[datetime, ...]:
        """When its days begin, and the next week's first."""
        return tuple(self._midnight(n) for n in range(8))

    def place(self, at: datetime) -> int:
        """Where an instant lies, in thousandths."""
        inside = min(max(at, self.begins), self.ends)
        # both by the same clock: a week of a clock change has an hour more or less
        begins, ends = self.begins.timestamp(), self.ends.timestamp()
        return round(1000 * (inside.timestamp() - begins) / (ends - begins))

    def clock(self, at: datetime) -> str:
        """Sat 23:00; outside of the week with its date."""
        local = at.astimezone(ZoneInfo(self.zone))
        if self.begins <= at <= self.ends:
            return f"{local:%a %H:%M}"
        return f"{local:%a} {local.day} {local:%b %H:%M}"

    def weekend(self) -> Span:
        """Friday evening until Monday morning."""
        zone = ZoneInfo(self.zone)
        return (
            datetime.combine(self.monday + timedelta(days=4), _FRIDAY_EVENING, zone),
            datetime.combine(self.monday + WEEK, _MONDAY_MORNING, zone),
        )


def read_week(text: str | None, now: datetime, zone: str) -> Week:
    """The week that holds a day; what is no day is this one."""
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        found = now.astimezone(ZoneInfo(zone)).date()
    found = min(max(found, EARLIEST), LATEST)
    return Week(found - timedelta(days=found.weekday()), zone)


def week_words(week: Week) -> str:
    """Mon 23 to Sun 29 November."""
    last = week.monday + timedelta(days=6)
    first = f"{week.monday.day}"
    if week.monday.month != last.month:
        first += f" {week.monday:%B}"
    return words("oncall.week", first=first, last=f"{last.day} {last:%B}")


def week_href(week: Week, by: int) -> str:
    """The page of another week."""
    return f"/on-call?week={week.monday + by * WEEK}"
