"""An engine that is stopped between any two statements of a run, and one that takes over.

Time is given, so that nothing depends on how fast the machine is. However judging passes from one
to another, each beginning and end is told once, at the time of its samples.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from psycopg.errors import SerializationFailure

from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import evaluate
from wedsync_apm.engine.evaluate import Evaluator
from wedsync_apm.engine.leases import SLICES, Leases

HOUR: Final = timedelta(hours=1)
Act = Callable[[], Awaitable[None]]


class Killed(BaseException):
    """The process is gone, with all that it had not committed."""


async def kill() -> None:
    raise Killed


async def fail() -> None:
    raise RuntimeError("a defect")


@pytest.fixture
async def world(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EngineWorld]:
    # Every run shares first.
    monkeypatch.setattr(evaluate, "SHARES_A_LEASE", 1e12)
    async with open_engine_world(database) as opened:
        yield opened


@dataclass(slots=True)
class Place:
    """Behind which statement of a run something happens."""

    number: int
    act: Act
    is_reached: bool = False
    statements: int = 0


@contextmanager
def stopping(cx: Connection, place: Place) -> Iterator[None]:
    """Something happens to whoever uses this connection, once, behind one of its statements."""
    execute = cx.execute

    async def counted(*rest: Any, **options: Any) -> Any:
        cursor = await execute(*rest, **options)
        place.statements += 1
        if place.statements == place.number:
            place.is_reached = True
            await place.act()
        return cursor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cx, "execute", counted)
        yield


@dataclass(slots=True)
class Company:
    """Engines that share the organizations, each called when it shall look."""

    world: EngineWorld
    engines: list[Evaluator]
    refused: int = 0
    killed: int = 0
    failed: int = 0

    @classmethod
    def of(cls, world: EngineWorld, count: int) -> "Company":
        return cls(world, [_new_engine() for _ in range(count)])

    async def look(self, engine: Evaluator, at: datetime, place: Place | None = None) -> None:
        """One run, which may be refused, or killed at a place; then another engine is begun."""
        try:
            async with self.world.engine.connection() as cx:
                with stopping(cx, place or Place(0, kill)):
                    await engine.run_once(cx, at)
        except SerializationFailure:
            self.refused += 1
        except RuntimeError:
            self.failed += 1
        except Killed:
            self.killed += 1
            await self.lose_sight_of(engine)
            self.engines[self.engines.index(engine)] = _new_engine()

    async def lose_sight_of(self, engine: Evaluator) -> None:
        """As if it had been silent for longer than its lease; not while it says that it lives."""
        await self.world.run(
            "update apm_private.evaluators set seen_at = seen_at - 1.5 * lease where id in ("
            "select id from apm_private.evaluators where id = %(id)s for update skip locked)",
            id=engine.leases.holder,
        )

    async def all_look(self, at: datetime) -> None:
        """In turn, until all is shared and judged up to this instant."""
        for _ in range(5):
            for engine in tuple(self.engines):
                await self.look(engine, at)
            rows = await self.world.run(
                "select count(*) as n from apm_private.cursors where name like 'evaluate %%' "
                "and judged_at >= %(at)s",
                at=at,
            )
            if rows[0]["n"] == SLICES:
                return
        raise AssertionError("a share is judged by nobody")

    def stall(self, engine: Evaluator, at: datetime) -> Act:
        """It is silent for longer than its lease, while all others look."""

        async def pause() -> None:
            await self.lose_sight_of(engine)
            for _ in range(2):
                for other in tuple(self.engines):
                    if other is not engine:
                        await self.look(other, at)

        return pause

    def holder_of(self, vendor: UUID) -> Evaluator:
        (found,) = (one for one in self.engines if one.leases.has(vendor))
        return found


def _new_engine() -> Evaluator:
    return Evaluator(leases=Leases(HOUR))


async def told(world: EngineWorld, vendor: UUID, start: datetime = AT) -> list[tuple[str, float]]:
    """What became of a vendor's incidents, and when, in seconds since the start."""
    return [
        ("resolved" if one["kind"] == "resolved" else "opened", (one["at"] - start) / SECOND)
        for one in await world.events(vendor)
        if one["kind"] in {"opened", "reopened", "resolved"}
    ]


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stalled"])
@pytest.mark.parametrize("stopped_at", [11, 20])
async def test_stopped_behind_any_statement_it_loses_no_breach(
    world: EngineWorld, stopped_at: int, is_killed: bool
) -> None:
    """A breach of six seconds, which is pending or over when the run is stopped; in the same run
    the verdict of a rule that was switched off is forgotten."""
    vendor = await world.organization()
    await world.rule(
        vendor,
        aggregation="max",
        evaluation_window=10 * SECOND,
        for_duration=4 * SECOND,
        cooldown_period=timedelta(),
    )
    other = await world.rule(vendor, alert_name="Other", threshold_value=1e6)
    switch = "update public.apm_alerts set is_active = %(on)s where id = %(id)s"
    company, wanted, number = Company.of(world, 2), list[tuple[str, float]](), 0
    is_reached = True
    while is_reached:
        start, number = AT + number * MINUTE, number + 1
        await world.run(switch, id=other, on=True)
        await world.samples(vendor, [(start + SECOND, 10)])
        await company.all_look(start + SECOND)
        await world.samples(vendor, {start + n * SECOND: v for n, v in ((9, 9000), (12, 10))})
        await world.run(switch, id=other, on=False)
        holder = company.holder_of(vendor)
        at = start + stopped_at * SECOND
        place = Place(number, kill if is_killed else company.stall(holder, at + SECOND))
        await company.look(holder, at, place)
        await company.all_look(start + 30 * SECOND)
        offset = (start - AT) / SECOND
        wanted += [("opened", offset + 13), ("resolved", offset + 19)]
        assert await told(world, vendor) == wanted, f"behind statement {number}"
        is_reached = place.is_reached
    assert number > 12
    assert company.killed if is_killed else company.refused


def _script(chance: random.Random) -> list[tuple[float, float]]:
    """What is measured over two minutes, good and bad, with silences."""
    points, second = list[tuple[float, float]](), 0.0
    while second < 120:
        second = round(second + chance.choice([1.0, 2.5, 3.0, 12.0]), 1)
        points.append((second, chance.choice([10.0, 10.0, 9000.0])))
    return points


@pytest.mark.parametrize("seed", range(2))
async def test_however_judging_passes_on_it_comes_to_what_one_alone_would(
    world: EngineWorld, seed: int
) -> None:
    """Engines look in any order, are killed or stall anywhere, and come back; beside one alone."""
    chance = random.Random(seed)  # noqa: S311
    scripts = [_script(chance) for _ in range(8)]
    columns = [
        {
            "aggregation": chance.choice(["max", "last", "avg"]),
            "evaluation_window": chance.choice([5, 10, 20]) * SECOND,
            "for_duration": chance.choice([0, 4, 7]) * SECOND,
            "keep_firing_for": chance.choice([0, 0, 5]) * SECOND,
            "cooldown_period": chance.choice([0, 0, 10]) * SECOND,
            "no_data_policy": chance.choice(["keep", "alert", "ok"]),
        }
        for _ in scripts
    ]
    histories, verdicts = [], []
    for count, start in ((1, AT), (3, AT + HOUR)):
        vendors = [await world.organization(f"Vendor {n}") for n in range(len(scripts))]
        for vendor, rule in zip(vendors, columns, strict=True):
            await world.rule(vendor, **rule)
        company = Company.of(world, count)
        for second in range(0, 160, 4):
            for vendor, points in zip(vendors, scripts, strict=True):
                came = {start + n * SECOND: v for n, v in points if second - 4 < n <= second}
                await world.samples(vendor, came)
            at = start + second * SECOND
            engine = chance.choice(company.engines)
            act = chance.choice([kill, fail, company.stall(engine, at)])
            number = chance.randint(1, 25) if count > 1 and chance.random() < 0.7 else 0
            await company.look(engine, at, Place(number, act))
        await company.all_look(start + 200 * SECOND)
        histories.append([await told(world, vendor, start) for vendor in vendors])
        verdicts.append(
            [[one["state"] for one in await world.states(vendor)] for vendor in vendors]
        )
        if count > 1:
            assert company.killed
            assert company.failed
            assert company.refused
        await world.run("update public.apm_alerts set is_active = false")
        await world.run("delete from apm_private.evaluators")
    assert histories[0] == histories[1]
    assert verdicts[0] == verdicts[1]
    assert sum(len(one) for one in histories[0]) > 20
