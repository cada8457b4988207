"""The process's own clock, for time-outs, logs and tokens.

What is due, open or on a wedding day is decided by the database's clock, which travels as `at`.
"""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Now, with the zone UTC."""
    return datetime.now(UTC)
