"""Weddings from a table: CSV as spreadsheets and booking tools write it (RFC 4180, and worse).

Columns are found by their names, in any order, spelling and case; those that nobody knows are told
and left alone. A line that cannot be taken costs itself and no other.
"""

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Final

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.weddings.imports.columns import find_columns
from wedsync_apm.weddings.imports.dates import (
    order_of_file,
    order_of_locale,
    read_date,
    read_time,
    time_of_date,
)
from wedsync_apm.weddings.imports.model import (
    MOST_ENTRIES,
    DateOrder,
    Entry,
    Fault,
    Habits,
    Reading,
    Unreadable,
    clean,
    local_windows,
    read_text,
)
from wedsync_apm.weddings.model import WeddingStatus, Window, halved, is_time_zone, read_times

MOST_COLUMNS: Final = 100
LONGEST_CELL: Final = 4_000
_TIMES: Final = ("ceremony_time", "reception_time", "end_time")
_STATUSES: Final = {
    "": WeddingStatus.BOOKED,
    "booked": WeddingStatus.BOOKED,
    "confirmed": WeddingStatus.BOOKED,
    "contracted": WeddingStatus.BOOKED,
    "contract signed": WeddingStatus.BOOKED,
    "paid": WeddingStatus.BOOKED,
    "active": WeddingStatus.BOOKED,
    "completed": WeddingStatus.COMPLETED,
    "complete": WeddingStatus.COMPLETED,
    "done": WeddingStatus.COMPLETED,
    "past": WeddingStatus.COMPLETED,
    "cancelled": WeddingStatus.CANCELLED,
    "canceled": WeddingStatus.CANCELLED,
}
_NO_WEDDINGS: Final = frozenset(
    {
        "lead",
        "inquiry",
        "enquiry",
        "quote",
        "quote sent",
        "quoted",
        "proposal",
        "proposal sent",
        "tentative",
        "pending",
        "prospect",
        "meeting scheduled",
        "contract sent",
        "lost",
        "declined",
        "archived",
    }
)


def read_table(body: bytes, habits: Habits) -> Reading:
    """What a CSV file says about weddings. Raises NotValid for one that is none."""
    lines = _split(_decode(body))
    header, rows = lines[0][1], lines[1:]
    columns, ignored = find_columns(header)
    if "wedding_date" not in columns:
        seen = ", ".join(clean(name)[:40] for name in header[:20]) or "none"
        raise NotValid(
            errors=[FieldError("wedding_date", f"no column looks like the date; there are: {seen}")]
        )
    if len(rows) > MOST_ENTRIES:
        raise NotValid(
            errors=[FieldError("body", f"has {len(rows)} rows; {MOST_ENTRIES} are possible")]
        )
    dates = [_cell(row, columns["wedding_date"]) for _, row in rows]
    order, told_by = _decide_order(dates, habits)
    reading = Reading(ignored_columns=ignored, date_order=order, date_order_from=told_by)
    seen_uids: dict[str, int] = {}
    for place, row in rows:
        cells = {name: _cell(row, at) for name, at in columns.items()}
        if not any(cells.values()):
            continue
        entry, faults = _read_row(place, cells, order, told_by == "contradicted")
        reading.faults += faults
        if entry is None:
            continue
        if entry.external_uid in seen_uids:
            words = f"is in line {seen_uids[entry.external_uid]} already"
            field = "reference" if cells.get("reference") else "couple_names"
            reading.faults.append(Fault(place, field, words))
            continue
        seen_uids[entry.external_uid] = place
        reading.entries.append(entry)
    return reading


def _decode(body: bytes) -> str:
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        # what spreadsheets in western Europe save when nobody asks them for UTF-8
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise NotValid(errors=[FieldError("body", "is no text; save it as CSV in UTF-8")])


def _split(text: str) -> list[tuple[int, list[str]]]:
    """The lines with their numbers, the header first, empty ones left out."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise NotValid(errors=[FieldError("body", "is empty")])
    delimiter = max(",;\t|", key=first.count)
    csv.field_size_limit(LONGEST_CELL * 4)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            if len(row) > MOST_COLUMNS:
                words = (
                    f"line {reader.line_num} has {len(row)} columns; {MOST_COLUMNS} are possible"
                )
                raise NotValid(errors=[FieldError("body", words)])
            if any(cell.strip() for cell in row):
                lines.append((reader.line_num, row))
    except csv.Error as exc:
        words = f"line {reader.line_num} cannot be read: {exc}"
        raise NotValid(errors=[FieldError("body", words)]) from exc
    if not lines:
        raise NotValid(errors=[FieldError("body", "is empty")])
    return lines


def _cell(row: Sequence[str], at: int) -> str:
    return row[at].strip() if at < len(row) else ""


def _decide_order(cells: Sequence[str], habits: Habits) -> tuple[DateOrder | None, str | None]:
    if habits.date_order is not None:
        return habits.date_order, "asked"
    own, files = order_of_locale(habits.locale), order_of_file(cells)
    if own is None:
        return files, "file" if files else None
    if files is not None and files is not own and own is not DateOrder.YMD:
        # Whoever sent it may have another habit than his organization: guessing would be silent.
        return None, "contradicted"
    return own, "organization"


def _read_row(
    place: int, cells: Mapping[str, str], order: DateOrder | None, is_contradicted: bool
) -> tuple[Entry | None, list[Fault]]:
    faults: list[Fault] = []
    kept: dict[str, str | None] = {}
    for field, most in (
        ("couple_names", 400),
        ("first_name", 100),
        ("last_name", 100),
        ("partner_first_name", 100),
        ("partner_last_name", 100),
        ("venue_name", 300),
        ("contact_name", 200),
        ("contact_role", 200),
        ("reference", 200),
    ):
        try:
            kept[field] = read_text(cells.get(field, ""), most)
        except Unreadable as exc:
            faults.append(Fault(place, field, str(exc)))
    day: date | None = None
    status, skipped = _read_status(place, cells.get("status", ""), faults)
    try:
        if not cells["wedding_date"]:
            raise Unreadable("is missing")
        day = read_date(cells["wedding_date"], order)
    except Unreadable as exc:
        words = str(exc)
        if is_contradicted and "could be" in words:
            words += ": other lines of this file are not in your organization's order"
        # a lead without a date is no fault
        if skipped is None or cells["wedding_date"]:
            faults.append(Fault(place, "wedding_date", words))
    zone = cells.get("time_zone") or None
    if zone is not None and not is_time_zone(zone):
        words = "is no time zone that is known; write it like Europe/London"
        faults.append(Fault(place, "time_zone", words))
    times = {field: _read_time_of(place, field, cells.get(field, ""), faults) for field in _TIMES}
    phone = clean(cells.get("contact_phone", ""))
    if phone and not re.fullmatch(r"\+?[0-9 ()./-]{3,49}", phone):
        faults.append(Fault(place, "contact_phone", "is no telephone number"))
    if faults or day is None:
        return None, faults
    windows, notes, faults = _plan(place, day, times)
    if faults and skipped is None:
        return None, faults
    if times["ceremony_time"] is None and (clock := time_of_date(cells["wedding_date"])):
        notes.append(f"{clock} beside the date is not taken; times have columns of their own")
    couple = kept["couple_names"] or _join_names(kept)
    contact = {"name": kept["contact_name"] or couple or "", "role": kept["contact_role"] or ""}
    return Entry(
        place=place,
        external_uid=_uid_of(kept["reference"], day, couple, kept["venue_name"]),
        wedding_date=day,
        time_zone=zone,
        status=status,
        couple_names=couple,
        venue_name=kept["venue_name"],
        windows=local_windows(windows),
        contacts=({**contact, "phone": phone},) if kept["contact_name"] or phone else (),
        notes=tuple(notes),
        skipped=skipped,
    ), []


def _read_status(place: int, text: str, faults: list[Fault]) -> tuple[WeddingStatus, str | None]:
    word = " ".join(re.split(r"[\s_-]+", text.strip().casefold()))
    if word in _NO_WEDDINGS:
        return WeddingStatus.BOOKED, f"{word} is no wedding"
    if word not in _STATUSES:
        words = "is none of booked, completed, cancelled, lead, archived"
        faults.append(Fault(place, "status", words))
    return _STATUSES.get(word, WeddingStatus.BOOKED), None


def _read_time_of(place: int, field: str, text: str, faults: list[Fault]) -> time | None:
    if not text:
        return None
    try:
        return read_time(text)
    except Unreadable as exc:
        faults.append(Fault(place, field, str(exc)))
        return None


def _plan(
    place: int, day: date, times: Mapping[str, time | None]
) -> tuple[tuple[Window, ...], list[str], list[Fault]]:
    """The phases, what is assumed in them, and what is wrong with their times."""
    ceremony, reception, ends = (times[name] for name in _TIMES)
    windows, faults = read_times(day, ceremony, reception, ends)
    told = dict(zip(("ceremony", "reception", "ends"), _TIMES, strict=True))
    note = halved(windows) if reception is None else None
    return (
        windows,
        [note] if note else [],
        [Fault(place, told[one.field], one.reason) for one in faults],
    )


def _join_names(kept: Mapping[str, str | None]) -> str | None:
    people = [
        " ".join(part for part in (kept[f"{who}first_name"], kept[f"{who}last_name"]) if part)
        for who in ("", "partner_")
    ]
    return " & ".join(person for person in people if person) or None


def _uid_of(reference: str | None, day: date, couple: str | None, venue: str | None) -> str:
    if reference:
        return f"csv:{reference}"
    words = "\n".join((day.isoformat(), (couple or "").casefold(), (venue or "").casefold()))
    return "csv:#" + hashlib.sha256(words.encode()).hexdigest()[:32]
