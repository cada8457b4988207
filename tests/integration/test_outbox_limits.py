"""What a contact and a provider take, the lanes of what is urgent, and a person's next channel."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.outbox import AT, Sender, World, outbox_of, world_of
from tests.support.postgres import Database
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.notify import outbox as outboxes
from wedsync_apm.types import Channel

MINUTE = timedelta(minutes=1)
URGENT = 135


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with world_of(database) as made:
        yield made


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as server:
        yield server


@pytest.fixture
async def outbox(database: Database) -> AsyncIterator[Sender]:
    async with outbox_of(database) as made:
        yield made


async def run(outbox: Sender, at: datetime) -> None:
    await outbox.run_once(at)
    await outbox.drain()


async def limit(world: World, lane: str, seconds: int, most: int) -> None:
    await world.run(
        "insert into apm_private.throttle_limits "
        "values ('webhook', %(lane)s, %(seconds)s, %(most)s)",
        lane=lane,
        seconds=seconds,
        most=most,
    )


async def calls(
    world: World, organization: UUID, contact: UUID, count: int, **options: Any
) -> list[UUID]:
    return [
        await world.call(
            organization,
            await world.incident(organization),
            contact,
            Channel.WEBHOOK,
            at=AT - timedelta(milliseconds=count - number),
            **options,
        )
        for number in range(count)
    ]


async def states(world: World, made: list[UUID]) -> list[str]:
    return [(await world.delivery(one))["state"] for one in made]


async def test_what_is_too_much_for_a_contact_goes_out_in_one_message(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    await limit(world, "all", 60, 2)
    made = await calls(world, organization, contact, 6)
    await run(outbox, AT)
    assert sorted(await states(world, made)) == ["pending"] * 4 + ["sent"] * 2
    waiting = [row for one in made if (row := await world.delivery(one))["state"] == "pending"]
    assert {row["stage"] for row in waiting} == {"unthrottled"}
    assert all("has had many messages" in row["state_reason"] for row in waiting)
    # A token comes back every 30 s: one more message, with all the others in it.
    await run(outbox, AT + 32 * timedelta(seconds=1))
    assert sorted(await states(world, made)) == ["bundled"] * 3 + ["sent"] * 3
    assert len(day.requests) == 3
    said = day.requests[-1].body.decode()
    assert "3 more that waited for this message:" in said
    rows = [await world.delivery(one) for one in made]
    [lead] = {row["bundled_into"] for row in rows} - {None}
    assert (await world.delivery(lead))["state"] == "sent"
    await run(outbox, AT + 5 * MINUTE)
    assert len(day.requests) == 3


async def test_the_end_is_told_of_what_was_told_in_another_message(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    await limit(world, "all", 60, 1)
    made = await calls(world, organization, contact, 3)
    await run(outbox, AT)
    await run(outbox, AT + 61 * timedelta(seconds=1))
    bundled = [row for one in made if (row := await world.delivery(one))["state"] == "bundled"]
    assert len(bundled) == 1
    await world.set_status(bundled[0]["incident_id"], "resolved", AT + 3 * MINUTE)
    await run(outbox, AT + 4 * MINUTE)
    assert (await world.states(bundled[0]["incident_id"]))["resolved"] == ["sent"]


async def test_what_was_to_be_told_in_a_message_that_failed_is_told_by_itself(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/status/404"))
    await limit(world, "all", 60, 1)
    made = await calls(world, organization, contact, 3)
    for seconds in (0, 61, 125, 190, 260):
        await run(outbox, AT + timedelta(seconds=seconds))
    assert await states(world, made) == ["failed"] * 3
    assert [await world.attempts(one) for one in made] == [["failed"]] * 3


async def test_what_is_urgent_has_a_lane_of_its_own_up_to_its_own_limit(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    await limit(world, "all", 3600, 1)
    await limit(world, "urgent", 3600, 3)
    ordinary = await calls(world, organization, contact, 2)
    urgent = await calls(world, organization, contact, 4, priority=URGENT)
    await run(outbox, AT)
    assert sorted(await states(world, ordinary)) == ["pending", "sent"]
    assert sorted(await states(world, urgent)) == ["pending", "sent", "sent", "sent"]


async def test_a_try_again_and_a_test_take_no_token(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/status/503"))
    await limit(world, "all", 3600, 1)
    [call] = await calls(world, organization, contact, 1)
    at = AT
    for _ in range(3):
        await run(outbox, at)
        at = (await world.delivery(call))["due_at"]
    assert await world.attempts(call) == ["retry"] * 3
    test = await world.call(organization, None, contact, Channel.WEBHOOK, kind="test", at=at)
    await run(outbox, at)
    assert await world.attempts(test) == ["retry"]


async def test_a_provider_that_asks_us_to_wait_is_left_alone_and_no_other_is(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    asking, other = await world.organization("A"), await world.organization("B")
    busy = await world.contact(asking, Channel.WEBHOOK, day.url("/status/429/120"))
    same_host = await world.contact(asking, Channel.WEBHOOK, day.url("/ok/same"), "Mo")
    free = await world.contact(other, Channel.WEBHOOK, day.url("/ok/other"))
    first = await calls(world, asking, busy, 1)
    await run(outbox, AT)
    later = AT + timedelta(seconds=1)
    second = await calls(world, asking, same_host, 2)
    elsewhere = await calls(world, other, free, 2)
    await run(outbox, later)
    assert await states(world, first + second) == ["retry", "pending", "pending"]
    assert await states(world, elsewhere) == ["sent", "sent"]
    for one in second:
        row = await world.delivery(one)
        assert row["due_at"] >= AT + timedelta(seconds=120)
        assert row["state_reason"] == "the provider has asked us to wait"
    assert not [seen for seen in day.requests if "same" in seen.path]
    await run(outbox, AT + timedelta(seconds=125))
    assert await states(world, second) == ["sent", "sent"]


async def test_slow_receivers_leave_room_for_what_is_urgent(
    world: World, database: Database, day: WorstDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "RUN_SECONDS", 0.5)  # more is due than may be under way
    slow = [await world.organization(name) for name in "ABCDE"]
    urgent = await world.organization("Wedding")
    for organization in slow:
        contact = await world.contact(organization, Channel.WEBHOOK, day.url("/held"))
        await calls(world, organization, contact, 10)
    async with outbox_of(database, slots=8, reserved=2) as outbox:
        await outbox.run_once(AT)
        contact = await world.contact(urgent, Channel.WEBHOOK, day.url("/ok"))
        [call] = await calls(world, urgent, contact, 1, priority=URGENT)
        await outbox.run_once(AT)
        assert await world.attempts(call) in ([None], ["sent"])
        under_way = await world.run(
            "select count(*) as n from public.apm_deliveries where state in ('leased', 'sending') "
            "and priority < 135"
        )
        assert under_way[0]["n"] <= 6
        day.release()


async def next_channel(world: World, call: UUID) -> list[dict[str, Any]]:
    return await world.run(
        "select * from public.apm_deliveries where stands_in_for = %(id)s", id=call
    )


async def test_an_urgent_call_without_a_receipt_goes_out_on_the_next_channel_once(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    first = await world.contact(organization, Channel.WEBHOOK, day.url("/ok/first"))
    await world.contact(organization, Channel.SLACK, day.url("/ok/next"))
    await world.contact(organization, Channel.SLACK, day.url("/ok/stranger"), "Mo")
    incident = await world.incident(organization)
    call = await world.call(organization, incident, first, Channel.WEBHOOK, priority=URGENT, at=AT)
    await run(outbox, AT)
    await run(outbox, AT + timedelta(seconds=44))
    assert await next_channel(world, call) == []
    for seconds in (45, 46, 60):
        await run(outbox, AT + timedelta(seconds=seconds))
    [beside] = await next_channel(world, call)
    assert (beside["channel"], beside["reason"]) == ("slack", "no_receipt")
    assert (await world.delivery(call))["state"] == "sent"
    assert [seen.path for seen in day.requests] == ["/ok/first", "/ok/next"]
    # He has no third channel, and the two are not tried in turn for ever.
    await run(outbox, AT + timedelta(seconds=95))
    assert await next_channel(world, beside["id"]) == []


@pytest.mark.parametrize("why", ["arrived", "acknowledged", "not urgent"])
async def test_no_other_channel_is_tried_without_need(
    why: str, world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    first = await world.contact(organization, Channel.WEBHOOK, day.url("/ok/first"))
    await world.contact(organization, Channel.SLACK, day.url("/ok/next"))
    incident = await world.incident(organization)
    priority = 130 if why == "not urgent" else URGENT
    call = await world.call(
        organization, incident, first, Channel.WEBHOOK, priority=priority, at=AT
    )
    await run(outbox, AT)
    if why == "arrived":
        said = await world.run(
            "select apm_private.record_receipt(%(id)s, 'delivered', null, null, %(at)s) as said",
            id=call,
            at=AT,
        )
        assert said == [{"said": "recorded"}]
    elif why == "acknowledged":
        await world.set_status(incident, "acknowledged")
    await run(outbox, AT + timedelta(seconds=50))
    assert await next_channel(world, call) == []


async def test_a_call_that_has_failed_does_not_wait_for_its_receipt(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    first = await world.contact(organization, Channel.WEBHOOK, day.url("/status/404"))
    await world.contact(organization, Channel.SLACK, day.url("/ok/next"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, first, Channel.WEBHOOK, priority=URGENT, at=AT)
    await run(outbox, AT)
    await run(outbox, AT + timedelta(seconds=1))
    assert len(await next_channel(world, call)) == 1


async def test_an_emergency_passes_a_backlog(
    world: World, database: Database, day: WorstDay
) -> None:
    """20,000 wait over 500 organizations; benchmarks/outbox.py has five times as many."""
    await world.run(
        "with o as (insert into public.organizations (id, name) select gen_random_uuid(), "
        "'Vendor ' || n from generate_series(1, 500) as n returning id), "
        "c as (insert into public.apm_contact_methods (organization_id, name, channel, address) "
        "select o.id, 'Priya', 'email', 'priya@fern.example' from o returning organization_id, id) "
        "insert into public.apm_deliveries (organization_id, contact_method_id, channel, kind, "
        "reason, idempotency_key, priority, due_at, created_at) "
        "select c.organization_id, c.id, 'email', 'test', 'first', c.id || ':' || n, 50, "
        "%(at)s::timestamptz - n * interval '1 second', %(at)s from c "
        "cross join generate_series(1, 40) as n",
        at=AT,
    )
    await world.run("analyze public.apm_deliveries")
    organization = await world.organization("Wedding")
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    [call] = await calls(world, organization, contact, 1, priority=URGENT)
    claim = (
        "select * from apm_private.claim_deliveries(%(at)s, 'x', 60, %(size)s, %(size)s, 10, 1000)"
    )
    [first, _] = await world.run(claim, at=AT, size=1)
    assert first["id"] == call
    # What a claim reads does not grow with the backlog: by the buffers that it touches.
    rows = await world.run(
        f"explain (analyze, buffers, timing off, format json) {claim}", at=AT, size=32
    )
    plan = rows[0]["QUERY PLAN"][0]["Plan"]
    touched = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    assert touched < 6_000, touched
    # Each claim takes a few of many organizations, and not all of one.
    taken = await world.run(
        "select count(distinct organization_id) as n from public.apm_deliveries "
        "where state = 'leased' and priority = 50"
    )
    assert taken[0]["n"] >= 8
