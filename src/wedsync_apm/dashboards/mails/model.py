"""When a dashboard goes out by mail. Pure; times come in as `after`."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Each day, or each week on a weekday (Monday is 1), at a time by a clock."""

    at_time: time
    time_zone: str
    weekday: int | None = None

    def next_after(self, after: datetime) -> datetime:
        """The first moment of it behind another. A time that the clock leaves out in spring comes
        as much later; one that it has twice in autumn comes once, the first time."""
        zone = ZoneInfo(self.time_zone)
        day = after.astimezone(zone).date()
        for _ in range(9):
            # Through UTC: whether a local time is there at all is decided by the clock.
            at = datetime.combine(day, self.at_time, zone).astimezone(ZoneInfo("UTC"))
            if at > after and self.weekday in (None, day.isoweekday()):
                return at
            day += timedelta(days=1)
        raise AssertionError("a week has seven days")
