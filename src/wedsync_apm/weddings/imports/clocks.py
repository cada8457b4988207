"""When an event of a calendar begins and ends, by the clock at the venue."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from wedsync_apm.weddings.imports.model import Habits, Unreadable, clean
from wedsync_apm.weddings.model import is_time_zone

_IANA: Final = re.compile(r"[A-Za-z_]+(?:/[A-Za-z0-9_+-]+){1,2}$")


def place_start(
    starts: datetime, tzid: str, habits: Habits, default: str | None
) -> tuple[datetime, str | None, str | None]:
    """The venue's clock at the beginning, its zone (None: the organization's), and a remark.

    `default` is what the calendar says of itself, for events that name no zone.
    """
    zone = starts.tzinfo
    if zone is None:
        note = f"the zone {clean(tzid)[:60]} is not known: taken as your own" if tzid else None
        return starts, default, note
    key = getattr(zone, "key", None)
    if _is_utc(zone, key) and not tzid:
        return _wall(starts, default or habits.time_zone), default, None
    if isinstance(key, str) and is_time_zone(key):
        return starts.replace(tzinfo=None), key, None
    named = _IANA.search(tzid)
    if named is not None and is_time_zone(named[0]):
        return starts.replace(tzinfo=None), named[0], None
    note = f"the zone {clean(tzid)[:60]} has no common name: kept by your own clock"
    return _wall(starts, default or habits.time_zone), default, note


def _is_utc(zone: tzinfo, key: object) -> bool:
    return zone is UTC or key in ("UTC", "Etc/UTC")


def _wall(at: datetime, zone: str) -> datetime:
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def place_end(starts: datetime, ends: Any, local: datetime, zone: str) -> datetime | None:
    """The venue's clock at the end; None where the event has none.

    `local` is what it shows at the beginning. Raises Unreadable for an end that is none.
    """
    if ends is None:
        return None
    if not isinstance(ends, datetime):
        raise Unreadable("DTEND: is a day, where DTSTART is a time")
    if (ends.tzinfo is None) is not (starts.tzinfo is None):
        words = "has no time zone, where DTSTART has one"
        raise Unreadable(
            f"DTEND: {words}"
            if ends.tzinfo is None
            else "DTEND: has a zone, where DTSTART has none"
        )
    if ends.tzinfo is None:
        length, shown = ends - starts, ends
    else:
        length, shown = ends.astimezone(UTC) - starts.astimezone(UTC), _wall(ends, zone)
    if length < timedelta(0):
        raise Unreadable("DTEND: is before DTSTART")
    # on both sides of a clock that is put back: as long as it lasts
    return shown if length == timedelta(0) or shown > local else local + length
