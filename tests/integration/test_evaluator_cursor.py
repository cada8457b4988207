"""The evaluator's cursor: what is committed is seen once, in whatever order it commits."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.engine import AT, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.engine import store
from wedsync_apm.engine.evaluate import READER

WRITERS = 4
SECONDS = 3.0
NAMES = [uuid4() for _ in range(5000)]
"""Each flush has one of its own."""


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def note_flush(cx: psycopg.AsyncConnection[object], organization_id: UUID) -> None:
    """What a writer leaves beside its blocks."""
    await cx.execute(
        "insert into apm_private.flushes (organization_ids, earliest, latest) "
        "values (array[%(id)s::uuid], array[%(at)s::timestamptz], array[%(at)s::timestamptz])",
        {"id": organization_id, "at": AT},
    )


async def follow(world: EngineWorld) -> list[UUID]:
    """One look of the evaluator, committed with its cursors."""
    leases = world.evaluator.leases
    async with world.engine.connection() as cx, cx.transaction():
        await leases.share(cx)
        (seen,) = {one.snapshot for one in (await leases.list_cursors(cx, READER)).values()}
        news = await store.read_new_flushes(cx, seen, NAMES)
        await leases.move_cursors(cx, READER, dict.fromkeys(leases.generations, news.snapshot), AT)
    return list(news.organization_ids)


async def test_writers_that_commit_in_any_order_lose_nothing(
    world: EngineWorld, database: Database
) -> None:
    """Four writers that dawdle between insert and commit or give up, and an analyst's open
    transaction; every committed flush is read once, soon, and none that was rolled back."""
    written: set[UUID] = set()
    seen: Counter[UUID] = Counter()
    lags: list[float] = []
    committed_at: dict[UUID, float] = {}
    names = iter(NAMES)
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS

    async def write(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        async with await psycopg.AsyncConnection.connect(database.writer) as cx:
            while loop.time() < end:
                flush = next(names)
                await note_flush(cx, flush)
                await asyncio.sleep(chance.choice([0, 0, 0.002, 0.02, 0.1]))
                if chance.random() < 0.1:
                    await cx.rollback()
                    continue
                await cx.commit()
                written.add(flush)
                committed_at[flush] = loop.time()

    async def read() -> None:
        while loop.time() < end:
            found = await follow(world)
            seen.update(found)
            lags.extend(loop.time() - committed_at[one] for one in found if one in committed_at)
            await asyncio.sleep(0.005)

    async with await psycopg.AsyncConnection.connect(database.owner) as analyst:
        # It has an id, so every snapshot taken meanwhile lists it as open.
        await analyst.execute("select pg_current_xact_id()")
        await asyncio.gather(read(), *(write(seed) for seed in range(WRITERS)))
        seen.update(await follow(world))
        assert set(seen) == written
        assert set(seen.values()) == {1}
        assert len(written) > 100
        assert sorted(lags)[len(lags) // 2] < 0.5, "an open transaction elsewhere delays nothing"


async def test_a_flush_is_read_when_its_own_transaction_ends(
    world: EngineWorld, database: Database
) -> None:
    """The slow one got its id first and commits last: "id > last seen" would never find it."""
    slow_flush, quick_flush = NAMES[:2]
    await follow(world)
    async with await psycopg.AsyncConnection.connect(database.writer) as slow:
        await note_flush(slow, slow_flush)
        async with await psycopg.AsyncConnection.connect(database.writer) as quick:
            await note_flush(quick, quick_flush)
        assert await follow(world) == [quick_flush]
        assert await follow(world) == []
        await slow.commit()
    assert await follow(world) == [slow_flush]
    assert await follow(world) == []


async def test_a_run_that_is_rolled_back_has_read_nothing(
    world: EngineWorld, database: Database
) -> None:
    flush = NAMES[0]
    async with await psycopg.AsyncConnection.connect(database.writer) as cx:
        await note_flush(cx, flush)
    leases = world.evaluator.leases
    async with world.engine.connection() as cx:
        await leases.share(cx)
        news = await store.read_new_flushes(cx, None, NAMES)
        assert news.organization_ids == (flush,)
        await leases.move_cursors(cx, READER, {0: news.snapshot}, AT)
        await cx.rollback()
    assert await follow(world) == [flush]


async def test_whoever_watches_nobody_reads_nothing(world: EngineWorld) -> None:
    async with world.owner.connection() as cx:
        await note_flush(cx, NAMES[0])
    async with world.engine.connection() as cx:
        explained = await cx.execute(
            f"explain {store.Q.read_new_flushes}".encode(),
            {"seen": None, "organization_ids": []},
        )
        plan = "\n".join(str(row["QUERY PLAN"]) for row in await explained.fetchall())
        assert "flushes" not in plan, plan
        assert not (await store.read_new_flushes(cx, None, [])).organization_ids
        others = await store.read_new_flushes(cx, None, NAMES[1:])
        assert not others.organization_ids


async def test_after_a_restore_the_cursor_starts_anew(world: EngineWorld) -> None:
    """A cursor from another cluster may lie in the future; following it would find nothing."""
    await world.run(
        "insert into apm_private.cursors (name, snapshot) "
        "select 'evaluate ' || n, '9000000:9000000:' from generate_series(0, 7) as n"
    )
    flush = NAMES[0]
    async with world.owner.connection() as cx:
        await note_flush(cx, flush)
    assert await follow(world) == [flush]
    assert await follow(world) == []


async def test_the_cursor_is_looked_up_in_the_index(world: EngineWorld) -> None:
    """Each second, whatever has piled up: both sides of the condition use the index."""
    await world.run(
        "insert into apm_private.flushes (xid, organization_ids, earliest, latest) "
        "select n::text::xid8, array[gen_random_uuid()], array[now()], array[now()] "
        "from generate_series(3, 500) as n cross join generate_series(1, 40)"
    )
    await world.run("analyze apm_private.flushes")
    await follow(world)
    async with world.engine.connection() as cx:
        explained = await cx.execute(
            f"explain {store.Q.read_new_flushes}".encode(),
            {"seen": "700:710:703,705", "organization_ids": NAMES[:1]},
        )
        plan = "\n".join(str(row["QUERY PLAN"]) for row in await explained.fetchall())
    assert "Seq Scan on flushes" not in plan, plan
    assert plan.count("idx_apm_flushes_xid") == 2, plan
