"""Reading samples back: latest values, ranges from raw samples and from rollups, the catalogue."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.people import (
    MEMBER_A,
    MEMBER_B,
    ORGANIZATION_A,
    ORGANIZATION_B,
    Connection,
    Person,
    connect,
)
from tests.support.postgres import Database
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.errors import NotValid
from wedsync_apm.metrics import store
from wedsync_apm.metrics.range_questions import query_range
from wedsync_apm.metrics.ranges import Aggregation, RangeAnswer

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - HOUR


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as owner:
        for organization, member in ((ORGANIZATION_A, MEMBER_A), (ORGANIZATION_B, MEMBER_B)):
            owner.execute("insert into organizations (id, name) values (%s, 'O')", (organization,))
            owner.execute(
                "insert into apm_memberships (organization_id, user_id, role)"
                " values (%s, %s, 'MEMBER')",
                (organization, member.id),
            )
    with connect(database.engine, autocommit=True) as cx:
        yield cx


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with await open_pool(database.api, name="api") as opened:
        yield opened


def actor(person: Person) -> Actor:
    return Actor("authenticated", person.id)


def insert(
    engine: Connection,
    values: Sequence[tuple[timedelta, float]],
    *,
    metric: str = "latency",
    organization: Any = ORGANIZATION_A,
    **tags: str,
) -> None:
    """Samples of `shop.<metric>`, so long before NOW."""
    for before, value in values:
        engine.execute(
            "insert into apm_samples"
            ' (organization_id, service_name, metric_name, metric_value, unit, tags, "timestamp")'
            " values (%s, 'shop', %s, %s, 'ms', %s::jsonb, %s)",
            (organization, metric, value, json.dumps(tags), NOW - before),
        )


async def ask(pool: Pool, metric: str = "shop.latency", **more: Any) -> RangeAnswer:
    arguments: dict[str, Any] = {
        "start": NOW - HOUR,
        "end": NOW,
        "step": timedelta(minutes=10),
    } | more
    start, end = arguments.pop("start"), arguments.pop("end")
    async with tenant_tx(pool, actor(arguments.pop("person", MEMBER_A))) as cx:
        return await query_range(cx, ORGANIZATION_A, metric, start, end, **arguments)


def points(answer: RangeAnswer, line: int = 0) -> dict[int, float]:
    """Minutes before NOW, and the value."""
    return {round((NOW.timestamp() - at) / 60): value for at, value in answer.series[line].points}


def minutes(*pairs: tuple[float, float]) -> list[tuple[timedelta, float]]:
    return [(timedelta(minutes=before), value) for before, value in pairs]


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("avg", {20: 30, 10: 5}),
        ("min", {20: 10, 10: 5}),
        ("max", {20: 60, 10: 5}),
        ("sum", {20: 90, 10: 5}),
        ("count", {20: 3, 10: 1}),
        ("last", {20: 20, 10: 5}),
        ("p50", {20: 20, 10: 5}),
        ("p95", {20: 56, 10: 5}),
    ],
)
async def test_every_aggregation_over_raw_samples(
    pool: Pool, engine: Connection, aggregation: str, expected: dict[int, float]
) -> None:
    insert(engine, minutes((19, 10), (15, 60), (11, 20), (9, 5)))
    answer = await ask(pool, aggregation=Aggregation(aggregation))
    assert points(answer) == pytest.approx(expected)
    assert answer.resolution == "raw"
    assert (answer.series[0].unit, answer.step_seconds) == ("ms", 600)


async def test_the_rate_of_a_counter_outlives_its_restart(pool: Pool, engine: Connection) -> None:
    insert(engine, minutes((21, 1000), (19, 1060), (11, 1200), (9, 30), (1, 60)), metric="hits")
    answer = await ask(pool, "shop.hits", aggregation=Aggregation.RATE)
    assert points(answer) == pytest.approx({20: 200 / 600, 10: 60 / 600})


async def test_nan_and_infinities_are_left_out_of_sums_and_shown_as_latest(
    pool: Pool, engine: Connection
) -> None:
    insert(engine, minutes((15, 1), (14, float("nan")), (13, float("inf"))))
    assert points(await ask(pool, aggregation=Aggregation.SUM)) == {20: 1}
    async with tenant_tx(pool, actor(MEMBER_A)) as cx:
        (latest,) = await store.query_latest(cx, ORGANIZATION_A, "shop.latency", NOW)
    assert latest.value == float("inf")


async def test_lines_by_series_by_tag_and_all_in_one(pool: Pool, engine: Connection) -> None:
    insert(engine, minutes((15, 1)), route="a", host="x")
    insert(engine, minutes((15, 2)), route="a", host="y")
    insert(engine, minutes((15, 4)), route="b", host="x")
    by_series = await ask(pool)
    assert [line.tags for line in by_series.series] == [
        {"host": "x", "route": "a"},
        {"host": "x", "route": "b"},
        {"host": "y", "route": "a"},
    ]
    total = Aggregation.SUM
    by_route = await ask(pool, aggregation=total, group_by=["route"])
    assert {line.tags["route"]: line.points[0][1] for line in by_route.series} == {"a": 3, "b": 4}
    assert points(await ask(pool, aggregation=total, group_by=[])) == {20: 7}
    assert points(await ask(pool, aggregation=total, group_by=[], tags={"route": "a"})) == {20: 3}
    assert (await ask(pool, tags={"route": "c"})).series == []


@pytest.mark.parametrize("aggregation", ["avg", "min", "max", "sum", "count", "last", "rate"])
async def test_rollups_and_raw_samples_say_the_same(
    pool: Pool, engine: Connection, database: Database, aggregation: str
) -> None:
    rising = [(n, 10_000.0 - 7 * n) for n in range(1, 400, 2)]
    insert(engine, minutes(*rising), route="a")
    insert(engine, minutes(*rising[:50]), route="b")
    wanted: dict[str, Any] = {
        "start": NOW - 5 * HOUR,
        "step": timedelta(minutes=20),
        "aggregation": Aggregation(aggregation),
    }
    raw = await ask(pool, **wanted)
    with connect(database.engine, autocommit=True) as cx:
        row = cx.execute("select aggregate_metrics('5 minutes') as n").fetchone()
        assert row is not None
        assert row["n"] > 50
        # What only rollups hold now must still be answered.
        cx.execute("delete from apm_metrics")
    rolled = await ask(pool, **wanted)
    assert rolled.resolution == "5m"
    assert len(rolled.series) == 2
    for line in range(2):
        assert points(rolled, line) == pytest.approx(points(raw, line))


async def test_a_percentile_from_rollups_is_within_one_percent(
    pool: Pool, engine: Connection
) -> None:
    insert(engine, minutes(*[(n, float(n)) for n in range(1, 301)]))
    wanted: dict[str, Any] = {"start": NOW - 4 * HOUR, "step": HOUR, "aggregation": Aggregation.P95}
    raw = points(await ask(pool, **wanted))
    async with tenant_tx(pool, actor(MEMBER_A)) as cx:
        assert await store.aggregate_metrics(cx, HOUR) == 6
    rolled = await ask(pool, **wanted)
    assert rolled.resolution == "1h"
    assert points(rolled) == pytest.approx(raw, rel=0.0101)


async def test_the_newest_minutes_come_from_raw_samples(pool: Pool, engine: Connection) -> None:
    insert(engine, minutes((200, 1), (100, 2)))
    engine.execute("select aggregate_metrics('5 minutes')")
    insert(engine, minutes((3, 5)))
    answer = await ask(pool, start=NOW - 4 * HOUR, step=timedelta(minutes=5))
    assert points(answer) == {200: 1, 100: 2, 5: 5}


async def test_nobody_reads_what_is_anothers(pool: Pool, engine: Connection) -> None:
    insert(engine, minutes((15, 1)))
    assert (await ask(pool, person=MEMBER_B)).series == []
    async with tenant_tx(pool, actor(MEMBER_B)) as cx:
        assert await store.query_latest(cx, ORGANIZATION_A, "shop.latency", NOW) == []
        assert await store.list_metrics(cx, ORGANIZATION_A) == []


async def test_the_catalogue_goes_on_behind_its_last_line(pool: Pool, engine: Connection) -> None:
    for name in ("c", "a", "b_total"):
        insert(engine, minutes((15, 1)), metric=name, route="1")
        insert(engine, minutes((15, 1)), metric=name, route="2")
    async with tenant_tx(pool, actor(MEMBER_A)) as cx:
        first = await store.list_metrics(cx, ORGANIZATION_A, limit=2)
        rest = await store.list_metrics(cx, ORGANIZATION_A, after=("shop", "b_total"))
        found = await store.list_metrics(cx, ORGANIZATION_A, search="HOP.C")
    assert [(one.metric_name, one.metric_type, one.series_count) for one in first] == [
        ("a", "gauge", 2),
        ("b_total", "counter", 2),
    ]
    assert [one.metric_name for one in rest] == ["c"]
    assert [one.metric_name for one in found] == ["c"]


async def test_a_service_may_have_dots_in_its_name(pool: Pool, engine: Connection) -> None:
    engine.execute(
        "insert into apm_samples"
        ' (organization_id, service_name, metric_name, metric_value, "timestamp")'
        " values (%s, 'a.b', 'c.d', 3, %s)",
        (ORGANIZATION_A, NOW - timedelta(minutes=15)),
    )
    assert points(await ask(pool, "a.b.c.d")) == {20: 3}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"end": NOW - 2 * HOUR}, "end"),
        ({"step": timedelta(0)}, "step"),
        ({"start": NOW - 400 * HOUR, "step": timedelta(seconds=1)}, "step"),
        ({"metric": "nodots"}, "metric"),
    ],
)
async def test_what_cannot_be_asked_is_named(
    pool: Pool, engine: Connection, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(NotValid) as refused:
        await ask(pool, **arguments)
    assert refused.value.errors[0].field == field
