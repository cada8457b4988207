"""What one check says about a service."""

from datetime import timedelta
from uuid import UUID

import pytest

from wedsync_apm.checks.model import (
    DueCheck,
    after_second_try,
    judge_answer,
    judge_refusal,
    judge_silence,
    judge_time,
    seconds_words,
)
from wedsync_apm.types import ServiceStatus


def a_check(*, is_wedding: bool = False) -> DueCheck:
    return DueCheck(
        id=UUID(int=1),
        organization_id=UUID(int=2),
        service_name="order_form",
        endpoint_url="https://fern.example/",
        source_metric=None,
        check_interval=timedelta(minutes=1),
        timeout_seconds=10,
        expected_status_codes=(200, 401),
        response_time_threshold_ms=1000,
        is_wedding=is_wedding,
        is_platform=False,
    )


@pytest.mark.parametrize(
    ("code", "elapsed_ms", "status"),
    [
        (200, 900, ServiceStatus.HEALTHY),
        (401, 900, ServiceStatus.HEALTHY),
        (200, 1000, ServiceStatus.HEALTHY),
        (200, 1001, ServiceStatus.WARNING),
        (204, 10, ServiceStatus.WARNING),
        (403, 10, ServiceStatus.WARNING),
        (500, 10, ServiceStatus.CRITICAL),
        (502, 10, ServiceStatus.CRITICAL),
        (503, 10, ServiceStatus.MAINTENANCE),
    ],
)
def test_an_answer(code: int, elapsed_ms: float, status: ServiceStatus) -> None:
    found = judge_answer(a_check(), code, elapsed_ms, 0.5)
    assert (found.status, found.response_time_ms) == (status, elapsed_ms)


def test_a_wedding_asks_for_more() -> None:
    assert judge_answer(a_check(), 200, 600, 0.5).status is ServiceStatus.HEALTHY
    assert judge_answer(a_check(is_wedding=True), 200, 600, 0.5).status is ServiceStatus.WARNING


def test_a_second_try_decides_and_tells() -> None:
    down, up = judge_silence("timed out"), judge_time(100, 1000)
    assert after_second_try(down) is down
    saved = after_second_try(up)
    assert (saved.status, saved.reason) == (
        ServiceStatus.WARNING,
        "It takes 0.1 s, at the second try",
    )


def test_only_what_is_down_is_a_failure() -> None:
    assert judge_silence("x").is_failure
    assert not judge_refusal("x").is_failure
    assert judge_refusal("x").status is ServiceStatus.UNKNOWN


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (3, "under 0.01 s"),
        (47, "0.05 s"),
        (94, "0.09 s"),
        (850, "0.8 s"),
        (9100, "9.1 s"),
        (21000, "21 s"),
    ],
)
def test_times_are_told_in_seconds(milliseconds: float, words: str) -> None:
    assert seconds_words(milliseconds) == words
