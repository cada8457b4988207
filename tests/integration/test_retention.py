"""Retention: what is past its term goes, and nothing else."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.people import ORGANIZATION_A, ORGANIZATION_B, Connection, connect
from tests.support.postgres import Database
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.engine import retain, tidy
from wedsync_apm.engine.retain import Retain
from wedsync_apm.metrics.retention import store
from wedsync_apm.metrics.retention.model import Terms

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as cx:
        for organization in (ORGANIZATION_A, ORGANIZATION_B):
            cx.execute("insert into organizations (id, name) values (%s, 'O')", (organization,))
        yield cx


@pytest.fixture
def engine(database: Database, owner: Connection) -> Iterator[Connection]:
    with connect(database.engine, autocommit=True) as cx:
        yield cx


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with await open_pool(database.engine, name="engine", min_size=1, max_size=3) as opened:
        yield opened


def add_block(cx: Connection, organization: UUID, at: datetime) -> None:
    cx.execute(
        'insert into apm_metrics (organization_id, "timestamp", ends_at, series_ids, offsets_ms,'
        " metric_values) values (%s, %s, %s, array[1], array[0], array[1.5])",
        (organization, at, at),
    )


def add_rollup(cx: Connection, organization: UUID, width: str, at: datetime) -> None:
    cx.execute(
        "insert into apm_metric_aggregations (organization_id, time_bucket, bucket_width,"
        " series_ids, sample_counts, sum_values, min_values, max_values, last_values, p50, p95,"
        " p99, sketches) values (%s, %s, %s::interval, array[1], array[1], array[1], array[1],"
        " array[1], array[1], array[1], array[1], array[1], array[''::bytea])",
        (organization, at, width),
    )


def days_kept(cx: Connection, organization: UUID) -> list[int]:
    """How many days old the blocks are."""
    rows = cx.execute(
        'select "timestamp" as at from apm_metrics where organization_id = %s order by 1 desc',
        (organization,),
    )
    return [(NOW - row["at"]) // DAY for row in rows.fetchall()]


def day_tables(cx: Connection) -> list[str]:
    rows = cx.execute(
        "select inhrelid::regclass::text as name from pg_inherits"
        " where inhparent = 'apm_metrics'::regclass order by 1"
    )
    return [row["name"] for row in rows.fetchall()]


async def run(pool: Pool, job: Retain, at: datetime = NOW) -> str:
    async with pool.connection() as cx:
        return await job.run_once(cx, at)


async def make_partitions(pool: Pool, at: datetime = NOW) -> str:
    async with pool.connection() as cx, cx.transaction():
        return await tidy.run_once(cx, at)


async def test_days_past_everybodys_term_are_dropped_and_shorter_terms_row_by_row(
    engine: Connection, owner: Connection, pool: Pool
) -> None:
    for days in range(20):
        add_block(engine, ORGANIZATION_A, NOW - days * DAY)
        add_block(engine, ORGANIZATION_B, NOW - days * DAY)
    await make_partitions(pool)
    engine.execute(
        "insert into apm_retention (organization_id, raw_days) values (%s, 5)", (ORGANIZATION_A,)
    )
    job = Retain()
    before = len(day_tables(owner))
    said = await run(pool, job)
    assert days_kept(engine, ORGANIZATION_A) == [0, 1, 2, 3, 4, 5]
    assert days_kept(engine, ORGANIZATION_B) == list(range(15))
    assert len(day_tables(owner)) == before - 5
    assert said.startswith("5 partitions dropped")
    assert await run(pool, job) == ""


async def test_a_longer_term_of_one_keeps_the_days_of_nobody_else(
    engine: Connection, pool: Pool
) -> None:
    for days in range(20):
        add_block(engine, ORGANIZATION_A, NOW - days * DAY)
        add_block(engine, ORGANIZATION_B, NOW - days * DAY)
    await make_partitions(pool)
    engine.execute(
        "insert into apm_retention (organization_id, raw_days) values (%s, 100)", (ORGANIZATION_A,)
    )
    await run(pool, Retain())
    assert days_kept(engine, ORGANIZATION_A) == list(range(20))
    assert days_kept(engine, ORGANIZATION_B) == list(range(15))
    await run(pool, Retain(most_days=10))
    assert days_kept(engine, ORGANIZATION_A) == list(range(11)), "not above the platform's bound"


async def test_rollups_go_by_their_width_and_series_with_the_last(
    engine: Connection, owner: Connection, pool: Pool
) -> None:
    widths = {"1 minute": 30, "5 minutes": 90, "1 hour": 400, "1 day": 1_825}
    for width, days in widths.items():
        for age in (days - 1, days + 1):
            add_rollup(engine, ORGANIZATION_A, width, NOW.replace(hour=0) - age * DAY)
    for metric, age in (("alive", 1_800), ("dead", 1_830)):
        owner.execute(
            "insert into apm_series (organization_id, service_name, metric_name, fingerprint,"
            " last_seen_at) values (%s, 's', %s, %s, %s)",
            (ORGANIZATION_A, metric, metric.encode(), NOW - age * DAY),
        )
    await run(pool, Retain())
    left = engine.execute(
        "select bucket_width, time_bucket from apm_metric_aggregations order by bucket_width"
    ).fetchall()
    assert [(NOW.replace(hour=0) - row["time_bucket"]) // DAY for row in left] == [
        days - 1 for days in widths.values()
    ]
    names = engine.execute("select metric_name from apm_series").fetchall()
    assert names == [{"metric_name": "alive"}]


async def test_only_those_are_asked_who_have_anything_past_a_term(
    engine: Connection, pool: Pool
) -> None:
    for organization, width, days in (
        (ORGANIZATION_A, "1 minute", 31),
        (ORGANIZATION_A, "1 hour", 31),
        (ORGANIZATION_B, "5 minutes", 89),
        (ORGANIZATION_B, "1 day", 400),
    ):
        add_rollup(engine, organization, width, NOW - days * DAY)
    for organization in (ORGANIZATION_A, ORGANIZATION_B):
        add_block(engine, organization, NOW - 10 * DAY)
    engine.execute(
        "insert into apm_retention (organization_id, raw_days) values (%s, 9)", (ORGANIZATION_B,)
    )
    async with pool.connection() as cx:
        found = await store.list_expired(cx, Terms(), 0, NOW, longest_raw=14, limit=10)
    assert found == [
        store.Expired(ORGANIZATION_A, timedelta(minutes=1), NOW - 30 * DAY),
        store.Expired(ORGANIZATION_B, None, NOW - 9 * DAY),
    ]


async def test_rows_past_a_shorter_term_go_at_the_beginning_of_an_hour(
    engine: Connection, pool: Pool
) -> None:
    job = Retain()
    assert await run(pool, job) == ""
    add_rollup(engine, ORGANIZATION_A, "1 minute", NOW - 30 * DAY - timedelta(minutes=1))
    add_rollup(engine, ORGANIZATION_A, "1 minute", NOW - 30 * DAY + timedelta(minutes=30))
    assert await run(pool, job, NOW + timedelta(minutes=59)) == ""
    hour = NOW + timedelta(hours=1)
    assert await run(pool, job, hour) == "0 partitions dropped, 0 shrunk, 2 rows deleted"
    assert await run(pool, job, hour) == ""


async def test_a_reader_is_not_held_up_by_a_drop(
    database: Database, engine: Connection, pool: Pool
) -> None:
    add_block(engine, ORGANIZATION_A, NOW - 30 * DAY)
    await make_partitions(pool)
    with connect(database.engine) as reader:
        reader.execute("select count(*) from apm_metrics")
        assert await run(pool, Retain()) == ""
        assert days_kept(engine, ORGANIZATION_A) == [30]
        reader.rollback()
    assert await run(pool, Retain()) != ""
    assert days_kept(engine, ORGANIZATION_A) == []


async def test_the_last_two_days_are_never_dropped(engine: Connection, pool: Pool) -> None:
    add_block(engine, ORGANIZATION_A, NOW - DAY)
    engine.execute("select apm_private.drop_partitions(now() + interval '9 days', now())")
    row = engine.execute("select count(*) as n from apm_metrics").fetchone()
    assert row == {"n": 1}


async def test_rows_beside_the_partitions_raise_an_alarm_and_are_moved(
    engine: Connection, owner: Connection, pool: Pool
) -> None:
    beside = "apm_metrics_default"
    add_block(engine, ORGANIZATION_A, NOW - 30 * DAY)
    far = NOW + 300 * DAY
    add_block(engine, ORGANIZATION_B, far)
    await make_partitions(pool)
    name = f"apm_partitions.apm_metrics_{(NOW - 30 * DAY):%Y%m%d}"
    assert name in day_tables(owner)
    assert f"{far:%Y%m%d}" not in "".join(day_tables(owner)), "none for the far future"
    assert tidy.LATE_BYTES.value(partition=beside) > 0
    assert days_kept(engine, ORGANIZATION_A) == [30]
    engine.execute("delete from apm_metrics where organization_id = %s", (ORGANIZATION_B,))
    await make_partitions(pool)
    assert tidy.LATE_BYTES.value(partition=beside) == 0


async def test_emptied_days_give_their_indexes_back(
    engine: Connection, owner: Connection, pool: Pool
) -> None:
    for second in range(3_000):
        add_block(engine, ORGANIZATION_A, NOW - DAY + timedelta(seconds=second))
    day = f"apm_partitions.apm_metrics_{(NOW - DAY):%Y%m%d}_written"
    size = f"select pg_total_relation_size('{day}') as n"

    def total() -> int:
        row: Any = owner.execute(size).fetchone()
        return int(row["n"])

    full = total()
    engine.execute("delete from apm_metrics")
    assert await run(pool, Retain()) == "", "somebody could still see the rows"
    owner.execute(f"vacuum {day}")
    assert total() > 65_536
    assert await run(pool, Retain()) == "0 partitions dropped, 1 shrunk, 0 rows deleted"
    assert total() < 65_536 < full


def test_the_defaults_are_what_the_settings_say() -> None:
    assert Terms() == Terms(raw=14, minute=30, five_minutes=90, hour=400, day=1_825)
    assert Terms().within(60) == Terms(14, 30, 60, 60, 60)
    assert retain.Retain().terms.within(0) == Terms()
