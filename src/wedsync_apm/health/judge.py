"""What each figure means: pure decisions over rows that were read."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wedsync_apm.db.migrations import load_migrations
from wedsync_apm.health.model import Finding, failed, judge, passed, unknown

Row = Mapping[str, Any]
Rows = Sequence[Row]

NEEDED_TABLES: Final = frozenset(
    {
        "apm_metrics",
        "apm_configurations",
        "apm_alerts",
        "service_health_checks",
        "apm_dashboards",
        "apm_incidents",
        "apm_notification_rules",
        "apm_metric_aggregations",
    }
)
NEEDED_FUNCTIONS: Final = frozenset(
    {
        "is_wedding_day",
        "wedding_window_at",
        "create_incident_from_alert",
        "aggregate_metrics",
        "apm_current_organization_ids",
    }
)
FEWEST_POLICIES: Final = 23
FEWEST_INDEXES: Final = 15
SLOWEST_QUERY_MS: Final = 50.0
JOB_SILENCE_SECONDS: Final = 300.0
OLDEST_VERSION: Final = 15


def judge_server(rows: Rows) -> Finding:
    number = int(rows[0]["version_number"]) // 10000
    return judge(
        number >= OLDEST_VERSION, f"PostgreSQL {rows[0]['version']}", "is too old to be supported"
    )


def judge_tables(rows: Rows) -> Finding:
    names = {row["table_name"] for row in rows}
    partitions = sum(bool(row["is_partition"]) for row in rows)
    missing = sorted(NEEDED_TABLES - names)
    return judge(
        not missing,
        f"{len(rows) - partitions} tables, {partitions} partitions",
        f"missing: {', '.join(missing)}",
    )


def judge_row_security(rows: Rows) -> Finding:
    bare = [
        f"{row['schema_name']}.{row['table_name']}"
        for row in rows
        if not (row["rls_enabled"] and row["rls_forced"])
    ]
    if not rows:
        return unknown("no tables", "there is nothing to look at")
    return judge(
        not bare,
        f"enabled and forced on {len(rows) - len(bare)} of {len(rows)}",
        f"not on {', '.join(bare)}",
        tuple(rows),
    )


def judge_policies(rows: Rows) -> Finding:
    return judge(
        len(rows) >= FEWEST_POLICIES,
        f"{len(rows)} policies",
        f"fewer than {FEWEST_POLICIES}",
        tuple(rows),
    )


def judge_stray_grants(rows: Rows) -> Finding:
    names = [f"{r['grantee']}: {r['privilege']} on {r['table_name']}" for r in rows]
    return judge(not rows, f"{len(rows)} such rights", "; ".join(names), tuple(rows))


def judge_stray_roles(rows: Rows) -> Finding:
    names = [f"{row['role_name']} {row['fault']}" for row in rows]
    return judge(not rows, f"{len(rows)} such rights", "; ".join(names), tuple(rows))


def judge_privileges(rows: Rows) -> Finding:
    return judge_stray_grants([row for row in rows if row["is_stray"]])


def judge_indexes(rows: Rows) -> Finding:
    invalid = [row["index_name"] for row in rows if not row["is_valid"]]
    named = {r["index_name"] for r in rows if r["index_name"].startswith("idx_apm_")}
    if invalid:
        return failed(f"{len(rows)} indexes", f"not valid: {', '.join(invalid)}")
    return judge(
        len(named) >= FEWEST_INDEXES,
        f"{len(rows)} indexes, all valid, {len(named)} named idx_apm_…",
        f"fewer than {FEWEST_INDEXES} named idx_apm_…",
    )


def judge_index_count(rows: Rows) -> Finding:
    named = {r["index_name"] for r in rows if r["index_name"].startswith("idx_apm_")}
    return judge(
        len(named) >= FEWEST_INDEXES,
        f"{len(rows)} indexes, {len(named)} named idx_apm_…",
        f"fewer than {FEWEST_INDEXES} named idx_apm_…",
    )


def judge_migrations(rows: Rows) -> Finding:
    applied = {row["version"]: row["checksum"] for row in rows}
    known = {m.version: m.checksum for m in load_migrations()}
    faults = [
        f"{words} {', '.join(sorted(versions))}"
        for words, versions in (
            ("pending:", known.keys() - applied.keys()),
            ("of another release:", applied.keys() - known.keys()),
            ("changed:", {v for v in known.keys() & applied.keys() if known[v] != applied[v]}),
        )
        if versions
    ]
    value = f"{len(known.keys() & applied.keys())} of {len(known)} applied"
    return judge(not faults, value, "; ".join(faults))


def judge_index_use(rows: Rows) -> Finding:
    used = sum(row["scans"] > 0 for row in rows)
    scans = sum(row["scans"] for row in rows)
    if not rows:
        return unknown("no indexes", "there is nothing to look at")
    # Most indexes wait for a question that has not been asked yet; that alone is no fault.
    return passed(
        f"{used} of {len(rows)} used, {scans} times since the statistics began",
        tuple(sorted(rows, key=lambda row: -row["scans"])),
    )


def judge_unindexed_reads(rows: Rows) -> Finding:
    names = [f"{row['table_name']} ({row['live_rows']} rows)" for row in rows]
    return judge(not rows, f"{len(rows)} such tables", ", ".join(names), tuple(rows))


def judge_functions(rows: Rows) -> Finding:
    missing = sorted(NEEDED_FUNCTIONS - {row["function_name"] for row in rows})
    return judge(
        not missing, f"{len(rows)} functions", f"missing: {', '.join(missing)}", tuple(rows)
    )


def judge_settings(rows: Rows) -> Finding:
    values = {row["name"]: row["setting"] for row in rows}
    off = [n for n in ("fsync", "full_page_writes", "synchronous_commit") if values.get(n) != "on"]
    shown = ", ".join(f"{name} {value}" for name, value in values.items())
    return judge(not off, shown, f"not on: {', '.join(off)}: an acknowledged sample may be lost")


def judge_storage(rows: Rows) -> Finding:
    if not rows:
        return unknown("no tables", "there is nothing to measure")
    total = sum(row["total_bytes"] for row in rows)
    return passed(f"{total / 2**20:.1f} MiB in {len(rows)} tables", tuple(rows))


def judge_jobs(rows: Rows) -> Finding:
    if not rows:
        return unknown("no job has run", "is the engine (`work`) running?")
    bad = [
        f"{r['job']}: {r['detail'] or r['outcome']}"
        for r in rows
        if r["outcome"] == "failed" or r["failures_in_row"]
    ]
    newest = min(row["seconds_ago"] for row in rows)
    if newest > JOB_SILENCE_SECONDS:
        return failed(f"last job {newest:.0f} s ago", "the engine (`work`) does not run")
    return judge(
        not bad, f"{len(rows)} jobs, the last {newest:.0f} s ago", "; ".join(bad), tuple(rows)
    )


def judge_foreign_rows(rows: Rows) -> Finding:
    seen = {name: n for name, n in rows[0].items() if n}
    return judge(
        not seen,
        f"{sum(rows[0].values())} rows",
        "visible: " + ", ".join(f"{n} {name}" for name, n in seen.items()),
    )


def judge_query_time(row_count: int, times_ms: Sequence[float]) -> Finding:
    """The middle of several runs counts: the first one also pays for planning and cold caches."""
    middle = sorted(times_ms)[len(times_ms) // 2]
    return judge(
        middle < SLOWEST_QUERY_MS,
        f"{middle:.1f} ms for {row_count} rows (middle of {len(times_ms)}: "
        f"{', '.join(f'{ms:.1f}' for ms in times_ms)})",
        f"slower than {SLOWEST_QUERY_MS:.0f} ms",
    )


def judge_wedding_day(rows: Rows) -> Finding:
    row, wanted = (
        rows[0],
        {
            "on_the_day": True,
            "on_the_day_before": False,
            "of_nobody": None,
            "phase_at_two": "ceremony",
            "windows_after_the_end": 0,
        },
    )
    wrong = [f"{k}: {row[k]!r} instead of {v!r}" for k, v in wanted.items() if row[k] != v]
    return judge(
        not wrong, f"{len(wanted) - len(wrong)} of {len(wanted)} answers right", "; ".join(wrong)
    )
