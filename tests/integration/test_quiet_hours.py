"""What falls into quiet hours waits for their end, is never lost, and wedding emergencies pass."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from tests.integration.test_outbox_crashes import Reaper, _one_life
from tests.support.engine import EngineWorld, open_engine_world
from tests.support.outbox import Sender, World, outbox_of, world_of
from tests.support.postgres import Database
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.types import Channel

NIGHT = datetime(2026, 6, 17, 22, 10, tzinfo=UTC)
"""A Wednesday, ten past eleven in London."""
MORNING = datetime(2026, 6, 18, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


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
    for _ in range(3):
        await outbox.run_once(at)
        await outbox.drain()


async def sleep(world: World | EngineWorld, organization_id: UUID, contact_id: UUID) -> None:
    await world.run(
        "insert into public.apm_quiet_hours (organization_id, contact_method_id, starts_time, "
        "ends_time, time_zone) values (%(o)s, %(c)s, '22:00', '07:00', 'Europe/London')",
        o=organization_id,
        c=contact_id,
    )


async def set_severity(world: World, incident_id: UUID, severity: str, at: datetime) -> None:
    async with world.owner.connection() as cx:
        await cx.execute("select set_config('apm.at', %s, true)", (at.isoformat(),))
        await cx.execute(
            "update public.apm_incidents set severity = %s::public.alert_severity where id = %s",
            (severity, incident_id),
        )


async def sleeper(
    world: World, day: WorstDay, at: datetime = NIGHT
) -> tuple[UUID, UUID, UUID, UUID]:
    """(organization, contact, incident, call): the contact is in its quiet hours."""
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok/hook"))
    await sleep(world, organization, contact)
    incident = await world.incident(organization, at)
    await set_severity(world, incident, "warning", at)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK, at=at)
    return organization, contact, incident, call


async def wedding(world: World | EngineWorld, organization_id: UUID, on: date) -> None:
    await world.run(
        "insert into public.apm_weddings (organization_id, couple_initials, wedding_date, "
        "time_zone) values (%(o)s, 'A & R', %(on)s, 'Europe/London')",
        o=organization_id,
        on=on,
    )


async def test_a_call_waits_for_the_morning_with_its_reason(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    _, _, incident, call = await sleeper(world, day)
    await run(outbox, NIGHT)
    row = await world.delivery(call)
    assert (row["state"], row["due_at"], row["held_until"]) == ("pending", MORNING, MORNING)
    assert row["state_reason"] == "Held back until 07:00: Priya's quiet hours"
    assert row["attempt"] == 0
    events = await world.run(
        "select message from public.apm_incident_events where incident_id = %(id)s "
        "and kind = 'delivery' order by id",
        id=incident,
    )
    assert [one["message"] for one in events] == ["Webhook to Priya: held back by quiet hours"]
    await run(outbox, MORNING - MINUTE)
    assert day.requests == []
    await run(outbox, MORNING)
    assert (await world.delivery(call))["state"] == "sent"
    assert len(day.requests) == 1


async def test_what_was_resolved_meanwhile_is_told_as_such(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    _, _, incident, call = await sleeper(world, day)
    await run(outbox, NIGHT)
    await world.set_status(incident, "resolved", NIGHT + 4 * HOUR)
    await run(outbox, NIGHT + 4 * HOUR)
    assert day.requests == [], "the end is no reason to wake anybody either"
    for seconds in (0, 3):
        await run(outbox, MORNING + timedelta(seconds=seconds))
    assert await world.states(incident) == {"page": ["cancelled"], "resolved": ["sent"]}
    assert (await world.delivery(call))["state_reason"] == "it is over already"
    [told] = day.requests
    said = told.body.decode()
    assert '"incident.resolved"' in said
    assert "It fell into your quiet hours, so you were not called." in said


async def test_who_was_told_before_his_quiet_hours_hears_the_end_after_them(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    evening = NIGHT - 2 * HOUR
    _, _, incident, _ = await sleeper(world, day, evening)
    await run(outbox, evening)
    assert len(day.requests) == 1
    await world.set_status(incident, "resolved", NIGHT)
    await run(outbox, NIGHT)
    assert len(day.requests) == 1
    await run(outbox, MORNING)
    assert await world.states(incident) == {"page": ["sent"], "resolved": ["sent"]}
    assert "quiet hours" not in day.requests[1].body.decode()


@pytest.mark.parametrize("what", ["emergency", "critical at a wedding", "a person asked"])
async def test_these_pass_and_whoever_was_woken_hears_the_end_at_once(
    world: World, outbox: Sender, day: WorstDay, what: str
) -> None:
    organization, _, incident, call = await sleeper(world, day)
    if what == "a person asked":
        await world.run(
            "update public.apm_deliveries set payload = '{\"is_pressed\": true}' where id = %(id)s",
            id=call,
        )
    else:
        await set_severity(world, incident, what.split(" ", 1)[0], NIGHT)
    if what == "critical at a wedding":
        await wedding(world, organization, date(2026, 6, 17))
    await run(outbox, NIGHT)
    assert (await world.delivery(call))["state"] == "sent"
    # What let it pass may be gone by the time that it ends: he is awake all the same.
    await set_severity(world, incident, "warning", NIGHT + MINUTE)
    await world.set_status(incident, "resolved", NIGHT + 2 * MINUTE)
    await run(outbox, NIGHT + 2 * MINUTE)
    assert await world.states(incident) == {"page": ["sent"], "resolved": ["sent"]}


async def test_critical_without_a_wedding_waits_until_one_begins(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization, _, incident, call = await sleeper(world, day)
    await set_severity(world, incident, "critical", NIGHT)
    await wedding(world, organization, date(2026, 6, 18))
    await run(outbox, NIGHT)
    assert (await world.delivery(call))["state"] == "pending"
    midnight = datetime(2026, 6, 17, 23, 0, tzinfo=UTC)  # in London, where the day of it begins
    await run(outbox, midnight - MINUTE)
    assert day.requests == []
    await run(outbox, midnight + MINUTE)
    assert (await world.delivery(call))["state"] == "sent"


async def test_what_becomes_an_emergency_is_told_at_once(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    _, _, incident, call = await sleeper(world, day)
    await run(outbox, NIGHT)
    await set_severity(world, incident, "emergency", NIGHT + HOUR)
    await run(outbox, NIGHT + HOUR)
    assert (await world.delivery(call))["state"] == "sent"


@pytest.mark.parametrize("change", ["gone", "shorter"])
async def test_changed_hours_count_for_what_they_hold(
    world: World, outbox: Sender, day: WorstDay, change: str
) -> None:
    _, contact, _, call = await sleeper(world, day)
    await run(outbox, NIGHT)
    async with world.owner.connection() as cx:
        await cx.execute("select set_config('apm.at', %s, true)", ((NIGHT + MINUTE).isoformat(),))
        await cx.execute(
            "delete from public.apm_quiet_hours where contact_method_id = %s"
            if change == "gone"
            else "update public.apm_quiet_hours set ends_time = '23:00' "
            "where contact_method_id = %s",
            (contact,),
        )
    await run(outbox, NIGHT + MINUTE)
    assert (await world.delivery(call))["state"] == "sent"


async def test_another_contact_and_another_tenant_are_not_held(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization, _, incident, _ = await sleeper(world, day)
    other = await world.contact(organization, Channel.WEBHOOK, day.url("/ok/mo"), name="Mo")
    called = await world.call(organization, incident, other, Channel.WEBHOOK, at=NIGHT)
    stranger = await world.organization("B")
    theirs = await world.contact(stranger, Channel.WEBHOOK, day.url("/ok/b"))
    also = await world.call(
        stranger, await world.incident(stranger, NIGHT), theirs, Channel.WEBHOOK, at=NIGHT
    )
    await run(outbox, NIGHT)
    assert [(await world.delivery(one))["state"] for one in (called, also)] == ["sent", "sent"]
    assert [seen.path for seen in day.requests].count("/ok/hook") == 0


async def test_an_update_that_was_held_is_not_too_late(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    """An update is good for an hour, which begins when he may be disturbed."""
    organization, contact, incident, _ = await sleeper(world, day)
    update = await world.call(
        organization, incident, contact, Channel.WEBHOOK, kind="update", at=NIGHT
    )
    await run(outbox, NIGHT)
    await run(outbox, MORNING)
    assert (await world.delivery(update))["state"] == "sent"


async def test_the_hours_of_the_rule_count_for_who_has_none_of_his_own(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok/hook"))
    await world.run(
        "with p as (insert into public.apm_escalation_policies (organization_id, name) values "
        "(%(o)s, 'Night') returning id) insert into public.apm_notification_rules "
        "(organization_id, name, severity_min, escalation_policy_id, quiet_hours) select %(o)s, "
        '\'Night\', \'info\', p.id, \'{"start": "22:00", "end": "07:00", '
        '"time_zone": "Europe/London"}\' from p',
        o=organization,
    )
    incident = await world.incident(organization, NIGHT)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK, at=NIGHT)
    await run(outbox, NIGHT)
    assert (await world.delivery(call))["held_until"] == MORNING


async def _ladder(world: EngineWorld, *, repeat_count: int = 0) -> tuple[UUID, UUID]:
    vendor = await world.organization()
    contact = await world.contact(vendor, "Priya")
    await world.ladder(vendor, (timedelta(), "none", [contact]), repeat_count=repeat_count)
    await sleep(world, vendor, contact)
    return vendor, contact


@pytest.mark.parametrize("repeat_count", [0, 2])
async def test_a_sleeper_is_not_said_not_to_answer(database: Database, repeat_count: int) -> None:
    """The platform's people are called when he has been told and does not answer, not before."""
    async with open_engine_world(database) as world, outbox_of(database) as outbox:
        vendor, _ = await _ladder(world, repeat_count=repeat_count)
        await world.run(
            "select apm_private.open_incident(%(o)s, 'k', 'It is slow', 'warning', '{}', '{}', "
            "%(at)s)",
            o=vendor,
            at=NIGHT,
        )
        for minutes in range(0, 8 * 60, 5):
            await world.escalate(NIGHT + minutes * MINUTE)
            await run(outbox, NIGHT + minutes * MINUTE)
            if NIGHT + minutes * MINUTE >= MORNING:
                break
        kinds = [one["kind"] for one in await world.events(vendor)]
        assert "exhausted" not in kinds
        [call] = await world.deliveries(vendor)
        assert call["held_until"] == MORNING
        for minutes in range(0, 30, 5):
            await world.escalate(MORNING + minutes * MINUTE)
            await run(outbox, MORNING + minutes * MINUTE)
        assert "exhausted" in [one["kind"] for one in await world.events(vendor)]


async def test_a_person_who_cannot_wait_wakes_him(database: Database) -> None:
    async with open_engine_world(database) as world, outbox_of(database) as outbox:
        vendor, _ = await _ladder(world)
        await world.run(
            "select apm_private.open_incident(%(o)s, 'k', 'It is slow', 'warning', '{}', '{}', "
            "%(at)s)",
            o=vendor,
            at=NIGHT,
        )
        await world.escalate(NIGHT)
        await run(outbox, NIGHT)
        await world.run(
            "update public.apm_escalation_runs set next_at = %(at)s, is_pressed = true "
            "where organization_id = %(o)s",
            o=vendor,
            at=NIGHT + MINUTE,
        )
        await world.escalate(NIGHT + MINUTE)
        await run(outbox, NIGHT + MINUTE)
        [call] = await world.deliveries(vendor)
        assert (call["state"], call["payload"]["is_pressed"]) == ("inbox", True)
        assert "exhausted" not in [one["kind"] for one in await world.events(vendor)]
        await world.escalate(NIGHT + 7 * MINUTE)
        assert "exhausted" in [one["kind"] for one in await world.events(vendor)]


@pytest.mark.parametrize("seed", range(6))
async def test_senders_that_die_lose_nothing_that_is_held(
    seed: int,
    world: World,
    database: Database,
    day: WorstDay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing goes out in the night, all goes out in the morning; what is over as over."""
    chance = random.Random(seed)  # noqa: S311
    reaper = Reaper(chance, 0.2)
    reaper.stand_at_every_statement(monkeypatch)
    sleepers = [await sleeper(world, day) for _ in range(3)]
    over = {incident for _, _, incident, _ in sleepers if chance.random() < 0.5}
    at = NIGHT
    async with outbox_of(database, owner="mortal", lease_seconds=30) as sender:
        for _ in range(10):
            at += timedelta(minutes=chance.choice([1, 20, 40]))
            await _one_life(sender, at)
        assert at < MORNING
        for incident in over:
            await world.set_status(incident, "resolved", at)
        assert day.requests == []
        for minutes in range(12):
            await _one_life(sender, MORNING + minutes * MINUTE)
        reaper.odds = 0.0
        for minutes in range(12, 20):
            await _one_life(sender, MORNING + minutes * MINUTE)
    assert reaper.dead > 0
    for _, _, incident, call in sleepers:
        states = await world.states(incident)
        attempts = await world.attempts(call)
        if incident in over:
            assert states["resolved"] == ["sent"]
            assert states["page"] == ["cancelled"]
            assert attempts == []
        else:
            assert states == {"page": ["sent"]}
