"""What Slack and PagerDuty say is believed with their signature, and does no more than it says."""

import hmac
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.notify.channels.pagerduty import inbound as pagerduty
from wedsync_apm.notify.channels.pagerduty.config import PagerDutyTarget
from wedsync_apm.notify.channels.slack import inbound as slack
from wedsync_apm.notify.channels.slack.config import SlackTarget
from wedsync_apm.notify.inbound import FORGED, NOTHING, UNREADABLE, Acknowledged, Heard

AT = datetime(2026, 6, 20, 13, 10, tzinfo=UTC)
INCIDENT = UUID("0190a000-0000-7000-8000-000000000002")
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
OLD = "0f742231b10e8888abcd99yyyzzz85a6"
SLACK = SlackTarget("https://hooks.slack.example/x", signing_secret=SECRET)
PAGERDUTY = PagerDutyTarget("R0123456789ABCDEFGHIJKLMNOPQRSTU", webhook_secrets=(SECRET, OLD))


def hexed(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, sha256).hexdigest()


def tap(value: object = f"{INCIDENT}:3", **changes: Any) -> bytes:
    said = {
        "type": "block_actions",
        "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
        "user": {"id": "U1", "username": "priya", "name": "Priya"},
        "actions": [{"action_id": "acknowledge", "type": "button", "value": value}],
    }
    return b"payload=" + quote_plus(json.dumps(said | changes)).encode()


def slack_headers(body: bytes, at: datetime = AT, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    signature = hexed(secret, f"v0:{stamp}:".encode() + body)
    return {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={signature}"}


def event(kind: str = "incident.acknowledged", **changes: Any) -> bytes:
    made = {
        "id": "01BX5ZZKBKACTAV9WEVGEMMVRY",
        "event_type": kind,
        "resource_type": "incident",
        "occurred_at": (AT - timedelta(seconds=2)).isoformat(),
        "agent": {"id": "PXPGF42", "type": "user_reference", "summary": "Earline"},
        "client": None,
        "data": {"id": "PT4KHLK", "incident_key": f"wedsync-incident-{INCIDENT}"},
    }
    return json.dumps({"event": made | changes}).encode()


def pagerduty_headers(body: bytes, *secrets: str) -> dict[str, str]:
    signatures = ",".join(f"v1={hexed(secret, body)}" for secret in secrets or (SECRET,))
    return {"x-pagerduty-signature": signatures}


def test_a_tap_in_slack_acknowledges() -> None:
    body = tap()
    heard = slack.hear(body, slack_headers(body), SLACK, AT)
    [one] = heard.acknowledged
    assert heard.status == 200
    assert (one.incident_id, one.generation, one.receiver) == (INCIDENT, 3, "Priya")
    assert one.event_id.startswith("12321423423.")


@pytest.mark.parametrize("late", [-301, 301, -3600, 86_400])
def test_slack_is_not_believed_too_late_or_too_early(late: int) -> None:
    body = tap()
    headers = slack_headers(body, AT + timedelta(seconds=late))
    assert slack.hear(body, headers, SLACK, AT) == FORGED
    near = slack_headers(body, AT + timedelta(seconds=299 if late > 0 else -299))
    assert slack.hear(body, near, SLACK, AT).acknowledged


def test_slack_is_not_believed_without_the_right_signature() -> None:
    body = tap()
    right = slack_headers(body)
    wrong: list[dict[str, str]] = [
        {},
        {**right, "x-slack-signature": ""},
        {**right, "x-slack-signature": right["x-slack-signature"].replace("v0=", "v1=")},
        {**right, "x-slack-signature": right["x-slack-signature"][:-1]},
        {**right, "x-slack-signature": "v0=ü"},
        {**right, "x-slack-request-timestamp": "now"},
        {**right, "x-slack-request-timestamp": "9" * 30},
        slack_headers(body, secret=OLD),
    ]
    for headers in wrong:
        assert slack.hear(body, headers, SLACK, AT) == FORGED
    assert slack.hear(body + b" ", right, SLACK, AT) == FORGED
    # Without a signing secret nobody can sign, not even with an empty one.
    unsigned = SlackTarget("https://hooks.slack.example/x")
    assert slack.hear(body, slack_headers(body, secret=""), unsigned, AT) == FORGED


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", UNREADABLE),
        (b"payload=%7B", UNREADABLE),
        (b"payload=[]", UNREADABLE),
        (b"payload=" + b"[" * 100_000, UNREADABLE),
        (b"\xff\xfe", UNREADABLE),
        (tap(type="view_submission"), NOTHING),
        (tap(actions=None), NOTHING),
        (tap(actions=[{"action_id": "other", "value": f"{INCIDENT}:3"}]), NOTHING),
        (tap(value=None), NOTHING),
        (tap(value=f"{INCIDENT}:-1"), NOTHING),
        (tap(value=f"{INCIDENT}:99999999999999999999"), NOTHING),
        (tap(value="x:3"), NOTHING),
    ],
    ids=range(12),
)
def test_what_slack_says_beside_that_does_nothing(body: bytes, expected: Heard) -> None:
    assert slack.hear(body, slack_headers(body), SLACK, AT) == expected


@pytest.mark.parametrize(
    "kind", ["incident.acknowledged", "incident.resolved", "incident.reassigned"]
)
def test_what_a_person_does_at_pagerduty_acknowledges(kind: str) -> None:
    body = event(kind)
    heard = pagerduty.hear(body, pagerduty_headers(body), PAGERDUTY, AT)
    happened_at = AT - timedelta(seconds=2)
    assert heard == Heard(
        200,
        (Acknowledged(INCIDENT, None, "Earline", "01BX5ZZKBKACTAV9WEVGEMMVRY", happened_at),),
    )


def test_one_of_several_signatures_is_enough_while_keys_change_over() -> None:
    body = event()
    for secrets in ((SECRET,), (OLD,), ("a stranger's", OLD), (SECRET, OLD)):
        headers = pagerduty_headers(body, *secrets)
        assert pagerduty.hear(body, headers, PAGERDUTY, AT).acknowledged
    right = hexed(SECRET, body)
    for header in ("", right, f"v0={right}", f"v2={right}", "v1=", f"v1={right[:-1]}", "v1=ü"):
        assert pagerduty.hear(body, {"x-pagerduty-signature": header}, PAGERDUTY, AT) == FORGED
    assert pagerduty.hear(body + b" ", pagerduty_headers(body), PAGERDUTY, AT) == FORGED
    silent = PagerDutyTarget("R0123456789ABCDEFGHIJKLMNOPQRSTU")
    assert pagerduty.hear(body, pagerduty_headers(body, ""), silent, AT) == FORGED


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": {"type": "events_api_v2_inbound_integration_reference", "summary": "APM"}},
        {"agent": {"type": "service_reference"}},
        {"agent": None},
        {"event_type": "incident.triggered"},
        {"event_type": "incident.unacknowledged"},
        {"event_type": "pagey.ping"},
        {"data": {"incident_key": f"another-{INCIDENT}"}},
        {"data": {"incident_key": "wedsync-incident-x"}},
        {"data": {"incident_key": None}},
        {"occurred_at": "yesterday"},
        {"occurred_at": "2026-06-20T13:10:00"},
        {"occurred_at": (AT - timedelta(hours=25)).isoformat()},
        {"occurred_at": (AT + timedelta(minutes=6)).isoformat()},
    ],
    ids=range(13),
)
def test_what_nobody_did_there_does_nothing_here(changes: dict[str, Any]) -> None:
    """Our own events come back as well, and would go round in circles."""
    body = event(**changes)
    assert pagerduty.hear(body, pagerduty_headers(body), PAGERDUTY, AT) == NOTHING


WORDS = st.sampled_from(
    ["event", "id", "event_type", "agent", "data", "type", "actions", "user", "value"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5),
)


@given(ANYTHING)
def test_whatever_is_signed_is_answered(said: object) -> None:
    raw = json.dumps(said).encode()
    assert pagerduty.hear(raw, pagerduty_headers(raw), PAGERDUTY, AT).status in (200, 400)
    form = b"payload=" + quote_plus(raw).encode()
    assert slack.hear(form, slack_headers(form), SLACK, AT).status in (200, 400)


def test_a_name_from_outside_stays_on_one_line() -> None:
    body = event(agent={"type": "user_reference", "summary": "Earl\r\nine \u202e" + "x" * 10_000})
    [one] = pagerduty.hear(body, pagerduty_headers(body), PAGERDUTY, AT).acknowledged
    assert one.receiver.startswith("Earl ine x")
    assert len(one.receiver) == 200
    body = tap(user={"name": "\n\x00"})
    [tapped] = slack.hear(body, slack_headers(body), SLACK, AT).acknowledged
    assert tapped.receiver == "somebody at Slack"


def test_a_drill_is_answered_like_a_call() -> None:
    body = tap(value=f"drill:{INCIDENT}")
    assert slack.hear(body, slack_headers(body), SLACK, AT) == Heard(200, drills=(INCIDENT,))
    body = event(data={"incident_key": f"wedsync-drill-{INCIDENT}"})
    heard = pagerduty.hear(body, pagerduty_headers(body), PAGERDUTY, AT)
    assert heard == Heard(200, drills=(INCIDENT,))
    for value in ("drill:", "drill:x"):
        body = tap(value=value)
        assert slack.hear(body, slack_headers(body), SLACK, AT) == NOTHING
