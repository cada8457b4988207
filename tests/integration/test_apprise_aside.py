"""What goes out by Apprise stays off the critical path, and is nobody's only way to hear."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.support.engine import AT, EngineWorld, open_engine_world
from tests.support.outbox import AT as NOW
from tests.support.outbox import World, outbox_of, world_of
from tests.support.postgres import Database
from tests.support.worst_day import worst_day
from wedsync_apm.clock import RunningClock
from wedsync_apm.notify import outbox, store
from wedsync_apm.notify.channels.apprise import penman
from wedsync_apm.types import Channel

AT_ONCE, OF_ONE = 6, 2
"""How many messages by Apprise are under way over all processes, and of one organization."""


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with world_of(database) as opened:
        yield opened


@pytest.mark.parametrize("many", [4, 80], ids=["few", "backlog"])
@pytest.mark.parametrize("priority", [10, 140], ids=["ordinary", "urgent"])
async def test_it_has_a_lane_of_its_own_however_urgent(
    many: int, priority: int, database: Database, world: World
) -> None:
    vendors = [await world.organization(f"Vendor {n}") for n in range(4)]
    for vendor in vendors:
        contact = await world.contact(vendor, Channel.APPRISE, "json://hangs.example")
        await world.run(
            "insert into public.apm_deliveries (id, organization_id, contact_method_id, channel, "
            "kind, reason, recipient, idempotency_key, priority, due_at, created_at) select "
            "gen_random_uuid(), %(vendor)s, %(contact)s, 'apprise', 'test', 'first', '{}', "
            "'a' || n, %(priority)s, %(at)s, %(at)s from generate_series(1, %(many)s) as n",
            vendor=vendor,
            contact=contact,
            priority=priority,
            at=NOW - timedelta(minutes=1),
            many=many,
        )
    # Later than all of them, and gone before any comes back.
    mail = await world.contact(vendors[0], Channel.EMAIL)
    later = {
        await world.call(vendors[0], None, mail, Channel.EMAIL, kind="test", priority=priority)
        for _ in range(3)
    }
    async with outbox_of(database) as sender, sender.pool.connection() as cx:
        claimed: list[store.Lease] = []
        for _ in range(3):
            async with cx.transaction():
                found = await store.claim_due_deliveries(
                    cx,
                    NOW,
                    lease_owner="me",
                    lease_seconds=60,
                    batch_size=32,
                    ordinary_size=24,
                    per_organization=10,
                    per_channel=16,
                )
            claimed += found.leases
            assert found.is_more
    ids = {lease.id for lease in claimed}
    assert later <= ids
    aside = [lease for lease in claimed if lease.id not in later]
    assert len(aside) == AT_ONCE
    assert max(Counter(lease.organization_id for lease in aside).values()) == OF_ONE


async def test_a_service_that_hangs_delays_nobody_else(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(penman, "CALL_SECONDS", 3.0)
    async with worst_day() as day, outbox_of(database) as sender:
        vendor = await world.organization()
        incident = await world.incident(vendor, NOW)
        hanging = await world.contact(
            vendor, Channel.APPRISE, day.url("/slow-head").replace("http", "json", 1)
        )
        hook = await world.contact(vendor, Channel.WEBHOOK, day.url("/ok"), name="Hook")
        slow = [
            await world.call(vendor, incident, hanging, Channel.APPRISE, priority=140)
            for _ in range(12)
        ]
        quick = await world.call(vendor, incident, hook, Channel.WEBHOOK, priority=135, at=NOW)
        run = asyncio.create_task(sender.run_once(NOW))
        async with asyncio.timeout(60):
            while (await world.delivery(quick))["state"] != "sent":
                await asyncio.sleep(0.05)
        states = Counter([(await world.delivery(one))["state"] for one in slow])
        assert states["sending"] + states["leased"] <= OF_ONE
        assert not states["sent"] + states["failed"]
        await run
        await sender.drain()
    assert [seen.path for seen in day.requests].count("/ok") == 1


async def test_an_urgent_call_by_it_goes_on_to_the_next_channel_whatever_hangs(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(penman, "CALL_SECONDS", 30.0)
    monkeypatch.setattr(penman, "LONGEST_SECONDS", 30.0)
    monkeypatch.setattr(outbox, "RUN_SECONDS", 30.0)
    async with worst_day() as day, outbox_of(database, clock=RunningClock) as sender:
        slow = await world.organization("Slow")
        hanging = await world.contact(
            slow, Channel.APPRISE, day.url("/slow-head").replace("http", "json", 1)
        )
        for _ in range(OF_ONE + 1):
            await world.call(slow, None, hanging, Channel.APPRISE, kind="test", priority=140)
        vendor = await world.organization()
        incident = await world.incident(vendor)
        first = await world.contact(
            vendor, Channel.APPRISE, day.url("/ok/first").replace("http", "json", 1)
        )
        await world.contact(vendor, Channel.WEBHOOK, day.url("/ok/next"))
        # It was taken, and nothing will ever say that it has arrived.
        begun = NOW - timedelta(seconds=43)
        call = await world.call(vendor, incident, first, Channel.APPRISE, priority=140, at=begun)
        # One cycle goes on for some seconds while more is due than may be under way.
        run = asyncio.create_task(sender.run_once(NOW))
        async with asyncio.timeout(60):
            while not {"/ok/first", "/ok/next"} <= {seen.path for seen in day.requests}:
                await asyncio.sleep(0.05)
        [beside] = await world.run(
            "select channel, reason from public.apm_deliveries where stands_in_for = %(id)s",
            id=call,
        )
        assert beside == {"channel": "webhook", "reason": "no_receipt"}
        assert not run.done()
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await sender.outbox.drain(0.1)


async def test_a_service_that_asks_to_wait_holds_up_its_own_and_no_other(
    database: Database, world: World
) -> None:
    async with worst_day() as day, outbox_of(database) as sender:
        vendor = await world.organization()
        incident = await world.incident(vendor, NOW)
        busy, free = [
            await world.contact(
                vendor, Channel.APPRISE, day.url(path).replace("http", "json", 1), name=path
            )
            for path in ("/status/429/600", "/ok")
        ]
        await world.run(
            "update public.apm_contact_methods set address = 'Another' where id = %(id)s", id=free
        )
        first = await world.call(vendor, incident, busy, Channel.APPRISE, priority=140)
        await sender.run_once(NOW)
        await sender.drain()
        put_off = await world.call(vendor, incident, busy, Channel.APPRISE, kind="test")
        other = await world.call(vendor, incident, free, Channel.APPRISE)
        await sender.run_once(NOW + timedelta(seconds=5))
        await sender.drain()
        assert (await world.delivery(first))["state"] == "retry"
        assert (await world.delivery(put_off))["state"] == "pending"
        row = await world.delivery(other)
    assert (row["state"], row["provider_id"], row["receipt"]) == ("sent", None, None)
    assert len(day.requests) == 2


async def test_a_crash_between_sending_and_recording_is_told_again(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worst_day() as day:
        vendor = await world.organization()
        incident = await world.incident(vendor, NOW)
        url = day.url("/ok").replace("http", "json", 1)
        contact = await world.contact(vendor, Channel.APPRISE, url)
        call = await world.call(vendor, incident, contact, Channel.APPRISE)
        async with outbox_of(database, lease_seconds=5) as dying:

            async def die(*_: object) -> None:
                raise RuntimeError("the process is gone")

            monkeypatch.setattr(dying.outbox, "_record", die)
            await dying.run_once(NOW)
            await dying.drain()
        assert (await world.delivery(call))["state"] == "sending"
        async with outbox_of(database, owner="other") as next_one:
            await next_one.run_once(NOW + timedelta(seconds=10))
            await next_one.drain()
        row = await world.delivery(call)
    assert row["state"] == "sent"
    assert await world.attempts(call) == ["unknown", "sent"]
    bodies = [seen.body for seen in day.requests]
    assert len(bodies) == 2, "a repeat is told twice rather than not at all"
    assert bodies[0] == bodies[1], "in the same words"


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def aside(engine: EngineWorld, vendor: UUID, user: UUID | None = None) -> UUID:
    contact = await engine.contact(vendor, "Chat")
    await engine.run(
        "update public.apm_contact_methods set channel = 'apprise', address = 'Discord', "
        "secret_ciphertext = 'x', user_id = %(user)s where id = %(id)s",
        id=contact,
        user=user,
    )
    return contact


async def told(
    engine: EngineWorld, vendor: UUID, contacts: list[UUID], at: object
) -> set[tuple[UUID | None, str]]:
    rows = await engine.run(
        "select contact_method_id, via from apm_private.rung_receivers(%(vendor)s, "
        "jsonb_build_object('contact_method_ids', to_jsonb(%(contacts)s::uuid[])), %(at)s)",
        vendor=vendor,
        contacts=contacts,
        at=at,
    )
    return {(row["contact_method_id"], row["via"]) for row in rows}


async def test_at_a_wedding_it_is_never_the_only_one_told(engine: EngineWorld) -> None:
    vendor = await engine.organization()
    await engine.wedding(vendor)
    chat = await aside(engine, vendor)
    calm = AT + timedelta(days=3)
    owner = uuid4()
    await engine.run(
        "insert into apm_private.users (id, display_name, email, password_hash) "
        "values (%(id)s, 'Fern', 'fern@fern.example', 'x')",
        id=owner,
    )
    await engine.run(
        "insert into public.apm_memberships (organization_id, user_id, role) "
        "values (%(vendor)s, %(owner)s, 'OWNER')",
        vendor=vendor,
        owner=owner,
    )
    # With no other contact at all the owners get an e-mail beside it.
    assert await told(engine, vendor, [chat], calm) == {(chat, "contact")}
    assert await told(engine, vendor, [chat], AT) == {(chat, "contact"), (None, "owner")}
    priya = await engine.contact(vendor, "Priya")
    assert await told(engine, vendor, [chat], calm) == {(chat, "contact")}
    assert await told(engine, vendor, [chat], AT) == {(chat, "contact"), (priya, "everybody")}
    assert await told(engine, vendor, [chat, priya], AT) == {(chat, "contact"), (priya, "contact")}
    assert await told(engine, vendor, [priya], AT) == {(priya, "contact")}


async def test_a_step_that_tells_it_alone_is_warned_of(engine: EngineWorld) -> None:
    vendor, user = await engine.organization(), uuid4()
    chat = await aside(engine, vendor, user)
    hour = timedelta(hours=1)
    await engine.ladder(vendor, (timedelta(), "none", [chat]))

    async def warned() -> tuple[bool, int]:
        [row] = await engine.run(
            "select is_empty, unreachable from apm_private.ladder_reach(%(vendor)s, %(at)s, "
            "%(end)s)",
            vendor=vendor,
            at=AT,
            end=AT + hour,
        )
        return row["is_empty"], row["unreachable"]

    assert (await warned())[0], "nobody is sure to be told"
    [reach] = await engine.run(
        "select * from apm_private.reach_of(%(vendor)s, %(user)s)", vendor=vendor, user=user
    )
    assert reach == {"contacts": 1, "verified": 0}
    priya = await engine.contact(vendor, "Priya")
    await engine.run(
        "insert into public.apm_escalation_targets select organization_id, id, %(id)s "
        "from public.apm_escalation_steps where organization_id = %(vendor)s",
        vendor=vendor,
        id=priya,
    )
    assert not (await warned())[0]
