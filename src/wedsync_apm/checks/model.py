"""What one look says about a service.

| what came | status |
|---|---|
| what was expected, in time | healthy |
| what was expected, but slowly; an unexpected answer; a certificate that ends soon | warning |
| HTTP 503, while no wedding is under way | maintenance |
| any other 5xx, no answer, other words or names than expected | critical |
| our own refusal to call, or no fresh sample | unknown |

The words are for vendors: no status names, seconds and not milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.types import ServiceStatus

STALE_INTERVALS: Final = 5
"""What stands for a service, a metric or a shared probe, is believed for so many intervals."""
WEDDING_ERROR_FACTOR: Final = 0.1
WEDDING_AVAILABILITY: Final = 99.99
"""While a wedding is under way: a tenth of the errors, and at least this availability."""
CLEAR_SHARE: Final = 0.8
"""What was slow is well again under this share of its limit, and not already at the limit."""
CERTIFICATE_CRITICAL: Final = timedelta(days=2)
"""A certificate that ends sooner is as good as ended: nobody renews on a Saturday night."""
MOST_ANSWERS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Shared:
    """What the platform's probe of a shared service found last, as it was confirmed.

    With `is_by_figures` it answers, and only what was before makes it bad by the platform's limits.
    """

    id: UUID
    status: ServiceStatus
    reason: str
    last_check_at: datetime | None
    interval: timedelta
    response_time_ms: float | None
    response_time_threshold_ms: float
    is_by_figures: bool
    availability_percentage: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DueCheck:
    """A claimed check, with what judging it needs."""

    id: UUID
    organization_id: UUID
    service_name: str
    display_name: str
    endpoint_url: str | None = None
    source_metric: str | None = None
    shared_key: str | None = None
    check_interval: timedelta = timedelta(minutes=1)
    timeout_seconds: float = 10.0
    expected_status_codes: tuple[int, ...] = (200,)
    response_time_threshold_ms: float = 5000.0
    error_rate_threshold: float = 0.05
    availability_threshold: float = 99.0
    judged_over: timedelta = timedelta(hours=1)
    error_rate_critical: float | None = None
    availability_warning: float | None = None
    availability_critical: float | None = None
    body_contains: str | None = None
    body_lacks: str | None = None
    dns_expected: tuple[str, ...] = ()
    certificate_days: int = 14
    failures_to_confirm: int = 2
    recoveries_to_confirm: int = 2
    wedding_critical: bool = False
    opens_incidents: bool = True
    is_shared: bool = False
    """Whether others have this one look for them."""
    is_platform: bool = False
    """Whether it is one of the platform's own checks of itself."""
    platform_id: UUID | None = None
    """The platform's organization, where there is one."""
    wanted_interval: timedelta | None = None
    """How often the calendars of those who share it want it looked at; None where none does."""
    is_for_wedding: bool = False
    """Whether somebody who shares it has a wedding under way."""
    shared: Shared | None = None
    scheduled_at: datetime
    claimed_until: datetime
    """Until then nobody else makes it; also the fence of whoever does."""

    @property
    def reads_body(self) -> bool:
        """Whether the answer's words matter."""
        return self.body_contains is not None or self.body_lacks is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a call came back with. `response_time_ms` is None where nothing answered."""

    response_time_ms: float | None = None
    http_status: int | None = None
    body_problem: str = ""
    """What is wrong with the answer's words; empty where nothing is."""
    certificate_ends_at: datetime | None = None
    dns_answers: tuple[str, ...] = ()
    refusal: str = ""
    """Why we may not call it."""
    silence: str = ""
    """Why nothing came."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One look's result. `response_time_ms` is None where nothing answered."""

    status: ServiceStatus
    reason: str
    response_time_ms: float | None = None
    is_by_figures: bool = False
    """Whether it answered, and only what was before makes it bad."""

    @property
    def is_failure(self) -> bool:
        """Whether it counts into the error rate."""
        return self.status is ServiceStatus.CRITICAL and not self.is_by_figures

    @property
    def is_known(self) -> bool:
        """Whether it counts at all."""
        return self.status not in (ServiceStatus.UNKNOWN, ServiceStatus.MAINTENANCE)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service is held to at this moment."""

    response_time_ms: float
    error_rate: float
    availability: float
    is_wedding: bool = False
    usual_ms: float | None = None
    """The limit on other days, where it is told that this one is tighter."""
    window: timedelta = timedelta(hours=1)
    """What error rate and availability are judged over."""
    error_rate_critical: float | None = None
    availability_warning: float | None = None
    availability_critical: float | None = None

    def as_json(self) -> Mapping[str, float | bool]:
        """As it stands beside the check."""
        return {
            "response_time_ms": self.response_time_ms,
            "error_rate": self.error_rate,
            "availability_percentage": self.availability,
            "is_wedding": self.is_wedding,
        }


def limits_of(check: DueCheck, factor: float, *, is_wedding: bool) -> Limits:
    """The check's own limits, tighter while a wedding is under way: the response time by `factor`,
    errors to a tenth, availability to 99.99 % at least."""
    if not is_wedding:
        return Limits(
            check.response_time_threshold_ms,
            check.error_rate_threshold,
            check.availability_threshold,
            window=check.judged_over,
            error_rate_critical=check.error_rate_critical,
            availability_warning=check.availability_warning,
            availability_critical=check.availability_critical,
        )
    return Limits(
        check.response_time_threshold_ms * factor,
        check.error_rate_threshold * WEDDING_ERROR_FACTOR,
        max(check.availability_threshold, WEDDING_AVAILABILITY),
        is_wedding=True,
        # The wedding may be anybody's of those who share it, and is nobody else's business.
        usual_ms=None if check.is_shared else check.response_time_threshold_ms,
        window=check.judged_over,
        error_rate_critical=check.error_rate_critical
        and check.error_rate_critical * WEDDING_ERROR_FACTOR,
        # What was down before the wedding is no fault of the wedding's.
        availability_warning=check.availability_warning,
        availability_critical=check.availability_critical,
    )


def judge(
    check: DueCheck, seen: Seen, limits: Limits, at: datetime, *, was_slow: bool = False
) -> Finding:
    """What a call says; `was_slow` asks for a clear recovery."""
    if seen.refusal:
        return Finding(ServiceStatus.UNKNOWN, f"It cannot be checked: {seen.refusal}")
    if seen.silence:
        return Finding(ServiceStatus.CRITICAL, f"It does not answer: {seen.silence}")
    elapsed_ms = seen.response_time_ms or 0.0
    found = (
        _judge_status(check, seen.http_status, elapsed_ms, limits)
        or _judge_words(seen, elapsed_ms)
        or _judge_names(check, seen, elapsed_ms)
        or _judge_certificate(check, seen, elapsed_ms, at)
    )
    return found or judge_time(elapsed_ms, limits, was_slow=was_slow)


def _judge_status(
    check: DueCheck, code: int | None, elapsed_ms: float, limits: Limits
) -> Finding | None:
    if code is None or code in check.expected_status_codes:
        return None
    if code == 503 and not limits.is_wedding:
        return Finding(ServiceStatus.MAINTENANCE, "It says that it is being worked on", elapsed_ms)
    if code >= 500:
        reason = f"It answers with an error (HTTP {code})"
        return Finding(ServiceStatus.CRITICAL, reason, elapsed_ms)
    reason = f"It answers, but not as expected (HTTP {code})"
    return Finding(ServiceStatus.WARNING, reason, elapsed_ms)


def _judge_words(seen: Seen, elapsed_ms: float) -> Finding | None:
    if not seen.body_problem:
        return None
    return Finding(ServiceStatus.CRITICAL, f"It answers, but {seen.body_problem}", elapsed_ms)


def _judge_names(check: DueCheck, seen: Seen, elapsed_ms: float) -> Finding | None:
    answers = {plain_answer(one) for one in seen.dns_answers}
    missing = [one for one in check.dns_expected if plain_answer(one) not in answers]
    if not missing:
        return None
    came = ", ".join(sorted(seen.dns_answers)[:MOST_ANSWERS_SHOWN]) or "nothing"
    reason = f"Its name does not lead to {missing[0]}, but to {came}"
    return Finding(ServiceStatus.CRITICAL, reason, elapsed_ms)


def _judge_certificate(
    check: DueCheck, seen: Seen, elapsed_ms: float, at: datetime
) -> Finding | None:
    if seen.certificate_ends_at is None:
        return None
    left = seen.certificate_ends_at - at
    if left >= timedelta(days=check.certificate_days):
        return None
    is_urgent = left < min(CERTIFICATE_CRITICAL, timedelta(days=check.certificate_days))
    days, hours = left.days, int(left.total_seconds() // 3600)
    words = f"{days} days" if days > 1 else f"{max(hours, 0)} hours"
    status = ServiceStatus.CRITICAL if is_urgent else ServiceStatus.WARNING
    return Finding(status, f"Its certificate ends in {words}", elapsed_ms)


def plain_answer(answer: str) -> str:
    """An answer of the name system as it is compared: without quotes, case and final dot."""
    return answer.strip().strip('"').rstrip(".").casefold()


def judge_time(response_time_ms: float, limits: Limits, *, was_slow: bool = False) -> Finding:
    """What a response time says."""
    took = seconds_words(response_time_ms)
    limit = limits.response_time_ms
    asked = limit * CLEAR_SHARE if was_slow else limit
    if response_time_ms <= asked:
        return Finding(ServiceStatus.HEALTHY, f"It takes {took}", response_time_ms)
    reason = f"It takes {took}, and should take at most {seconds_words(limit)}"
    if limits.usual_ms is not None:
        reason += f" while a wedding is under way ({seconds_words(limits.usual_ms)} on other days)"
    if response_time_ms <= limit:
        reason = f"It takes {took}; it was slow, and is well again under {seconds_words(asked)}"
    return Finding(ServiceStatus.WARNING, reason, response_time_ms)


def judge_shared(shared: Shared | None, limits: Limits, at: datetime, *, was_slow: bool) -> Finding:
    """What the shared probe's last look means for one of those who share it, by his own limits;
    what was before is judged by his own window."""
    if shared is None or shared.last_check_at is None:
        return Finding(ServiceStatus.UNKNOWN, "not checked yet")
    if at - shared.last_check_at > STALE_INTERVALS * shared.interval:
        return judge_stale()
    is_slow = (
        shared.response_time_ms is not None
        and shared.response_time_ms > shared.response_time_threshold_ms
    )
    if (
        shared.status is ServiceStatus.HEALTHY
        or shared.is_by_figures
        or (shared.status is ServiceStatus.WARNING and is_slow)
    ):
        if shared.response_time_ms is None:
            return Finding(ServiceStatus.HEALTHY, shared.reason)
        return judge_time(shared.response_time_ms, limits, was_slow=was_slow)
    return Finding(shared.status, shared.reason, shared.response_time_ms)


def judge_stale() -> Finding:
    """What stands for the service, a metric or a shared probe, has fallen silent."""
    return Finding(ServiceStatus.UNKNOWN, "Nothing has been heard of it for a while")


def seconds_words(milliseconds: float) -> str:
    """A response time as vendors read it: under 0.01 s, 0.05 s, 0.8 s, 9.1 s, 21 s."""
    seconds = milliseconds / 1000
    if seconds < 0.01:
        return "under 0.01 s"
    digits = 2 if seconds < 0.1 else 1 if seconds < 10 else 0
    return f"{seconds:.{digits}f} s"


def share_words(share: float) -> str:
    """A share of 1 in percent: 5 %, 0.5 %, 0.01 %."""
    return f"{100 * share:.4g} %"


@dataclass(frozen=True, slots=True)
class Moment:
    """What the calendar says for an organization's checks."""

    is_wedding: bool = False
    starts_in: timedelta | None = None
    """To the beginning of the next wedding's first window; None where none is near."""


QUIET: Final = Moment()


@dataclass(frozen=True, slots=True)
class Look:
    """A check and what was found when it was looked at."""

    check: DueCheck
    at: datetime
    seen: Seen | None = None
    """None where nothing was called."""
    metric_ms: float | None = None
    """The newest value of the metric that stands for the service, if a fresh one is there."""
    moment: Moment = field(default=QUIET)
