"""What is held of a service after many looks: damped, and with its cause. Pure.

A single look changes nothing. A status becomes worse after `failures_to_confirm` looks in a row
that were worse (2 by default), and takes the mildest of them; it becomes better after
`recoveries_to_confirm` looks in a row that were better, and takes the worst of them. While a change
waits for that, the next look comes after 2 s where it got worse, after 10 s where it got better.
What is not known is told at once, and the first look that finds an unknown service well is
believed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.checks.model import DueCheck, Finding
from wedsync_apm.types import ServiceStatus, Severity

LOOK_AGAIN: Final = timedelta(seconds=2)
LOOK_FOR_RECOVERY: Final = timedelta(seconds=10)
CAUSE_WAIT: Final = timedelta(seconds=60)
"""So long an incident waits until what its check depends on has been looked at."""
REOPEN_AFTER: Final = timedelta(minutes=5)
"""What a person ended while it still goes on is opened again after this."""

_RANK: Final[Mapping[ServiceStatus, int]] = {
    ServiceStatus.HEALTHY: 0,
    ServiceStatus.WARNING: 1,
    ServiceStatus.MAINTENANCE: 2,
    ServiceStatus.CRITICAL: 3,
}
_IS_BAD: Final = frozenset(
    {ServiceStatus.WARNING, ServiceStatus.MAINTENANCE, ServiceStatus.CRITICAL}
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is held of a service. Without a candidate it is what the last look found."""

    status: ServiceStatus = ServiceStatus.UNKNOWN
    reason: str = "not checked yet"
    candidate: ServiceStatus | None = None
    candidate_count: int = 0
    failing_since: datetime | None = None

    @property
    def is_getting_worse(self) -> bool:
        """Whether looks that were worse wait to be confirmed."""
        return self.candidate is not None and _rank(self.candidate) > _rank(self.status)


def _rank(status: ServiceStatus) -> int:
    return _RANK.get(status, 0)


def advance(
    before: Standing, finding: Finding, at: datetime, *, failures: int = 2, recoveries: int = 2
) -> Standing:
    """What is held after one more look."""
    found = finding.status
    failing_since = (before.failing_since or at) if finding.is_failure else None
    if (
        found is ServiceStatus.UNKNOWN
        or found is before.status
        or (before.status is ServiceStatus.UNKNOWN and _rank(found) <= 1)
    ):
        return Standing(found, finding.reason, failing_since=failing_since)
    is_worse = _rank(found) > _rank(before.status)
    needed = failures if is_worse else recoveries
    candidate: ServiceStatus = found
    count = 1
    if before.candidate is not None and before.is_getting_worse is is_worse:
        # the mildest of what was worse, the worst of what was better
        both = sorted((before.candidate, found), key=_rank)
        candidate = both[0] if is_worse else both[1]
        count = before.candidate_count + 1
    if count >= needed:
        return Standing(candidate, finding.reason, failing_since=failing_since)
    reason = f"{finding.reason} (seen {count} of {needed} times in a row before it counts)"
    return Standing(before.status, reason, candidate, count, failing_since)


def next_look(
    standing: Standing, scheduled_at: datetime, claimed_at: datetime, interval: timedelta
) -> datetime:
    """When to look again: soon while a change waits, else in step with the last time, and after a
    pause not once for every missed time."""
    if standing.candidate is not None:
        soon = LOOK_AGAIN if standing.is_getting_worse else LOOK_FOR_RECOVERY
        return claimed_at + min(soon, interval)
    return max(scheduled_at + interval, claimed_at + interval / 2)


@dataclass(frozen=True, slots=True)
class Dependency:
    """A service without which another cannot work, as it stands."""

    id: UUID
    standing: Standing
    last_check_at: datetime | None
    caused_by: str | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a service is as it is. `key` is None where nothing else is at fault; `is_open` while what
    it depends on must be looked at first."""

    key: str | None = None
    is_open: bool = False


def find_cause(
    check: DueCheck, standing: Standing, dependencies: Iterable[Dependency], at: datetime
) -> Cause:
    """The root of the trouble: the shared service, or what is down below the check."""
    if standing.status not in _IS_BAD:
        return Cause()
    if check.shared_key is not None and check.platform_id is not None:
        return Cause(f"service:{check.shared_key}")
    is_open = False
    for one in dependencies:
        if one.standing.status is ServiceStatus.CRITICAL:
            return Cause(one.caused_by or f"check:{one.id}")
        since = standing.failing_since
        is_behind = since is not None and (one.last_check_at is None or one.last_check_at < since)
        is_open = is_open or is_behind or one.standing.is_getting_worse
    since = standing.failing_since
    return Cause(is_open=is_open and since is not None and at - since < CAUSE_WAIT)


def wants_incident(
    check: DueCheck, standing: Standing, cause: Cause, *, is_wedding: bool, is_alarming: bool
) -> bool:
    """Whether somebody is to be called: for what is down, and for what is slow or fails often where
    a wedding that is under way hangs on it. Not for what has its cause elsewhere, where it is told;
    but somebody who was called already is told the end, and not before.

    A service that only sends a metric has rules for that.
    """
    if not check.opens_incidents or check.source_metric is not None:
        return False
    is_bad = standing.status is ServiceStatus.CRITICAL or (
        standing.status is ServiceStatus.WARNING and is_wedding and check.wedding_critical
    )
    return is_bad and (is_alarming or (cause.key is None and not cause.is_open))


def severity_of(check: DueCheck, standing: Standing, *, is_wedding: bool) -> Severity:
    """How bad it is: critical whenever a wedding hangs on it."""
    is_critical = check.wedding_critical and (
        is_wedding or standing.status is ServiceStatus.CRITICAL
    )
    return Severity.CRITICAL if is_critical else Severity.WARNING


def problem_words(
    standing: Standing, response_time_ms: float | None, *, is_by_figures: bool = False
) -> str:
    """The predicate of an incident's title: "does not answer"."""
    if is_by_figures and standing.status is ServiceStatus.CRITICAL:
        return "fails too often"
    if standing.status is ServiceStatus.WARNING:
        return "is not as it should be"
    return "does not answer" if response_time_ms is None else "does not work"
