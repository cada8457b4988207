"""What people read: the words of every message."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.incidents.works import Watched
from wedsync_apm.notify import words
from wedsync_apm.notify.channels import SENDERS
from wedsync_apm.notify.message import Message
from wedsync_apm.notify.model import Kind
from wedsync_apm.notify.words import Facts, body, span_words, subject
from wedsync_apm.types import Channel

AT = datetime(2026, 6, 20, 12, 13, tzinfo=UTC)
FACTS = Facts(
    kind=Kind.PAGE,
    reason="first",
    delivery_id=UUID(int=1),
    organization_id=UUID(int=2),
    organization_name="Fern & Field",
    time_zone="Europe/London",
    receiver="Priya",
    at=AT,
    base_url="https://apm.example",
    incident_id=UUID(int=3),
    number=4127,
    title="wedding_forms.p95 too high",
    status="open",
    severity="critical",
    priority="critical",
    detected_at=AT - timedelta(minutes=3),
    metric_value=9100.0,
    threshold_value=3000.0,
    was_wedding_day=True,
    weddings=[
        {
            "wedding_id": "x",
            "initials": "A & R",
            "time_zone": "Europe/Rome",
            "next_milestone_at": (AT + timedelta(minutes=47)).isoformat(),
        }
    ],
    vendor_text={
        "subject": "Your order form",
        "problem": "is slow",
        "still_works": "Payments, messages and photos work.",
        "what_to_do": ["Take orders by telephone", "Tell guests to wait"],
    },
    acknowledge_url="https://apm.example/ack/7KQ2M9XF",
)


def lines(facts: Facts) -> list[str]:
    return body(facts).splitlines()


def test_a_call_says_what_is_wrong_what_works_when_it_matters_and_what_to_do() -> None:
    assert lines(replace(FACTS, next_step_at=AT + timedelta(minutes=4))) == [
        "Your order form is slow since 13:10.",
        "Payments, messages and photos work.",
        "A wedding is under way: its next part begins at 15:00 venue time, in 47 min.",
        "Nobody has it yet.",
        "If nobody answers, the next call goes out at 13:17.",
        "- Take orders by telephone",
        "- Tell guests to wait",
        "",
        "I'm on it: https://apm.example/ack/7KQ2M9XF",
        "",
        f"See it: https://apm.example/incidents/{UUID(int=3)}",
        "Fern & Field. Times are in Europe/London.",
    ]


def test_what_still_works_is_what_was_measured() -> None:
    services = [
        Watched("Order form", "forms", "forms.send_time", True),
        Watched("Payments", "payments", "payments.time", False),
        Watched("Gallery", "gallery", None, True),
    ]
    facts = replace(FACTS, services=services, metric_pattern="forms.send_time")
    assert lines(facts)[1:3] == [
        "Still working: Gallery.",
        "A wedding is under way: its next part begins at 15:00 venue time, in 47 min.",
    ]


def test_the_next_rung_hears_how_long_nobody_answered() -> None:
    assert "No one has answered for 3 min. You are next." in lines(
        replace(FACTS, reason="escalated")
    )


def test_an_update_names_who_has_it_and_promises_a_time() -> None:
    facts = replace(
        FACTS,
        kind=Kind.UPDATE,
        acknowledged_by="Priya",
        acknowledged_at=AT - timedelta(minutes=1),
        next_update_at=AT + timedelta(minutes=12),
        acknowledge_url=None,
    )
    assert lines(facts)[:3] == [
        "Your order form is slow.",
        "Priya has had it in hand since 13:12.",
        "Next update by 13:25, even if nothing has changed.",
    ]


def test_both_texts_say_by_when_the_next_word_comes() -> None:
    facts = replace(
        FACTS,
        engineer_text="p95 of forms.submit_time is 9100 and alarms > 3000.",
        next_update_at=datetime(2026, 6, 20, 13, 20, tzinfo=UTC),
    )
    for kind in (Kind.PAGE, Kind.REOPENED, Kind.UPDATE):
        said = lines(replace(facts, kind=kind))
        place = said.index(
            "For whoever mends it: p95 of forms.submit_time is 9100 and alarms > 3000."
        )
        assert said[place - 1] == "", "a paragraph of its own"
        assert said[place + 1] == "Next update by 14:20, or other people are called."
        assert "Next update by 14:20, even if nothing has changed." in said[:place]
        text = SENDERS[Channel.SMS].render(replace(facts, kind=kind)).body
        assert "p95" not in text, "a text is for the vendor, in plain words"
        hook = json.loads(SENDERS[Channel.WEBHOOK].render(replace(facts, kind=kind)).body)
        assert hook["data"]["incident"]["engineer_text"] == facts.engineer_text
        assert hook["data"]["incident"]["next_update_at"] == "2026-06-20T13:20:00Z"
    over = replace(facts, kind=Kind.RESOLVED, resolved_at=AT)
    assert not any("whoever mends it" in line for line in lines(over))


def test_whoever_has_it_is_reminded_of_his_time() -> None:
    until = {"until": (AT + timedelta(minutes=2)).isoformat()}
    held = replace(FACTS, kind=Kind.UPDATE, acknowledged_by="Priya", payload=until)
    ends = replace(held, payload=until | {"word": "hold_ends"})
    assert lines(ends)[:3] == [
        "Your order form is slow.",
        "Say something by 13:15, or other people are called again.",
        "Priya has had it in hand.",
    ]
    late = replace(held, payload=until | {"word": "promise_missed"})
    assert lines(late)[1:3] == [
        "The update that was promised is late. The vendor still waits for it.",
        "Without a word by 13:15, other people are called.",
    ]
    word = replace(held, payload={"word": "update", "message": "We have found it.\nSoon."})
    assert lines(word)[1] == "We have found it. Soon."


def test_what_was_merged_says_where_it_goes_on() -> None:
    into = {"merged_into": {"id": str(UUID(int=9)), "number": 4130, "title": "The host is down"}}
    facts = replace(FACTS, kind=Kind.RESOLVED, resolved_at=AT, payload=into, acknowledge_url=None)
    assert lines(facts)[:2] == [
        "Your order form is slow: it is part of a larger problem, #4130 The host is down.",
        "It goes on there, and you are told when that is over.",
    ]
    for channel in (Channel.EMAIL, Channel.SMS, Channel.SLACK, Channel.VOICE):
        assert "orking again" not in SENDERS[channel].render(facts).body, channel


def test_the_end_says_when_and_how_long() -> None:
    facts = replace(
        FACTS, kind=Kind.RESOLVED, resolved_at=AT + timedelta(minutes=18), acknowledge_url=None
    )
    assert lines(facts)[:2] == [
        "Working again since 13:31. It was: Your order form is slow.",
        "It lasted 21 min.",
    ]


def test_coming_back_and_being_let_go_are_told_apart() -> None:
    back = replace(FACTS, kind=Kind.REOPENED, reopened_at=AT)
    assert lines(back)[0] == "It has come back since 13:13: Your order form is slow."
    let_go = replace(FACTS, kind=Kind.REOPENED, lapsed_at=AT - timedelta(minutes=1))
    assert lines(let_go)[0] == "Your order form is slow since 13:10."
    assert "Nobody has had it in hand since 13:12." in lines(let_go)


def test_a_test_says_that_it_is_one() -> None:
    facts = replace(FACTS, kind=Kind.TEST, incident_id=None)
    assert subject(facts) == "WedSync APM: a test, nothing is wrong"
    assert lines(facts)[0] == "This is a test for Fern & Field. Nothing is wrong."


def test_the_subject_is_the_same_for_all_messages_of_an_incident() -> None:
    kinds = (Kind.PAGE, Kind.UPDATE, Kind.REOPENED, Kind.RESOLVED)
    assert {subject(replace(FACTS, kind=kind)) for kind in kinds} == {"Your order form is slow"}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.SLACK])
def test_no_word_that_people_should_not_have_to_know(kind: Kind, channel: Channel) -> None:
    rendered = SENDERS[channel].render(replace(FACTS, kind=kind, resolved_at=AT))
    said = f"{rendered.subject}\n{rendered.body}".lower()
    for word in ("p95", "critical", "threshold", "latency", "tenant", "endpoint", "acknowledge"):
        assert word not in said
    assert "a & r" not in said  # initials stay off lock screens as well
    assert "!" not in said


def test_yesterdays_times_name_the_day() -> None:
    facts = replace(FACTS, detected_at=AT - timedelta(days=1))
    assert lines(facts)[0] == "Your order form is slow since Fri 13:13."


def test_without_the_rules_words_the_title_speaks() -> None:
    assert subject(replace(FACTS, vendor_text={})) == "wedding_forms.p95 too high"
    assert subject(replace(FACTS, vendor_text=None, title="")) == "A problem"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (40, "40 s"),
        (60, "1 min"),
        (21 * 60, "21 min"),
        (119 * 60, "119 min"),
        (200 * 60, "3 h 20 min"),
        (180 * 60, "3 h"),
        (4 * 86400, "4 days"),
    ],
)
def test_lengths_of_time(seconds: float, said: str) -> None:
    assert span_words(seconds) == said


RUBBISH = st.one_of(st.none(), st.text(max_size=20), st.integers(), st.lists(st.text(max_size=5)))


@given(
    st.sampled_from(Kind),
    st.dictionaries(st.sampled_from(["subject", "problem", "still_works", "what_to_do"]), RUBBISH),
    st.lists(
        st.dictionaries(st.sampled_from(["next_milestone_at", "time_zone"]), RUBBISH), max_size=3
    ),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_rubbish_in_the_facts_never_stops_a_message(
    kind: Kind, vendor_text: dict[str, Any], weddings: list[Any], title: str, zone: str
) -> None:
    facts = replace(
        FACTS, kind=kind, vendor_text=vendor_text, weddings=weddings, title=title, time_zone=zone
    )
    for sender in SENDERS.values():
        rendered = sender.render(facts)
        assert rendered.subject
        assert "\n" not in rendered.subject
        assert rendered.body


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_webhooks_body_is_always_json(value: float) -> None:
    rendered = SENDERS[Channel.WEBHOOK].render(replace(FACTS, metric_value=value))
    said = json.loads(rendered.body, parse_constant=_no_constants)
    assert said["type"] == "incident.page"
    assert said["timestamp"] == "2026-06-20T12:13:00Z"


def _no_constants(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_only_our_own_addresses_become_links() -> None:
    message = Message(UUID(int=1), None, Kind.PAGE, "s", "b", AT, "https://apm.example")
    assert message.split_links("See it: https://apm.example/incidents/1") == (
        "See it",
        "https://apm.example/incidents/1",
    )
    for line in (
        "See it: https://apm.example.evil.example/",
        "See it: https://apm.example",
        "See it: https://evil.example/?https://apm.example/",
        "https://apm.example/x",
        "See it: https://apm.example/x and more",
    ):
        assert message.split_links(line) is None


def test_the_catalogue_is_used_by_every_channel() -> None:
    for channel in (Channel.EMAIL, Channel.SLACK):
        assert SENDERS[channel].render(FACTS).body == words.body(FACTS)
    assert json.loads(SENDERS[Channel.WEBHOOK].render(FACTS).body)["data"]["message"] == (
        words.body(FACTS)
    )
