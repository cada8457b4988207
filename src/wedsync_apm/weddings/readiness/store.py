"""Readiness reports: planned, made and kept by the engine; read and asked for by people."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import NotFound
from wedsync_apm.weddings.readiness.model import (
    Cause,
    Facts,
    Report,
    make_report,
    next_at,
    words_of,
)

Q = load_queries(__package__)

LATER: Final = timedelta(minutes=5)
_FACTS: Final = frozenset(field.name for field in fields(Facts))


@dataclass(frozen=True, slots=True)
class DueTimer:
    """A wedding whose report is due."""

    organization_id: UUID
    wedding_id: UUID
    wedding_date: date
    due_at: datetime
    starts_at: datetime
    ends_at: datetime
    is_asked: bool
    failed: list[str]
    """The lines that failed last."""
    is_made: bool
    """Whether the evening's own report is there."""

    @property
    def dedup_key(self) -> str:
        """Of the wedding's incident."""
        return f"readiness:1:{self.wedding_id}"

    def cause(self, at: datetime) -> Cause:
        """Why a report is made at `at`."""
        if at >= self.due_at and not self.is_made:
            return Cause.EVENING
        return Cause.ASKED if self.is_asked else Cause.AGAIN


async def plan_readiness(cx: Connection, at: datetime) -> int:
    """Sets the timers by the calendar; ends incidents of weddings that are over, off or later.

    Returns how many timers changed.
    """
    row = await (await cx.execute(Q.plan_readiness, {"at": at})).fetchone()
    for idle in await (await cx.execute(Q.list_idle_incidents, {"at": at})).fetchall():
        words = "the wedding is over, was called off or moved"
        await cx.execute(Q.end_incident, idle | {"words": words, "at": at})
    return int(row["changed"]) if row else 0


async def claim_due_timers(cx: Connection, at: datetime, limit: int) -> list[DueTimer]:
    """The weddings whose report is due; they stay locked to the end of the transaction."""
    rows = await cx.execute(Q.claim_due_timers, {"at": at, "limit": limit})
    return [DueTimer(**row) for row in await rows.fetchall()]


async def make_due_report(cx: Connection, timer: DueTimer, at: datetime) -> Report | None:
    """Looks, keeps the report, opens or ends the wedding's incident, and sets the timer.

    None for a wedding that the calendar has no more: the next plan forgets its timer.
    """
    wedding: dict[str, Any] = {
        "organization_id": timer.organization_id,
        "wedding_id": timer.wedding_id,
        "wedding_date": timer.wedding_date,
        "at": at,
    }
    row = await (await cx.execute(Q.find_facts, wedding)).fetchone()
    if row is None:
        return None
    report = make_report(_facts_of(row))
    kept = wedding | {
        "due_at": timer.due_at,
        "cause": timer.cause(at),
        "outcome": report.outcome,
        "lines": Jsonb([asdict(line) for line in report.lines]),
    }
    await cx.execute(Q.keep_report, kept)
    if at >= timer.due_at:
        await _tell(cx, timer, report, row, at)
    following = next_at(report, at, timer.due_at, timer.ends_at)
    moved = wedding | {"next_at": following, "failed": list(report.failed)}
    await cx.execute(Q.move_timer, moved)
    return report


async def postpone_timer(cx: Connection, timer: DueTimer, at: datetime) -> None:
    """Tries a report that could not be made again in five minutes."""
    which = {"organization_id": timer.organization_id, "wedding_id": timer.wedding_id}
    moved = which | {"next_at": at + LATER, "failed": timer.failed}
    await cx.execute(Q.move_timer, moved)


async def _tell(
    cx: Connection, timer: DueTimer, report: Report, facts: Mapping[str, Any], at: datetime
) -> None:
    which = {"organization_id": timer.organization_id, "dedup_key": timer.dedup_key, "at": at}
    live = await (await cx.execute(Q.find_live_incident, which)).fetchone()
    if not report.failed:
        if live is not None:
            await cx.execute(Q.end_incident, which | {"words": "nothing fails any more"})
        return
    # Once the wedding is under way what fails has alarms of its own: this is for the time before.
    # Whoever resolved the incident knows what failed then; only what is new opens it again.
    if live is None and (at >= timer.starts_at or set(report.failed) <= set(timer.failed)):
        return
    words = words_of(report, timer.wedding_date)
    title = f"{words['subject']} {words['problem']}"[:300]
    opening = which | {"title": title, "vendor_text": Jsonb(words)}
    made = await (await cx.execute(Q.open_incident, opening)).fetchone()
    assert made is not None  # noqa: S101 -- the function returns an id or raises
    named = {
        "organization_id": timer.organization_id,
        "incident_id": made["id"],
        "wedding_id": timer.wedding_id,
        "wedding_date": timer.wedding_date,
        "initials": facts["initials"],
        "time_zone": facts["time_zone"],
        "starts_at": timer.starts_at,
    }
    await cx.execute(Q.name_wedding, named)


async def find_report(cx: Connection, wedding_id: UUID) -> Row | None:
    """The last report that was kept of a wedding; None for none, or none the caller may see."""
    return await (await cx.execute(Q.find_report, {"wedding_id": wedding_id})).fetchone()


async def look_now(cx: Connection, wedding_id: UUID) -> Row:
    """A report of this moment, which is not kept. Raises NotFound."""
    row = await (await cx.execute(Q.look_now, {"wedding_id": wedding_id})).fetchone()
    if row is None:
        raise NotFound("There is no such wedding.")
    report = make_report(_facts_of(row))
    return {
        "id": None,
        "organization_id": row["organization_id"],
        "wedding_id": wedding_id,
        "wedding_date": row["wedding_date"],
        "due_at": row["due_at"],
        "cause": Cause.ASKED,
        "made_at": row["at"],
        "outcome": report.outcome,
        "lines": [asdict(line) for line in report.lines],
    }


async def ask_again(cx: Connection, wedding_id: UUID) -> None:
    """Lets the engine make a report next. Raises NotFound, Forbidden for a viewer, and Conflict
    where the wedding is further away than three days, or over."""
    await cx.execute(Q.ask_again, {"wedding_id": wedding_id})


def _facts_of(row: Mapping[str, Any]) -> Facts:
    return Facts(**{name: row[name] for name in _FACTS})
