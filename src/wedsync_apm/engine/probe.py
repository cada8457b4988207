"""Makes the health checks that are due: looks at the service, or reads what stands for it.

A run claims checks by a lease that is also a fence, looks at their services outside any
transaction and all at once, and writes each result down by itself. A result whose claim has lapsed,
or whose check was changed meanwhile, is void: two engines never count one look twice.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import psycopg

from wedsync_apm.checks import store as checks
from wedsync_apm.checks.cadence import UNDER_WAY, effective_interval
from wedsync_apm.checks.model import (
    QUIET,
    DueCheck,
    Finding,
    Limits,
    Look,
    Moment,
    judge,
    judge_shared,
    judge_stale,
    judge_time,
    limits_of,
)
from wedsync_apm.checks.probes import Prober
from wedsync_apm.checks.standing import (
    REOPEN_AFTER,
    Standing,
    advance,
    find_cause,
    next_look,
    problem_words,
    severity_of,
    wants_incident,
)
from wedsync_apm.checks.store import Before, Result
from wedsync_apm.checks.templates import TEMPLATES
from wedsync_apm.checks.windows import judge_availability, judge_rate
from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import store
from wedsync_apm.rules.limits import WEDDING_FACTOR
from wedsync_apm.telemetry import Counter, Histogram, get_logger
from wedsync_apm.types import ServiceStatus

log = get_logger(__name__)

PROBES = Counter("wedsync_apm_checks_total", "Health checks made, by what they found.", ("status",))
ANSWERS = Histogram("wedsync_apm_check_seconds", "How long checked services take to answer.")
VOID = Counter("wedsync_apm_checks_void_total", "Results that somebody else had overtaken.")
UNSAMPLED = Counter(
    "wedsync_apm_checks_unsampled_total", "Results refused as samples, by the limit of series."
)

CALLS_AT_ONCE: Final = 50
READS_AT_ONCE: Final = 500
MOMENTS_FOR: Final = timedelta(seconds=30)
"""How long a calendar is believed."""
TIDY_EVERY: Final = timedelta(minutes=1)
_TOO_MANY_SERIES: Final = "AP003"


@dataclass(slots=True)
class Probe:
    """The job, and the calendars that it keeps between runs."""

    prober: Prober
    factor: float = WEDDING_FACTOR
    _moments: dict[UUID, tuple[datetime, Moment]] = field(default_factory=dict)
    _tidied_at: datetime | None = None

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run; `cx` is idle and stays so during the calls."""
        async with cx.transaction():
            calls = await checks.claim_due_checks(cx, at, CALLS_AT_ONCE, calls=True)
            reads = await checks.claim_due_checks(cx, at, READS_AT_ONCE, calls=False)
            if due := (*calls, *reads):
                await self._read_moments(cx, {one.organization_id for one in due}, at)
                guard = await checks.read_guard_mode(cx, at)
        if not due:
            await self._tidy(cx, at)
            return ""
        settling = _Settling(cx, at, self.factor, guard, self._moments)
        calls += await self._prepare_shared(cx, reads)
        called = {check.id for check in calls}
        await settling.settle(
            [await self._read(cx, check, at) for check in reads if check.id not in called]
        )

        async def call(check: DueCheck) -> None:
            seen = await self.prober.look(check, _address_of(check))
            if seen.response_time_ms is not None:
                ANSWERS.observe(seen.response_time_ms / 1000)
            # One connection serves all, one after the other.
            async with settling.writing:
                async with cx.transaction():
                    now = await store.read_clock(cx)
                await settling.settle([Look(check, now, seen)])

        results = await asyncio.gather(*map(call, calls), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        await self._tidy(cx, at)
        made = len(called) + len(reads) - sum(one.id in called for one in reads)
        return f"{made} checked" if made else ""

    async def _prepare_shared(self, cx: Connection, reads: Iterable[DueCheck]) -> list[DueCheck]:
        """Sees to it that shared services are probed; where there is no platform to do it for all,
        whoever adopted one calls for himself."""
        own: list[DueCheck] = []
        made: set[str] = set()
        for check in reads:
            template = TEMPLATES.get(check.shared_key or "")
            if template is None or not template.is_shared or check.shared is not None:
                continue
            if check.platform_id is None:
                own.append(check)
            elif template.key not in made:
                made.add(template.key)
                async with cx.transaction():
                    await checks.put_shared_check(
                        cx,
                        check.platform_id,
                        template.as_values() | {"endpoint_url": template.endpoint_url},
                    )
        return own

    async def _read_moments(
        self, cx: Connection, organization_ids: Iterable[UUID], at: datetime
    ) -> None:
        known = self._moments
        stale = [
            one
            for one in organization_ids
            if one not in known or abs(at - known[one][0]) >= MOMENTS_FOR
        ]
        if stale:
            found = await checks.list_moments(cx, sorted(stale), at)
            known.update((one, (at, found.get(one, QUIET))) for one in stale)

    async def _read(self, cx: Connection, check: DueCheck, at: datetime) -> Look:
        if check.source_metric is None:
            return Look(check, at)
        async with cx.transaction():
            return Look(check, at, metric_ms=await checks.read_source_metric(cx, check, at))

    async def _tidy(self, cx: Connection, at: datetime) -> None:
        if self._tidied_at is not None and at - self._tidied_at < TIDY_EVERY:
            return
        self._tidied_at = at
        async with cx.transaction():
            await checks.end_orphaned_incidents(cx, at)
        async with cx.transaction():
            await checks.forget_history(cx, at)


def _is_by_figures(before: Before, finding: Finding, standing: Standing) -> bool:
    if standing.candidate is not None:
        return before.is_by_figures
    return finding.is_by_figures and standing.status is finding.status


def _address_of(check: DueCheck) -> str:
    if check.endpoint_url is not None:
        return check.endpoint_url
    return TEMPLATES[check.shared_key or ""].endpoint_url or ""


@dataclass(slots=True)
class _Settling:
    """Judges looks and writes them down."""

    cx: Connection
    claimed_at: datetime
    factor: float
    guard: str
    moments: dict[UUID, tuple[datetime, Moment]]
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def settle(self, looks: Sequence[Look]) -> None:
        """Writes the looks down, with all that follows from them."""
        if not looks:
            return
        at = looks[0].at
        async with self.cx.transaction():
            before = await checks.lock_standings(self.cx, [one.check for one in looks], at)
            results = [
                self._judge(look, before[look.check.id])
                for look in looks
                if look.check.id in before
            ]
            VOID.inc(len(looks) - len(results))
            if not results:
                return
            await checks.write_findings(self.cx, results)
            await self._sample(results)
            for result in results:
                PROBES.inc(status=result.standing.status.value)
                await self._settle_incident(result, before[result.check.id])
        await self._hasten(results, before)

    def _judge(self, look: Look, before: Before) -> Result:
        check, at = look.check, look.at
        _, moment = self.moments.get(check.organization_id, (at, QUIET))
        is_wedding = moment.is_wedding or check.is_for_wedding
        limits = limits_of(check, self.factor, is_wedding=is_wedding)
        was_slow = before.standing.status is ServiceStatus.WARNING
        finding = self._find(look, limits, was_slow=was_slow)
        # A look that only confirms another one is not counted a second time, and what is being
        # worked on may be away.
        is_counted = (
            finding.is_known
            and before.standing.candidate is None
            and before.maintenance is None
            and check.shared is None
        )
        looks = before.looks + is_counted
        failures = before.failures + (is_counted and finding.is_failure)
        if check.source_metric is None:
            was_bad = was_slow or before.is_by_figures
            finding = judge_rate(finding, looks, failures, limits, was_bad=was_bad)
            finding = judge_availability(
                finding, looks, before.availability, limits, was_bad=was_bad
            )
        # A metric is a mean already, and what a shared probe sees has been confirmed; how it is
        # judged by one's own limits has not.
        is_damped = (
            look.seen is not None
            or finding.status is ServiceStatus.WARNING
            or finding.is_by_figures
            or before.is_by_figures
        )
        is_damped = is_damped and check.source_metric is None and before.maintenance is None
        was_worked_on = before.standing.status is ServiceStatus.MAINTENANCE
        held = finding
        if before.maintenance is not None:
            held = Finding(
                ServiceStatus.MAINTENANCE, f"It is being worked on: {before.maintenance}"
            )
        standing = advance(
            before.standing,
            held,
            at,
            failures=check.failures_to_confirm if is_damped else 1,
            recoveries=check.recoveries_to_confirm if is_damped and not was_worked_on else 1,
        )
        cause = find_cause(check, standing, before.dependencies, at)
        interval = self._interval(check, moment)
        return Result(
            check=check,
            at=at,
            finding=finding,
            standing=standing,
            limits=limits,
            cause=cause,
            is_alarming=wants_incident(
                check, standing, cause, is_wedding=is_wedding, is_alarming=before.is_alarming
            ),
            next_check_at=next_look(standing, check.scheduled_at, self.claimed_at, interval),
            effective_interval=interval,
            error_rate=failures / looks if looks else None,
            is_counted=is_counted,
            is_by_figures=_is_by_figures(before, finding, standing),
        )

    def _find(self, look: Look, limits: Limits, *, was_slow: bool) -> Finding:
        check = look.check
        if look.seen is not None:
            return judge(check, look.seen, limits, look.at, was_slow=was_slow)
        if check.source_metric is None:
            return judge_shared(check.shared, limits, look.at, was_slow=was_slow)
        if look.metric_ms is None:
            return judge_stale()
        return judge_time(look.metric_ms, limits, was_slow=was_slow)

    def _interval(self, check: DueCheck, moment: Moment) -> timedelta:
        interval = effective_interval(
            check.check_interval, moment, self.guard, wedding_critical=check.wedding_critical
        )
        return min(interval, check.wanted_interval or interval)

    async def _sample(self, results: Sequence[Result]) -> None:
        try:
            async with self.cx.transaction():
                await checks.create_samples(self.cx, results)
        except psycopg.Error as exc:
            if exc.sqlstate != _TOO_MANY_SERIES:
                raise
            if len(results) == 1:
                UNSAMPLED.inc()
                return
            for one in results:
                await self._sample([one])

    async def _settle_incident(self, result: Result, before: Before) -> None:
        """Opens the check's incident when it begins to alarm and ends it with that. One that a
        person ended while it still goes on is opened again after a while."""
        wants = result.is_alarming
        if wants == before.has_incident:
            return
        ended_at = before.incident_ended_at
        if (
            wants
            and before.is_alarming
            and ended_at is not None
            and result.at < ended_at + REOPEN_AFTER
        ):
            return
        if not wants:
            await checks.end_incident(self.cx, result)
            return
        severity = severity_of(result.check, result.standing, is_wedding=result.limits.is_wedding)
        problem = problem_words(
            result.standing,
            result.finding.response_time_ms,
            is_by_figures=result.is_by_figures,
        )
        await checks.open_incident(self.cx, result, severity=severity, problem=problem)

    async def _hasten(self, results: Sequence[Result], before: dict[UUID, Before]) -> None:
        """Those who wait for these results, and those whose state these results ask for. In a
        transaction of its own: rows of others are touched only while none of ours are held."""
        wanted: list[tuple[UUID, UUID, datetime]] = []
        changed: list[Result] = []
        for result in results:
            check, was = result.check, before[result.check.id]
            if check.is_shared and result.standing.status is not was.standing.status:
                changed.append(result)
            is_tightened = (
                result.limits.is_wedding or result.effective_interval < check.check_interval
            )
            if check.shared is not None and check.platform_id is not None and is_tightened:
                soonest = result.at + max(result.effective_interval, UNDER_WAY)
                wanted.append((check.platform_id, check.shared.id, soonest))
            if result.standing.failing_since == result.at or result.cause.is_open:
                wanted.extend(
                    (check.organization_id, one.id, result.at) for one in was.dependencies
                )
        if not wanted and not changed:
            return
        async with self.cx.transaction():
            for result in changed:
                await checks.hasten_sharers(self.cx, result.check.service_name, result.at)
            soonest_of: dict[tuple[UUID, UUID], datetime] = {}
            for owner, one, time in wanted:
                soonest_of[owner, one] = min(time, soonest_of.get((owner, one), time))
            if soonest_of:
                await checks.hasten_checks(
                    self.cx, [(owner, one, time) for (owner, one), time in soonest_of.items()]
                )
