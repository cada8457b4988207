"""Every line that is measured without a member's name, in the order of the report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import psycopg

from wedsync_apm.db import migrate
from wedsync_apm.db.queries import load_queries
from wedsync_apm.health.judge import (
    Rows,
    judge_functions,
    judge_index_count,
    judge_index_use,
    judge_jobs,
    judge_migrations,
    judge_policies,
    judge_server,
    judge_settings,
    judge_storage,
    judge_stray_roles,
    judge_tables,
    judge_unindexed_reads,
)
from wedsync_apm.health.lint import Lint, judge_lint, lints
from wedsync_apm.health.model import Finding, Outcome
from wedsync_apm.health.thresholds import (
    ENGINE,
    MINUTE,
    QUARTER,
    SERVER,
    STORAGE,
    THRESHOLDS,
    Threshold,
    judge_figures,
)
from wedsync_apm.health.versions import statement_for

Q = load_queries(__package__)

SCHEMA: Final = "Schema"
LINTS: Final = "Lints"
MEMBER: Final = "As a member"

SyncConnection = psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the report: which statement, for a server of that major version, and what its
    rows mean. `ask` is for what one statement cannot tell."""

    key: str
    area: str
    title: str
    expected: str
    statement: Callable[[int], str]
    judge: Callable[[Rows], Finding]
    remedy: str = ""
    unit: str = ""
    every: float = MINUTE
    """So many seconds apart the engine looks."""
    needs_monitor: bool = False
    ask: Callable[[SyncConnection], Rows] | None = None


def _always(statement: str) -> Callable[[int], str]:
    return lambda _version: statement


def judge_drift(rows: Rows) -> Finding:
    """Any difference is one."""
    if not rows:
        return Finding(Outcome.PASSED, "no difference", figure=0)
    named = ", ".join(f"{row['object']} {row['change']}" for row in rows[:10])
    count = f"{len(rows)} difference{'s' if len(rows) > 1 else ''}"
    return Finding(Outcome.FAILED, count, named, tuple(rows), float(len(rows)))


def _find_drift(cx: SyncConnection) -> Rows:
    drift = migrate.compare_schema(cx)
    return [
        {"object": name, "change": change}
        for change in ("added", "removed", "changed")
        for name in getattr(drift, change)
    ]


_OWN: Final = (
    Check(
        "server", SERVER, "Version", "PostgreSQL 15 or later", _always(Q.read_server), judge_server,
        "Move to a version that is still mended.", every=QUARTER,
    ),
    Check(
        "migrations", SCHEMA, "Migrations", "all applied, none changed",
        _always(migrate.Q.list_migration_versions), judge_migrations,
        "wedsync-apm migrate status, then wedsync-apm migrate up.",
    ),
    Check(
        "drift", SCHEMA, "Live schema", "as the migrations made it",
        _always(migrate.Q.take_fingerprint), judge_drift,
        "wedsync-apm migrate verify names each object. Put it back as it was, or make the change "
        "a migration.",
        every=300.0, ask=_find_drift,
    ),
    Check(
        "tables", SCHEMA, "Tables", "all eight of the contract", _always(Q.list_tables),
        judge_tables, "Restore what is missing from a backup.", every=300.0,
    ),
    Check(
        "policies", SCHEMA, "Policies", "23 or more", _always(Q.list_policies), judge_policies,
        "wedsync-apm migrate verify names the policies that are missing.", every=300.0,
    ),
    Check(
        "roles", SCHEMA, "Roles of low trust",
        "none bypasses RLS, administers or may become another", _always(Q.list_stray_roles),
        judge_stray_roles, "Take the right back: alter role …, or revoke … from ….", every=300.0,
    ),
    Check(
        "indexes", SCHEMA, "Indexes", "15 or more of ours", _always(Q.list_indexes),
        judge_index_count, "wedsync-apm migrate verify names those that are missing.",
        every=QUARTER,
    ),
    Check(
        "index_use", SCHEMA, "Index use", "measured", _always(Q.list_indexes), judge_index_use,
        every=QUARTER,
    ),
    Check(
        "unindexed", SCHEMA, "Large tables read without an index", "none",
        _always(Q.list_unindexed_reads), judge_unindexed_reads,
        "See which statement reads them whole (Slow statements), and give it an index.",
        every=QUARTER,
    ),
    Check(
        "functions", SCHEMA, "Functions", "present", _always(Q.list_functions), judge_functions,
        "wedsync-apm migrate verify names what is missing.", every=300.0,
    ),
    Check(
        "settings", SERVER, "Durability settings",
        "fsync, full_page_writes, synchronous_commit on", _always(Q.list_settings), judge_settings,
        "alter system set … = on; a power cut may lose or damage data until then.", every=300.0,
    ),
    Check(
        "storage", STORAGE, "Storage per table", "measured", _always(Q.list_storage),
        judge_storage, every=QUARTER,
    ),
    Check(
        "jobs", ENGINE, "Jobs", "all fine, the last within 300 s", _always(Q.list_jobs), judge_jobs,
        "See whether `work` runs, and its log.",
    ),
)  # fmt: skip


def checks(limits: Mapping[str, float] | None = None) -> tuple[Check, ...]:
    """Every line; `limits` stand in for those of the table, by key."""
    changed = [replace(one, limit=(limits or {}).get(one.key, one.limit)) for one in THRESHOLDS]
    return (
        *_OWN,
        *(_of_threshold(one) for one in changed),
        *(_of_lint(lint) for lint in lints()),
    )


def _of_threshold(threshold: Threshold) -> Check:
    return Check(
        threshold.key,
        threshold.area,
        threshold.title,
        threshold.expected,
        partial(statement_for, threshold.key),
        partial(judge_figures, threshold),
        threshold.remedy,
        threshold.unit,
        threshold.every,
        threshold.needs_monitor,
    )


def _of_lint(lint: Lint) -> Check:
    return Check(
        lint.name,
        LINTS,
        lint.title,
        "none" if lint.level != "INFO" else "worth knowing",
        _always(lint.statement),
        partial(judge_lint, lint),
        lint.remediation,
        every=300.0,
    )
