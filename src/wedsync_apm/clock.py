"""The process's own clock, for time-outs, logs and tokens; instants as milliseconds and back.

What is due, open or on a wedding day is decided by the database's clock, which travels as `at`.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
