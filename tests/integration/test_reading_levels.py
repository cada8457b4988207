"""Whatever level a range is read from, its figures are those that SQL finds in the view of samples:
before and after rollups, with late and repeated samples, and while rollups lag behind."""

import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.people import MEMBER_A, MEMBER_B, ORGANIZATION_A, Connection, connect
from tests.support.postgres import Database
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.engine import compact
from wedsync_apm.errors import NotValid
from wedsync_apm.metrics.range_questions import query_range
from wedsync_apm.metrics.ranges import Aggregation, plan_range
from wedsync_apm.metrics.reading.lines import unite_stretches

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - DAY
SERIES = (700001, 700002, 700003)
SAMPLES_BETWEEN = """
    with samples as (
        select series_id, metric_value as value, "timestamp" as at,
            floor(extract(epoch from "timestamp") / %(step)s)::bigint as slot
        from apm_samples_between(
            %(from)s - ceil(300.0 / %(step)s) * %(step)s * interval '1 second', %(to)s
        )
        where organization_id = %(organization)s
            and metric_value > '-infinity' and metric_value < 'infinity'
    ), risen as (
        select series_id, slot,
            case when value >= lag(value) over before then value - lag(value) over before
                when value < lag(value) over before then value end as rise,
            greatest(slot - lag(slot) over before, 1) as steps
        from samples
        window before as (partition by series_id order by at)
    ), rates as (
        select series_id, one as slot, sum(rise / steps) / %(step)s as rate
        from risen cross join generate_series(slot - steps + 1, slot) as one
        group by series_id, one
    ), figures as (
        select series_id, slot, avg(value) as avg, min(value) as min, max(value) as max,
            sum(value) as sum, count(*) as count, (array_agg(value order by at desc))[1] as last,
            percentile_cont(0.5) within group (order by value) as p50,
            percentile_cont(0.95) within group (order by value) as p95,
            percentile_cont(0.99) within group (order by value) as p99
        from samples
        group by series_id, slot
    )
    select *
    from figures full join rates using (series_id, slot)
    where slot >= extract(epoch from %(from)s) / %(step)s
"""


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as owner:
        owner.execute("insert into organizations (id, name) values (%s, 'O')", (ORGANIZATION_A,))
        owner.execute(
            "insert into apm_memberships (organization_id, user_id, role)"
            " values (%s, %s, 'MEMBER')",
            (ORGANIZATION_A, MEMBER_A.id),
        )
        for series_id in SERIES:
            owner.execute(
                "insert into apm_series (organization_id, id, service_name, metric_name, tags,"
                " fingerprint) values (%s, %s, 'shop', 'load',"
                " jsonb_build_object('n', %s::text), %s)",
                (ORGANIZATION_A, series_id, series_id, str(series_id).encode()),
            )
    with connect(database.engine, autocommit=True) as cx:
        yield cx


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with await open_pool(database.api, name="api") as opened:
        yield opened


def flush(cx: Connection, rng: random.Random, start: datetime, seconds: int, count: int) -> None:
    """A write batch of random series, times and values, some of them not finite."""
    times = sorted({rng.randrange(seconds * 1000) for _ in range(count)})
    values = [
        rng.choice((rng.gauss(0, 50), rng.gauss(500, 9), float(rng.randrange(4)), -rng.random()))
        for _ in times
    ]
    values[0] = rng.choice((float("nan"), float("inf"), 0.0))
    cx.execute(
        'insert into apm_metrics (organization_id, "timestamp", ends_at, series_ids, offsets_ms,'
        " metric_values, apm_source) values (%s, %s, %s, %s, %s, %s, 'test')",
        (
            ORGANIZATION_A,
            start + timedelta(milliseconds=times[0]),
            start + timedelta(milliseconds=times[-1]),
            [rng.choice(SERIES) for _ in times],
            [at - times[0] for at in times],
            values,
        ),
    )


async def compare(
    pool: Pool, engine: Connection, *, start: datetime, end: datetime, step: timedelta, level: str
) -> None:
    """Each aggregation of each series, and of all in one line, with what SQL says."""
    rows = engine.execute(
        SAMPLES_BETWEEN,
        {"from": start, "to": end, "step": step.total_seconds(), "organization": ORGANIZATION_A},
    ).fetchall()
    assert len(rows) > 10
    for aggregation in Aggregation:
        async with tenant_tx(pool, Actor("authenticated", MEMBER_A.id)) as cx:
            answer = await query_range(
                cx,
                ORGANIZATION_A,
                "shop.load",
                start,
                end,
                step=step,
                aggregation=aggregation,
                at=NOON + DAY,
            )
        assert (answer.resolution, answer.step_seconds) == (level, step.total_seconds())
        found = {
            (int(line.tags["n"]), round(at / answer.step_seconds)): value
            for line in answer.series
            for at, value in line.points
        }
        expected = {
            (row["series_id"], row["slot"]): row[aggregation]
            for row in rows
            if row[aggregation] is not None
        }
        if aggregation.quantile is None or level == "raw":
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), aggregation
        else:
            assert found.keys() == expected.keys()
            # Both values that a percentile lies between are known within 1 %.
            spread = {key: max(abs(value), 600.0) for key, value in expected.items()}
            for key, value in expected.items():
                assert abs(found[key] - value) <= 0.0101 * spread[key], (aggregation, key)


@pytest.mark.parametrize("seed", range(3))
async def test_every_level_says_what_sql_says(pool: Pool, engine: Connection, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - no secret
    start = NOON - 5 * HOUR
    for quarter in range(20):
        if quarter not in (5, 6, 11):
            flush(engine, rng, start + quarter * HOUR / 4, 900, rng.randrange(20, 80))
    again = engine.execute("select * from apm_metrics order by random() limit 4").fetchall()
    for row in again:
        # the same samples once more, some with another value
        engine.execute(
            'insert into apm_metrics (organization_id, "timestamp", ends_at, series_ids,'
            " offsets_ms, metric_values, apm_source) values (%s, %s, %s, %s, %s, %s, 'test')",
            (
                ORGANIZATION_A,
                row["timestamp"],
                row["ends_at"],
                row["series_ids"],
                row["offsets_ms"],
                [rng.choice((value, value + 3)) for value in row["metric_values"]],
            ),
        )
    raw: dict[str, Any] = {
        "start": NOON - 3 * HOUR,
        "end": NOON - HOUR,
        "step": timedelta(seconds=97),
    }
    first = int(raw["start"].timestamp()) // 97 * 97
    raw["start"] = datetime.fromtimestamp(first, UTC)
    raw["end"] = raw["start"] + 74 * timedelta(seconds=97)
    await compare(pool, engine, **raw, level="raw")
    long: dict[str, Any] = {
        "start": start,
        "end": NOON,
        "step": timedelta(minutes=10),
        "level": "5m",
    }
    # no rollups yet: all of it from samples
    await compare(pool, engine, **long)
    engine.execute("select aggregate_metrics('1 hour')")
    await compare(pool, engine, **long)
    # late, and not rolled up yet
    flush(engine, rng, NOON - 4 * HOUR, 600, 30)
    flush(engine, rng, NOON - HOUR / 4, 900, 30)
    await compare(pool, engine, **long)
    await compare(pool, engine, **{**long, "step": HOUR, "level": "1h"})
    engine.execute("select aggregate_metrics('1 hour')")
    await compare(pool, engine, **long)
    await compare(pool, engine, **{**long, "step": HOUR, "level": "1h"})


async def test_compacted_rows_say_what_sql_says(
    pool: Pool, engine: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(11)  # noqa: S311 - no secret
    for quarter in range(8):
        flush(engine, rng, NOON - 2 * HOUR + quarter * HOUR / 4, 900, 60)
    monkeypatch.setattr(compact, "SETTLED_AFTER", timedelta(0))
    monkeypatch.setattr(compact, "WAITS_AT_MOST", timedelta(0))
    async with await open_pool(database.engine, name="engine") as engines:
        for _ in range(3):
            async with engines.connection() as cx:
                await cx.set_autocommit(True)
                await compact.run_once(cx, datetime.now(UTC) + timedelta(seconds=1))
    levels = engine.execute("select level, count(*) from apm_metrics group by level").fetchall()
    assert [row["level"] for row in levels] == [1]
    flush(engine, rng, NOON - HOUR, 900, 60)
    step = timedelta(minutes=5)
    await compare(pool, engine, start=NOON - 2 * HOUR, end=NOON, step=step, level="raw")


async def test_only_the_unrolled_stretch_is_read_from_samples(
    pool: Pool, engine: Connection
) -> None:
    rng = random.Random(5)  # noqa: S311 - no secret
    for quarter in range(20):
        flush(engine, rng, NOON - 5 * HOUR + quarter * HOUR / 4, 900, 30)
    engine.execute("select aggregate_metrics('5 minutes')")
    flush(engine, rng, NOON - 2 * HOUR, 300, 30)
    async with tenant_tx(pool, Actor("authenticated", MEMBER_A.id)) as cx:
        rows = await (
            await cx.execute(
                "select starts, ends from apm_unrolled_between(%s, '5 minutes', %s, %s)",
                (ORGANIZATION_A, NOON - 5 * HOUR, NOON),
            )
        ).fetchall()
    assert [(row["starts"], row["ends"]) for row in rows] == [
        (NOON - 2 * HOUR, NOON - 2 * HOUR + timedelta(minutes=5))
    ]
    async with tenant_tx(pool, Actor("authenticated", MEMBER_B.id)) as cx:
        hidden = await cx.execute(
            "select starts from apm_unrolled_between(%s, '5 minutes', %s, %s)",
            (ORGANIZATION_A, NOON - 5 * HOUR, NOON),
        )
        assert await hidden.fetchall() == []


async def test_an_organizations_own_terms_count(pool: Pool, engine: Connection) -> None:
    rng = random.Random(2)  # noqa: S311 - no secret
    flush(engine, rng, NOON - 3 * DAY, 900, 60)
    engine.execute("select aggregate_metrics('1 hour')")
    start, step = NOON - 3 * DAY, timedelta(seconds=15)
    levels = []
    for terms in ("raw_days = 14", "raw_days = 2", "raw_days = 2, minute_days = 2"):
        engine.execute("delete from apm_retention")
        engine.execute("insert into apm_retention (organization_id) values (%s)", (ORGANIZATION_A,))
        engine.execute(f"update apm_retention set {terms}")
        async with tenant_tx(pool, Actor("authenticated", MEMBER_A.id)) as cx:
            answer = await query_range(
                cx, ORGANIZATION_A, "shop.load", start, start + HOUR, step=step, at=NOON
            )
        assert answer.series
        levels.append((answer.resolution, answer.step_seconds))
    assert levels == [("raw", 15), ("1m", 60), ("5m", 300)]


@pytest.mark.parametrize(
    ("ago", "span", "step", "level", "seconds"),
    [
        (HOUR, HOUR, timedelta(seconds=15), "raw", 15),
        (2 * HOUR, 2 * HOUR, timedelta(minutes=5), "raw", 300),
        (3 * HOUR, 3 * HOUR, timedelta(minutes=5), "5m", 300),
        (3 * HOUR, 3 * HOUR, timedelta(minutes=3), "1m", 180),
        (3 * HOUR, 3 * HOUR, timedelta(seconds=90), "raw", 90),
        (2 * DAY, 2 * DAY, timedelta(seconds=90), "1m", 120),
        (DAY, DAY, timedelta(minutes=10), "5m", 600),
        (7 * DAY, 7 * DAY, timedelta(hours=2), "1h", 7200),
        (30 * DAY, 30 * DAY, timedelta(days=1), "1d", 86400),
        # the fine levels are gone by then
        (20 * DAY, HOUR, timedelta(seconds=15), "1m", 60),
        (40 * DAY, DAY, timedelta(minutes=1), "5m", 300),
        (100 * DAY, DAY, timedelta(minutes=5), "1h", 3600),
        (500 * DAY, 10 * DAY, timedelta(hours=1), "1d", 86400),
        (9999 * DAY, 10 * DAY, timedelta(hours=1), "1d", 86400),
    ],
)
def test_step_and_age_choose_the_level(
    ago: timedelta, span: timedelta, step: timedelta, level: str, seconds: float
) -> None:
    plan = plan_range(NOON - ago, NOON - ago + span, step, NOON)
    assert (plan.resolution, plan.step.total_seconds()) == (level, seconds)


def test_too_many_points_are_refused() -> None:
    with pytest.raises(NotValid):
        plan_range(NOON - 30 * DAY, NOON, timedelta(minutes=1), NOON)


def test_stretches_are_united_where_they_touch() -> None:
    assert unite_stretches([(5, 7), (1, 3), (3, 4), (6, 6), (6, 9)]) == [(1, 4), (5, 9)]
    many = [(n, n + 1) for n in range(0, 40, 2)]
    assert unite_stretches(many) == [(0, 1), (2, 37), (38, 39)]
