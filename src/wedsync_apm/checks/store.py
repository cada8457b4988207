"""Health checks in the database, as the engine makes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.checks.cadence import HORIZON
from wedsync_apm.checks.model import (
    STALE_INTERVALS,
    DueCheck,
    Finding,
    Limits,
    Moment,
    Shared,
)
from wedsync_apm.checks.standing import Cause, Dependency, Standing
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.types import ServiceStatus, Severity

Q = load_queries(__package__)


async def claim_due_checks(
    cx: Connection, at: datetime, limit: int, *, calls: bool
) -> list[DueCheck]:
    """Takes due checks, with calls or without, the most overdue first; one that is then not made
    is due again when its lease ends, after 30 s and its time-out."""
    rows = await cx.execute(Q.claim_due_checks, {"at": at, "limit": limit, "calls": calls})
    return [_due_check(row) for row in await rows.fetchall()]


async def put_shared_check(
    cx: Connection, organization_id: UUID, values: Mapping[str, Any]
) -> None:
    """Makes the platform's probe of a shared service, where there is none."""
    await cx.execute(
        Q.put_shared_check, {"organization_id": organization_id, "values": Jsonb(dict(values))}
    )


async def list_moments(
    cx: Connection, organization_ids: Sequence[UUID], at: datetime
) -> dict[UUID, Moment]:
    """What the calendar says for each organization; none for one without a wedding near."""
    rows = await cx.execute(
        Q.list_moments,
        {"organization_ids": [*organization_ids], "at": at, "horizon": HORIZON},
    )
    return {
        row["organization_id"]: Moment(
            row["is_wedding"], row["starts_at"] - at if row["starts_at"] else None
        )
        for row in await rows.fetchall()
    }


async def read_guard_mode(cx: Connection, at: datetime) -> str:
    """The platform's guard mode: normal, enhanced or maximum."""
    row = await (await cx.execute(Q.read_guard_mode, {"at": at})).fetchone()
    return row["mode"] if row else "maximum"


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


@dataclass(frozen=True, slots=True)
class Before:
    """How a check stood when its result came, kept still by a lock."""

    standing: Standing
    looks: int
    failures: int
    is_by_figures: bool
    """Whether what is held of it came of its figures alone."""
    availability: float | None
    """Percent over the window in which it is judged; None where it is not."""
    dependencies: tuple[Dependency, ...]
    is_alarming: bool
    has_incident: bool
    incident_ended_at: datetime | None
    maintenance: str | None
    """Why it is being worked on, as somebody has announced it; None while it is not."""


async def lock_standings(
    cx: Connection, checks: Sequence[DueCheck], at: datetime
) -> dict[UUID, Before]:
    """How the checks stand; without those whose claim has lapsed or was overtaken by a change."""
    rows = await cx.execute(
        Q.lock_standings,
        {
            "organization_ids": [check.organization_id for check in checks],
            "ids": [check.id for check in checks],
            "claims": [check.claimed_until for check in checks],
            "at": at,
        },
    )
    return {row["id"]: _before(row) for row in await rows.fetchall()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What is written down of one look."""

    check: DueCheck
    at: datetime
    finding: Finding
    standing: Standing
    limits: Limits
    cause: Cause
    is_alarming: bool
    next_check_at: datetime
    effective_interval: timedelta
    error_rate: float | None
    is_counted: bool
    """Whether it counts into the tallies."""
    is_by_figures: bool
    """Whether what is held of it came of its figures alone."""


async def write_findings(cx: Connection, results: Sequence[Result]) -> None:
    """Writes results of locked checks down."""
    await cx.execute(Q.write_findings, {"findings": Jsonb([_finding(one) for one in results])})


async def create_samples(cx: Connection, results: Sequence[Result]) -> None:
    """The results as samples: `service_health.<service>` in milliseconds where something answered,
    and `service_up.<service>`, 1 or 0. Raises what the database refuses, the limit of series."""
    samples = [sample for one in results for sample in _samples(one)]
    if samples:
        await cx.execute(Q.create_samples, {"samples": Jsonb(samples)})


async def open_incident(
    cx: Connection, result: Result, *, severity: Severity, problem: str
) -> UUID:
    """The check's live incident: opened, or opened again within the reopen window."""
    check = result.check
    rows = await cx.execute(
        Q.open_incident,
        {
            "organization_id": check.organization_id,
            "check_id": check.id,
            "at": result.at,
            "severity": severity.value,
            "title": f"{check.display_name} {problem}",
            "note": result.standing.reason,
            "labels": Jsonb({"service": check.service_name}),
            "vendor_text": Jsonb({"subject": check.display_name, "problem": problem}),
        },
    )
    row = await rows.fetchone()
    assert row is not None  # noqa: S101 -- the function returns an id or raises
    incident_id: UUID = row["incident_id"]
    return incident_id


async def end_incident(cx: Connection, result: Result) -> None:
    """Ends the check's live incident; nothing where a person has ended it."""
    await cx.execute(
        Q.end_incident,
        {
            "organization_id": result.check.organization_id,
            "check_id": result.check.id,
            "at": result.at,
            "note": result.standing.reason,
        },
    )


async def hasten_sharers(cx: Connection, service_name: str, at: datetime) -> None:
    """Whoever shares this probe is due now."""
    await cx.execute(Q.hasten_sharers, {"service_name": service_name, "at": at})


async def hasten_checks(cx: Connection, wanted: Sequence[tuple[UUID, UUID, datetime]]) -> None:
    """Organization, check and time: no later than that it is looked at."""
    ordered = sorted(wanted)
    await cx.execute(
        Q.hasten_checks,
        {
            "organization_ids": [one[0] for one in ordered],
            "ids": [one[1] for one in ordered],
            "times": [one[2] for one in ordered],
        },
    )


async def end_orphaned_incidents(cx: Connection, at: datetime) -> int:
    """Ends the incidents of checks that are made no longer; returns how many."""
    return len(await (await cx.execute(Q.end_orphaned_incidents, {"at": at})).fetchall())


async def forget_history(cx: Connection, at: datetime) -> int:
    """Lets go what no window reaches any more; returns how many statuses."""
    return (await cx.execute(Q.forget_history, {"at": at})).rowcount


def _due_check(row: Mapping[str, Any]) -> DueCheck:
    values = dict(row)
    values["expected_status_codes"] = tuple(row["expected_status_codes"])
    values["dns_expected"] = tuple(row["dns_expected"])
    if (found := row["shared"]) is not None:
        values["shared"] = Shared(
            id=UUID(found["id"]),
            status=ServiceStatus(found["status"]),
            reason=found["reason"],
            last_check_at=_instant(found["last_check_at"]),
            interval=timedelta(seconds=found["interval_seconds"]),
            response_time_ms=found["response_time_ms"],
            response_time_threshold_ms=found["response_time_threshold_ms"],
            is_by_figures=found["is_by_figures"],
            availability_percentage=found["availability_percentage"],
        )
    return DueCheck(**values)


def _before(row: Mapping[str, Any]) -> Before:
    return Before(
        standing=_standing({**row, "reason": row["status_reason"]}),
        looks=int(row["looks"]),
        failures=int(row["failures"]),
        is_by_figures=row["is_by_figures"],
        availability=row["availability"],
        dependencies=tuple(
            Dependency(
                UUID(one["id"]),
                _standing({**one, "failing_since": None}),
                _instant(one["last_check_at"]),
                one["caused_by"],
            )
            for one in row["dependencies"]
        ),
        is_alarming=row["is_alarming"],
        has_incident=row["has_incident"],
        incident_ended_at=row["incident_ended_at"],
        maintenance=row["maintenance"],
    )


def _standing(values: Mapping[str, Any]) -> Standing:
    return Standing(
        ServiceStatus(values["status"]),
        values["reason"],
        ServiceStatus(values["candidate"]) if values["candidate"] else None,
        values["candidate_count"],
        values["failing_since"],
    )


def _finding(result: Result) -> dict[str, Any]:
    check, standing, finding = result.check, result.standing, result.finding
    return {
        "organization_id": str(check.organization_id),
        "id": str(check.id),
        "at": result.at.isoformat(),
        "status": standing.status.value,
        "reason": standing.reason,
        "candidate": standing.candidate.value if standing.candidate else None,
        "candidate_count": standing.candidate_count,
        "failing_since": standing.failing_since and standing.failing_since.isoformat(),
        "caused_by": result.cause.key,
        "is_alarming": result.is_alarming,
        "response_time_ms": finding.response_time_ms,
        "next_check_at": result.next_check_at.isoformat(),
        "effective_interval": f"{result.effective_interval.total_seconds():.3f} seconds",
        "limits": dict(result.limits.as_json()),
        "looks": int(result.is_counted),
        "failures": int(result.is_counted and finding.is_failure),
        "error_rate": result.error_rate,
        "is_by_figures": result.is_by_figures,
        "shared_availability": check.shared.availability_percentage if check.shared else None,
    }


def _samples(result: Result) -> list[dict[str, Any]]:
    check, finding = result.check, result.finding
    if check.source_metric is not None or not finding.is_known:
        return []
    common = {
        "organization_id": str(check.organization_id),
        "metric_name": check.service_name,
        "at": result.at.isoformat(),
    }
    up = {
        **common,
        "service_name": "service_up",
        "metric_value": float(not finding.is_failure),
        "unit": "",
    }
    if finding.response_time_ms is None:
        return [up]
    return [
        {
            **common,
            "service_name": "service_health",
            "metric_value": finding.response_time_ms,
            "unit": "ms",
        },
        up,
    ]


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
