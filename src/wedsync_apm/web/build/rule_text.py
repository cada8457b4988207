"""Numbers and lengths as people type them into the rule editor, and back without a loss. Pure."""

import csv
import math
import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

_UNITS: Final = (("day", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))
_LONG: Final = {
    "d": "day", "day": "day", "days": "day",
    "h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "m": "min", "min": "min", "mins": "min", "minute": "min", "minutes": "min",
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "ms": "ms",
}  # fmt: skip
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([a-z]+)\s*", re.ASCII)
_SECONDS: Final = {
    **dict.fromkeys(("us", "µs"), Decimal("0.000001")),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), Decimal("0.001")),
    **dict.fromkeys(("s", "sec", "second", "seconds"), Decimal(1)),
    **dict.fromkeys(("min", "minute", "minutes"), Decimal(60)),
}
_FIGURE: Final = re.compile(r"([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)(%|[a-zA-Zµ]+)")
LONGEST: Final = 40


def write_span(span: timedelta | None) -> str:
    """A length that `read_span` reads back: 2 min 30 s, 1 day; empty for None."""
    if span is None:
        return ""
    left = round(span.total_seconds() * 1000)
    if left <= 0:
        return "0 s"
    parts = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}")
    return " ".join(parts)


def read_span(text: str) -> timedelta | None:
    """The length of `30 s`, `5 min`, `1 h 30 min`, `2 days`, `0`; None for anything else."""
    text = text.strip().lower()
    if text == "0":
        return timedelta()
    if not text or len(text) > LONGEST:
        return None
    sizes, total, place = dict(_UNITS), 0.0, 0
    while place < len(text):
        part = _PART.match(text, place)
        if part is None or part[2] not in _LONG:
            return None
        total += float(part[1]) * sizes[_LONG[part[2]]]
        place = part.end()
    return timedelta(milliseconds=total)


def write_number(value: float | None, *, is_share: bool = False) -> str:
    """A number that `read_number` reads back: 1.5, 800; a share as 5 %; empty for None."""
    if value is None:
        return ""
    exact = Decimal(repr(float(value)))
    if is_share and abs(value) <= 1:
        return f"{_plain(exact * 100)} %"
    return _plain(exact)


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if len(text) <= LONGEST // 2 else str(value)


def read_number(text: str, *, is_share: bool = False, unit: str | None = None) -> float | None:
    """The finite number of `3,000` or `2.5`, of a share also `5 %`, of a time also `2 s` whatever
    the series' unit is; None for anything else."""
    text = text.strip().replace(",", "").replace(" ", "").replace("\u00a0", "")
    if len(text) > LONGEST or "_" in text:
        return None
    parts = _FIGURE.fullmatch(text)
    number, typed = (parts[1], parts[2].lower()) if parts else (text, "")
    factor = _factor(typed, is_share=is_share, unit=(unit or "").lower())
    if factor is None:
        return None
    try:
        value = float(Decimal(number) * factor)
    except (InvalidOperation, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _factor(typed: str, *, is_share: bool, unit: str) -> Decimal | None:
    """From the unit that was typed to that of the series; None where they do not fit."""
    if not typed or typed == unit or (typed == "%" and unit == "percent"):
        return Decimal(1)
    if typed == "%" and (is_share or unit == "ratio"):
        return Decimal("0.01")
    if typed in _SECONDS and unit in _SECONDS:
        return _SECONDS[typed] / _SECONDS[unit]
    return None


def write_values(values: Sequence[str]) -> str:
    """Several values in one field, with quotes around one that holds a comma."""
    return ", ".join(
        '"{}"'.format(value.replace('"', '""'))
        if any(c in value for c in ',"') or value != value.strip() or not value
        else value
        for value in values
    )


def read_values(text: str) -> tuple[str, ...]:
    """The values of one field, separated by commas; those in quotes may hold some."""
    line = " ".join(text.splitlines())
    rows = list(csv.reader([line], skipinitialspace=True)) if line.strip() else []
    return tuple(value if '"' in line else value.strip() for row in rows for value in row if value)
