"""What each answer of a server, or of something in between, means for a batch."""

import json
from datetime import UTC, datetime
from email.message import Message
from http import HTTPStatus

import pytest

from wedsync_apm.client.sender import FIRST_PAUSE, LONGEST_PAUSE, pause
from wedsync_apm.client.transport import (
    LONGEST_RETRY_AFTER,
    Transport,
    Verdict,
    read_answer,
    read_retry_after,
)

RETRIED = {408, 425, 429, 500, 502, 503, 504, 507}


@pytest.mark.parametrize("status", [int(status) for status in HTTPStatus if status >= 200])
def test_only_the_servers_own_words_settle_a_batch(status: int) -> None:
    foreign = read_answer(status, Message(), b"<html>Welcome to the venue's network</html>", 5)
    own = read_answer(status, Message(), json.dumps({"status": status, "detail": "d"}).encode(), 5)
    assert foreign.verdict is not Verdict.SETTLED
    assert (own.verdict is Verdict.SETTLED) == (status in {400, 422})
    expected = {413: Verdict.SPLIT} | dict.fromkeys(RETRIED, Verdict.RETRY)
    assert foreign.verdict is expected.get(status, Verdict.HELD)


def test_a_batch_that_was_taken_in_part() -> None:
    error = {"index": 1, "field": "value", "reason": "is missing"}
    body = {"accepted": 3, "rejected": 2, "errors": [error, "rubbish"]}
    found = read_answer(202, Message(), json.dumps(body).encode(), 5)
    assert (found.verdict, found.accepted, found.rejected) == (Verdict.SETTLED, 3, 2)
    assert found.errors == (error,)


def test_a_batch_that_was_refused_as_a_whole() -> None:
    for status in (400, 422):
        found = read_answer(status, Message(), json.dumps({"status": status}).encode(), 5)
        assert (found.verdict, found.accepted, found.rejected) == (Verdict.SETTLED, 0, 5)


def test_one_sample_that_is_too_large_is_given_up() -> None:
    found = read_answer(413, Message(), b"", 1)
    assert (found.verdict, found.rejected) == (Verdict.SETTLED, 1)
    assert found.errors[0]["index"] == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"\xff", b"[" * 100_000, b'{"accepted":"3"}'])
def test_strange_bodies_settle_nothing(body: bytes) -> None:
    assert read_answer(202, Message(), body, 5).verdict is Verdict.HELD
    assert read_answer(422, Message(), body, 5).verdict is Verdict.HELD


def test_a_strangers_words_make_no_lines_of_their_own_in_a_log() -> None:
    headers = Message()
    headers["location"] = "https://a.example/\x1b[31m"
    for status, body in ((503, b"a\r\nERROR root forged\x00"), (301, b"")):
        problem = str(read_answer(status, headers, body, 1).problem)
        assert problem.isprintable()
        assert "a" in problem


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", None),
        ("nan", None),
        ("soon", None),
        ("1e9", LONGEST_RETRY_AFTER),
        ("Sat, 20 Jun 2026 14:00:30 GMT", 30.0),
        ("Sat, 20 Jun 2026 13:59:00 GMT", None),
        ("Sat, 20 Jun 2099 13:59:00 GMT", LONGEST_RETRY_AFTER),
    ],
)
def test_retry_after_as_seconds_and_as_a_date(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text, datetime(2026, 6, 20, 14, tzinfo=UTC)) == seconds


def test_the_header_is_read() -> None:
    headers = Message()
    headers["retry-after"] = "9"
    assert read_answer(429, headers, b"", 1).retry_after == 9


def test_pauses_double_up_to_a_limit_and_are_spread_over_all_of_it() -> None:
    def longest(low: float, high: float) -> float:
        return high

    def shortest(low: float, high: float) -> float:
        return low

    assert [pause(n, None, longest) for n in range(1, 5)] == [
        FIRST_PAUSE * 2.0**n for n in range(4)
    ]
    assert pause(10_000, None, longest) == LONGEST_PAUSE
    assert pause(5, None, shortest) == 0
    assert pause(5, 30.0, shortest) == 30
    assert 30 < pause(5, 30.0, longest) <= 33


@pytest.mark.parametrize(
    "url", ["", "apm.example.org", "ftp://apm.example.org", "https://", "https://a.example/?x=1"]
)
def test_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Transport(url, "key", 1)


@pytest.mark.parametrize("key", ["", "a\nb", "schlüssel"])
def test_keys_that_cannot_be(key: str) -> None:
    with pytest.raises(ValueError, match="api_key"):
        Transport("https://apm.example.org", key, 1)


def test_a_key_is_in_no_representation() -> None:
    assert "secret" not in repr(Transport("https://apm.example.org", "secret", 1))
