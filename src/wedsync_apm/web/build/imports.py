"""What a file would do to the calendar, and what files did, in words."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from wedsync_apm.errors import FieldError
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.views.imports import Group, Item, Preview, Run
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import has
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.imports.model import (
    Action,
    DateOrder,
    Fault,
    FileKind,
    Reading,
    state_date,
)
from wedsync_apm.weddings.imports.store import Outcome, Report

LARGEST_FILE: Final = 1024 * 1024
MOST_SHOWN: Final = 100
"""Of each group; all are counted."""

_ORDER: Final[Mapping[str, tuple[Kind, str]]] = {
    "refused": ("crit", "crit"),
    "cancelled": ("warn", "warn"),
    "moved": ("warn", "clock"),
    "updated": ("info", "info"),
    "created": ("ok", "ok"),
    "skipped": ("none", "none"),
}
"""What is listed, the gravest first, with its icon."""
_CHANGING: Final = (Action.CREATED, Action.UPDATED, Action.MOVED, Action.CANCELLED)


@dataclass(frozen=True, slots=True)
class Sent:
    """A form with a file in it."""

    body: bytes
    text: str
    date_order: DateOrder | None
    matching: str


def read_sent(form: Mapping[str, Any], file: bytes) -> Sent:
    """What was chosen, pasted, or sent along by the page that showed a file's effect."""
    text = str(form.get("text") or "")
    body = file or text.encode()
    carried = str(form.get("body") or "")
    if carried:
        try:
            body = base64.urlsafe_b64decode(carried)
        except (binascii.Error, ValueError):
            body = b""
    order = str(form.get("date_order") or "")
    return Sent(
        body,
        text,
        DateOrder(order) if order in set(DateOrder) else None,
        str(form.get("matching") or "").strip()[:100],
    )


def kind_of(body: bytes) -> FileKind:
    """A calendar says what it is in its first line; everything else is a table."""
    head = body[:200].replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe\r\n\t ")
    is_calendar = head[:15].upper() == b"BEGIN:VCALENDAR"
    return FileKind.CALENDAR if is_calendar else FileKind.TABLE


def why_not(errors: Sequence[FieldError], detail: str) -> str:
    """Why a file cannot be taken at all."""
    reasons = [one.reason if one.field == "body" else f"{one.field} {one.reason}" for one in errors]
    return words("import.unreadable", reason="; ".join(reasons) or detail)


def build_preview(kind: FileKind, reading: Reading, report: Report, body: bytes) -> Preview:
    """What the file would do, entry by entry."""
    counts = {action.value: n for action, n in report.counts.items()}
    changing = sum(report.counts[action] for action in _CHANGING)
    listed: dict[str, list[Item]] = {name: [] for name in _ORDER}
    for outcome in report.outcomes:
        if outcome.action.value in listed:
            listed[outcome.action.value].append(_item(kind, outcome))
    listed["refused"] = [_fault(kind, one) for one in report.faults]
    counts["refused"] = len(report.faults)
    notes = []
    if reading.ignored_columns:
        notes.append(words("import.ignored", names=", ".join(reading.ignored_columns[:20])))
    if reading.date_order_from:
        notes.append(words("import.dates_by", source=reading.date_order_from))
    if counts[Action.UNCHANGED]:
        notes.append(words("import.unchanged", n=counts[Action.UNCHANGED]))
    return Preview(
        headline=words("import.would", n=changing) if changing else words("import.would_none"),
        counts=tuple(_count(name, counts[name]) for name in _ORDER if counts.get(name)),
        groups=tuple(
            Group(_count(name, len(items)), tuple(items[:MOST_SHOWN]), len(items[MOST_SHOWN:]))
            for name, items in listed.items()
            if items
        ),
        note=" ".join(notes),
        body=base64.urlsafe_b64encode(body).decode(),
        button=words("import.do", n=changing) if changing else "",
    )


def _count(name: str, number: int) -> Status:
    kind, icon = _ORDER[name]
    return Status(
        kind, words("import.count", what=words(f"import.action.{name}"), n=f"{number:,}"), icon
    )


def _place(kind: FileKind, place: int) -> str:
    if not place:
        return words("import.whole")
    return words("import.event" if kind is FileKind.CALENDAR else "import.line", n=place)


def _item(kind: FileKind, one: Outcome) -> Item:
    notes = one.entry.notes if one.entry else ()
    return Item(
        place=_place(kind, one.entry.place) if one.entry else words("import.gone"),
        couple=(one.entry.couple_names if one.entry else None) or words("wedding.unnamed"),
        day=state_date(one.wedding_date),
        changes=tuple(_change(*change) for change in one.changes),
        reason=". ".join(say.sentence(text) for text in (one.reason, *notes) if text),
    )


def _fault(kind: FileKind, one: Fault) -> Item:
    field = "" if one.field == "body" else f"{one.field} "
    return Item(_place(kind, one.place), "", "", (), f"{field}{one.reason}")


def _change(field: str, before: Any, after: Any) -> str:
    key = f"import.field.{field}"
    return words(
        "import.change",
        field=words(key) if has(key) else field,
        before=_value(before),
        after=_value(after),
    )


def _value(value: Any) -> str:
    if value is None or value in ("", []):
        return words("import.nothing")
    if isinstance(value, date):
        return state_date(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def build_run(row: Row, names: Mapping[UUID, str], now: datetime, here: str) -> Run:
    """A file that was taken, and what it did."""
    kind = FileKind(row["format"])
    told = [
        _count(name, row["counts"][name]).word
        for name in reversed(list(_ORDER))
        if row["counts"].get(name)
    ]
    who = names.get(row["imported_by"])
    return Run(
        when=say.when(row["imported_at"], now, here),
        who=words("import.by", name=who) if who else "",
        counts=", ".join(told) or words("import.would_none"),
        refused=_count("refused", row["refused"]) if row["refused"] else None,
        faults=tuple(_fault(kind, Fault(**one)) for one in row["faults"]),
    )
