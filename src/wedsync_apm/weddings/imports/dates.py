"""Dates and times as people type them into tables."""

import re
from collections.abc import Iterable
from datetime import date, time
from typing import Final

from wedsync_apm.weddings.imports.model import DateOrder, Unreadable, read_year

_MONTH_FIRST: Final = frozenset({"US", "PR", "GU", "VI", "AS", "MP", "PH", "FM", "MH", "PW"})
"""Where people write the month first. Canada does both, and says nothing."""
_UNDECIDED: Final = frozenset({"CA"})
_YEAR_FIRST: Final = frozenset({"CN", "JP", "KR", "TW", "HU", "LT", "MN", "SE"})
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            "jan january",
            "feb february",
            "mar march",
            "apr april",
            "may",
            "jun june",
            "jul july",
            "aug august",
            "sep sept september",
            "oct october",
            "nov november",
            "dec december",
        ),
        start=1,
    )
    for name in names.split()
}
_ISO: Final = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
_NUMERIC: Final = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})")
_TRAILING_TIME: Final = re.compile(r"(?<=\d)[T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?Z?$")
_WEEKDAY: Final = re.compile(r"^(mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? +")
_TIME: Final = re.compile(r"(\d{1,2})(?:[:.h]?(\d{2}))?(?::\d{2})? ?(am|pm|a\.m\.|p\.m\.)?")


def order_of_locale(locale: str | None) -> DateOrder | None:
    """The order in which the locale's people write; None for a language without a country."""
    territory = re.search(r"[-_]([A-Za-z]{2})(?:$|[-_.])", locale or "")
    if territory is None or (country := territory[1].upper()) in _UNDECIDED:
        return None
    if country in _MONTH_FIRST:
        return DateOrder.MDY
    return DateOrder.YMD if country in _YEAR_FIRST else DateOrder.DMY


def order_of_file(cells: Iterable[str]) -> DateOrder | None:
    """What the file itself tells: a number over 12 is a day. None if it says nothing, or both."""
    told = set()
    for cell in cells:
        match = _NUMERIC.fullmatch(_plain(cell))
        if match is None:
            continue
        first, second = int(match[1]), int(match[3])
        if first > 12 >= second:
            told.add(DateOrder.DMY)
        elif second > 12 >= first:
            told.add(DateOrder.MDY)
    return told.pop() if len(told) == 1 else None


def read_date(text: str, order: DateOrder | None) -> date:
    """A date. Raises Unreadable for what is none, or could be two."""
    plain = _plain(text)
    if match := _ISO.fullmatch(plain):
        return _date(int(match[1]), int(match[3]), int(match[4]))
    if len(plain) == 8 and plain.isascii() and plain.isdigit():
        return _date(int(plain[:4]), int(plain[4:6]), int(plain[6:]))
    if match := _NUMERIC.fullmatch(plain):
        return _numeric(match, order)
    words = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", plain)
    parts = [part for part in re.split(r"[ ,./-]+", words) if part]
    if len(parts) == 3 and all(part.isascii() for part in parts):
        numbers = [int(part) for part in parts if part.isdigit() and len(part) <= 4]
        named = [_MONTHS[part] for part in parts if part in _MONTHS]
        if len(numbers) == 2 and len(named) == 1:
            day, year = (numbers[1], numbers[0]) if numbers[0] > 31 else numbers
            return _date(_whole_year(year), named[0], day)
    if plain.isascii() and plain.isdigit():
        raise Unreadable("is a spreadsheet's day number; format the column as a date")
    raise Unreadable("is no date that is understood; write it like 2027-06-05")


def time_of_date(text: str) -> str | None:
    """The time of the clock behind a date, as typed; None for none, and for the midnight that
    spreadsheets write behind every date."""
    match = _TRAILING_TIME.search(text.strip())
    found = match[0].strip("T ") if match else ""
    return (
        found
        if re.search(r"[1-9]", found) and not re.match(r"12:00(:00)? ?am", found.lower())
        else None
    )


def read_time(text: str) -> time:
    """A time of the clock: 14:30, 2:30 pm, 1430, 2pm. Raises Unreadable."""
    match = _TIME.fullmatch(text.strip().lower())
    if match is None:
        raise Unreadable("is no time that is understood; write it like 14:30")
    hour, minute = int(match[1]), int(match[2] or 0)
    if match[3]:
        if not 1 <= hour <= 12:
            raise Unreadable("is no time that is understood; write it like 14:30")
        hour = hour % 12 + (12 if match[3].startswith("p") else 0)
    if hour == 24 and minute == 0:
        hour = 0
    if hour > 23 or minute > 59:
        raise Unreadable("is no time that is understood; write it like 14:30")
    return time(hour, minute)


def _plain(text: str) -> str:
    return _WEEKDAY.sub("", _TRAILING_TIME.sub("", text.strip()).strip().lower())


def _numeric(match: re.Match[str], order: DateOrder | None) -> date:
    first, second, year = int(match[1]), int(match[3]), match[4]
    if order is DateOrder.YMD and len(year) == 2:
        return _date(_whole_year(first), second, int(year))
    if match[2] == "." and order is not DateOrder.MDY:
        # with dots the day comes first everywhere
        order = DateOrder.DMY
    if order in (None, DateOrder.YMD):
        if first <= 12 and second <= 12 and first != second:
            raise Unreadable(
                f"could be {first} {_name(second)} or {second} {_name(first)};"
                " say date_order=dmy or mdy"
            )
        order = DateOrder.MDY if second > 12 else DateOrder.DMY
    day, month = (first, second) if order is DateOrder.DMY else (second, first)
    if month > 12 >= day:
        words = "day, month, year" if order is DateOrder.DMY else "month, day, year"
        raise Unreadable(f"is no date in the order {words}")
    return _date(_whole_year(int(year)), month, day)


def _name(month: int) -> str:
    return next(name for name, n in _MONTHS.items() if n == month and len(name) == 3).title()


def _whole_year(year: int) -> int:
    return 2000 + year if year < 100 else year


def _date(year: int, month: int, day: int) -> date:
    read_year(year)
    try:
        return date(year, month, day)
    except ValueError:
        raise Unreadable("is a day that no calendar has") from None
