"""What a window's error rate and availability add to a look. Pure."""

from datetime import timedelta
from typing import Final

from wedsync_apm.checks.model import Finding, Limits, share_words
from wedsync_apm.types import ServiceStatus

CLEAR_ERROR_SHARE: Final = 0.5
"""What failed too often, or was away too long, is well again at half of its limit."""
FEWEST_LOOKS: Final = 10
"""A window says nothing before there were so many looks in it."""


def judge_rate(
    finding: Finding, looks: int, failures: int, limits: Limits, *, was_bad: bool = False
) -> Finding:
    """What the looks of the window add to one that found it well; `was_bad` asks for a clear
    recovery."""
    if finding.status is not ServiceStatus.HEALTHY or looks < FEWEST_LOOKS:
        return finding
    ease = CLEAR_ERROR_SHARE if was_bad else 1.0
    rate, limit = failures / looks, limits.error_rate
    status = ServiceStatus.WARNING
    if limits.error_rate_critical is not None and rate > limits.error_rate_critical * ease:
        status, limit = ServiceStatus.CRITICAL, limits.error_rate_critical
    elif rate <= limit * ease:
        return finding
    reason = (
        f"{failures} of {looks} looks within the last {window_words(limits.window)} failed, "
        f"and at most {share_words(limit)} should"
    )
    if limits.usual_ms is not None:
        reason += " while a wedding is under way"
    return Finding(status, reason, finding.response_time_ms, is_by_figures=True)


def judge_availability(
    finding: Finding, looks: int, availability: float | None, limits: Limits, *, was_bad: bool
) -> Finding:
    """What the down time of the window adds to a look that found it no worse than slow; after that
    it is well again when half of what may be down was."""
    if (
        finding.status not in (ServiceStatus.HEALTHY, ServiceStatus.WARNING)
        or availability is None
        or looks < FEWEST_LOOKS
    ):
        return finding
    ease = CLEAR_ERROR_SHARE if was_bad else 1.0
    down = 100 - availability
    for status, limit in (
        (ServiceStatus.CRITICAL, limits.availability_critical),
        (ServiceStatus.WARNING, limits.availability_warning),
    ):
        if limit is None or down <= (100 - limit) * ease or finding.status is status:
            continue
        reason = (
            f"It was there {share_words(availability / 100)} of the last "
            f"{window_words(limits.window)}, and should be at least {share_words(limit / 100)}"
        )
        return Finding(status, reason, finding.response_time_ms, is_by_figures=True)
    return finding


def window_words(window: timedelta) -> str:
    """A window after "the last": hour, 24 hours, 30 minutes, 7 days."""
    for size, one, many in (
        (86400, "day", "days"),
        (3600, "hour", "hours"),
        (60, "minute", "minutes"),
    ):
        count, rest = divmod(round(window.total_seconds()), size)
        if count and not rest and not (size == 86400 and count == 1):
            return one if count == 1 else f"{count} {many}"
    return f"{window.total_seconds():g} seconds"
