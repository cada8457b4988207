"""What one check says about a service.

| what came | status |
|---|---|
| an expected status in time | healthy |
| an expected status, but slowly | warning |
| 503 | maintenance |
| 500 and above, or no answer, twice in a row | critical |
| any other status | warning |
| our own refusal to call, or no fresh sample | unknown |

The words are for vendors: no status names, seconds and not milliseconds.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.types import ServiceStatus

RETRY_SECONDS: Final = 1.0
"""A failure counts when a second try this much later fails too."""
STALE_INTERVALS: Final = 5
"""A metric that stands for a service is believed for so many check intervals."""
FORGETTING: Final = 0.05
"""The newest check's share in the error rate: about the last twenty checks count."""


@dataclass(frozen=True, slots=True)
class DueCheck:
    """A claimed check, with what judging it needs."""

    id: UUID
    organization_id: UUID
    service_name: str
    endpoint_url: str | None
    source_metric: str | None
    check_interval: timedelta
    timeout_seconds: float
    expected_status_codes: tuple[int, ...]
    response_time_threshold_ms: float
    is_wedding: bool
    is_platform: bool
    """Whether it is one of the platform's own checks of itself."""

    def limit_ms(self, factor: float) -> float:
        """How slow it may be now: closer while a wedding is under way."""
        return self.response_time_threshold_ms * (factor if self.is_wedding else 1.0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. `response_time_ms` is None where nothing answered."""

    status: ServiceStatus
    reason: str
    response_time_ms: float | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it counts into the error rate."""
        return self.status is ServiceStatus.CRITICAL


def judge_answer(check: DueCheck, status_code: int, elapsed_ms: float, factor: float) -> Finding:
    """What an HTTP answer says."""
    if status_code in check.expected_status_codes:
        return judge_time(elapsed_ms, check.limit_ms(factor))
    if status_code == 503:
        return Finding(ServiceStatus.MAINTENANCE, "It says that it is being worked on", elapsed_ms)
    if status_code >= 500:
        return Finding(
            ServiceStatus.CRITICAL, f"It answers with an error (HTTP {status_code})", elapsed_ms
        )
    return Finding(
        ServiceStatus.WARNING,
        f"It answers, but not as expected (HTTP {status_code})",
        elapsed_ms,
    )


def judge_time(response_time_ms: float, limit_ms: float) -> Finding:
    """What a response time says."""
    took = seconds_words(response_time_ms)
    if response_time_ms > limit_ms:
        return Finding(
            ServiceStatus.WARNING,
            f"It takes {took}, and should take at most {seconds_words(limit_ms)}",
            response_time_ms,
        )
    return Finding(ServiceStatus.HEALTHY, f"It takes {took}", response_time_ms)


def judge_silence(reason: str) -> Finding:
    """No answer came."""
    return Finding(ServiceStatus.CRITICAL, f"It does not answer: {reason}")


def judge_refusal(reason: str) -> Finding:
    """We may not call it, so nothing is known of it."""
    return Finding(ServiceStatus.UNKNOWN, f"It cannot be checked: {reason}")


def judge_stale() -> Finding:
    """The metric that stands for the service has fallen silent."""
    return Finding(ServiceStatus.UNKNOWN, "Nothing has been heard of it for a while")


def after_second_try(second: Finding) -> Finding:
    """What a second try says after a failure; one that ends well tells that the first did not."""
    if second.status is ServiceStatus.HEALTHY:
        return replace(
            second, status=ServiceStatus.WARNING, reason=f"{second.reason}, at the second try"
        )
    return second


def seconds_words(milliseconds: float) -> str:
    """A response time as vendors read it: under 0.01 s, 0.05 s, 0.8 s, 9.1 s, 21 s."""
    seconds = milliseconds / 1000
    if seconds < 0.01:
        return "under 0.01 s"
    digits = 2 if seconds < 0.1 else 1 if seconds < 10 else 0
    return f"{seconds:.{digits}f} s"
