"""The process's own clock, for time-outs, logs and tokens; instants as milliseconds and back.

What is due, open or on a wedding day is decided by the database's clock, which travels as `at`.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Instants that people may ask about lie before it, so that days can be added to them."""


def utcnow() -> datetime:
    """Now, with the zone UTC."""
    return datetime.now(UTC)


def to_ms(at: datetime) -> int:
    """Whole milliseconds since 1970, cut off."""
    # Not timestamp() * 1000: a float has not the digits to give every millisecond back.
    return (at - _EPOCH) // timedelta(milliseconds=1)


def to_datetime(at_ms: int) -> datetime:
    """The instant of whole milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def is_usable(at: datetime) -> bool:
    """Whether an instant that somebody names is one that sums with it can be made of."""
    return at.tzinfo is not None and EARLIEST <= at < LATEST


class RunningClock:
    """The database's `at` of a cycle, going on."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._begun = time.monotonic()

    def seconds(self) -> float:
        """How long it has been going."""
        return time.monotonic() - self._begun

    def now(self) -> datetime:
        """The database's time by now."""
        return self._at + timedelta(seconds=self.seconds())
