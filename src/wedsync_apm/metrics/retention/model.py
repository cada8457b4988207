"""The terms: how many days each level is kept."""

from dataclasses import astuple, dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Terms:
    """Days by level: raw samples, and rollups of one and five minutes, an hour and a day."""

    raw: int = 14
    minute: int = 30
    five_minutes: int = 90
    hour: int = 400
    day: int = 1_825

    def within(self, most: int) -> "Terms":
        """The same, none longer than so many days; 0 sets no bound."""
        return Terms(*(min(days, most) if most else days for days in astuple(self)))

    @property
    def longest_rollup(self) -> int:
        """Days after which no rollup is left."""
        return max(self.minute, self.five_minutes, self.hour, self.day)


def cutoff(at: datetime, days: int) -> datetime:
    """What lies before this is past a term of so many days."""
    return at - timedelta(days=days)
