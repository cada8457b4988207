"""The life of a delivery: pure decisions."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wedsync_apm.notify.channels as channels_package
from wedsync_apm.errors import NotValid
from wedsync_apm.notify.channels import SENDERS, sender_for
from wedsync_apm.notify.model import (
    MAX_RETRY_AFTER_SECONDS,
    TRANSITIONS,
    Delivery,
    IncidentNow,
    Kind,
    Outcome,
    Quiet,
    Result,
    State,
    expires_at,
    hold_back,
    judge_status,
    no_longer_needed,
    parse_retry_after,
    retry_delay_seconds,
)
from wedsync_apm.types import Channel, IncidentStatus, Severity

AT = datetime(2026, 6, 20, 13, 10, tzinfo=UTC)
RETRIED = {408, 421, 423, 425, 429, *range(500, 600)}


def delivery(kind: Kind = Kind.PAGE, **changes: Any) -> Delivery:
    made = Delivery(
        id=UUID(int=1),
        organization_id=UUID(int=2),
        incident_id=UUID(int=3),
        contact_method_id=UUID(int=4),
        channel=Channel.EMAIL,
        kind=kind,
        generation=1,
        incident=IncidentNow(IncidentStatus.OPEN, 1),
        was_told=True,
        has_address=True,
        is_reachable=True,
        created_at=AT,
        expires_at=None,
        is_under_way=False,
        may_have_arrived=False,
    )
    return replace(made, **changes)


@pytest.mark.parametrize("status", range(100, 600))
def test_every_http_status_has_its_meaning(status: int) -> None:
    outcome = judge_status(status, None, AT)
    if 200 <= status < 300:
        expected = Result.SENT
    elif status in RETRIED:
        expected = Result.RETRY
    else:
        expected = Result.FAILED
    assert outcome.result is expected
    assert outcome.provider_status == f"HTTP {status}"
    assert str(status) in outcome.reason


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("3600", 3600.0),
        ("86400", MAX_RETRY_AFTER_SECONDS),
        ("9" * 400, MAX_RETRY_AFTER_SECONDS),
        (format_datetime(AT + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(AT - timedelta(days=1), usegmt=True), 0.0),
        (format_datetime(AT + timedelta(days=9), usegmt=True), MAX_RETRY_AFTER_SECONDS),
        ("Sat, 20 Jun 2026 13:11:00 -0000", 60.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(
    header: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(header, AT) == seconds
    assert judge_status(429, header, AT).retry_after_seconds == seconds
    assert judge_status(404, header, AT).retry_after_seconds is None


@given(st.text(max_size=60))
def test_no_retry_after_breaks_anything(header: str) -> None:
    seconds = parse_retry_after(header, AT)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_SECONDS


@given(st.sampled_from(Kind), st.integers(0, 10_000), st.floats(0, 1))
def test_delays_grow_spread_and_stay_bounded(kind: Kind, attempt: int, spread: float) -> None:
    delay = retry_delay_seconds(kind, attempt, None, spread)
    assert 0.5 <= delay <= 450
    if kind is Kind.PAGE:
        assert delay <= 90
    if attempt <= 1:
        assert delay <= 1.5
    assert retry_delay_seconds(kind, attempt, 1000.0, spread) == 1000.0


@given(st.integers(-5, 10_000), st.floats(0, 1), st.sampled_from(Kind))
def test_what_is_urgent_is_tried_again_within_four_seconds(
    attempt: int, spread: float, kind: Kind
) -> None:
    assert 0.5 <= retry_delay_seconds(kind, attempt, None, spread, is_urgent=True) <= 4.0
    # but never before a provider takes it again
    assert retry_delay_seconds(kind, attempt, 30.0, spread, is_urgent=True) == 30.0


def test_delays_of_many_do_not_fall_together() -> None:
    delays = {retry_delay_seconds(Kind.PAGE, 5, None, n / 100) for n in range(100)}
    assert max(delays) - min(delays) > 10


@pytest.mark.parametrize("result", Result)
def test_every_outcome_leads_somewhere_legal(result: Result) -> None:
    state = Outcome(result, "why").state
    assert state in TRANSITIONS[State.SENDING] | TRANSITIONS[State.LEASED]


@given(st.lists(st.integers(0, 11), max_size=40))
def test_every_walk_ends_or_can_still_be_sent(choices: list[int]) -> None:
    """From any state a message may still come to an end, and nothing leaves an end again."""
    state = State.PENDING
    for choice in choices:
        following = sorted(TRANSITIONS[state])
        if not following:
            break
        state = following[choice % len(following)]
    assert state in _ends() or _reaches(state, State.SENDING) or state is State.SENT


def _ends() -> set[State]:
    return {state for state, following in TRANSITIONS.items() if not following}


def _reaches(start: State, goal: State) -> bool:
    seen, todo = set(), [start]
    while todo:
        state = todo.pop()
        if state is goal:
            return True
        if state not in seen:
            seen.add(state)
            todo += TRANSITIONS[state]
    return False


def test_the_ends_are_what_people_are_told_they_are() -> None:
    assert _ends() == {
        State.DELIVERED,
        State.FAILED,
        State.SUPPRESSED,
        State.CANCELLED,
        State.EXPIRED,
        State.INBOX,
    }
    # What may have arrived is never treated as if it had not been tried.
    assert State.PENDING not in TRANSITIONS[State.SENDING]
    assert State.PENDING not in TRANSITIONS[State.UNKNOWN]


STATUSES = list(IncidentStatus)
NEEDED: Mapping[Kind, set[IncidentStatus]] = {
    Kind.PAGE: {IncidentStatus.OPEN},
    Kind.REOPENED: {IncidentStatus.OPEN},
    Kind.UPDATE: {IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED, IncidentStatus.INVESTIGATING},
    Kind.RESOLVED: {IncidentStatus.RESOLVED, IncidentStatus.CLOSED},
    Kind.TEST: set(STATUSES),
    Kind.VERIFY: set(STATUSES),
    Kind.GROUP: set(STATUSES),
    Kind.REPORT: set(STATUSES),
    Kind.DRILL: set(STATUSES),
}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("status", STATUSES)
def test_what_is_still_needed(kind: Kind, status: IncidentStatus) -> None:
    drop = no_longer_needed(delivery(kind, incident=IncidentNow(status, 1, "Priya")))
    assert (drop is None) == (status in NEEDED[kind])
    if drop is not None:
        assert drop.state in TRANSITIONS[State.LEASED]
        assert drop.reason


def test_a_page_of_an_older_generation_is_void() -> None:
    drop = no_longer_needed(delivery(generation=1, incident=IncidentNow(IncidentStatus.OPEN, 3)))
    assert drop is not None
    assert drop.state is State.CANCELLED


def test_who_has_it_in_hand_is_named() -> None:
    now = IncidentNow(IncidentStatus.ACKNOWLEDGED, 1, "Priya")
    drop = no_longer_needed(delivery(incident=now))
    assert drop is not None
    assert drop.reason == "Priya has it in hand"


def test_nobody_hears_the_end_of_what_he_never_heard_of() -> None:
    over = IncidentNow(IncidentStatus.RESOLVED, 2)
    assert no_longer_needed(delivery(Kind.RESOLVED, incident=over, was_told=True)) is None
    drop = no_longer_needed(delivery(Kind.RESOLVED, incident=over, was_told=False))
    assert drop is not None
    assert drop.state is State.SUPPRESSED


def test_the_end_waits_for_a_call_that_is_on_its_way() -> None:
    over = IncidentNow(IncidentStatus.RESOLVED, 2)
    for was_told in (True, False):
        drop = no_longer_needed(
            delivery(Kind.RESOLVED, incident=over, was_told=was_told, is_under_way=True)
        )
        assert drop is not None
        assert (drop.state, drop.hold_seconds) == (State.PENDING, 2.0)


def test_a_message_about_nothing_is_dropped() -> None:
    assert no_longer_needed(delivery(Kind.PAGE, incident=None)) is not None
    assert no_longer_needed(delivery(Kind.TEST, incident=None)) is None


@pytest.mark.parametrize("kind", Kind)
def test_everything_expires(kind: Kind) -> None:
    assert AT < expires_at(delivery(kind)) <= AT + timedelta(hours=24)
    own = AT + timedelta(minutes=3)
    assert expires_at(delivery(kind, expires_at=own)) == own


def test_every_channel_has_a_folder_and_every_folder_a_channel() -> None:
    folder = Path(channels_package.__file__).parent
    folders = {entry.name for entry in folder.iterdir() if (entry / "__init__.py").exists()}
    assert folders == {str(channel) for channel in SENDERS}
    for name in folders:
        files = {file.name for file in (folder / name).glob("*.py")}
        assert files >= {"__init__.py", "config.py", "render.py", "send.py"}


def test_a_channel_without_a_sender_cannot_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for channel in Channel:
        assert sender_for(channel) is SENDERS[channel]
    monkeypatch.delitem(channels_package.SENDERS, Channel.PAGERDUTY)
    with pytest.raises(NotValid) as caught:
        sender_for(Channel.PAGERDUTY)
    assert caught.value.errors[0].field == "channel"


QUIET = Quiet(
    AT - timedelta(hours=1), AT + timedelta(hours=8), ZoneInfo("Australia/Lord_Howe"), "Dan"
)


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("is_at_wedding", [False, True])
@pytest.mark.parametrize("kind", [Kind.PAGE, Kind.REOPENED, Kind.UPDATE, Kind.RESOLVED])
def test_quiet_hours_hold_all_but_emergencies(
    severity: Severity, is_at_wedding: bool, kind: Kind
) -> None:
    incident = IncidentNow(IncidentStatus.OPEN, 1, severity=severity, is_at_wedding=is_at_wedding)
    drop = hold_back(delivery(kind, incident=incident, quiet=QUIET), AT)
    passes = severity is Severity.EMERGENCY or (severity is Severity.CRITICAL and is_at_wedding)
    if passes:
        assert drop is None
    else:
        assert drop is not None
        assert (drop.state, drop.held_until) == (State.PENDING, QUIET.until)
        # 21:10 UTC, ten and a half hours further on
        assert drop.reason == "Held back until 07:40: Dan's quiet hours"
        # What is critical is looked at again: a wedding may begin.
        assert drop.hold_seconds == (60 if severity is Severity.CRITICAL else 8 * 3600)


def test_nothing_is_held_outside_them_and_nothing_that_was_asked_for() -> None:
    assert hold_back(delivery(), AT) is None
    assert hold_back(delivery(quiet=QUIET), QUIET.until) is None
    assert hold_back(delivery(quiet=QUIET, is_pressed=True), AT) is None
    assert hold_back(delivery(Kind.TEST, quiet=QUIET, incident=None), AT) is None


@pytest.mark.parametrize("kind", [Kind.UPDATE, Kind.RESOLVED])
def test_whoever_was_called_in_them_is_awake(kind: Kind) -> None:
    called = delivery(kind, quiet=QUIET, called_at=QUIET.since)
    assert hold_back(called, AT) is None
    before = replace(called, called_at=QUIET.since - timedelta(seconds=1))
    assert hold_back(before, AT) is not None
    # but another call is another matter
    assert hold_back(replace(called, kind=Kind.PAGE), AT) is not None


def test_the_time_held_back_does_not_count() -> None:
    held = delivery(Kind.UPDATE, held_until=QUIET.until)
    assert expires_at(held) == QUIET.until + timedelta(hours=1)
