"""Clocks that step, forward or back: no verdict changes, no alarm is lost, nobody is told twice.

What decides is the database's clock, which travels as `at`. So a step of the host's own clock is
nothing that any job notices; and when the database's clock is set back, time stands still until it
is there again, or, after a longer way, all that had been judged counts as judged just now.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import wedsync_apm
from tests.support.clocks import HostClock
from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database, PostgresServer
from wedsync_apm.engine import heartbeats
from wedsync_apm.engine.leases import SLICES, Leases

HOUR: Final = timedelta(hours=1)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


STEPS: Final = st.sampled_from(
    [
        timedelta(milliseconds=-40),
        timedelta(milliseconds=300),
        *(sign * size for sign in (-1, 1) for size in (2 * SECOND, 3 * MINUTE, HOUR)),
    ]
)
VALUES: Final = st.sampled_from([1.0, 1.0, 4.0, 9.0, 9.0])


async def told(world: EngineWorld, vendor: UUID, start: datetime) -> list[tuple[str, float]]:
    """What became of a vendor's incidents and who was told, by seconds since the start."""
    events = [(one["kind"], (one["at"] - start) / SECOND) for one in await world.events(vendor)]
    sent = [
        (f"{one['kind']} to {one['receiver']}", (one["due_at"] - start) / SECOND)
        for one in await world.deliveries(vendor)
    ]
    return events + sent


async def live_through(
    world: EngineWorld, start: datetime, values: list[float], steps: list[timedelta]
) -> list[tuple[str, float]]:
    """Rules, a ladder and a heartbeat; before each look the host's clock steps."""
    vendor = await world.organization()
    await world.ladder(
        vendor,
        (timedelta(), "none", [await world.contact(vendor, "Priya")]),
        (20 * SECOND, "manager", [await world.contact(vendor, "Mo")]),
    )
    for columns in ({"aggregation": "max"}, {"aggregation": "count", "no_data_policy": "alert"}):
        await world.rule(
            vendor,
            alert_name=str(columns),
            threshold_value=5.0,
            evaluation_window=10 * SECOND,
            for_duration=5 * SECOND,
            keep_firing_for=3 * SECOND,
            cooldown_period=10 * SECOND,
            **columns,
        )
    with pytest.MonkeyPatch.context() as patch:
        host = HostClock(patch)
        for n, value in enumerate(values):
            at = start + 5 * n * SECOND
            if value != 4.0:
                await world.samples(vendor, [(at, value)])
            if steps:
                host.ahead += steps[n % len(steps)]
            await world.evaluate(at)
            async with world.engine.connection() as cx, cx.transaction():
                await heartbeats.run_once(cx, at)
            await world.escalate(at)
    await world.run("update public.apm_alerts set is_active = false")
    found = await told(world, vendor, start)
    world.forget()
    return found


@pytest.mark.timeout(300)
@settings(
    max_examples=5,
    deadline=None,
    # A smaller script takes as long as the one that failed.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    values=st.lists(VALUES, min_size=20, max_size=24),
    steps=st.lists(STEPS, min_size=3, max_size=8),
)
def test_steps_of_the_hosts_clock_change_nothing(
    server: PostgresServer, values: list[float], steps: list[timedelta]
) -> None:
    async def compare(database: Database) -> None:
        async with open_engine_world(database) as world:
            steady = await live_through(world, AT, values, [])
            stepped = await live_through(world, AT + 2 * HOUR, values, steps)
        assert steady == stepped

    with server.clone() as database:
        asyncio.run(compare(database))


@pytest.mark.parametrize("is_killed", [False, True])
async def test_the_databases_clock_is_set_back_by_a_minute(
    world: EngineWorld, *, is_killed: bool
) -> None:
    """Time stands still until it is there again; what is measured meanwhile is judged at once."""
    vendor = await world.organization()
    await world.rule(vendor, aggregation="last", cooldown_period=timedelta())
    await world.samples(vendor, [(AT - 70 * SECOND, 10), (AT, 9000)])
    await world.evaluate_each_second(AT - SECOND, AT + 2 * SECOND)
    assert await told(world, vendor, AT) == [("opened", 0.0)]
    if is_killed:
        world.forget()
    # The clock goes back, and with it the sender's: its next samples lie before the last.
    now = AT - 60 * SECOND
    await world.samples(vendor, [(now, 10), (now + 5 * SECOND, 20)])
    await world.evaluate_each_second(now, now + 6 * SECOND)
    assert await told(world, vendor, AT) == [("opened", 0.0)], "told once, and nothing taken back"
    await world.samples(vendor, [(AT + 4 * SECOND, 10)])
    await world.evaluate_each_second(AT, AT + 5 * SECOND)
    assert await told(world, vendor, AT) == [("opened", 0.0), ("resolved", 4.0)]


async def test_what_begins_while_time_stands_still_is_told_at_once(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.rule(vendor, aggregation="last")
    await world.samples(vendor, [(AT - 70 * SECOND, 10)])
    await world.evaluate_each_second(AT - SECOND, AT + 2 * SECOND)
    now = AT - 60 * SECOND
    await world.samples(vendor, [(now, 9000)])
    await world.evaluate(now + SECOND)
    (incident,) = await world.incidents(vendor)
    assert (incident["status"], incident["detected_at"]) == ("open", now)


@pytest.mark.parametrize("is_killed", [False, True])
async def test_the_databases_clock_is_set_back_by_an_hour(
    world: EngineWorld, *, is_killed: bool
) -> None:
    """It had been ahead, and the senders' clocks were right: nothing waits for the hour to pass."""
    vendor = await world.organization()
    await world.rule(
        vendor, aggregation="last", for_duration=3 * SECOND, cooldown_period=5 * SECOND
    )
    await world.samples(vendor, [(AT + HOUR, 9000)])
    await world.evaluate_each_second(AT + HOUR, AT + HOUR + 4 * SECOND)
    assert await told(world, vendor, AT) == [("opened", 3603.0)]
    await world.run("delete from public.apm_metrics")
    if is_killed:
        world.forget()
    await world.evaluate(AT)
    await world.samples(vendor, [(AT + SECOND, 9000)])
    await world.evaluate_each_second(AT + SECOND, AT + 2 * SECOND)
    assert await told(world, vendor, AT) == [("opened", 3603.0)], "still the same alarm"
    await world.samples(vendor, [(AT + 3 * SECOND, 10)])
    await world.evaluate(AT + 4 * SECOND)
    assert ("resolved", 3.0) in await told(world, vendor, AT)
    await world.samples(vendor, [(AT + 8 * SECOND, 9000), (AT + 12 * SECOND, 9000)])
    await world.evaluate_each_second(AT + 8 * SECOND, AT + 12 * SECOND)
    assert ("reopened", 11.0) in await told(world, vendor, AT), "neither `for` nor the pause waits"


async def test_rules_that_are_read_from_the_database_go_on_after_a_step_back(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    await world.rule(vendor, aggregation="max", evaluation_window=2 * HOUR)
    await world.samples(vendor, [(AT + HOUR, 10)])
    await world.evaluate_each_second(AT + HOUR, AT + HOUR + SECOND)
    (state,) = await world.states(vendor)
    assert state["evaluated_at"] > AT + 50 * MINUTE
    await world.evaluate(AT)
    (state,) = await world.states(vendor)
    assert state["evaluated_at"] <= AT
    await world.samples(vendor, [(AT + SECOND, 9000)])
    for n in range(0, 60, 6):
        await world.evaluate(AT + n * SECOND)
    assert ("opened", 1.0) in await told(world, vendor, AT)


async def test_an_engine_from_the_future_is_not_waited_for(world: EngineWorld) -> None:
    """It was killed, and then the clock was set back: its lease would run for an hour."""
    dead, heir = Leases(), Leases()
    for one in (dead, heir):
        async with world.engine.connection() as cx:
            await one.share(cx)
    assert (len(dead.generations), len(heir.generations)) == (SLICES, 0)
    await world.run(
        "update apm_private.evaluators set seen_at = seen_at + interval '1 hour' where id = %(id)s",
        id=dead.holder,
    )
    async with world.engine.connection() as cx:
        await heir.share(cx)
    assert len(heir.generations) == SLICES


DECIDES: Final = (
    *("checks", "egress", "engine", "escalation", "heartbeats", "incidents", "notify", "rules"),
    *("silences", "weddings"),
)
READS_THE_WALL: Final = re.compile(r"\b(utcnow|time\.time|time_ns|datetime\.now|date\.today)\(")
MAY: Final = {"engine/cycle.py": "LAST_OK.set(time.time(), job=cycle.name)"}
"""A gauge for whoever watches us from outside, by his clock."""


def test_the_hosts_wall_clock_decides_nothing() -> None:
    root = Path(wedsync_apm.__file__).parent
    assert all((root / room).is_dir() for room in DECIDES)
    found = {
        str(path.relative_to(root)): line.strip()
        for room in DECIDES
        for path in (root / room).rglob("*.py")
        for line in path.read_text().splitlines()
        if READS_THE_WALL.search(line)
    }
    assert found == MAY
