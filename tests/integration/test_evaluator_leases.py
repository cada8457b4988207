"""Several engines share the organizations: each is judged by one, and only by one."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import IdleInTransactionSessionTimeout, SerializationFailure

from tests.support.engine import AT, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.engine.evaluate import READER, Evaluator
from wedsync_apm.engine.leases import SLICES, Leases, slice_of
from wedsync_apm.rules import live
from wedsync_apm.rules.judge import Instance

LEASE = timedelta(seconds=1)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def share(world: EngineWorld, *engines: Leases) -> list[int]:
    """Each takes its turn; how many slices each then believes to have."""
    for one in engines:
        async with world.engine.connection() as cx:
            await one.share(cx)
    return [len(one.generations) for one in engines]


async def lose_sight_of(world: EngineWorld, engine: Leases) -> None:
    """As if it had been silent for longer than its lease."""
    await world.run(
        "update apm_private.evaluators set seen_at = seen_at - 2 * lease where id = %(id)s",
        id=engine.holder,
    )


async def told(world: EngineWorld, vendor: UUID) -> list[tuple[str, datetime]]:
    """What became of a vendor's incidents, and when by the samples' time."""
    return [
        (one["kind"], one["at"])
        for one in await world.events(vendor)
        if one["kind"] in {"opened", "reopened", "resolved"}
    ]


async def test_who_comes_gets_a_share_and_who_goes_leaves_it(world: EngineWorld) -> None:
    first, second, third = (Leases(timedelta(minutes=1)) for _ in range(3))
    assert await share(world, first) == [8]
    assert await share(world, second) == [0], "nothing is taken from who lives"
    assert await share(world, first, second) == [4, 4]
    await share(world, third, first, second, third)
    assert await share(world, first, second, third) == [3, 3, 2]
    held = [one for leases in (first, second, third) for one in leases.generations]
    assert sorted(held) == list(range(SLICES)), "each slice has one holder"
    async with world.engine.connection() as cx:
        await third.leave(cx)
    assert await share(world, first, second) == [4, 4]
    await lose_sight_of(world, first)
    assert await share(world, second) == [8]
    assert await share(world, first, second, first) == [4, 4, 4], "back again"


async def test_what_is_held_stays_in_memory_as_long_as_nothing_passes_on(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    await world.rule(vendor, aggregation="last")
    await world.samples(vendor, [(AT, 10)])
    evaluator = Evaluator(leases=Leases(LEASE))
    async with world.engine.connection() as cx:
        await evaluator.run_once(cx, AT)
        held = evaluator.memories[vendor]
        for n in (1, 2):
            await asyncio.sleep(LEASE.total_seconds() / 3)  # time to share again
            said_at = evaluator.leases.said_at
            await evaluator.run_once(cx, AT + n * SECOND)
            assert evaluator.leases.said_at > said_at
            assert evaluator.memories[vendor] is held


async def test_the_slices_are_the_databases(world: EngineWorld) -> None:
    vendors = [await world.organization(f"Vendor {n}") for n in range(20)]
    rows = await world.run("select id, apm_private.rollup_slice(id) as n from organizations")
    assert {row["id"]: row["n"] for row in rows} == {one: slice_of(one) for one in vendors}


async def test_whoever_slept_through_his_lease_is_refused_by_the_database(
    world: EngineWorld,
) -> None:
    """Another engine has taken over meanwhile and told what there was to tell."""
    vendor = await world.organization()
    rule_id = await world.rule(vendor, aggregation="last")
    sleeper, other = Evaluator(leases=Leases(timedelta(minutes=1))), world.evaluator

    async def look(one: Evaluator, seconds: int) -> None:
        async with world.engine.connection() as cx:
            await one.run_once(cx, AT + seconds * SECOND)

    await look(sleeper, 0)
    await world.samples(vendor, [(AT + SECOND, 9000)])
    stale = sleeper.leases.of(vendor)
    await lose_sight_of(world, sleeper.leases)
    await look(other, 1)
    assert sleeper.leases.of(vendor) == stale, "he does not know"
    with pytest.raises(SerializationFailure, match="passed on"):
        await look(sleeper, 2)
    assert await told(world, vendor) == [("opened", AT + SECOND)]
    (incident,) = await world.incidents(vendor)
    assert incident["repeat_count"] == 0

    # Each statement that writes is refused by itself, and sets back what came before it.
    verdicts = other.memories[vendor].memory.standings()
    with pytest.raises(SerializationFailure, match="passed on"):
        async with world.engine.connection() as cx:
            unit = {key: Instance(key[1], series_ids=(1,)) for key in verdicts}
            assert [key[0] for key in verdicts] == [rule_id]
            await live.upsert_standings(cx, vendor, verdicts, unit, stale)
    with pytest.raises(SerializationFailure, match="passed on"):
        async with world.engine.connection() as cx:
            await cx.execute("select apm_private.make_partitions(now())")
            await Leases(
                holder=stale.holder, generations={stale.slice: stale.generation}
            ).move_cursors(cx, READER, {stale.slice: "1:1:"}, AT)

    # He finds out what is his now, and goes on from the rows.
    await world.samples(vendor, [(AT + 3 * SECOND, 10)])
    for n in (3, 4, 5):
        await look(sleeper, n)
        await look(other, n)
    assert await told(world, vendor) == [("opened", AT + SECOND), ("resolved", AT + 3 * SECOND)]


async def test_a_holder_that_falls_silent_behind_the_fence_is_cut_off(world: EngineWorld) -> None:
    """Its locks would keep the slice from passing on."""
    sleeper, other = Leases(LEASE), Leases(LEASE)
    await share(world, sleeper)
    async with world.engine.connection() as cx:
        with pytest.raises(IdleInTransactionSessionTimeout):
            async with cx.transaction():
                await sleeper.move_cursors(cx, READER, {0: "1:1:"}, AT)
                deadline = time.monotonic() + 60
                while await share(world, other) != [SLICES]:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
                await cx.execute("select 1")
                raise AssertionError("the session lives")
    rows = await world.run("select name from apm_private.cursors where name = 'evaluate 0'")
    assert rows == [], "and nothing of it was kept"


@dataclass(slots=True)
class Race:
    """Evaluators that look at random moments at what is fed; some of them sleep through their lease
    in the middle of a run, just before its words."""

    world: EngineWorld
    vendors: list[UUID]
    chance: random.Random
    now: datetime = AT
    is_over: bool = False
    refused: int = 0

    async def run(self, evaluator: Evaluator) -> None:
        """One of them."""
        while not self.is_over:
            try:
                async with self.world.engine.connection() as cx:
                    await evaluator.run_once(cx, self.now)
            except (SerializationFailure, IdleInTransactionSessionTimeout):
                self.refused += 1
            await asyncio.sleep(self.chance.uniform(0, 0.02))

    async def is_judged(self) -> bool:
        """Whether all has been judged up to now: who alarms no more may still do so later on."""
        rows = await self.world.run(
            "select count(*) as n from apm_private.cursors where name like 'evaluate %%' "
            "and judged_at >= %(now)s and not behind && %(vendors)s::uuid[]",
            now=self.now,
            vendors=self.vendors,
        )
        return bool(rows[0]["n"] == SLICES)


@dataclass(slots=True)
class Sleepy(Leases):
    """Now and then it sleeps, before it says what it has done, until others have taken over."""

    world: EngineWorld | None = None
    moves: int = 0

    async def move_cursors(self, *rest: Any) -> None:
        self.moves += 1
        if self.moves % 10 == 3:
            await eventually(self.has_lost_some)
        await Leases.move_cursors(self, *rest)

    async def has_lost_some(self) -> bool:
        assert self.world is not None
        rows = await self.world.run(
            "select count(*) as n from apm_private.evaluation_leases where holder = %(id)s",
            id=self.holder,
        )
        return bool(rows[0]["n"] < len(self.generations))


@pytest.mark.parametrize("count", [2, 3])
async def test_evaluators_that_race_come_to_what_one_alone_would(
    world: EngineWorld, count: int
) -> None:
    chance = random.Random(count)  # noqa: S311
    script = [(n, chance.choice([100, 100, 9000, 9000])) for n in range(1, 60, 3)]
    script += [(n, 100) for n in range(60, 80, 3)]
    histories = []
    for engines in (1, count):
        vendors = [await world.organization(f"Vendor {n}") for n in range(5)]
        for vendor in vendors:
            await world.rule(
                vendor,
                aggregation="max",
                evaluation_window=10 * SECOND,
                for_duration=4 * SECOND,
                cooldown_period=timedelta(),
            )
        race = Race(world, vendors, chance)
        racing = [
            asyncio.create_task(race.run(Evaluator(leases=leases)))
            for leases in (
                Leases(LEASE),
                *(Sleepy(LEASE, world=world) for _ in range(engines - 1)),
            )
        ]
        for n, value in script:
            for vendor in vendors:
                await world.samples(vendor, [(AT + n * SECOND, value)])
            race.now = AT + n * SECOND
            await asyncio.sleep(0.15)
        race.now = AT + 80 * SECOND
        # However busy the machine is: somebody has been overtaken.
        while engines > 1 and not race.refused:
            race.now += SECOND
            await asyncio.sleep(0.15)
        await eventually(race.is_judged)
        race.is_over = True
        await asyncio.gather(*racing)
        histories.append([await told(world, vendor) for vendor in vendors])
        await world.run("update public.apm_alerts set is_active = false")
        await world.run("delete from apm_private.evaluators")
        # What comes next begins at the same time again, and not after it.
        await world.run("delete from apm_private.cursors where name like 'evaluate %%'")
    assert histories[0] == histories[1]
    assert len(histories[0][0]) >= 4


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Waits until `condition` gives true."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_processes_that_are_stopped_and_killed_at_any_moment(
    world: EngineWorld, database: Database
) -> None:
    """Three of them; each event is told once, with the time of its sample, as by one alone."""
    chance = random.Random(20261125)  # noqa: S311
    vendors = [await world.organization(f"Vendor {n}") for n in range(10)]
    for vendor in vendors:
        await world.rule(vendor, aggregation="last", cooldown_period=timedelta())
    wanted: dict[UUID, list[datetime]] = {vendor: [] for vendor in vendors}

    with ExitStack() as stack:

        def start() -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.support.judging"),
                    *(database.engine, str(LEASE.total_seconds())),
                ]
            )
            stack.callback(process.wait, 60)
            stack.callback(process.kill)
            return process

        async def holders() -> set[UUID]:
            rows = await world.run(
                "select distinct l.holder from apm_private.evaluation_leases as l "
                "join apm_private.evaluators as e on e.id = l.holder "
                "where e.seen_at + e.lease > clock_timestamp()"
            )
            return {row["holder"] for row in rows}

        async def three_share() -> bool:
            return len(await holders()) == 3

        living = [start() for _ in range(3)]
        await eventually(three_share)
        is_bad = dict.fromkeys(vendors, False)
        for turn in range(12):
            for vendor in chance.sample(vendors, 4):
                # A moment ahead: so it never comes after its time.
                at = datetime.now(UTC).replace(microsecond=0) + SECOND
                if wanted[vendor] and wanted[vendor][-1] >= at:
                    continue
                is_bad[vendor] = not is_bad[vendor]
                wanted[vendor].append(at)
                await world.samples(vendor, [(at, 9000.0 if is_bad[vendor] else 10.0)])
            if turn % 4 == 1:
                victim = living.pop(chance.randrange(3))
                await asyncio.sleep(chance.uniform(0, 0.5))
                victim.send_signal(signal.SIGKILL)
                living.append(start())
            if turn % 4 == 3:
                victim = chance.choice(living)
                victim.send_signal(signal.SIGSTOP)
                await asyncio.sleep(2.5 * LEASE.total_seconds())
                victim.send_signal(signal.SIGCONT)
            await asyncio.sleep(chance.uniform(0.2, 0.8))

        async def is_told() -> bool:
            found = [await told(world, vendor) for vendor in vendors]
            return all(
                len(one) >= len(wanted[vendor]) for one, vendor in zip(found, vendors, strict=True)
            )

        await eventually(is_told)
        await asyncio.sleep(2 * LEASE.total_seconds())
    for vendor in vendors:
        history = await told(world, vendor)
        assert [at for _, at in history] == wanted[vendor]
        assert [kind == "resolved" for kind, _ in history] == [
            n % 2 == 1 for n in range(len(history))
        ]
    rows = await world.run("select sum(generation) as n from apm_private.evaluation_leases")
    assert rows[0]["n"] > 2 * SLICES, "slices have passed on"
