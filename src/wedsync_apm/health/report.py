"""The report: what the engine measures, and what a member sees."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, dict_row

from wedsync_apm import __version__
from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import Pool, wrap_database_errors
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.errors import WedSyncError
from wedsync_apm.health.checks import MEMBER, Q
from wedsync_apm.health.judge import (
    judge_foreign_rows,
    judge_query_time,
    judge_wedding_day,
)
from wedsync_apm.health.model import Finding, Line, Outcome, Report, unknown
from wedsync_apm.health.store import measure_now, read_lines
from wedsync_apm.health.thresholds import ENGINE

RUNS: Final = 3
"""How often each typical query is timed."""
FAR_FUTURE: Final = date(2100, 6, 15)

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Member:
    """In whose name the member's lines are measured."""

    actor: Actor
    organization_id: UUID


async def take_report(conninfo: str, pool: Pool, member: Member | None) -> Report:
    """Measures everything now: as `apm_engine`, whose login `conninfo` is, and as the member.

    Raises DatabaseAway when nothing can be asked at all.
    """
    return await _report_of(pool, await asyncio.to_thread(measure_now, conninfo), member)


async def read_report(pool: Pool, member: Member | None) -> Report:
    """As the engine last measured it; the member's lines now. Raises DatabaseAway."""
    return await _report_of(pool, await read_lines(pool) or [_nothing_measured()], member)


async def _report_of(pool: Pool, lines: list[Line], member: Member | None) -> Report:
    server = (await _ask(pool, Q.read_server))[0]
    lines = [*lines, *await _member_lines(pool, member)]
    return Report(utcnow(), server["database"], server["version"], __version__, tuple(lines))


def _nothing_measured() -> Line:
    return Line(
        "engine", ENGINE, "Measuring", "every minute", Outcome.UNKNOWN, "nothing measured yet",
        "the engine (`work`) measures; it has not done so yet, or does not run",
        Q.read_health_lines, utcnow(), 0.0,
    )  # fmt: skip


async def find_member(conninfo: str) -> Member | None:
    """Somebody who may write, of the fullest organization; asked as `apm_engine`."""
    with wrap_database_errors():
        async with await psycopg.AsyncConnection[DictRow].connect(
            conninfo, row_factory=dict_row, prepare_threshold=None, connect_timeout=10
        ) as cx:
            row = await (await cx.execute(Q.find_fullest_member)).fetchone()
    if row is None:
        return None
    actor = Actor("authenticated", row["user_id"], name="health report")
    return Member(actor, row["organization_id"])


async def _ask(pool: Pool, statement: str) -> Rows:
    with wrap_database_errors():
        async with pool.connection() as cx, cx.transaction():
            return await (await cx.execute(statement)).fetchall()


async def _measured(  # noqa: PLR0917 - the columns of a line, in their order
    key: str,
    area: str,
    title: str,
    expected: str,
    statement: str,
    measure: Callable[[], Awaitable[Finding]],
) -> Line:
    measured_at, started = utcnow(), time.perf_counter()
    try:
        finding = await measure()
    except (WedSyncError, psycopg.Error) as exc:
        finding = unknown("not measured", _why(exc))
    took = (time.perf_counter() - started) * 1000
    return Line(
        key, area, title, expected, finding.outcome, finding.value, finding.reason, statement,
        measured_at, took, finding.rows,
    )  # fmt: skip


async def _member_lines(pool: Pool, member: Member | None) -> list[Line]:
    async def as_member(statement: str) -> Rows:
        if member is None:
            raise _NobodyToAskAs
        async with tenant_tx(pool, member.actor) as cx:
            cursor = await cx.execute(statement, {"organization_id": member.organization_id})
            return await cursor.fetchall()

    async def timed(statement: str) -> Finding:
        times, rows = [], Rows()
        for _ in range(RUNS):
            started = time.perf_counter()
            rows = await as_member(statement)
            times.append((time.perf_counter() - started) * 1000)
        return judge_query_time(len(rows), times)

    async def foreign() -> Finding:
        return judge_foreign_rows(await as_member(Q.count_foreign_rows))

    async def wedding_day() -> Finding:
        if member is None:
            raise _NobodyToAskAs
        return await _try_wedding(pool, member)

    lines = [
        await _measured(key, MEMBER, title, "under 50 ms", statement, partial(timed, statement))
        for key, title, statement in (
            ("query_wedding", "Samples of wedding days", Q.list_wedding_blocks),
            ("query_incidents", "Open incidents", Q.list_open_incidents),
            ("query_rollups", "Rollups of 24 hours", Q.list_recent_rollups),
        )
    ]
    lines.append(
        await _measured(
            "isolation", MEMBER, "Rows of others", "none visible", Q.count_foreign_rows, foreign
        )
    )
    lines.append(
        await _measured(
            "wedding_day",
            MEMBER,
            "Wedding-day functions",
            "right for known data",
            f"{Q.try_wedding};\n{Q.ask_wedding_day};\nrollback",
            wedding_day,
        )
    )
    return lines


class _NobodyToAskAs(WedSyncError):
    """There is no member yet in whose name this could be measured."""


class _RollBack(Exception):
    """Ends a transaction that was only a trial."""


async def _try_wedding(pool: Pool, member: Member) -> Finding:
    """Asks about a wedding that exists for the length of one transaction."""
    values: dict[str, Any] = {
        "organization_id": member.organization_id,
        "wedding_date": FAR_FUTURE,
    }
    rows: Rows = []
    try:
        async with tenant_tx(pool, member.actor) as cx:
            made = await (await cx.execute(Q.try_wedding, values)).fetchone()
            values["wedding_id"] = made["id"] if made else None
            rows = await (await cx.execute(Q.ask_wedding_day, values)).fetchall()
            raise _RollBack
    except _RollBack:
        return judge_wedding_day(rows)


def _why(exc: Exception) -> str:
    cause = exc.__cause__ or exc
    text = str(cause).strip() or str(exc)
    return text.splitlines()[0]
