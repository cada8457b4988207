"""PagerDuty, Slack's bots and web push, against providers on their worst day, over real sockets."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook

from tests.support.providers import (
    BOT_TOKEN,
    CHANNEL_ID,
    ROUTING_KEY,
    Browser,
    Providers,
    providers,
)
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.errors import NotValid
from wedsync_apm.notify.channels import SENDERS
from wedsync_apm.notify.channels.pagerduty.config import PagerDutyTarget
from wedsync_apm.notify.channels.push.config import PushTarget
from wedsync_apm.notify.channels.slack.config import SlackTarget
from wedsync_apm.notify.channels.webhook.config import OVERLAP, WebhookTarget, new_key
from wedsync_apm.notify.message import Message, Tools
from wedsync_apm.notify.model import Kind, Outcome, Result
from wedsync_apm.notify.vapid import Vapid, encode, new_private_key
from wedsync_apm.notify.words import Facts
from wedsync_apm.types import Channel

AT = datetime.now(UTC)
INCIDENT = UUID("0190a000-0000-7000-8000-000000000002")
BASE = "http://here.example"
FACTS = Facts(
    kind=Kind.PAGE,
    reason="first",
    delivery_id=UUID("0190a000-0000-7000-8000-000000000001"),
    organization_id=UUID("0190a000-0000-7000-8000-000000000003"),
    organization_name="Fern & Field",
    time_zone="Europe/London",
    receiver="Priya",
    at=AT,
    base_url=BASE,
    incident_id=INCIDENT,
    number=7,
    title="forms.p95 too high",
    status="open",
    severity="critical",
    priority="high",
    detected_at=AT - timedelta(minutes=5),
    metric_value=812.5,
    threshold_value=float("inf"),
    vendor_text={"subject": "Your order form", "problem": "is slow"},
    metric_pattern="forms.p95",
    acknowledge_url=f"{BASE}/ack/abc",
)
OVER: dict[str, Any] = {"kind": Kind.RESOLVED, "status": "resolved", "resolved_at": AT}
TAKEN: dict[str, Any] = {
    "kind": Kind.UPDATE,
    "status": "acknowledged",
    "acknowledged_by": "Mo",
    "acknowledged_at": AT,
}


@pytest.fixture
async def world() -> AsyncIterator[Providers]:
    async with providers() as found:
        yield found


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    vapid = Vapid.read(new_private_key(), "mailto:apm@wedsync.example")
    policy = EgressPolicy.parse(["127.0.0.1"])
    async with aclosing(EgressClient(policy, total_seconds=30.0)) as client:
        yield Tools(client, vapid=vapid)


def target_of(channel: Channel, world: Providers) -> Any:
    match channel:
        case Channel.PAGERDUTY:
            return PagerDutyTarget(ROUTING_KEY, world.url("/v2/enqueue"))
        case Channel.SLACK:
            return SlackTarget(world.url("/api"), BOT_TOKEN, CHANNEL_ID, "s" * 32)
        case _:
            browser = world.browsers.setdefault("one", Browser())
            return PushTarget(world.url("/push/one"), browser.p256dh, encode(browser.auth))


def message_of(channel: Channel, facts: Facts, *earlier_ids: str) -> Message:
    rendered = SENDERS[channel].render(facts)
    return Message(
        delivery_id=facts.delivery_id,
        incident_id=facts.incident_id,
        kind=facts.kind,
        subject=rendered.subject,
        body=rendered.body,
        created_at=facts.at,
        base_url=BASE,
        generation=3,
        earlier_ids=earlier_ids,
    )


async def send(
    channel: Channel, world: Providers, tools: Tools, *earlier_ids: str, **changes: Any
) -> Outcome:
    message = message_of(channel, replace(FACTS, **changes), *earlier_ids)
    target = target_of(channel, world)
    outcome: Outcome = await SENDERS[channel].send(message, target, tools, AT)
    for secret in (ROUTING_KEY, BOT_TOKEN, "/push/one"):
        assert secret not in repr(outcome)
        assert secret not in repr(target)
    return outcome


CHANNELS = [Channel.PAGERDUTY, Channel.SLACK, Channel.PUSH]


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_call_arrives_and_a_repeat_does_no_harm(
    channel: Channel, world: Providers, tools: Tools
) -> None:
    world.faults.append("cut")
    first = await send(channel, world, tools)
    assert (first.result, first.may_have_arrived) == (Result.RETRY, True)
    second = await send(channel, world, tools)
    assert second.result is Result.SENT
    assert second.provider_id
    # It was taken the first time too. By key and by topic it is one; Slack has no such thing.
    if channel is Channel.PAGERDUTY:
        assert [one.rung for one in world.incidents] == [1]
    elif channel is Channel.SLACK:
        assert len(world.messages) == 2
    else:
        assert len(world.waiting) == 1


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("fault", "arrived", "wait"),
    [
        ("429:7", False, 7.0),
        ("500", False, None),
        ("reset", True, None),
        ("slow", True, None),
        ("portal", True, None),
        ("error:ratelimited", True, None),
    ],
)
async def test_a_bad_day_is_tried_again(
    *,
    channel: Channel,
    fault: str,
    arrived: bool,
    wait: float | None,
    world: Providers,
    tools: Tools,
) -> None:
    world.faults.append(fault)
    # Nobody waits longer than this for what never answers; a busy machine may for the others.
    patience = 0.5 if fault == "slow" else 30.0
    policy = EgressPolicy.parse(["127.0.0.1"])
    async with aclosing(EgressClient(policy, total_seconds=patience)) as client:
        outcome = await send(channel, world, replace(tools, egress=client))
    if channel is Channel.PUSH and fault in ("portal", "error:ratelimited"):
        # A push service says yes with the status alone.
        assert outcome.result is Result.SENT
        return
    assert outcome.result is Result.RETRY
    assert outcome.retry_after_seconds == wait
    if channel is Channel.SLACK and fault.startswith("error"):
        arrived = False
    assert outcome.may_have_arrived is arrived
    assert (await send(channel, world, tools)).result is Result.SENT


@pytest.mark.parametrize("channel", CHANNELS)
async def test_inner_addresses_are_never_called(channel: Channel, world: Providers) -> None:
    async with aclosing(EgressClient(EgressPolicy())) as client:
        vapid = Vapid.read(new_private_key(), "mailto:apm@wedsync.example")
        outcome = await send(channel, world, Tools(client, vapid=vapid))
    assert outcome.result is Result.FAILED
    assert world.requests == []


async def test_pagerduty_follows_an_incident_under_one_key(world: Providers, tools: Tools) -> None:
    for severity in ("info", "warning", "critical", "emergency"):
        assert (
            await send(Channel.PAGERDUTY, world, tools, severity=severity)
        ).result is Result.SENT
    [incident] = world.incidents
    assert incident.key == f"wedsync-incident-{INCIDENT}"
    assert incident.status == "triggered"
    severities = [json.loads(one.body)["payload"]["severity"] for one in world.requests]
    assert severities == ["info", "warning", "critical", "critical"]
    sent = json.loads(world.requests[0].body)
    assert sent["payload"]["summary"] == "Your order form is slow"
    assert sent["payload"]["source"] == "Fern & Field"
    assert sent["payload"]["custom_details"]["threshold_value"] == "inf"
    assert sent["links"] == [
        {"href": f"{BASE}/incidents/{INCIDENT}", "text": "See it"},
        {"href": f"{BASE}/ack/abc", "text": "I'm on it"},
    ]
    assert (await send(Channel.PAGERDUTY, world, tools, **TAKEN)).provider_id == incident.key
    assert incident.status == "acknowledged"
    await send(Channel.PAGERDUTY, world, tools, **OVER)
    assert incident.status == "resolved"
    # It comes back: a new incident there, under the same key.
    await send(Channel.PAGERDUTY, world, tools, kind=Kind.REOPENED, reopened_at=AT)
    assert [(one.key, one.status) for one in world.incidents] == [
        (incident.key, "resolved"),
        (incident.key, "triggered"),
    ]


async def test_what_was_let_go_of_rings_again_at_pagerduty(world: Providers, tools: Tools) -> None:
    """There it is acknowledged still, and one more trigger would ring nobody."""
    await send(Channel.PAGERDUTY, world, tools)
    await send(Channel.PAGERDUTY, world, tools, **TAKEN)
    world.faults.append("500")
    lapsed = {"lapsed_at": AT, "reason": "first"}
    assert (await send(Channel.PAGERDUTY, world, tools, **lapsed)).result is Result.RETRY
    assert [one.status for one in world.incidents] == ["acknowledged"]
    assert (await send(Channel.PAGERDUTY, world, tools, **lapsed)).result is Result.SENT
    assert [one.status for one in world.incidents] == ["resolved", "triggered"]


async def test_pagerduty_refuses_for_good(world: Providers, tools: Tools) -> None:
    wrong = PagerDutyTarget("R" * 32, world.url("/v2/enqueue"))
    message = message_of(Channel.PAGERDUTY, FACTS)
    outcome = await SENDERS[Channel.PAGERDUTY].send(message, wrong, tools, AT)
    assert outcome.result is Result.FAILED
    assert "integration key" in outcome.reason


async def test_an_event_keeps_to_pagerdutys_limits(world: Providers, tools: Tools) -> None:
    long = "ü" * 300_000
    outcome = await send(
        Channel.PAGERDUTY,
        world,
        tools,
        organization_name=long,
        vendor_text={"subject": long, "problem": long, "what_to_do": [long] * 3},
    )
    assert outcome.result is Result.SENT
    assert len(world.requests[0].body) < 512_000


async def test_slack_changes_its_message_and_tells_the_end(world: Providers, tools: Tools) -> None:
    made = await send(Channel.SLACK, world, tools)
    assert made.provider_id == f"{CHANNEL_ID}/1700000000.000001"
    [message] = world.messages.values()
    assert [block["type"] for block in message["blocks"]] == ["header", "section", "actions"]
    [button] = message["blocks"][-1]["elements"]
    assert button["value"] == f"{INCIDENT}:3"
    assert "/ack/" not in json.dumps(message)
    again = await send(Channel.SLACK, world, tools, reason="escalated")
    earlier = (str(again.provider_id), str(made.provider_id))

    outcome = await send(Channel.SLACK, world, tools, *earlier, **TAKEN)
    assert (outcome.result, outcome.provider_id) == (Result.SENT, earlier[0])
    assert world.posts == 2
    for message in world.messages.values():
        assert [block["type"] for block in message["blocks"]] == ["header", "section"]
        assert "Mo has had it in hand" in message["blocks"][1]["text"]["text"]

    outcome = await send(Channel.SLACK, world, tools, *earlier, **OVER)
    assert (outcome.result, outcome.provider_id) == (Result.SENT, earlier[0])
    assert world.posts == 3
    told = list(world.messages.values())[-1]
    assert (told["thread_ts"], told["reply_broadcast"]) == ("1700000000.000002", True)
    for message in world.messages.values():
        assert "Working again since" in message["blocks"][1]["text"]["text"]


async def test_slack_tells_anew_what_cannot_be_changed(world: Providers, tools: Tools) -> None:
    outcome = await send(Channel.SLACK, world, tools, f"{CHANNEL_ID}/1.2", "odd", **TAKEN)
    assert (outcome.result, world.posts) == (Result.SENT, 1)
    world.faults.extend(["error:internal_error"])
    stands = str(outcome.provider_id)
    assert (await send(Channel.SLACK, world, tools, stands, **TAKEN)).result is Result.RETRY
    assert (await send(Channel.SLACK, world, tools, stands, **TAKEN)).result is Result.SENT
    assert world.posts == 1


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("channel_not_found", Result.FAILED),
        ("invalid_auth", Result.FAILED),
        ("is_archived", Result.FAILED),
        ("msg_too_long", Result.FAILED),
        ("ratelimited", Result.RETRY),
        ("internal_error", Result.RETRY),
        ("a_word_of_tomorrow", Result.RETRY),
        (BOT_TOKEN, Result.RETRY),
    ],
)
async def test_a_no_in_a_200_is_judged_by_its_word(
    word: str, result: Result, world: Providers, tools: Tools
) -> None:
    world.faults.append(f"error:{word}")
    assert (await send(Channel.SLACK, world, tools)).result is result


async def test_an_incoming_webhook_has_a_button_only_where_a_tap_is_believed(
    world: Providers, tools: Tools
) -> None:
    for secret, kinds in (
        ("", ["header", "section"]),
        ("s" * 32, ["header", "section", "actions"]),
    ):
        target = SlackTarget(world.url("/services/T0/B0/x"), signing_secret=secret)
        message = message_of(Channel.SLACK, FACTS)
        outcome = await SENDERS[Channel.SLACK].send(message, target, tools, AT)
        assert outcome.result is Result.SENT
        sent = world.hooks[-1]
        assert [block["type"] for block in sent["blocks"]] == kinds
        assert ("/ack/abc" in json.dumps(sent)) is not bool(secret)


async def test_a_notification_is_short_and_replaces_the_one_before(
    world: Providers, tools: Tools
) -> None:
    await send(Channel.PUSH, world, tools)
    await send(Channel.PUSH, world, tools, **TAKEN)
    [first, second] = world.browsers["one"].shown
    assert first["title"] == "Your order form is slow"
    assert first["tag"] == second["tag"] == str(INCIDENT)
    assert first["acknowledge_url"] == f"{BASE}/ack/abc"
    assert second["acknowledge_url"] is None or second["status"] == "acknowledged"
    assert len(world.waiting) == 1
    headers = world.requests[0].headers
    assert (headers["urgency"], headers["ttl"]) == ("high", "300")
    assert headers["topic"] == INCIDENT.hex
    assert headers["content-encoding"] == "aes128gcm"
    await send(
        Channel.PUSH, world, tools, vendor_text={"subject": "word " * 99, "problem": "is slow"}
    )
    long = world.browsers["one"].shown[-1]
    assert len(long["title"]) <= 40
    assert len(long["body"]) <= 110
    assert long["title"].endswith("word…")


async def test_a_browser_that_is_gone_ends_its_contact(world: Providers, tools: Tools) -> None:
    target = target_of(Channel.PUSH, world)
    world.browsers["one"].is_gone = True
    outcome = await SENDERS[Channel.PUSH].send(message_of(Channel.PUSH, FACTS), target, tools, AT)
    assert (outcome.result, outcome.ends_contact) == (Result.FAILED, True)
    stranger = replace(tools, vapid=None)
    assert SENDERS[Channel.PUSH].unready(stranger)
    assert SENDERS[Channel.PUSH].unready(tools) is None


async def test_two_keys_sign_while_a_webhook_changes_over(world: Providers, tools: Tools) -> None:
    now = datetime.now(UTC)  # which the receiver holds it against
    before = WebhookTarget(world.url("/hook"), new_key())
    after = before.rotated(now)
    assert SENDERS[Channel.WEBHOOK].configure("", after.secret) == after
    message = message_of(Channel.WEBHOOK, FACTS)
    for at, count in ((now, 2), (now + OVERLAP - timedelta(seconds=1), 2), (now + OVERLAP, 1)):
        outcome = await SENDERS[Channel.WEBHOOK].send(message, after, tools, at)
        assert outcome.result is Result.SENT
        signatures = world.webhooks[-1].headers["webhook-signature"].split(" ")
        assert len(signatures) == count
        assert signatures[0] == Webhook(after.key).sign(str(message.delivery_id), at, message.body)
    seen = world.webhooks[0]
    for key in (before.key, after.key):
        Webhook(key).verify(seen.body, seen.headers, json_parse=False)
    for key in (before.key, after.key):
        assert key not in repr(after)


@pytest.mark.parametrize(
    ("channel", "given", "field"),
    [
        (Channel.PAGERDUTY, {}, "routing_key"),
        (Channel.PAGERDUTY, {"routing_key": "short"}, "routing_key"),
        (Channel.PAGERDUTY, {"routing_key": ROUTING_KEY, "url": "ftp://x"}, "url"),
        (Channel.PAGERDUTY, {"routing_key": ROUTING_KEY, "webhook_secret": "x"}, "webhook_secret"),
        (Channel.SLACK, {}, "url"),
        (Channel.SLACK, {"bot_token": BOT_TOKEN}, "channel_id"),
        (Channel.SLACK, {"bot_token": "no", "channel_id": CHANNEL_ID}, "bot_token"),
        (Channel.SLACK, {"bot_token": BOT_TOKEN, "channel_id": "#general"}, "channel_id"),
        (Channel.SLACK, {"url": "https://x.example", "signing_secret": "a b"}, "signing_secret"),
        (Channel.PUSH, {"url": "https://x.example"}, "p256dh"),
        (Channel.PUSH, {"url": "https://x.example", "p256dh": "AAAA", "auth": "AAAA"}, "p256dh"),
        (
            Channel.PUSH,
            {"url": "https://x.example", "p256dh": Browser().p256dh, "auth": "AAAA"},
            "auth",
        ),
    ],
    ids=range(12),
)
def test_what_cannot_work_is_refused_with_the_field(
    channel: Channel, given: dict[str, str], field: str
) -> None:
    read_fields = SENDERS[channel].read_fields
    assert read_fields is not None
    with pytest.raises(NotValid) as caught:
        read_fields(given)
    assert caught.value.errors[0].field == field


@pytest.mark.parametrize(
    ("channel", "given", "address"),
    [
        (Channel.PAGERDUTY, {"routing_key": ROUTING_KEY}, "events.pagerduty.com"),
        (
            Channel.PAGERDUTY,
            {"routing_key": ROUTING_KEY, "webhook_secret": f"{'a' * 32} {'b' * 32}"},
            "events.pagerduty.com",
        ),
        (Channel.SLACK, {"url": "https://hooks.slack.example/T/B/x"}, "hooks.slack.example"),
        (
            Channel.SLACK,
            {"bot_token": BOT_TOKEN, "channel_id": CHANNEL_ID, "signing_secret": "s" * 32},
            CHANNEL_ID,
        ),
    ],
    ids=range(4),
)
def test_a_contact_survives_being_stored_and_is_changed_field_by_field(
    channel: Channel, given: dict[str, str], address: str
) -> None:
    sender = SENDERS[channel]
    assert sender.read_fields is not None
    assert sender.fields_of is not None
    made = sender.read_fields(given)
    assert made.address == address
    target = sender.configure(made.address, made.secret)
    kept = {name: value for name, value in sender.fields_of(target).items() if value}
    assert given.items() <= kept.items()
    assert sender.read_fields(kept) == made
    for rubbish in (None, "", "{}", '{"url": 3}', "[]"):
        with pytest.raises(NotValid):
            sender.configure(made.address, rubbish)
