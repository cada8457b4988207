"""Weddings from iCalendar (RFC 5545), as Google, Apple, Outlook and booking tools write it.

`icalendar` reads the properties and time zones, `recurring-ical-events` unrolls what repeats.
Before either sees an event its recurrence rule is looked at: a wedding repeats no more often than
daily, and nothing here may make a file of a hundred bytes a million weddings.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import recurring_ical_events  # type: ignore[import-untyped]
from icalendar import Calendar, Component
from msgspec.structs import replace

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.weddings.imports.clocks import place_end, place_start
from wedsync_apm.weddings.imports.model import (
    LOOK_AHEAD,
    LOOK_BACK,
    MOST_ENTRIES,
    Entry,
    Fault,
    Habits,
    LocalWindow,
    Reading,
    Unreadable,
    clean,
    local_windows,
    read_text,
    read_year,
)
from wedsync_apm.weddings.model import WeddingStatus, halved, is_time_zone, plan_day

MOST_OCCURRENCES: Final = 366
"""Of one repeating event, within the time that is unrolled."""
MOST_DATES: Final = 1_000
"""Dates and exceptions of one event, and the count of a rule."""
LONGEST_TIMED: Final = timedelta(hours=36)
MOST_DAYS: Final = 7
DEEPEST: Final = 8
_DATES: Final = ("DTSTART", "DTEND", "DURATION", "RECURRENCE-ID")
_ONCE: Final = frozenset({"UID", "SUMMARY", "LOCATION", "STATUS", "SEQUENCE"})
_OFTEN: Final = frozenset({"BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS", "BYEASTER"})
_FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_PREFIX: Final = re.compile(
    r"^(?:the )?wedding(?: day)?\s*(?:of\b|for\b|[:|–—-])\s*", re.IGNORECASE
)
_SUFFIX: Final = re.compile(
    r"\s*(?:[:|–—-]\s*|(?:'s|’s)\s+)?(?:wedding|hochzeit)(?: day)?$", re.IGNORECASE
)


def read_calendar(body: bytes, habits: Habits) -> Reading:
    """What an iCalendar file says about weddings. Raises NotValid for one that is none."""
    text = _decode(body)
    _check_depth(text)
    try:
        with warnings.catch_warnings():
            # that a zone was found behind a maker's prefix
            warnings.simplefilter("ignore")
            found = Calendar.from_ical(text, multiple=True)
    except (ValueError, KeyError, IndexError) as exc:
        words = f"is no iCalendar file that can be read: {clean(str(exc))[:200]}"
        raise NotValid(errors=[FieldError("body", words)]) from exc
    calendars = [one for one in found if one.name == "VCALENDAR"]
    if not calendars:
        raise NotValid(errors=[FieldError("body", "is no iCalendar file: it holds no calendar")])
    reading = Reading(unrolled_from=habits.today - LOOK_BACK, unrolled_to=habits.today + LOOK_AHEAD)
    place = 0
    for calendar in calendars:
        groups: dict[str, list[tuple[int, Component]]] = {}
        for event in calendar.walk("VEVENT"):
            place += 1
            if place > MOST_ENTRIES:
                words = f"has more than {MOST_ENTRIES} events"
                raise NotValid(errors=[FieldError("body", words)])
            uid = clean(str(_value(event, "UID") or ""))
            if not uid or len(uid) > 500:
                words = "is missing" if not uid else "is longer than 500 characters"
                reading.faults.append(Fault(place, "UID", words))
            elif habits.matching is None or _matches(event, habits.matching):
                groups.setdefault(uid, []).append((place, event))
        for uid, events in groups.items():
            try:
                _read_group(reading, calendar, uid, events, habits)
            except Unreadable as exc:
                field, _, words = str(exc).partition(": ")
                reading.faults.append(Fault(events[0][0], field, words))
            if len(reading.entries) > MOST_ENTRIES:
                words = f"makes more than {MOST_ENTRIES} weddings"
                raise NotValid(errors=[FieldError("body", words)])
    if place == 0:
        raise NotValid(errors=[FieldError("body", "has no event")])
    return reading


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig").replace("\x00", "")
    except UnicodeDecodeError as exc:
        raise NotValid(errors=[FieldError("body", "is not in UTF-8")]) from exc


def _check_depth(text: str) -> None:
    depth = 0
    for match in re.finditer(r"^[ \t]*(BEGIN|END):", text, re.MULTILINE | re.IGNORECASE):
        depth += 1 if match[1].upper() == "BEGIN" else -1
        if depth > DEEPEST:
            raise NotValid(errors=[FieldError("body", f"is nested deeper than {DEEPEST} levels")])


def _matches(event: Component, words: str) -> bool:
    categories = _value(event, "CATEGORIES")
    many = categories if isinstance(categories, list) else [categories] if categories else []
    said = [
        str(_value(event, "SUMMARY") or ""),
        *(str(c) for one in many for c in getattr(one, "cats", ())),
    ]
    return any(words.casefold() in text.casefold() for text in said)


def _read_group(
    reading: Reading,
    calendar: Calendar,
    uid: str,
    events: Sequence[tuple[int, Component]],
    habits: Habits,
) -> None:
    """All that one UID is about: an event, or a repeating one with its exceptions."""
    place = events[0][0]
    # A file that holds several versions of an event means the last one of each.
    latest: dict[str, tuple[int, Component]] = {}
    for _, event in events:
        _check_properties(event)
    for one in events:
        key = _key_of(one[1])
        if key not in latest or _sequence(one[1]) >= _sequence(latest[key][1]):
            latest[key] = one
    for _, event in latest.values():
        _check_recurrence(event)
    method = str(calendar.get("METHOD", "")).upper()
    if _repeats(latest):
        occurrences = list(_unroll(calendar, [event for _, event in latest.values()], reading))
    else:
        occurrences = [("", event) for _, event in latest.values()]
    default = str(_value(calendar, "X-WR-TIMEZONE") or "").strip()
    whose = default if is_time_zone(default) else None
    found = [
        one
        for key, event in occurrences
        for one in _read_event(event, place=place, uid=uid, key=key, habits=habits, default=whose)
    ]
    if method == "CANCEL":
        found = [replace(one, status=WeddingStatus.CANCELLED) for one in found]
    reading.entries += found
    if not found:
        words = f"makes no wedding from {reading.unrolled_from} to {reading.unrolled_to}"
        reading.faults.append(Fault(place, "RRULE", words))
    if "" in latest:
        reading.complete_uids.append(uid)


def _value(event: Component, name: str) -> Any:
    """A property as one of the many types that the library has for them; None if there is none."""
    found = event.get(name)
    # RFC 5545 allows these once only; of titles and places the first will do
    return found[0] if isinstance(found, list) and name in _ONCE and found else found


def _key_of(event: Component) -> str:
    found = _value(event, "RECURRENCE-ID")
    return "" if found is None else _spell(getattr(found, "dt", found))


def _sequence(event: Component) -> int:
    try:
        return max(0, min(int(_value(event, "SEQUENCE") or 0), 2**31 - 1))
    except (TypeError, ValueError):
        return 0


def _check_properties(event: Component) -> None:
    for name, reason in event.errors:
        if name in (*_DATES, "RRULE", "RDATE", "EXDATE"):
            raise Unreadable(f"{name}: cannot be read: {clean(str(reason))[:200]}")
    for name in _DATES:
        if isinstance(event.get(name), list):
            raise Unreadable(f"{name}: is there more than once")
    if (start := _value(event, "DTSTART")) is None:
        raise Unreadable("DTSTART: is missing")
    _check_year(start.dt)


def _check_year(day: date) -> None:
    try:
        read_year(day.year)
    except Unreadable as exc:
        raise Unreadable(f"DTSTART: {exc}") from exc


def _check_recurrence(event: Component) -> None:
    rules = _value(event, "RRULE") or []
    for rule in rules if isinstance(rules, list) else [rules]:
        frequencies = {str(one).upper() for one in rule.get("FREQ", [])}
        if not frequencies or not frequencies <= _FREQUENCIES:
            raise Unreadable("RRULE: repeats more often than daily, which no wedding does")
        for part in ("BYHOUR", "BYMINUTE", "BYSECOND"):
            if part in rule:
                raise Unreadable("RRULE: repeats more often than daily, which no wedding does")
        if any(int(count) > MOST_DATES for count in rule.get("COUNT", [])):
            raise Unreadable(f"RRULE: repeats more than {MOST_DATES} times")
        if not all(1 <= int(interval) <= MOST_DATES for interval in rule.get("INTERVAL", [])):
            raise Unreadable(f"RRULE: has an interval that is not from 1 to {MOST_DATES}")
        # Days that no month has would be looked for until the year 9999.
        if "DAILY" in frequencies and not _OFTEN.isdisjoint(rule):
            raise Unreadable("RRULE: picks days of a month out of all days; let it repeat monthly")
    if isinstance(rules, list) and len(rules) > 1:
        raise Unreadable("RRULE: is there more than once")
    for name in ("RDATE", "EXDATE"):
        values = _value(event, name) or []
        dates = sum(
            len(getattr(one, "dts", ()))
            for one in (values if isinstance(values, list) else [values])
        )
        if dates > MOST_DATES:
            raise Unreadable(f"{name}: has more than {MOST_DATES} dates")


def _repeats(events: dict[str, tuple[int, Component]]) -> bool:
    return len(events) > 1 or any(
        _value(event, name) is not None
        for _, event in events.values()
        for name in ("RRULE", "RDATE", "RECURRENCE-ID")
    )


def _unroll(
    calendar: Calendar, events: Sequence[Component], reading: Reading
) -> Iterator[tuple[str, Component]]:
    alone = Calendar()
    if (zone := calendar.get("X-WR-TIMEZONE")) is not None:
        alone.add("X-WR-TIMEZONE", zone)
    for component in calendar.walk("VTIMEZONE"):
        alone.add_component(component)
    for event in events:
        alone.add_component(event)
    made = 0
    try:
        query = recurring_ical_events.of(alone)
        begins = datetime.combine(reading.unrolled_from or date.min, time(), UTC)
        ends = datetime.combine(reading.unrolled_to or date.max, time(), UTC)
        for occurrence in query.after(begins):
            found = _value(occurrence, "DTSTART").dt
            if _as_date(found) > ends.date():
                break
            made += 1
            if made > MOST_OCCURRENCES:
                days = (ends - begins).days
                words = f"RRULE: makes more than {MOST_OCCURRENCES} weddings in {days} days"
                raise Unreadable(words)
            yield _spell(_value(occurrence, "RECURRENCE-ID").dt), occurrence
    except (ValueError, OverflowError, TypeError, AttributeError, KeyError) as exc:
        raise Unreadable(f"RRULE: cannot be unrolled: {clean(str(exc))[:200]}") from exc


def _spell(at: date) -> str:
    """A recurrence's own name: its original beginning, as instants are the same in every zone."""
    if isinstance(at, datetime):
        if at.tzinfo is not None:
            return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        return at.strftime("%Y%m%dT%H%M%S")
    return at.strftime("%Y%m%d")


def _as_date(at: date) -> date:
    return at.date() if isinstance(at, datetime) else at


def _read_event(
    event: Component, *, place: int, uid: str, key: str, habits: Habits, default: str | None
) -> Iterator[Entry]:
    status, skipped = _read_status(event)
    try:
        couple = read_text(_couple_of(event), 400)
    except Unreadable as exc:
        raise Unreadable(f"SUMMARY: {exc}") from exc
    try:
        venue = read_text(clean(str(_value(event, "LOCATION") or ""))[:300], 300)
    except Unreadable as exc:
        raise Unreadable(f"LOCATION: {exc}") from exc
    starts, ends = _value(event, "DTSTART").dt, _end_of(event)

    def entry(
        day: date, zone: str | None, windows: Sequence[LocalWindow], at: int, *notes: str | None
    ) -> Entry:
        _check_year(day)
        suffix = f"+{at}" if at else ""
        return Entry(
            place=place,
            external_uid=uid,
            recurrence=key + suffix,
            sequence=_sequence(event),
            wedding_date=day,
            time_zone=zone,
            status=status,
            couple_names=couple,
            venue_name=venue,
            windows=tuple(windows),
            notes=tuple(note for note in notes if note),
            skipped=skipped,
        )

    if not isinstance(starts, datetime):
        if isinstance(ends, datetime):
            raise Unreadable("DTEND: is a time, where DTSTART is a day")
        days = (ends - starts).days if ends is not None else 1
        if days < 0:
            raise Unreadable("DTEND: is before DTSTART")
        if days > MOST_DAYS:
            raise Unreadable(f"DTEND: makes this {days} days long; {MOST_DAYS} are possible")
        for at in range(max(days, 1)):
            yield entry(starts + timedelta(days=at), default, (), at)
        return
    local, zone, note = place_start(
        starts, str(_value(event, "DTSTART").params.get("TZID", "")), habits, default
    )
    until = place_end(starts, ends, local, zone or habits.time_zone)
    if until is not None and until - local > LONGEST_TIMED:
        raise Unreadable("DTEND: is more than 36 hours after DTSTART; use an event of whole days")
    instant = None
    if until == local:
        until, instant = None, "the event has no length: its end is taken as not known"
    windows = plan_day(local, ends=until)
    yield entry(local.date(), zone, local_windows(windows), 0, note, instant, halved(windows))


def _end_of(event: Component) -> Any:
    found = _value(event, "DTEND")
    if found is not None:
        return found.dt
    duration = _value(event, "DURATION")
    if duration is None:
        return None
    try:
        return _value(event, "DTSTART").dt + duration.dt
    except OverflowError as exc:
        raise Unreadable("DURATION: reaches beyond any calendar") from exc


def _couple_of(event: Component) -> str:
    title = clean(str(_value(event, "SUMMARY") or ""))[:400]
    return _SUFFIX.sub("", _PREFIX.sub("", title)) or title


def _read_status(event: Component) -> tuple[WeddingStatus, str | None]:
    status = str(_value(event, "STATUS") or "").strip().upper()
    if status == "CANCELLED":
        return WeddingStatus.CANCELLED, None
    if status == "TENTATIVE":
        return WeddingStatus.BOOKED, "tentative is no wedding"
    return WeddingStatus.BOOKED, None
