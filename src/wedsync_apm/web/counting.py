"""How often somebody calls in a minute, as this process has seen it."""

from typing import Final

from wedsync_apm.errors import RateLimited
from wedsync_apm.telemetry import Counter

MOST_KNOWN: Final = 10_000
REFUSED = Counter(
    "wedsync_apm_page_calls_refused_total",
    "Calls of public pages that were refused because there were too many, by what was counted.",
    ("of",),
)


class Minute:
    """The calls of the minute that runs, by who made them or what they asked for."""

    def __init__(self, of: str, most: int) -> None:
        self._of, self._most = of, most
        self._minute = 0
        self._calls: dict[str, int] = {}

    def count(self, whose: str, now: float) -> None:
        """Counts a call; `now` is in seconds. Raises RateLimited over a minute's share."""
        if (minute := int(now // 60)) != self._minute or len(self._calls) >= MOST_KNOWN:
            self._minute, self._calls = minute, {}
        self._calls[whose] = calls = self._calls.get(whose, 0) + 1
        if calls > self._most:
            REFUSED.inc(of=self._of)
            raise RateLimited("Too many requests.", 60.0 - now % 60)
