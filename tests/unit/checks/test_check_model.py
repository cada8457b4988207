"""What one look says about a service."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from wedsync_apm.checks.model import (
    DueCheck,
    Finding,
    Seen,
    Shared,
    judge,
    judge_shared,
    limits_of,
    seconds_words,
    share_words,
)
from wedsync_apm.types import ServiceStatus

AT = datetime(2026, 6, 20, 13, 0, tzinfo=UTC)
HEALTHY, WARNING, MAINTENANCE, CRITICAL, UNKNOWN = (
    ServiceStatus.HEALTHY,
    ServiceStatus.WARNING,
    ServiceStatus.MAINTENANCE,
    ServiceStatus.CRITICAL,
    ServiceStatus.UNKNOWN,
)


def a_check(**values: Any) -> DueCheck:
    return DueCheck(
        **{
            "id": UUID(int=1),
            "organization_id": UUID(int=2),
            "service_name": "order_form",
            "display_name": "Order form",
            "endpoint_url": "https://fern.example/",
            "expected_status_codes": (200, 401),
            "response_time_threshold_ms": 1000,
            "scheduled_at": AT,
            "claimed_until": AT,
            **values,
        }
    )


def find(
    check: DueCheck, seen: Seen, *, is_wedding: bool = False, was_slow: bool = False
) -> Finding:
    return judge(check, seen, limits_of(check, 0.5, is_wedding=is_wedding), AT, was_slow=was_slow)


@pytest.mark.parametrize(
    ("code", "elapsed_ms", "status"),
    [
        (200, 900, HEALTHY),
        (401, 900, HEALTHY),
        (200, 1000, HEALTHY),
        (200, 1001, WARNING),
        (204, 10, WARNING),
        (403, 10, WARNING),
        (500, 10, CRITICAL),
        (502, 10, CRITICAL),
        (503, 10, MAINTENANCE),
    ],
)
def test_an_answer(code: int, elapsed_ms: float, status: ServiceStatus) -> None:
    found = find(a_check(), Seen(http_status=code, response_time_ms=elapsed_ms))
    assert (found.status, found.response_time_ms) == (status, elapsed_ms)


def test_a_wedding_asks_for_more_and_says_so() -> None:
    seen = Seen(http_status=200, response_time_ms=600)
    assert find(a_check(), seen).status is HEALTHY
    tight = find(a_check(), seen, is_wedding=True)
    assert (tight.status, tight.reason) == (
        WARNING,
        "It takes 0.6 s, and should take at most 0.5 s while a wedding is under way "
        "(1.0 s on other days)",
    )
    worked_on = find(a_check(), Seen(http_status=503, response_time_ms=5), is_wedding=True)
    assert worked_on.status is CRITICAL


def test_limits_of_a_wedding() -> None:
    check = a_check(error_rate_threshold=0.05, availability_threshold=99.5)
    usual, tight = (limits_of(check, 0.5, is_wedding=one) for one in (False, True))
    assert (usual.response_time_ms, usual.error_rate, usual.availability) == (1000, 0.05, 99.5)
    assert (tight.response_time_ms, tight.availability) == (500, 99.99)
    assert tight.error_rate == pytest.approx(0.005)
    # What is closer already stays.
    assert (
        limits_of(a_check(availability_threshold=99.999), 0.5, is_wedding=True).availability
        == 99.999
    )


def test_what_is_shared_tells_nobody_of_anybodys_wedding() -> None:
    seen = Seen(http_status=200, response_time_ms=600)
    found = find(a_check(is_shared=True), seen, is_wedding=True)
    assert found.status is WARNING
    assert "wedding" not in found.reason


def test_what_was_slow_must_be_clearly_well_again() -> None:
    check = a_check()
    at_the_limit = Seen(http_status=200, response_time_ms=900)
    assert find(check, at_the_limit).status is HEALTHY
    assert find(check, at_the_limit, was_slow=True) == Finding(
        WARNING, "It takes 0.9 s; it was slow, and is well again under 0.8 s", 900
    )
    clear = Seen(http_status=200, response_time_ms=800)
    assert find(check, clear, was_slow=True).status is HEALTHY


@pytest.mark.parametrize(
    ("left", "status", "words"),
    [
        (timedelta(days=15), HEALTHY, "It takes"),
        (timedelta(days=14), HEALTHY, "It takes"),
        (timedelta(days=13, hours=23), WARNING, "Its certificate ends in 13 days"),
        (timedelta(days=2), WARNING, "Its certificate ends in 2 days"),
        (timedelta(days=1, hours=23), CRITICAL, "Its certificate ends in 47 hours"),
        (timedelta(minutes=5), CRITICAL, "Its certificate ends in 0 hours"),
    ],
)
def test_a_certificate(left: timedelta, status: ServiceStatus, words: str) -> None:
    found = find(a_check(), Seen(response_time_ms=10, certificate_ends_at=AT + left))
    assert found.status is status
    assert found.reason.startswith(words)


def test_names_lead_where_they_should() -> None:
    check = a_check(dns_expected=("Fern.Example.", "10 mail.fern.example"))
    right = Seen(response_time_ms=10, dns_answers=("10 mail.fern.example.", "fern.example."))
    assert find(check, right).status is HEALTHY
    wrong = find(check, Seen(response_time_ms=10, dns_answers=("fern.example.",)))
    assert (wrong.status, wrong.reason) == (
        CRITICAL,
        "Its name does not lead to 10 mail.fern.example, but to fern.example.",
    )


def test_silence_refusal_and_wrong_words() -> None:
    silent = find(a_check(), Seen(silence="timed out"))
    assert (silent.status, silent.is_failure) == (CRITICAL, True)
    refused = find(a_check(), Seen(refusal="it leads to an address that is private"))
    assert (refused.status, refused.is_failure, refused.is_known) == (UNKNOWN, False, False)
    words = Seen(http_status=200, response_time_ms=5, body_problem="without the words")
    assert find(a_check(), words).status is CRITICAL


def shared(**values: Any) -> Shared:
    return Shared(
        **{
            "id": UUID(int=3),
            "status": HEALTHY,
            "reason": "It takes 0.6 s",
            "last_check_at": AT - timedelta(seconds=50),
            "interval": timedelta(minutes=1),
            "response_time_ms": 600.0,
            "response_time_threshold_ms": 2000.0,
            "is_by_figures": False,
            "availability_percentage": 100.0,
            **values,
        }
    )


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (None, UNKNOWN),
        (shared(), HEALTHY),
        (shared(response_time_ms=1200.0), WARNING),
        # slow by the platform's limit, and by ours of 1 s
        (shared(status=WARNING, response_time_ms=2500.0), WARNING),
        # warned of something else than time
        (shared(status=WARNING, reason="It answers, but not as expected (HTTP 404)"), WARNING),
        # bad by the platform's figures and limits alone: it answers, in our time or not
        (shared(status=WARNING, is_by_figures=True, reason="6 of 100 looks failed"), HEALTHY),
        (shared(status=CRITICAL, is_by_figures=True, reason="50 of 100 looks failed"), HEALTHY),
        (shared(status=CRITICAL, is_by_figures=True, response_time_ms=1200.0), WARNING),
        # a failure that waits to be confirmed
        (shared(response_time_ms=None), HEALTHY),
        (shared(status=CRITICAL, reason="It does not answer: gone"), CRITICAL),
        (shared(last_check_at=AT - timedelta(minutes=6)), UNKNOWN),
        (shared(last_check_at=None), UNKNOWN),
    ],
)
def test_a_shared_probe_is_judged_by_ones_own_limits(
    found: Shared | None, status: ServiceStatus
) -> None:
    limits = limits_of(a_check(), 0.5, is_wedding=False)
    assert judge_shared(found, limits, AT, was_slow=False).status is status


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


@pytest.mark.parametrize(("share", "words"), [(0.05, "5 %"), (0.0001, "0.01 %"), (1.0, "100 %")])
def test_shares_are_told_in_percent(share: float, words: str) -> None:
    assert share_words(share) == words
