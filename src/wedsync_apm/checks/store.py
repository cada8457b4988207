"""Health checks in the database, as the engine makes them."""

from datetime import datetime

from wedsync_apm.checks.model import FORGETTING, STALE_INTERVALS, DueCheck, Finding
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)


async def claim_due_checks(cx: Connection, at: datetime, limit: int) -> list[DueCheck]:
    """Takes due checks, the most overdue first; one that is then not made waits an interval."""
    rows = await cx.execute(Q.claim_due_checks, {"at": at, "limit": limit})
    return [
        DueCheck(**{**row, "expected_status_codes": tuple(row["expected_status_codes"])})
        for row in await rows.fetchall()
    ]


async def read_source_metric(cx: Connection, check: DueCheck, at: datetime) -> float | None:
    """The newest response time in milliseconds by the check's metric; None when it is stale."""
    rows = await cx.execute(
        Q.read_source_metric,
        {
            "organization_id": check.organization_id,
            "source_metric": check.source_metric,
            "check_interval": check.check_interval,
            "stale_intervals": STALE_INTERVALS,
            "at": at,
        },
    )
    row = await rows.fetchone()
    return row["response_time_ms"] if row else None


async def record_finding(
    cx: Connection, check: DueCheck, finding: Finding, at: datetime, *, keeps_sample: bool
) -> None:
    """Writes a result down; with `keeps_sample` its response time also as a sample."""
    rows = await cx.execute(
        Q.record_finding,
        {
            "organization_id": check.organization_id,
            "check_id": check.id,
            "status": finding.status.value,
            "reason": finding.reason,
            "response_time_ms": finding.response_time_ms,
            "failed": float(finding.is_failure),
            "forgetting": FORGETTING,
            "at": at,
        },
    )
    is_kept = await rows.fetchone() is not None
    if is_kept and keeps_sample and finding.response_time_ms is not None:
        await cx.execute(
            Q.create_sample,
            {
                "organization_id": check.organization_id,
                "service_name": check.service_name,
                "response_time_ms": finding.response_time_ms,
                "at": at,
            },
        )
