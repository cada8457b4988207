"""The one statement by which all samples go in: whole or not at all, whatever stands between."""

import json
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.people import ORGANIZATION_A, ORGANIZATION_B, Connection, connect
from tests.support.pgbouncer import pooler
from tests.support.postgres import Database, throw_away_folder
from wedsync_apm.ingest import store
from wedsync_apm.ingest.packing import PackedBlocks
from wedsync_apm.ingest.plain_samples import Columns, Flush
from wedsync_apm.metrics.model import HOUR_MS, OrganizationForms, SeriesKey

A, B = ORGANIZATION_A, ORGANIZATION_B
FORMS = [OrganizationForms(one.bytes, str(one)) for one in (A, B)]
START_MS = 1_760_000_400_000
CONTEXT = '{"is_wedding_day": true, "wedding_id": "w"}'


@pytest.fixture
def owner(any_database: Database) -> Iterator[Connection]:
    with connect(any_database.owner, autocommit=True) as cx:
        cx.execute(
            "insert into organizations (id, name) values (%s, 'A'), (%s, 'B')",
            (ORGANIZATION_A, ORGANIZATION_B),
        )
        yield cx


@pytest.fixture
async def writer(any_database: Database, owner: Connection) -> AsyncIterator[store.Connection]:
    async with await store.connect(any_database.writer) as cx:
        yield cx


@pytest.fixture
def engine(any_database: Database, owner: Connection) -> Iterator[Connection]:
    with connect(any_database.engine, autocommit=True) as cx:
        yield cx


def some(samples: int = 3, context: str | None = None) -> PackedBlocks:
    """Of both organizations, ten minutes apart."""
    columns = [
        Columns(
            np.arange(samples) + nth * samples,
            START_MS + np.arange(samples) * 600_000,
            np.arange(samples, dtype=np.float64) + (nth * samples + 0.5),
            np.zeros(samples, np.int64),
            nth,
        )
        for nth in range(2)
    ]
    ids = np.arange(1, 2 * samples + 1, dtype=np.int32)
    flush = Flush(columns, ids, np.repeat(np.arange(2), samples))
    return PackedBlocks(flush.cut({}, 0), FORMS, (context,), ("api", "otlp"))


def spoilt() -> PackedBlocks:
    """Its last block ends an hour later than it may."""
    packed = some()
    latest = packed.blocks.latest
    microseconds = int.from_bytes(latest[-8:]) + HOUR_MS * 1000
    packed.blocks = packed.blocks._replace(latest=latest[:-8] + microseconds.to_bytes(8))
    return packed


def blocks(engine: Connection) -> list[tuple[object, ...]]:
    found = engine.execute(
        "select organization_id, (extract(epoch from timestamp) * 1000)::bigint as at, series_ids,"
        " offsets_ms, metric_values, wedding_context, apm_source from apm_metrics order by block_id"
    )
    return [tuple(row.values()) for row in found]


def flushes(engine: Connection) -> list[list[UUID]]:
    found = engine.execute("select organization_ids from apm_private.flushes order by flushed_at")
    return [row["organization_ids"] for row in found]


@pytest.mark.parametrize("prepared", [True, False])
async def test_a_flush_is_noted_and_stored(
    writer: store.Connection, engine: Connection, prepared: bool
) -> None:
    if prepared:
        assert await store.STORE_BLOCKS.prepare(writer)
    await store.store_flush(writer, [some(context=CONTEXT)], {}, prepared=prepared)
    # One row of both: no block was announced by itself.
    assert flushes(engine) == [[A, B]]
    offsets = [0, 600_000, 1_200_000]
    assert blocks(engine) == [
        (A, START_MS, [1, 2, 3], offsets, [0.5, 1.5, 2.5], json.loads(CONTEXT), "api"),
        (B, START_MS, [4, 5, 6], offsets, [3.5, 4.5, 5.5], json.loads(CONTEXT), "otlp"),
    ]


@pytest.mark.parametrize("prepared", [True, False])
async def test_one_bad_block_and_nothing_is_there(
    writer: store.Connection, engine: Connection, prepared: bool
) -> None:
    if prepared:
        await store.STORE_BLOCKS.prepare(writer)
    bad = spoilt()
    with pytest.raises(psycopg.errors.CheckViolation):
        await store.store_flush(writer, [bad], {}, prepared=prepared)
    assert (blocks(engine), flushes(engine)) == ([], [])
    await store.store_flush(writer, [some()], {}, prepared=prepared)
    assert len(blocks(engine)) == 2


async def test_several_directories_and_ends_are_one_transaction(
    writer: store.Connection, engine: Connection
) -> None:
    await store.STORE_BLOCKS.prepare(writer)
    (series_id,) = await store.resolve_series(writer, [SeriesKey(A, "s", "m")], 100)
    ended = {A: {int(series_id): START_MS + 1}}
    bad = spoilt()
    with pytest.raises(psycopg.errors.CheckViolation):
        await store.store_flush(writer, [some(), bad], ended, prepared=True)
    assert (blocks(engine), flushes(engine)) == ([], [])
    await store.store_flush(writer, [some(), some()], ended, prepared=True)
    assert len(blocks(engine)) == 4
    (at,) = engine.execute(
        "select (extract(epoch from ended_at) * 1000)::bigint as at from apm_series"
    ).fetchall()
    assert at == {"at": START_MS + 1}


@pytest.mark.parametrize("prepared", [True, False])
async def test_what_need_not_be_on_the_disk_leaves_the_flush_alone(
    writer: store.Connection, prepared: bool
) -> None:
    if prepared:
        assert await store.prepare(writer)
    await store.resolve_series(writer, [SeriesKey(A, "s", "m")], 100, prepared=prepared)
    await store.announce_flushes(writer, "{}")
    row = await (await writer.execute("show synchronous_commit")).fetchone()
    assert row == {"synchronous_commit": "on"}


async def test_a_plan_that_the_server_forgot_is_made_again(
    writer: store.Connection, engine: Connection
) -> None:
    assert await store.prepare(writer)
    keys = [SeriesKey(A, "s", "m", (("k", "ä"),)), SeriesKey(B, "s", "m", unit="ms")]
    made = await store.resolve_series(writer, keys, 100, prepared=True)
    await writer.execute("deallocate all")
    await store.store_flush(writer, [some()], {}, prepared=True)
    assert len(blocks(engine)) == 2
    again = await store.resolve_series(writer, keys, 100, prepared=True)
    assert again.tolist() == made.tolist()
    assert (again > 0).all()


async def test_nothing_is_prepared_behind_a_pooler(
    any_database: Database, owner: Connection, engine: Connection
) -> None:
    direct = conninfo_to_dict(any_database.writer)
    passwords = {"apm_writer": any_database.passwords["apm_writer"]}
    with (
        throw_away_folder() as folder,
        pooler(int(str(direct["port"])), folder, passwords) as port,
    ):
        pooled = make_conninfo(any_database.writer, host="127.0.0.1", port=port)
        async with await store.connect(pooled) as cx:
            assert not await store.prepare(cx)
            await store.store_flush(cx, [some()], {}, prepared=False)
    assert len(blocks(engine)) == 2
