"""Compaction: every read is the same before, during and after, whatever comes in meanwhile."""

import asyncio
import random
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import IsolationLevel
from psycopg.rows import dict_row

from tests.support.blocks import (
    DAY,
    HOUR_MS,
    Batch,
    Shown,
    compact_all,
    compact_over,
    float_of,
    noisy,
    settle,
    shown_by_numpy,
    shown_by_sql,
    write,
)
from tests.support.people import ORGANIZATION_A, ORGANIZATION_B, Connection, connect
from tests.support.postgres import Database
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.engine import compact
from wedsync_apm.metrics.compaction.store import settle_blocks

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAY
DAY_MS = int(MIDNIGHT.timestamp() * 1000)
WEDDING = {"is_wedding_day": True, "phase": "ceremony"}


@pytest.fixture
def cx(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as owner:
        for organization in (ORGANIZATION_A, ORGANIZATION_B):
            owner.execute("insert into organizations (id, name) values (%s, 'O')", (organization,))
    with connect(database.engine, autocommit=True) as opened:
        yield opened


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with await open_pool(database.engine, name="engine", min_size=1, max_size=6) as opened:
        yield opened


async def shown(cx: Connection, pool: Pool, organization: UUID = ORGANIZATION_A) -> Shown:
    by_sql = shown_by_sql(cx, organization, MIDNIGHT, MIDNIGHT + DAY)
    assert await shown_by_numpy(pool, organization, MIDNIGHT, MIDNIGHT + DAY) == by_sql
    return by_sql


def levels(cx: Connection, organization: UUID = ORGANIZATION_A) -> list[tuple[int, int]]:
    """Level and number of samples of each row."""
    rows = cx.execute(
        "select level, coalesce(sample_count, cardinality(series_ids)) as n from apm_metrics"
        " where organization_id = %s order by level, n",
        (organization,),
    )
    return [(row["level"], row["n"]) for row in rows.fetchall()]


def rounds(count: int, *, start: int = 0, series: int = 5, step: int = 15_000) -> list[Batch]:
    """Batches of one sample each of a few series."""
    return [
        Batch(
            [
                (number + 1, DAY_MS + (start + turn) * step, value)
                for number, value in enumerate(noisy(start + turn, series))
            ]
        )
        for turn in range(count)
    ]


async def test_write_batches_become_one_packed_row(cx: Connection, pool: Pool) -> None:
    for batch in rounds(40):
        write(cx, ORGANIZATION_A, batch)
    before = await shown(cx, pool)
    done = await compact_all(pool, await settle(pool))
    assert [(one.batches, one.samples, one.made) for one in done] == [(40, 200, 1)]
    assert levels(cx) == [(1, 200)]
    assert await shown(cx, pool) == before
    assert await compact_all(pool, await settle(pool)) == []


async def test_of_a_sample_that_was_written_often_the_last_write_stays(
    cx: Connection, pool: Pool
) -> None:
    at = DAY_MS + 60_000
    for value in (1.0, 2.0, 3.0):
        write(cx, ORGANIZATION_A, Batch([(1, at, value), (2, at, 9.0)]))
    before = await shown(cx, pool)
    await compact_all(pool, await settle(pool))
    assert levels(cx) == [(1, 2)]
    write(cx, ORGANIZATION_A, Batch([(1, at, 4.0)]))
    assert (await shown(cx, pool))[1, at] != before[1, at], "a later write beats the packed row"
    after = await shown(cx, pool)
    await compact_all(pool, await settle(pool))
    assert await shown(cx, pool) == after
    assert levels(cx) == [(1, 2)]


async def test_contexts_and_sources_stay_apart(cx: Connection, pool: Pool) -> None:
    for turn in range(6):
        at = DAY_MS + turn * 60_000
        write(cx, ORGANIZATION_A, Batch([(1, at, turn)], WEDDING if turn % 2 else None))
        write(cx, ORGANIZATION_A, Batch([(2, at, turn)], source="statsd"))
        write(cx, ORGANIZATION_B, Batch([(1, at, -turn)]))
    before = await shown(cx, pool), await shown(cx, pool, ORGANIZATION_B)
    await compact_all(pool, await settle(pool))
    assert (await shown(cx, pool), await shown(cx, pool, ORGANIZATION_B)) == before
    assert levels(cx) == [(1, 3), (1, 3), (1, 6)]
    assert levels(cx, ORGANIZATION_B) == [(1, 6)]
    wedding = cx.execute(
        "select count(*) as n from apm_metrics where organization_id = %s"
        " and (wedding_context->>'is_wedding_day')::boolean = true",
        (ORGANIZATION_A,),
    ).fetchone()
    assert wedding == {"n": 1}


async def test_a_full_row_is_made_again_only_for_what_is_superseded(
    cx: Connection, pool: Pool
) -> None:
    # 60 series x 600 samples make a row that is full
    for turn in range(24):
        base = DAY_MS + turn * HOUR_MS
        write(
            cx,
            ORGANIZATION_A,
            Batch([(s, base + n * 120_000, s + n) for s in range(1, 61) for n in range(25)]),
        )
    await compact_all(pool, await settle(pool))
    assert levels(cx) == [(1, 36_000)]
    write(cx, ORGANIZATION_A, Batch([(1, DAY_MS + 7, 1.0)]))
    (late,) = await compact_all(pool, await settle(pool))
    assert (late.made, late.remade) == (1, 0)
    assert levels(cx) == [(1, 1), (1, 36_000)]
    write(cx, ORGANIZATION_A, Batch([(1, DAY_MS, 77.5)]))
    before = await shown(cx, pool)
    (again,) = await compact_all(pool, await settle(pool))
    assert (again.made, again.remade) == (1, 1)
    assert levels(cx) == [(1, 2), (1, 35_999)]
    assert await shown(cx, pool) == before


async def test_a_block_that_is_not_committed_yet_is_waited_for(
    database: Database, cx: Connection, pool: Pool
) -> None:
    """It has a lower number than others that are there, and must not be beaten by their row."""
    at = DAY_MS + 5_000
    with connect(database.engine) as slow:
        write(slow, ORGANIZATION_A, Batch([(1, at, 1.0)]))
        for batch in rounds(10):
            write(cx, ORGANIZATION_A, batch)
        write(cx, ORGANIZATION_A, Batch([(1, at, 2.0)]))
        for _ in range(3):
            async with pool.connection() as engine:
                settled = await settle_blocks(engine, timedelta())
            assert await compact_all(pool, settled) == []
        slow.commit()
    before = await shown(cx, pool)
    await compact_all(pool, await settle(pool))
    assert await shown(cx, pool) == before
    assert before[1, at][0] == bytes.fromhex("4000000000000000")


async def test_a_writer_has_its_transaction_before_its_block(
    database: Database, cx: Connection
) -> None:
    """Whatever way it comes in: else its id could be taken for settled."""
    with connect(database.engine) as writer:
        writer.execute("select 1")
        drawn = writer.execute(
            "select pg_get_expr(d.adbin, d.adrelid) as expression from pg_attrdef as d"
            " join pg_attribute as a on a.attrelid = d.adrelid and a.attnum = d.adnum"
            " where a.attrelid = 'apm_metrics'::regclass and a.attname = 'block_id'"
        ).fetchone()
        assert drawn is not None
        row = writer.execute(
            "select pg_current_xact_id_if_assigned() is null as before,"
            f" {drawn['expression']} as id, pg_current_xact_id_if_assigned() is not null as after"
        ).fetchone()
        assert row is not None
        assert (row["before"], row["after"]) == (True, True)


async def test_after_a_restore_the_mark_starts_anew(cx: Connection, pool: Pool) -> None:
    write(cx, ORGANIZATION_A, rounds(1)[0])
    assert await settle(pool) > 0
    cx.execute(
        "update apm_private.compaction_mark set settled_id = 10 ^ 9, pending_id = 10 ^ 9,"
        " pending_xid = '900000000'"
    )
    async with pool.connection() as engine:
        assert await settle_blocks(engine, timedelta()) == 0
    assert 0 < await settle(pool) < 10**9


async def test_blocks_that_nobody_noted_are_found(cx: Connection, pool: Pool) -> None:
    for batch in rounds(3):
        write(cx, ORGANIZATION_A, batch)
    cx.execute("delete from apm_private.flushes")
    assert len(await compact_all(pool, await settle(pool))) == 1


@pytest.mark.parametrize(
    "isolation", [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ]
)
async def test_readers_see_no_difference_at_any_moment(
    database: Database, cx: Connection, pool: Pool, isolation: IsolationLevel
) -> None:
    for batch in rounds(60):
        write(cx, ORGANIZATION_A, batch)
    before = await shown(cx, pool)
    settled = await settle(pool)
    with connect(database.engine) as reader:
        reader.isolation_level = isolation
        assert shown_by_sql(reader, ORGANIZATION_A, MIDNIGHT, MIDNIGHT + DAY) == before
        task = asyncio.create_task(compact_all(pool, settled, most_samples=25))
        looks = 0
        while not task.done():
            seen = await asyncio.to_thread(
                shown_by_sql, reader, ORGANIZATION_A, MIDNIGHT, MIDNIGHT + DAY
            )
            assert seen == before
            looks += 1
        assert len(await task) > 5
        assert looks > 1
        assert shown_by_sql(reader, ORGANIZATION_A, MIDNIGHT, MIDNIGHT + DAY) == before


async def test_killed_before_any_of_its_statements_nothing_is_lost(
    database: Database, cx: Connection, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for batch in rounds(30):
        write(cx, ORGANIZATION_A, batch)
    await compact_all(pool, await settle(pool))
    for batch in rounds(30, start=20):
        write(cx, ORGANIZATION_A, batch)
    before = await shown(cx, pool)
    settled = await settle(pool)
    execute = psycopg.AsyncCursor.execute
    deadly, count = 0, -1

    async def killing(self: Any, *arguments: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count == deadly:
            # the server's side of a kill -9 of the engine: the connection is gone
            with connect(database.owner, autocommit=True) as owner:
                owner.execute(
                    "select pg_terminate_backend(%s, 5000)", (self.connection.info.backend_pid,)
                )
        return await execute(self, *arguments, **more)

    while True:
        count = 0
        async with await psycopg.AsyncConnection.connect(
            database.engine, row_factory=dict_row
        ) as engine:
            with monkeypatch.context() as patch:
                patch.setattr(psycopg.AsyncCursor, "execute", killing)
                deadly += 1
                with suppress(psycopg.OperationalError):
                    await compact_over(engine, settled)
        assert await shown(cx, pool) == before
        if count < deadly:
            break
    assert deadly > 8, "each statement was hit once, and then a run went through"
    assert levels(cx) == [(1, 250)]


async def test_a_day_that_is_one_table_is_packed_too(
    database: Database, cx: Connection, pool: Pool
) -> None:
    """As on Citus, and in days that were made before they were split."""
    day = datetime(2020, 2, 3, tzinfo=UTC)
    with connect(database.owner, autocommit=True) as owner:
        owner.execute("set citus.shard_count = 32")
        owner.execute(
            "select apm_private.make_partition('apm_metrics', 'apm_metrics_20200203', %s, %s)",
            (day, day + DAY),
        )
        kind = owner.execute(
            "select relkind::text from pg_class where relname = 'apm_metrics_20200203'"
        ).fetchone()
    assert kind == {"relkind": "r"}
    first = int(day.timestamp() * 1000)
    for turn in range(20):
        batch = Batch([(s, first + turn // 2 * 1_000, turn + s / 10) for s in range(1, 4)])
        write(cx, ORGANIZATION_A, batch)
    before = shown_by_sql(cx, ORGANIZATION_A, day, day + DAY)
    await compact_all(pool, await settle(pool), most_samples=60)
    assert shown_by_sql(cx, ORGANIZATION_A, day, day + DAY) == before
    assert levels(cx) == [(1, 30)]


async def test_two_engines_share_the_work(cx: Connection, pool: Pool) -> None:
    for batch in rounds(20):
        write(cx, ORGANIZATION_A, batch)
        write(cx, ORGANIZATION_B, batch)
    before = await shown(cx, pool), await shown(cx, pool, ORGANIZATION_B)
    settled = await settle(pool)
    done = await asyncio.gather(*(compact_all(pool, settled, most_samples=10) for _ in range(3)))
    assert sum(one.batches for run in done for one in run) == 40
    assert (await shown(cx, pool), await shown(cx, pool, ORGANIZATION_B)) == before


async def test_compaction_is_no_news(cx: Connection, pool: Pool) -> None:
    """Rollups and rules follow the flushes; what is packed has been judged already."""
    for batch in rounds(5):
        write(cx, ORGANIZATION_A, batch)
    count = "select count(*) as n from apm_private.flushes"
    before = cx.execute(count).fetchone()
    await compact_all(pool, await settle(pool))
    assert cx.execute(count).fetchone() == before


async def test_the_job_leaves_new_batches_alone(cx: Connection, pool: Pool) -> None:
    for batch in rounds(3):
        write(cx, ORGANIZATION_A, batch)
    async with pool.connection() as engine:
        for _ in range(3):
            assert await compact.run_once(engine, datetime.now(UTC)) == ""
    assert [level for level, _ in levels(cx)] == [0, 0, 0]
    cx.execute("update apm_private.compaction_mark set pending_at = now() - interval '6 minutes'")
    async with pool.connection() as engine:
        assert await compact.run_once(engine, datetime.now(UTC)) == ""
        later = datetime.now(UTC) + timedelta(hours=2)
        assert await compact.run_once(engine, later) == "15 samples of 3 batches compacted"


def write_for_a_while(database: Database, seed: int, until: threading.Event) -> dict[Any, Any]:
    """Overlapping samples in transactions that stay open for a moment; the last write of each."""
    chance = random.Random(seed)  # noqa: S311
    last: dict[tuple[int, int], tuple[int, float]] = {}
    with connect(database.engine) as writer:
        while not until.is_set():
            for _ in range(chance.randint(1, 3)):
                hour = DAY_MS + chance.randint(0, 2) * HOUR_MS
                places = chance.sample(range(60), 4)
                batch = Batch([(chance.randint(1, 3), hour + p, chance.random()) for p in places])
                write(writer, ORGANIZATION_A, batch)
                row = writer.execute("select currval('apm_private.block_ids') as id").fetchone()
                assert row is not None
                for series, at, value in batch.samples:
                    last[series, at] = max(last.get((series, at), (0, 0.0)), (row["id"], value))
            until.wait(chance.random() / 50)
            writer.commit()
    return last


async def test_beside_several_writers_the_last_write_of_each_sample_is_the_one_that_stays(
    database: Database, cx: Connection, pool: Pool
) -> None:
    until = threading.Event()
    writers = [
        asyncio.create_task(asyncio.to_thread(write_for_a_while, database, seed, until))
        for seed in range(3)
    ]
    compacted = 0
    ends = time.monotonic() + 60
    try:
        while compacted < 150 and time.monotonic() < ends:
            async with pool.connection() as engine:
                settled = await settle_blocks(engine, timedelta())
            compacted += sum(one.batches for one in await compact_all(pool, settled))
    finally:
        until.set()
    wrote = [await writer for writer in writers]
    assert compacted >= 150, "compaction kept up beside the writers"
    keys = {key for one in wrote for key in one}
    wanted = {key: max(one[key] for one in wrote if key in one)[1] for key in keys}
    for _ in range(2):
        seen = await shown(cx, pool)
        assert {key: struct.unpack(">d", bits)[0] for key, (bits, *_) in seen.items()} == wanted
        await compact_all(pool, await settle(pool))
    assert {level for level, _ in levels(cx)} == {1}


VALUES = st.one_of(
    st.floats(),
    st.decimals(0, 500, places=2).map(float),
    st.integers(-(2**55), 2**55).map(float),
    st.sampled_from(
        [-0.0, float_of(0x7FF8DEAD00000001), float_of(0xFFF0000000000001), float("inf"), 1e22]
    ),
)
BATCHES = st.lists(
    st.tuples(
        st.integers(0, 23),
        st.lists(
            st.tuples(st.integers(1, 3), st.integers(0, 40), VALUES),
            min_size=1,
            max_size=8,
            unique_by=lambda sample: sample[:2],
        ),
        st.sampled_from([None, WEDDING, {"is_wedding_day": False}]),
        st.sampled_from(["api", "statsd"]),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.slow
async def test_any_batches_in_any_order_are_shown_as_before(
    database: Database, cx: Connection, pool: Pool
) -> None:
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.lists(BATCHES, min_size=1, max_size=3), st.integers(1, 30))
    def check(runs: list[Any], most_samples: int) -> None:
        cx.execute("delete from apm_metrics")
        wanted: Shown = {}
        for run in runs:
            for hour, samples, context, source in run:
                base = DAY_MS + hour * HOUR_MS
                batch = Batch(
                    [(series, base + place * 1_000, value) for series, place, value in samples],
                    context,
                    source,
                )
                write(cx, ORGANIZATION_A, batch)
            seen = asyncio.run_coroutine_threadsafe(shown(cx, pool), loop).result()
            wanted = seen
            settled = asyncio.run_coroutine_threadsafe(settle(pool), loop).result()
            asyncio.run_coroutine_threadsafe(
                compact_all(pool, settled, most_samples=most_samples), loop
            ).result()
            assert asyncio.run_coroutine_threadsafe(shown(cx, pool), loop).result() == wanted
        assert all(level == 1 for level, _ in levels(cx))
        assert sum(count for _, count in levels(cx)) == len(wanted)

    await asyncio.to_thread(check)
