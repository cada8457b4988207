"""What the database says wakes the job that it is for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.support.engine import AT, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.engine.wake import CHANNEL, Wakes


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


@contextlib.asynccontextmanager
async def listening(database: Database) -> AsyncIterator[Wakes]:
    """Wakes whose connection stands."""
    wakes = Wakes()
    task = asyncio.create_task(wakes.run(database.engine))
    try:
        async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as cx:
            async with asyncio.timeout(60):
                while not wakes.events["evaluate"].is_set():
                    await cx.execute(f'notify {CHANNEL}, \'{{"topic":"metrics"}}\''.encode())
                    await asyncio.sleep(0.02)
        wakes.events["evaluate"].clear()
        yield wakes
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def heard(wakes: Wakes, job: str) -> None:
    await asyncio.wait_for(wakes.events[job].wait(), 60)


async def test_an_incident_wakes_the_ladders_and_a_message_the_sender(
    world: EngineWorld, database: Database
) -> None:
    vendor = await world.organization()
    await world.contact(vendor, "Priya")
    await world.rule(vendor)
    await world.samples(vendor, [(AT, 9000)])
    async with listening(database) as wakes:
        await world.evaluate(AT)
        await heard(wakes, "escalate")
        assert not wakes.events["deliver"].is_set()
        await world.escalate(AT)
        await heard(wakes, "deliver")


async def test_what_becomes_of_a_message_wakes_nobody(
    world: EngineWorld, database: Database
) -> None:
    wakes = Wakes()
    for payload in (
        '{"topic" : "deliveries", "action" : "update"}',
        '{"topic" : "health", "action" : "insert"}',
        "not JSON",
        "[]",
        '{"topic": 1}',
    ):
        wakes.hear(CHANNEL, payload)
    assert not any(event.is_set() for event in wakes.events.values())
    wakes.hear(CHANNEL, '{"topic" : "deliveries", "action" : "insert"}')
    assert [job for job, event in wakes.events.items() if event.is_set()] == ["deliver"]
    wakes.wake_all()
    assert all(event.is_set() for event in wakes.events.values())


def test_samples_of_organizations_without_a_rule_wake_nobody() -> None:
    wakes = Wakes(watched={"a"})
    judged = wakes.events["evaluate"]
    wakes.hear(CHANNEL, '{"topic":"metrics","organization_ids":["b","c"]}')
    assert not judged.is_set()
    for told in ('["b","a"]', "null"):
        wakes.hear(CHANNEL, f'{{"topic":"metrics","organization_ids":{told}}}')
        assert judged.is_set(), "null: of any"
        judged.clear()
    wakes.watched = set()
    wakes.hear(CHANNEL, '{"topic":"metrics","organization_ids":null}')
    assert not judged.is_set(), "nobody has a rule"
