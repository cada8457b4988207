"""The unit of a metric: what its sender declared, or what its name says.

Many protocols carry no units. The conventions of Prometheus and OpenMetrics put them into the name,
as its last word, before what says how the value came about (`_total`, `_sum`, `_max`); others write
`duration_ms` or `responseTimeMs`. What a name says is an inference: it helps people to read a
figure, and nothing is judged by it.
"""

import re
from collections.abc import Mapping
from typing import Final

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|%")
_HOW: Final = frozenset(
    {"total", "sum", "max", "min", "avg", "mean", "median", "upper", "lower", "last", "stddev"}
)
"""Last words that leave the unit as it is."""
_PERCENTILE: Final = frozenset({"50", "75", "90", "95", "98", "99", "999"})
_COUNTS: Final = frozenset({"count", "bucket", "info", "created"})
"""Last words of what has no unit, whatever stands before them."""
_INSTANTS: Final = frozenset({"timestamp", "start", "since", "expiry", "expires", "at"})
"""Words before seconds that are no length of time but a moment since 1970."""

_UNITS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("nanoseconds", "nanosecond", "nanos"), "ns"),
    **dict.fromkeys(("microseconds", "microsecond", "micros"), "us"),
    **dict.fromkeys(("milliseconds", "millisecond", "millis", "msec", "msecs", "ms"), "ms"),
    **dict.fromkeys(("seconds", "second", "secs"), "s"),
    **dict.fromkeys(("minutes",), "min"),
    **dict.fromkeys(("hours",), "h"),
    **dict.fromkeys(("days",), "d"),
    **dict.fromkeys(("bytes", "byte"), "bytes"),
    **dict.fromkeys(("bits",), "bits"),
    **dict.fromkeys(("ratio",), "ratio"),
    **dict.fromkeys(("percent", "percentage", "pct", "%"), "%"),
    **dict.fromkeys(("celsius",), "°C"),
    **dict.fromkeys(("fahrenheit",), "°F"),
    **dict.fromkeys(("kelvin",), "K"),
    **dict.fromkeys(("meters", "metres"), "m"),
    **dict.fromkeys(("volts",), "V"),
    **dict.fromkeys(("amperes", "amps"), "A"),
    **dict.fromkeys(("watts",), "W"),
    **dict.fromkeys(("joules",), "J"),
    **dict.fromkeys(("grams",), "g"),
    **dict.fromkeys(("hertz",), "Hz"),
}
_SHORT: Final[Mapping[str, str]] = {"s": "s", "us": "us", "ns": "ns", "sec": "s"}
"""Words that say a unit only behind one of time: `users_us` are no microseconds."""
_OF_TIME: Final = frozenset(
    {"time", "duration", "latency", "elapsed", "delay", "wait", "age", "uptime", "timeout", "took"}
)


def unit_in_name(metric_name: str) -> str | None:
    """The unit that the last words of a metric's name say; None where they say none."""
    words = [one.lower() for one in _WORD.findall(metric_name)]
    if words and words[-1] in _COUNTS:
        return None
    while words and (words[-1] in _HOW or (words[-2:-1] == ["p"] and words[-1] in _PERCENTILE)):
        words = words[: -2 if words[-1] in _PERCENTILE else -1]
    per_second = words[-2:] == ["per", "second"]
    if per_second:
        words = words[:-2]
    if not words:
        return None
    *before, last = words
    unit = _UNITS.get(last)
    if unit is None and before and before[-1] in _OF_TIME:
        unit = _SHORT.get(last)
    if unit is None or (unit in ("s", "ms") and before and before[-1] in _INSTANTS):
        return None
    if unit == "s" and before[-2:] == ["start", "time"]:
        return None
    return f"{unit}/s" if per_second else unit


def unit_to_show(declared: str | None, metric_name: str) -> str | None:
    """What was declared, even if that is "no unit"; else what the name says."""
    return declared if declared is not None else unit_in_name(metric_name)
