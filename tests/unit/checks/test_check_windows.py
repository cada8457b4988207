"""What a window's figures add to a look."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from wedsync_apm.checks.model import DueCheck, Finding, limits_of
from wedsync_apm.checks.windows import judge_availability, judge_rate, window_words
from wedsync_apm.types import ServiceStatus

AT = datetime(2026, 6, 20, 13, 0, tzinfo=UTC)
HEALTHY, WARNING, CRITICAL = ServiceStatus.HEALTHY, ServiceStatus.WARNING, ServiceStatus.CRITICAL
DAY = timedelta(days=1)
WELL = Finding(HEALTHY, "It takes 0.1 s", 100)


def a_check(**values: Any) -> DueCheck:
    return DueCheck(
        **{
            "id": UUID(int=1),
            "organization_id": UUID(int=2),
            "service_name": "order_form",
            "display_name": "Order form",
            "endpoint_url": "https://fern.example/",
            "scheduled_at": AT,
            "claimed_until": AT,
            **values,
        }
    )


@pytest.mark.parametrize(
    ("looks", "failures", "was_bad", "status"),
    [
        (9, 9, False, HEALTHY),  # too few to say anything
        (100, 5, False, HEALTHY),
        (100, 6, False, WARNING),
        (100, 3, True, WARNING),
        (100, 2, True, HEALTHY),
    ],
)
def test_an_error_rate(looks: int, failures: int, was_bad: bool, status: ServiceStatus) -> None:
    limits = limits_of(a_check(error_rate_threshold=0.05), 0.5, is_wedding=False)
    well = Finding(HEALTHY, "It takes 0.1 s", 100)
    found = judge_rate(well, looks, failures, limits, was_bad=was_bad)
    assert found.status is status
    if status is WARNING:
        assert found.reason == (
            f"{failures} of {looks} looks within the last hour failed, and at most 5 % should"
        )


@pytest.mark.parametrize(
    ("failures", "was_bad", "is_wedding", "status"),
    [
        (5, False, False, HEALTHY),
        (6, False, False, WARNING),
        (20, False, False, WARNING),
        (21, False, False, CRITICAL),
        (11, True, False, CRITICAL),
        (10, True, False, WARNING),
        (3, False, True, CRITICAL),  # a tenth of it while a wedding is under way
    ],
)
def test_an_error_rate_may_be_critical(
    failures: int, was_bad: bool, is_wedding: bool, status: ServiceStatus
) -> None:
    check = a_check(error_rate_threshold=0.05, error_rate_critical=0.2, judged_over=DAY)
    limits = limits_of(check, 0.5, is_wedding=is_wedding)
    found = judge_rate(WELL, 100, failures, limits, was_bad=was_bad)
    assert found.status is status
    # it answers: such a look does not make the rate worse, or it would never be well again
    assert not found.is_failure
    if failures == 21:
        assert found.reason == (
            "21 of 100 looks within the last 24 hours failed, and at most 20 % should"
        )


@pytest.mark.parametrize(
    ("availability", "looks", "was_bad", "status"),
    [
        (None, 100, False, HEALTHY),
        (50.0, 9, False, HEALTHY),
        (99.0, 100, False, HEALTHY),
        (98.9, 100, False, WARNING),
        (95.0, 100, False, WARNING),
        (94.9, 100, False, CRITICAL),
        (97.0, 100, True, CRITICAL),
        (97.5, 100, True, WARNING),
        (99.4, 100, True, WARNING),
        (99.5, 100, True, HEALTHY),
    ],
)
def test_availability_is_judged_by_two_limits(
    availability: float | None, looks: int, was_bad: bool, status: ServiceStatus
) -> None:
    check = a_check(availability_warning=99.0, availability_critical=95.0, judged_over=DAY)
    limits = limits_of(check, 0.5, is_wedding=False)
    found = judge_availability(WELL, looks, availability, limits, was_bad=was_bad)
    assert found.status is status
    assert not found.is_failure
    if availability == 94.9:
        assert found.reason == (
            "It was there 94.9 % of the last 24 hours, and should be at least 95 %"
        )


def test_without_limits_an_outage_that_is_over_is_no_fault_of_now() -> None:
    limits = limits_of(a_check(), 0.5, is_wedding=True)
    assert judge_availability(WELL, 100, 0.0, limits, was_bad=False) is WELL


def test_what_is_down_is_told_as_down() -> None:
    limits = limits_of(a_check(availability_critical=99.9), 0.5, is_wedding=False)
    down = Finding(CRITICAL, "It does not answer: timed out")
    assert judge_availability(down, 100, 10.0, limits, was_bad=False) is down


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (timedelta(minutes=5), "5 minutes"),
        (timedelta(hours=1), "hour"),
        (timedelta(minutes=90), "90 minutes"),
        (DAY, "24 hours"),
        (7 * DAY, "7 days"),
    ],
)
def test_a_window_in_words(window: timedelta, words: str) -> None:
    assert window_words(window) == words
