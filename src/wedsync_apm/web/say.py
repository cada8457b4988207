"""Times, lengths, figures and names as people read them (en-GB, 24-hour). Pure."""

import math
import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = 60
HOUR = 3600
DAY = 86400

_KNOWN = {"lcp": "page load time", "ttfb": "waiting time", "web_vitals": "website speed"}
_ACRONYMS = {"api", "cpu", "csv", "db", "dns", "http", "rls", "sms", "sql", "tls", "url", "wal"}


def clock(at: datetime, zone: str) -> str:
    """The wall clock in `zone`: 13:05."""
    return at.astimezone(ZoneInfo(zone)).strftime("%H:%M")


def clock_seconds(at: datetime, zone: str) -> str:
    """The wall clock with seconds: 13:05:09."""
    return at.astimezone(ZoneInfo(zone)).strftime("%H:%M:%S")


def day(at: datetime, zone: str) -> str:
    """The date in words: Sat 20 June."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local:%a} {local.day} {local:%B}"


def venue_clock(at: datetime, first: datetime, zone: str) -> str:
    """A time of a wedding that began on `first`: 14:00, and past midnight Sun 01:00."""
    local = at.astimezone(ZoneInfo(zone))
    if local.date() == first.astimezone(ZoneInfo(zone)).date():
        return f"{local:%H:%M}"
    return f"{local:%a %H:%M}"


def when(at: datetime, now: datetime, zone: str) -> str:
    """A clock time, with its day where that is not today: 13:05, Tue 16 June 13:05."""
    if at.astimezone(ZoneInfo(zone)).date() == now.astimezone(ZoneInfo(zone)).date():
        return clock(at, zone)
    return f"{day(at, zone)} {clock(at, zone)}"


def length(span: timedelta) -> str:
    """How long something took or takes: 40 s, 21 min, 3 h 20 min, 4 days."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 2 * MINUTE and seconds % MINUTE:
        return f"{seconds} s"
    if seconds <= 120 * MINUTE:
        return f"{seconds // MINUTE} min"
    if seconds < DAY:
        hours, rest = divmod(seconds, HOUR)
        minutes = rest // MINUTE
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days = seconds // DAY
    return f"{days} day" if days == 1 else f"{days} days"


def ahead(at: datetime, now: datetime, zone: str) -> str:
    """When something comes: in 47 min, in 3 h 20 min, on Saturday at 14:00."""
    left = at - now
    if left.total_seconds() < DAY:
        return f"in {length(left)}"
    return f"on {at.astimezone(ZoneInfo(zone)):%A} at {clock(at, zone)}"


def number(value: float, digits: int = 3) -> str:
    """A figure with at most `digits` digits that matter and thousands set apart."""
    if not math.isfinite(value):
        return "not a number"
    size = abs(value)
    if size >= 10 ** (digits - 1) or value == int(value):
        return f"{value:,.0f}"
    places = digits if size < 1 else max(0, digits - len(str(int(size))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


_BYTES = ("B", "KB", "MB", "GB", "TB")
_TIMES = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "seconds": 1.0, "sec": 1.0,
          "milliseconds": 1e-3, "millisecond": 1e-3, "second": 1.0}  # fmt: skip


def figure(value: float | None, unit: str | None) -> str:
    """A value with the largest unit that keeps two or three figures: 850 ms, 9.1 s, 1.2 GB.

    None is the word for it, never 0 or a dash.
    """
    if value is None:
        return "no data"
    unit = (unit or "").strip()
    if unit.endswith("/s") and len(unit) > 2:
        return f"{figure(value, unit[:-2])}/s"
    text = f"{number(value)} {unit}".strip()
    if unit.lower() in _TIMES:
        text = _time(value * _TIMES[unit.lower()])
    elif unit.lower() in ("bytes", "byte", "by", "b"):
        size, index = float(value), 0
        while abs(size) >= 1000 and index < len(_BYTES) - 1:
            size, index = size / 1000, index + 1
        text = f"{number(size)} {_BYTES[index]}"
    elif unit in ("%", "percent"):
        text = f"{number(value, 4)} %"
    elif unit == "ratio":
        text = f"{number(value * 100, 4)} %"
    elif unit in ("1", "count", ""):
        text = number(value)
    return text


def _time(seconds: float) -> str:
    size = abs(seconds)
    if size < 1e-3:
        return f"{number(seconds * 1e6)} µs" if size else "0 s"
    if size < 1:
        return f"{number(seconds * 1e3)} ms"
    if size < 2 * MINUTE:
        return f"{number(seconds, 2)} s"
    return length(timedelta(seconds=seconds))


def plain_figure(value: float | None, unit: str | None) -> str:
    """The same for people outside computing: times in seconds, never ms."""
    scale = _TIMES.get((unit or "").lower())
    if value is None or scale is None:
        return figure(value, unit)
    seconds = value * scale
    if seconds < 0.1:
        return "under 0.1 s"
    return f"{number(seconds, 2)} s" if seconds < 2 * MINUTE else _time(seconds)


def noun(name: str) -> str:
    """A service's or metric's technical name as words: wedding_forms, photo-gallery, orderForm."""
    if name.lower() in _KNOWN:
        return _KNOWN[name.lower()]
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words = re.split(r"[\s_.\-/:]+", spaced.strip("_.-/: "))
    return " ".join(w.upper() if w.lower() in _ACRONYMS else w.lower() for w in words if w)


def sentence(text: str) -> str:
    """The same text with a capital first letter; the rest is left alone."""
    return text[:1].upper() + text[1:]


def initials(name: str) -> str:
    """A couple's name for those who may not read it: Amara & Ruth -> A & R."""
    parts = [part for part in re.split(r"\s*(?:&|\band\b|\+)\s*", name) if part]
    return " & ".join(f"{part[0].upper()}" for part in parts)
