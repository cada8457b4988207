"""Puts what a file says into the calendar, entry by entry, or shows what that would do."""

from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection, translate
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import Forbidden, NotFound, NotValid
from wedsync_apm.telemetry import Counter
from wedsync_apm.weddings.imports.model import (
    MOST_FAULTS,
    Action,
    DateOrder,
    Entry,
    Fault,
    FileKind,
    Habits,
    Present,
    Reading,
    judge,
)
from wedsync_apm.weddings.model import (
    WeddingDraft,
    WeddingStatus,
    Window,
    initials,
    is_time_zone,
)
from wedsync_apm.weddings.store import draft_of, write_parts

Q = load_queries(__package__)
ENTRIES: Final = Counter(
    "wedsync_apm_wedding_imports_total", "Entries of imported files by what they did", ("outcome",)
)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became, or would become, of one entry. `changes` are (field, before, after)."""

    entry: Entry | None
    action: Action
    wedding_id: UUID | None
    wedding_date: date
    reason: str | None = None
    changes: Sequence[tuple[str, Any, Any]] = ()


@dataclass(slots=True)
class Report:
    """What a file did to the calendar, or would do."""

    outcomes: list[Outcome] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def counts(self) -> dict[Action, int]:
        """How many entries did what; every action is named."""
        tally = Tally(one.action for one in self.outcomes)
        return {action: tally[action] for action in Action}


async def read_habits(
    cx: Connection,
    organization_id: UUID,
    *,
    date_order: DateOrder | None = None,
    matching: str | None = None,
) -> Habits:
    """How the organization writes dates. Raises NotFound, and Forbidden for a non-admin."""
    values = {"organization_id": organization_id}
    row = await (await cx.execute(Q.read_habits, values)).fetchone()
    if row is None:
        raise NotFound("There is no such organization that you can see.")
    if row["role"] not in ("OWNER", "ADMIN"):
        raise Forbidden("Only an owner or admin may import weddings.")
    zone = row["time_zone"]
    return Habits(
        time_zone=zone if zone and is_time_zone(zone) else "UTC",
        today=row["today"],
        locale=row["locale"],
        date_order=date_order,
        matching=matching,
    )


async def import_weddings(
    cx: Connection, organization_id: UUID, kind: FileKind, reading: Reading, *, is_dry_run: bool
) -> Report:
    """Applies what was read, and keeps what it did; a dry run does the same and takes it back.

    An entry that the database refuses is a fault of its own and costs no other.
    """
    report = Report(faults=list(reading.faults))
    async with cx.transaction() as whole:
        await cx.execute(Q.lock_imports, {"organization_id": organization_id})
        present = await _list_present(cx, organization_id, reading)
        for entry in _latest(reading.entries):
            known = present.get((entry.external_uid, entry.recurrence))
            try:
                report.outcomes.append(await _apply(cx, organization_id, entry, known))
            except (psycopg.DataError, psycopg.IntegrityError) as exc:
                report.faults += _faults_of(entry, exc)
        for key, row in _vanished(reading, present):
            place = {"organization_id": organization_id, "wedding_id": row["wedding_id"]}
            await cx.execute(Q.cancel_imported_wedding, place)
            report.outcomes.append(
                Outcome(
                    None,
                    Action.CANCELLED,
                    row["wedding_id"],
                    row["wedding_date"],
                    f"is no longer in the file ({key[1] or 'once'})",
                    (("status", row["status"], "cancelled"),),
                )
            )
        if is_dry_run:
            raise psycopg.Rollback(whole)
    if not is_dry_run:
        await _note_run(cx, organization_id, kind, report)
        for action, number in report.counts.items():
            ENTRIES.inc(number, outcome=action.value)
        ENTRIES.inc(len(report.faults), outcome="refused")
    return report


async def _note_run(cx: Connection, organization_id: UUID, kind: FileKind, report: Report) -> None:
    faults = [
        {"place": one.place, "field": one.field, "reason": one.reason}
        for one in report.faults[:MOST_FAULTS]
    ]
    values = {
        "organization_id": organization_id,
        "format": kind,
        "counts": Jsonb({action.value: n for action, n in report.counts.items() if n}),
        "refused": len(report.faults),
        "faults": Jsonb(faults),
    }
    await cx.execute(Q.note_run, values)


async def list_runs(cx: Connection, organization_id: UUID, limit: int) -> list[Row]:
    """What imported files did, the newest first; nothing for those who may not import."""
    values = {"organization_id": organization_id, "limit": limit}
    return await (await cx.execute(Q.list_runs, values)).fetchall()


async def _list_present(cx: Connection, organization_id: UUID, reading: Reading) -> dict[Key, Row]:
    uids = sorted({entry.external_uid for entry in reading.entries} | set(reading.complete_uids))
    values = {"organization_id": organization_id, "uids": uids}
    cursor = await cx.execute(Q.list_imports, values)
    return {(row["external_uid"], row["recurrence"]): row for row in await cursor.fetchall()}


def _latest(entries: Sequence[Entry]) -> list[Entry]:
    """Of an entry that a file tells several times the newest; of equals the last."""
    found: dict[Key, Entry] = {}
    for entry in entries:
        key = (entry.external_uid, entry.recurrence)
        if key not in found or entry.sequence >= found[key].sequence:
            found[key] = entry
    return list(found.values())


def _vanished(reading: Reading, present: dict[Key, Row]) -> Iterator[tuple[Key, Row]]:
    """Occurrences that are here and that their event no longer has."""
    told = {(entry.external_uid, entry.recurrence) for entry in reading.entries}
    complete = set(reading.complete_uids)
    earliest, latest = reading.unrolled_from or date.min, reading.unrolled_to or date.max
    for key, row in present.items():
        if (
            key not in told
            and key[0] in complete
            and row["status"] == "booked"
            and earliest <= row["wedding_date"] <= latest
        ):
            yield key, row


async def _apply(cx: Connection, organization_id: UUID, entry: Entry, row: Row | None) -> Outcome:
    action, reason = judge(entry, _known(row) if row else None)
    if action in (Action.SKIPPED, Action.UNCHANGED):
        wedding_id = row["wedding_id"] if row else None
        return Outcome(entry, action, wedding_id, entry.wedding_date, reason)
    draft = entry.draft() if row is None else _merge(entry, row)
    changes = tuple(_changes(draft, row)) if row else ()
    async with cx.transaction():
        values = {
            "organization_id": organization_id,
            "couple_initials": initials(draft.couple_names),
            "venue_name": draft.venue_name,
            "wedding_date": draft.wedding_date,
            "time_zone": draft.time_zone,
            "status": draft.status.value,
        }
        if row is None:
            made = await (await cx.execute(Q.create_imported_wedding, values)).fetchone()
            assert made is not None  # noqa: S101 an insert that did not raise gives its row back
            wedding_id = made["id"]
        else:
            wedding_id = row["wedding_id"]
            await cx.execute(Q.update_imported_wedding, values | {"wedding_id": wedding_id})
        await write_parts(cx, organization_id, wedding_id, draft)
        note = {
            "organization_id": organization_id,
            "wedding_id": wedding_id,
            "external_uid": entry.external_uid,
            "recurrence": entry.recurrence,
            "sequence": entry.sequence,
            "content_hash": entry.content_hash,
        }
        await cx.execute(Q.note_import, note)
    return Outcome(entry, action, wedding_id, draft.wedding_date, reason, changes)


def _known(row: Row) -> Present:
    return Present(
        sequence=row["sequence"],
        content_hash=bytes(row["content_hash"]),
        wedding_date=row["wedding_date"],
        status=WeddingStatus(row["status"]),
    )


def _merge(entry: Entry, row: Row) -> WeddingDraft:
    """What the entry says over what stands here: what it is silent about stays, and moves along."""
    present = draft_of(row)
    if entry.status is WeddingStatus.CANCELLED:
        return replace(present, status=WeddingStatus.CANCELLED)
    said = entry.draft()
    is_moved = said.wedding_date != present.wedding_date
    is_over = present.status is WeddingStatus.COMPLETED and not is_moved
    return replace(
        said,
        couple_names=said.couple_names or present.couple_names,
        venue_name=said.venue_name or present.venue_name,
        time_zone=said.time_zone or present.time_zone,
        status=present.status if is_over else said.status,
        contacts=said.contacts or present.contacts,
        windows=said.windows or present.moved_to(said.wedding_date).windows,
        visible_to=present.visible_to,
    )


def _changes(draft: WeddingDraft, row: Row) -> Iterator[tuple[str, Any, Any]]:
    present = draft_of(row)
    for name in ("wedding_date", "time_zone", "status", "couple_names", "venue_name"):
        before, after = getattr(present, name), getattr(draft, name)
        if before != after:
            yield name, before, after
    if list(present.contacts) != list(draft.contacts):
        # numbers and names belong into the wedding, not into a report that is passed on
        yield "contacts", len(present.contacts), len(draft.contacts)
    before_windows, after_windows = _spell(present.windows), _spell(draft.windows)
    if before_windows != after_windows:
        yield "windows", before_windows, after_windows


def _spell(windows: Sequence[Window]) -> list[str]:
    ordered = sorted(windows, key=lambda one: (one.starts_at, one.phase))
    return [f"{w.phase} {w.starts_at:%Y-%m-%dT%H:%M} to {w.ends_at:%H:%M}" for w in ordered]


def _faults_of(entry: Entry, exc: psycopg.Error) -> list[Fault]:
    known = translate(exc)
    if isinstance(known, NotValid) and known.errors:
        return [Fault(entry.place, one.field, one.reason) for one in known.errors]
    return [Fault(entry.place, "body", str(known.detail) if known else "cannot be stored")]
