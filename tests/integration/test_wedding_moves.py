"""A wedding that is moved or cancelled while its incident is open: what hangs on it follows."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tests.support.engine import AT, MINUTE, SATURDAY, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.engine import follow

WEEK = timedelta(days=7)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def move(world: EngineWorld, wedding: UUID, *, is_here: bool) -> None:
    await world.run(
        "update public.apm_weddings set wedding_date = %(day)s where id = %(id)s",
        day=SATURDAY if is_here else SATURDAY + WEEK,
        id=wedding,
    )


async def cancel(world: EngineWorld, wedding: UUID) -> None:
    await world.run(
        "update public.apm_weddings set status = 'cancelled' where id = %(id)s", id=wedding
    )


async def vendor_with_ladder(world: EngineWorld) -> UUID:
    vendor = await world.organization()
    steps = [
        (8 * MINUTE * bool(n), "none", [await world.contact(vendor, name)])
        for n, name in enumerate(("Priya", "Mo", "Ada"))
    ]
    await world.ladder(vendor, *steps)
    return vendor


async def open_one(world: EngineWorld, vendor: UUID) -> None:
    await world.run(
        "select apm_private.open_incident(%(o)s, 'k', 'It is slow', 'warning', '{}', '{}', %(at)s)",
        o=vendor,
        at=AT,
    )


async def told(world: EngineWorld, vendor: UUID) -> list[str]:
    return [one["receiver"] for one in await world.deliveries(vendor)]


async def next_at(world: EngineWorld, vendor: UUID) -> timedelta:
    (run,) = await world.run(
        "select next_at from public.apm_escalation_runs where organization_id = %(o)s", o=vendor
    )
    left: timedelta = run["next_at"] - AT
    return left


async def test_a_ladder_quickens_when_its_wedding_moves_onto_today(world: EngineWorld) -> None:
    vendor = await vendor_with_ladder(world)
    wedding = await world.wedding(vendor, day=SATURDAY + WEEK)
    await open_one(world, vendor)
    await world.escalate(AT)
    assert await next_at(world, vendor) == 8 * MINUTE
    await move(world, wedding, is_here=True)
    await world.escalate(AT + 8 * MINUTE)
    # From here on a quarter of the time, which the wedding gives each rung.
    assert await told(world, vendor) == ["Priya", "Mo"]
    assert await next_at(world, vendor) == 10 * MINUTE


@pytest.mark.parametrize("ending", ["moved away", "cancelled"])
async def test_a_ladder_slows_down_when_its_wedding_is_not_today_after_all(
    world: EngineWorld, ending: str
) -> None:
    vendor = await vendor_with_ladder(world)
    wedding = await world.wedding(vendor)
    await open_one(world, vendor)
    await world.escalate(AT)
    assert await next_at(world, vendor) == MINUTE, "two rungs within two minutes"
    if ending == "cancelled":
        await cancel(world, wedding)
    else:
        await move(world, wedding, is_here=False)
    await world.escalate(AT + 2 * MINUTE)
    assert await told(world, vendor) == ["Priya", "Mo"]
    assert await next_at(world, vendor) == 10 * MINUTE
    (incident,) = await world.incidents(vendor)
    assert incident["was_wedding_day"], "what it was when it began stays written"


@pytest.mark.parametrize("ending", ["moved away", "cancelled"])
async def test_the_limit_follows_and_the_alarm_with_it(world: EngineWorld, ending: str) -> None:
    """1,600 ms are too much at a wedding, where the limit is halved, and well on other days."""
    vendor = await world.organization()
    await world.rule(vendor, aggregation="last", evaluation_window=5 * MINUTE)
    wedding = await world.wedding(vendor, day=SATURDAY + WEEK)
    await world.samples(vendor, [(AT, 1600.0)])
    await world.evaluate(AT + SECOND)
    assert await world.incidents(vendor) == []
    await move(world, wedding, is_here=True)
    # A calendar is believed for five seconds.
    await world.evaluate(AT + 7 * SECOND)
    await world.evaluate(AT + 8 * SECOND)
    (incident,) = await world.incidents(vendor)
    assert (incident["status"], incident["threshold_value"]) == ("open", 1500)
    assert incident["was_wedding_day"]
    if ending == "cancelled":
        await cancel(world, wedding)
    else:
        await move(world, wedding, is_here=False)
    await world.samples(vendor, [(AT + 14 * SECOND, 1600.0)])
    await world.evaluate(AT + 15 * SECOND)
    await world.evaluate(AT + 16 * SECOND)
    (incident,) = await world.incidents(vendor)
    assert incident["status"] == "resolved"


async def follow_weddings(world: EngineWorld, at: datetime) -> str:
    async with world.engine.connection() as cx, cx.transaction():
        return await follow.run_once(cx, at)


async def graveness(world: EngineWorld, vendor: UUID) -> tuple[str, str, bool]:
    (incident,) = await world.incidents(vendor)
    return incident["severity"], incident["priority"], incident["was_wedding_day"]


async def test_an_open_incident_becomes_as_grave_as_at_the_wedding_that_moves_onto_it(
    world: EngineWorld,
) -> None:
    """Upwards and at once; never back: people have been told, and go on as at a wedding."""
    vendor = await vendor_with_ladder(world)
    await world.rule(vendor, aggregation="last", wedding_day_severity="critical")
    wedding = await world.wedding(vendor, day=SATURDAY + WEEK)
    await world.samples(vendor, [(AT, 9000.0)])
    await world.evaluate(AT)
    await world.escalate(AT)
    assert await follow_weddings(world, AT + SECOND) == ""
    assert await graveness(world, vendor) == ("warning", "medium", False)
    assert await next_at(world, vendor) == 8 * MINUTE

    await move(world, wedding, is_here=True)
    assert await follow_weddings(world, AT + MINUTE) == "1 raised"
    assert await graveness(world, vendor) == ("critical", "critical", True)
    assert await next_at(world, vendor) == 2 * MINUTE, "as at a wedding, from now on"
    (incident,) = await world.incidents(vendor)
    assert incident["wedding_phase"] == "ceremony"
    assert incident["wedding_date"] == SATURDAY
    assert [one["wedding_id"] for one in incident["affected_weddings"]] == [str(wedding)]
    last = (await world.events(vendor))[-1]
    assert (last["kind"], last["actor"], last["at"]) == ("note", "calendar", AT + MINUTE)
    assert last["message"] == "A wedding is under way: warning becomes critical"

    await move(world, wedding, is_here=False)
    assert await follow_weddings(world, AT + 2 * MINUTE) == "", "told once"
    assert await graveness(world, vendor) == ("critical", "critical", True)


async def test_an_incident_that_lasts_into_the_wedding_is_raised_when_that_begins(
    world: EngineWorld,
) -> None:
    """One that somebody works on, too; what a rule does not raise keeps its severity."""
    vendor = await vendor_with_ladder(world)
    await world.wedding(vendor)
    eve = AT - timedelta(days=1)
    await world.run(
        "select apm_private.open_incident(%(o)s, 'k', 'It is slow', 'warning', '{}', '{}', %(at)s)",
        o=vendor,
        at=eve,
    )
    await world.run("update public.apm_incidents set status = 'acknowledged'")
    assert await follow_weddings(world, eve + MINUTE) == ""
    assert await graveness(world, vendor) == ("warning", "medium", False)
    assert await follow_weddings(world, AT) == "1 raised"
    assert await graveness(world, vendor) == ("warning", "high", True)
    other = await world.organization("Other")
    await open_one(world, other)
    assert await follow_weddings(world, AT + MINUTE) == "", "and nobody else's wedding counts"
    assert await graveness(world, other) == ("warning", "medium", False)


@pytest.mark.parametrize(("minutes", "priority"), [(31, "high"), (29, "critical")])
async def test_half_an_hour_before_a_milestone_what_a_wedding_comes_to_is_most_urgent(
    world: EngineWorld, minutes: int, priority: str
) -> None:
    """The ceremony begins at 13:00 in London, an hour before the incident."""
    vendor = await vendor_with_ladder(world)
    wedding = await world.wedding(vendor, day=SATURDAY + WEEK)
    await open_one(world, vendor)
    assert (await world.incidents(vendor))[0]["priority"] == "medium"
    await move(world, wedding, is_here=True)
    async with world.engine.connection() as cx, cx.transaction():
        said = await follow.run_once(cx, AT - 60 * MINUTE - minutes * MINUTE)
    assert said == "1 raised"
    (incident,) = await world.incidents(vendor)
    assert incident["priority"] == priority
    (hit,) = incident["affected_weddings"]
    assert (hit["phase"], hit["next_phase"]) == ("set_up", "ceremony")
