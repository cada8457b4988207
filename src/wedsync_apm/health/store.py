"""What was measured is kept: the newest line of each kind, sizes by the hour, statements' costs."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import Pool, wrap_database_errors
from wedsync_apm.health.checks import Check, Q, SyncConnection, checks
from wedsync_apm.health.measure import measure
from wedsync_apm.health.model import Line, Outcome
from wedsync_apm.health.render import as_plain
from wedsync_apm.health.versions import statement_for

MOST_ROWS_KEPT: Final = 50
SILENCE_SECONDS: Final = 300.0
"""After so long without the engine's measuring, what it measured last is not known any more."""
EARLY_SECONDS: Final = 5.0
SNAPSHOT: Final = "statement_snapshot"


def connect(conninfo: str) -> SyncConnection:
    """The connection that a round is measured over; one, for as long as the round takes."""
    return psycopg.Connection[DictRow].connect(
        conninfo,
        row_factory=dict_row,
        prepare_threshold=None,
        connect_timeout=10,
        application_name="wedsync-apm/health",
    )


def measure_now(conninfo: str) -> list[Line]:
    """Every line, as `apm_engine`, kept nowhere. Raises DatabaseAway."""
    with wrap_database_errors(), connect(conninfo) as cx:
        return measure(cx, checks())


def measure_round(conninfo: str, *, disk: Path | None = None, disk_bytes: int | None = None) -> str:
    """What is due, written down; says in a few words what was measured. Raises DatabaseAway.

    `disk` is a folder on the database's disk, where we can see it; `disk_bytes` its size where we
    cannot.
    """
    with wrap_database_errors(), connect(conninfo) as cx:
        every = checks()
        due = _due(cx, every)
        if any(check.key == "growth" for check in due):
            with cx.transaction():
                _keep_history(cx, utcnow(), disk, disk_bytes)
        lines = measure(cx, due)
        with cx.transaction():
            write_lines(cx, lines, every)
    bad = sum(line.outcome is Outcome.FAILED for line in lines)
    return f"{len(lines)} lines measured, {bad} red"


def write_lines(cx: SyncConnection, lines: Sequence[Line], every: Sequence[Check]) -> None:
    """The lines, in the place of the former ones of their kind."""
    places = {check.key: (place, check.every) for place, check in enumerate(every)}
    written = [
        {
            "key": line.key,
            "position": places[line.key][0],
            "area": line.area,
            "title": line.title,
            "expected": line.expected,
            "outcome": line.outcome.value,
            "value": line.value,
            "reason": line.reason,
            "remedy": line.remedy,
            "statement": line.statement,
            "figure": line.figure,
            "unit": line.unit,
            "rows": as_plain(line.rows[:MOST_ROWS_KEPT]),
            "measured_at": line.measured_at.isoformat(),
            "duration_ms": line.duration_ms,
            "every_seconds": places[line.key][1],
        }
        for line in lines
    ]
    cx.execute(Q.write_health_lines, {"lines": Jsonb(written)})
    cx.execute(Q.forget_health_lines, {"keys": list(places)})


async def read_lines(pool: Pool) -> list[Line]:
    """As the engine last measured them; one that it has not looked at for long is not known."""
    with wrap_database_errors():
        async with pool.connection() as cx:
            rows = await (await cx.execute(Q.read_health_lines)).fetchall()
    return [_read(row) for row in rows]


async def read_sizes(pool: Pool) -> list[tuple[datetime, int]]:
    """How large the database was, oldest first."""
    with wrap_database_errors():
        async with pool.connection() as cx:
            rows = await (await cx.execute(Q.list_size_history)).fetchall()
    return [(row["measured_at"], row["database_bytes"]) for row in rows]


def _read(row: Mapping[str, Any]) -> Line:
    outcome, reason = Outcome(row["outcome"]), row["reason"]
    if row["seconds_ago"] > max(SILENCE_SECONDS, 3 * row["every_seconds"]):
        outcome = Outcome.UNKNOWN
        reason = f"measured {row['seconds_ago']:.0f} s ago: the engine (`work`) does not measure"
    return Line(
        row["key"], row["area"], row["title"], row["expected"], outcome, row["value"], reason,
        row["statement"], row["measured_at"], row["duration_ms"], tuple(row["rows"]),
        row["figure"], row["unit"], row["remedy"], row["failing_since"],
    )  # fmt: skip


def _due(cx: SyncConnection, every: Sequence[Check]) -> list[Check]:
    with cx.transaction():
        rows = cx.execute(Q.list_measured).fetchall()
    measured, now = {row["key"]: row["measured_at"] for row in rows}, utcnow()
    return [
        check
        for check in every
        if check.key not in measured
        or not 0 <= (now - measured[check.key]).total_seconds() < check.every - EARLY_SECONDS
    ]


def _keep_history(
    cx: SyncConnection, at: datetime, disk: Path | None, disk_bytes: int | None
) -> None:
    row = cx.execute(Q.has_size_of_hour, {"at": at}).fetchone()
    if row and row["is_there"]:
        return
    free = shutil.disk_usage(disk).free if disk is not None else None
    cx.execute(Q.write_sizes, {"at": at, "disk_free_bytes": free, "disk_bytes": disk_bytes})
    cx.execute(Q.forget_sizes, {"at": at})
    # Without the extension there is nothing to keep; the line about slow statements says so.
    path = (cx.execute(Q.read_surroundings).fetchone() or {})["path"]
    if path == "pg_catalog":
        return
    with cx.transaction(force_rollback=True):
        cx.execute(Q.prepare_reading, {"path": path, "milliseconds": 2000})
        statement = statement_for(SNAPSHOT, cx.info.server_version // 10000)
        snapshot = cx.execute(statement.encode()).fetchone()
    cx.execute(Q.write_snapshot, {"at": at, **(snapshot or {})})
    cx.execute(Q.forget_snapshots, {"at": at})
