"""Takes the lines over one connection: each statement by itself, read-only, with a short limit.

A statement that fails makes its own line red, and no other: what could not be measured is neither
well nor left out.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

import psycopg

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.health.checks import LINTS, Check, Q, SyncConnection
from wedsync_apm.health.model import Finding, Line, Outcome

STATEMENT_MS: Final = 2000
ROUND_SECONDS: Final = 20.0
"""A database under strain is not asked further: what is left of the round could not be measured."""
NOT_MEASURED: Final = "could not measure"
BLIND: Final = "the engine may not look into others' sessions: grant pg_monitor to apm_engine"


def measure(cx: SyncConnection, checks: Iterable[Check]) -> list[Line]:
    """Asks all, one after the other. Raises DatabaseAway when the connection is lost."""
    with wrap_database_errors():
        version = cx.info.server_version // 10000
        with cx.transaction():
            surroundings = cx.execute(Q.read_surroundings).fetchone() or {}
        ends = time.monotonic() + ROUND_SECONDS
        lines = [
            _line_of(cx, check, version, surroundings["path"], surroundings["may_look"], ends)
            for check in checks
        ]
    return list(settle_drift(lines))


def settle_drift(lines: list[Line]) -> Iterator[Line]:
    """A difference that a rule has named already is not a second fault."""
    named = {
        row["metadata"]["object"]
        for line in lines
        if line.area == LINTS and line.outcome is Outcome.FAILED
        for row in line.rows
        if "metadata" in row
    }
    for line in lines:
        if line.key == "drift" and line.rows and all(row["object"] in named for row in line.rows):
            value = f"{line.value}, named by another line"
            yield replace(line, outcome=Outcome.PASSED, value=value, reason="")
        else:
            yield line


def _line_of(  # noqa: PLR0917 - what a round knows
    cx: SyncConnection, check: Check, version: int, path: str, may_look: bool, ends: float
) -> Line:
    measured_at, started = utcnow(), time.perf_counter()
    statement, took = check.statement(version), 0.0
    if time.monotonic() > ends:
        finding = Finding(Outcome.FAILED, NOT_MEASURED, "the round took too long")
    elif check.needs_monitor and not may_look:
        finding = Finding(Outcome.UNKNOWN, "not known", BLIND)
    else:
        try:
            with cx.transaction(force_rollback=True):
                cx.execute(Q.prepare_reading, {"path": path, "milliseconds": STATEMENT_MS})
                started = time.perf_counter()
                rows = check.ask(cx) if check.ask else cx.execute(statement.encode()).fetchall()
                took = (time.perf_counter() - started) * 1000
            finding = check.judge(rows)
        except Exception as exc:
            if cx.broken:
                raise
            took = (time.perf_counter() - started) * 1000
            finding = Finding(Outcome.FAILED, NOT_MEASURED, _why(exc))
    return Line(
        check.key, check.area, check.title, check.expected, finding.outcome, finding.value,
        finding.reason, statement, measured_at, took, finding.rows, finding.figure, check.unit,
        check.remedy,
    )  # fmt: skip


def _why(exc: Exception) -> str:
    text = str(exc).strip().splitlines() or [""]
    return text[0] if isinstance(exc, psycopg.Error) else f"{type(exc).__name__}: {text[0]}"
