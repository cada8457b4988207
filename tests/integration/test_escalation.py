"""Ladders at their edges: nobody to tell, nobody answers, somebody acknowledges meanwhile."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.checks import platform
from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.engine import escalate


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def breach(world: EngineWorld, vendor: UUID) -> None:
    """Opens an incident of the vendor at AT."""
    await world.rule(vendor)
    await world.samples(vendor, [(AT, 9000)])
    await world.evaluate(AT)


async def sign_up(world: EngineWorld, organization_id: UUID, name: str, role: str) -> None:
    """Somebody who signs in here."""
    user_id = uuid4()
    await world.run(
        "insert into apm_private.users (id, email, display_name, password_hash) "
        "values (%(id)s, %(email)s, %(name)s, 'x')",
        id=user_id,
        email=f"{name.lower()}@fern.example",
        name=name,
    )
    await world.run(
        "insert into public.apm_memberships (organization_id, user_id, role) "
        "values (%(organization_id)s, %(user_id)s, %(role)s)",
        organization_id=organization_id,
        user_id=user_id,
        role=role,
    )


async def test_without_a_ladder_every_contact_is_told(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.contact(vendor, "Priya")
    await world.contact(vendor, "Mo")
    await breach(world, vendor)
    await world.escalate(AT)
    await world.escalate(AT + SECOND)
    told = await world.deliveries(vendor)
    assert [one["receiver"] for one in told] == ["Mo", "Priya"]


async def test_a_rung_whose_contacts_are_switched_off_falls_back_to_the_others(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    priya, mo = await world.contact(vendor, "Priya"), await world.contact(vendor, "Mo")
    await world.ladder(vendor, (timedelta(), "none", [priya]))
    await world.run(
        "update public.apm_contact_methods set disabled_at = now() where id = %(id)s", id=priya
    )
    await breach(world, vendor)
    await world.escalate(AT)
    assert [one["contact_method_id"] for one in await world.deliveries(vendor)] == [mo]


async def test_without_any_contact_the_owners_are_told(world: EngineWorld) -> None:
    vendor = await world.organization()
    await sign_up(world, vendor, "Fern", "OWNER")
    await sign_up(world, vendor, "Dan", "MEMBER")
    await sign_up(world, await world.organization("Other"), "Olga", "OWNER")
    await breach(world, vendor)
    await world.escalate(AT)
    (told,) = await world.deliveries(vendor)
    assert told["recipient"] == {"name": "Fern", "address": "fern@fern.example"}
    assert (told["channel"], told["contact_method_id"]) == ("email", None)


async def test_where_nobody_can_be_told_the_platform_takes_over(world: EngineWorld) -> None:
    home = await platform(world)
    vendor = await world.organization()
    await breach(world, vendor)
    await world.escalate(AT)
    assert await world.deliveries(vendor) == []
    written = [one for one in await world.events(vendor) if one["kind"] == "escalated"]
    assert [one["message"] for one in written] == ["Nobody could be told: no contact is set up"]
    (taken,) = await world.incidents(home)
    assert taken["title"] == "Nobody can be told at Fern & Field: Order form is slow"
    assert (taken["status"], taken["severity"]) == ("open", "critical")


async def test_an_exhausted_ladder_calls_the_platform_until_somebody_answers(
    world: EngineWorld,
) -> None:
    home = await platform(world)
    oncall = await world.contact(home, "Oncall")
    await world.ladder(home, (timedelta(), "none", [oncall]))
    vendor = await world.organization()
    await world.ladder(vendor, (timedelta(), "none", [await world.contact(vendor, "Priya")]))
    await breach(world, vendor)
    for n in (0, 299):
        await world.escalate(AT + n * SECOND)
    assert await world.incidents(home) == [], "the last rung gets its five minutes"
    for n in (300, 301, 302):
        await world.escalate(AT + n * SECOND)
    (taken,) = await world.incidents(home)
    assert taken["title"] == "Nobody answers at Fern & Field: Order form is slow"
    assert [one["receiver"] for one in await world.deliveries(home)] == ["Oncall"]
    assert [one["kind"] for one in await world.events(vendor)] == [
        "opened",
        "escalated",
        "exhausted",
    ]
    await world.run(
        "update public.apm_incidents set status = 'acknowledged' where organization_id = %(id)s",
        id=vendor,
    )
    await world.escalate(AT + 310 * SECOND)
    (taken,) = await world.incidents(home)
    assert taken["status"] == "resolved"


async def test_the_platform_does_not_call_itself_for_ever(world: EngineWorld) -> None:
    home = await platform(world)
    await breach(world, home)
    for n in range(0, 1200, 60):
        await world.escalate(AT + n * SECOND)
    (only,) = await world.incidents(home)
    assert only["alert_id"] is not None


async def test_acknowledging_stops_the_ladder(world: EngineWorld) -> None:
    vendor = await world.organization()
    priya, mo = await world.contact(vendor, "Priya"), await world.contact(vendor, "Mo")
    await world.ladder(vendor, (timedelta(), "none", [priya]), (MINUTE, "manager", [mo]))
    await breach(world, vendor)
    await world.escalate(AT)
    await world.run("update public.apm_incidents set status = 'acknowledged'")
    await world.escalate(AT + timedelta(hours=1))
    assert [one["receiver"] for one in await world.deliveries(vendor)] == ["Priya"]
    (incident,) = await world.incidents(vendor)
    assert incident["escalation_level"] == "none"


async def test_an_incident_that_is_being_acknowledged_is_left_alone(
    world: EngineWorld, database: Database
) -> None:
    """No deadlock and no call behind the back of whoever holds the incident at this moment."""
    vendor = await world.organization()
    await world.contact(vendor, "Priya")
    await breach(world, vendor)
    async with await psycopg.AsyncConnection.connect(database.owner) as somebody:
        await somebody.execute("update public.apm_incidents set status = 'acknowledged'")
        await world.escalate(AT)
        assert await world.deliveries(vendor) == []
    await world.escalate(AT + SECOND)
    assert await world.deliveries(vendor) == []


async def test_two_engines_tell_once(world: EngineWorld) -> None:
    vendors = [await world.organization(f"Vendor {n}") for n in range(5)]
    for vendor in vendors:
        await world.contact(vendor, "Priya")
        await world.rule(vendor)
        await world.samples(vendor, [(AT, 9000)])
    await world.evaluate(AT)
    async with world.engine.connection() as one, world.engine.connection() as other:
        await escalate.run_once(one, AT)
        assert await escalate.run_once(other, AT) == "0 climbed, 0 told, 0 answered"
    for vendor in vendors:
        assert len(await world.deliveries(vendor)) == 1


async def test_a_second_breach_soon_after_opens_the_same_incident_again(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    await world.ladder(vendor, (timedelta(), "none", [await world.contact(vendor, "Priya")]))
    await world.rule(vendor, cooldown_period=timedelta())
    for minute, value in ((0, 9000), (2, 10), (4, 9000)):
        at = AT + minute * MINUTE
        await world.samples(vendor, [(at, value)])
        await world.evaluate(at)
        await world.escalate(at)
    (incident,) = await world.incidents(vendor)
    assert (incident["status"], incident["reopened_at"]) == ("open", AT + 4 * MINUTE)
    pages = [(one["kind"], one["reason"]) for one in await world.deliveries(vendor)]
    assert [page for page in pages if page[0] != "resolved"] == [
        ("page", "first"),
        ("reopened", "reopened"),
    ]
    # An hour after it was over, it is a new incident.
    for minute, value in ((6, 10), (70, 9000)):
        await world.samples(vendor, [(AT + minute * MINUTE, value)])
        await world.evaluate(AT + minute * MINUTE)
    assert [one["status"] for one in await world.incidents(vendor)] == ["closed", "open"]
