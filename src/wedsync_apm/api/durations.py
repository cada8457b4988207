"""Durations as people write them: `30s`, `5m`, `1h30m`, `1d`, or a number of seconds."""

import re
from datetime import timedelta
from typing import Annotated, Final

import msgspec

from wedsync_apm.errors import FieldError, NotValid

_UNITS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(ms|[smhd])", re.ASCII)
_WHOLE: Final = re.compile(r"(\s*\d{1,9}(\.\d{1,3})?\s*(ms|[smhd]))+\s*", re.ASCII)

Duration = Annotated[
    str | float,
    msgspec.Meta(
        description="`30s`, `5m`, `1h30m`, `1d`, or a number of seconds", examples=["5m", 300]
    ),
]


def read_duration(field: str, value: str | float) -> timedelta:
    """The duration. Raises NotValid, naming the field."""
    if isinstance(value, str):
        if _WHOLE.fullmatch(value):
            parts = _PART.findall(value)
            return timedelta(milliseconds=sum(float(n) * _UNITS[unit] for n, unit in parts))
    elif 0 <= value <= 10**9:
        return timedelta(seconds=value)
    reason = "must be a duration such as 30s, 5m, 1h30m or 1d, or a number of seconds"
    raise NotValid(errors=[FieldError(field, reason)])


def write_duration(value: timedelta) -> str:
    """The shortest way to write it that `read_duration` reads."""
    left = round(value.total_seconds() * 1000)
    if left == 0:
        return "0s"
    text = ""
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text
