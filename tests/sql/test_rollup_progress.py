"""What has gone is not lost, what comes late comes in, and nobody's crash costs more than a repetition."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.sql.conftest import House
from tests.support.people import ORGANIZATION_A, ORGANIZATION_B, Connection, connect
from tests.support.postgres import Database
from tests.support.rollups import (
    FIVE_MINUTES,
    HOUR,
    SERIES,
    Aggregate,
    aggregate_in_sql,
    fill_slices,
    rollups,
    write,
)
from wedsync_apm.metrics.ranges import WIDTHS
from wedsync_apm.metrics.rollups import store

MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)


@pytest.fixture
def superuser(own: tuple[House, Database], engine: Connection) -> Iterator[Connection]:
    house, database = own
    with connect(house.superuser_of(database), autocommit=True) as cx:
        yield cx


def counts(cx: Connection, width: timedelta) -> list[int]:
    return [row["sample_count"] for row in rollups(cx, width)]


def test_a_late_sample_opens_its_bucket_at_every_width(
    engine: Connection, aggregate: Aggregate
) -> None:
    midnight = HOUR.replace(hour=0) - DAY
    write(engine, range(60), start=midnight + timedelta(hours=5), step=60)
    aggregate(engine, DAY)
    write(engine, [-7], start=midnight + timedelta(hours=5, minutes=31, seconds=20))
    assert aggregate(engine, DAY) == 1
    for width, buckets in ((MINUTE, 60), (FIVE_MINUTES, 12), (timedelta(hours=1), 1), (DAY, 1)):
        found = rollups(engine, width)
        assert len(found) == buckets
        assert sum(row["sample_count"] for row in found) == 61
        assert min(row["min_value"] for row in found) == -7
    # From 31 to -7, as a counter that began anew, and from there to 32.
    [day] = rollups(engine, DAY)
    assert day["increase"] == 31 - 7 + 39 + (59 - 32)


def test_minutes_that_retention_took_are_made_anew_from_the_samples(
    engine: Connection, superuser: Connection, aggregate: Aggregate
) -> None:
    """An organization may keep its samples for longer than its minutes."""
    write(engine, [1, 2, 3, 4, 5], step=60)
    aggregate(engine, DAY)
    superuser.execute("delete from apm_metric_aggregations where bucket_width < '5 minutes'")
    # As many as the whole bucket had, but in one of its minutes.
    write(engine, [10] * 5, start=HOUR + timedelta(seconds=70), step=1)
    assert aggregate(engine, DAY) == 1
    for width in (FIVE_MINUTES, timedelta(hours=1), DAY):
        assert counts(engine, width) == [10]
    assert counts(engine, MINUTE) == [1, 6, 1, 1, 1]


@pytest.mark.parametrize("gone", ["minutes too", "only samples"])
def test_a_fuller_rollup_is_never_replaced_by_what_is_left(
    engine: Connection, superuser: Connection, aggregate: Aggregate, gone: str
) -> None:
    """A sample comes late for a time of which retention has taken the samples."""
    write(engine, range(10), step=30)
    write(engine, range(10), step=30, series=SERIES + 1)
    aggregate(engine, DAY)
    superuser.execute("delete from apm_metrics")
    if gone == "minutes too":
        superuser.execute("delete from apm_metric_aggregations where bucket_width < '1 hour'")
    before = rollups(engine, DAY) + rollups(engine, timedelta(hours=1))
    write(engine, [10], start=HOUR + timedelta(seconds=130))
    aggregate(engine, DAY)
    assert rollups(engine, DAY) + rollups(engine, timedelta(hours=1)) == before
    assert counts(engine, MINUTE) == ([1] if gone == "minutes too" else [2] * 10)


def test_of_a_minute_of_which_some_samples_have_gone_each_series_keeps_the_fuller_one(
    engine: Connection, superuser: Connection, aggregate: Aggregate
) -> None:
    write(engine, [1, 2, 3])
    write(engine, [1, 2, 3], series=SERIES + 1)
    aggregate(engine, MINUTE)
    superuser.execute("delete from apm_metrics where series_ids[1] = %s", (SERIES,))
    write(engine, [9], start=HOUR + timedelta(seconds=30))
    write(engine, [9], start=HOUR + timedelta(seconds=30), series=SERIES + 1)
    write(engine, [9], start=HOUR + timedelta(seconds=30), series=SERIES + 2)
    assert aggregate(engine, DAY) == 1
    for width in WIDTHS.values():
        assert counts(engine, width) == [3, 4, 1]
    assert [row["last_value"] for row in rollups(engine, MINUTE)] == [3, 9, 9]


def test_a_value_that_is_no_longer_a_number_leaves_its_minute(
    engine: Connection, aggregate: Aggregate
) -> None:
    """Wider buckets go on with it until they are made of as many samples again."""
    write(engine, [1, 2, 3])
    aggregate(engine, DAY)
    write(engine, [math.nan], start=HOUR + timedelta(seconds=1))
    aggregate(engine, DAY)
    assert [counts(engine, width) for width in WIDTHS.values()] == [[2], [3], [3], [3]]
    write(engine, [4], start=HOUR + timedelta(seconds=60))
    aggregate(engine, DAY)
    assert [counts(engine, width) for width in WIDTHS.values()] == [[2, 1], [3], [3], [3]]
    assert [row["sum_value"] for row in rollups(engine, DAY)] == [1 + 3 + 4]


def test_rollups_from_before_know_where_a_counter_stood(
    engine: Connection, superuser: Connection, aggregate: Aggregate
) -> None:
    write(engine, [5, 7], step=30)
    write(engine, [9, 2], step=30, start=HOUR + MINUTE)
    aggregate(engine, MINUTE)
    superuser.execute(
        "update apm_metric_aggregations set first_values = null, increases = null, parts = null"
    )
    assert [(row["first_value"], row["increase"]) for row in rollups(engine, MINUTE)] == [
        (7, 0),
        (2, 0),
    ]
    aggregate(engine, FIVE_MINUTES)
    [row] = rollups(engine, FIVE_MINUTES)
    # the minutes are as they were, so this is the rise from end to end: the counter began anew
    assert row["increase"] == 2


def test_a_cursor_from_before_a_restore_starts_anew(
    engine: Connection, superuser: Connection, aggregate: Aggregate
) -> None:
    """It lies in the future of this cluster's transactions; following it would find nothing."""
    write(engine, [1, 2, 3])
    assert aggregate(engine) == 1
    superuser.execute("update apm_private.cursors set snapshot = '9000000:9000000:'")
    superuser.execute("update apm_private.flushes set xid = '8000000'")
    superuser.execute("delete from apm_metric_aggregations")
    assert aggregate(engine) == 1
    # what was restored with a number from the future is not new for ever
    assert aggregate(engine) == 0
    write(engine, [4], start=HOUR + timedelta(minutes=7))
    assert aggregate(engine) == 1
    assert counts(engine, FIVE_MINUTES) == [3, 1]


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_crash_between_two_batches_loses_nothing_and_counts_nothing_twice(
    own: tuple[House, Database], engine: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it happens, at whatever statement; the next run ends with the same figures."""
    _, database = own
    for organization in (ORGANIZATION_A, ORGANIZATION_B):
        write(engine, range(100), step=30, organization=organization)
    aggregate_in_sql(engine, DAY)
    wanted = [rollups(engine, width) for width in WIDTHS.values()]
    real = psycopg.AsyncConnection.execute
    remaining = [0]

    async def execute(self: Any, *arguments: Any, **named: Any) -> Any:
        remaining[0] -= 1
        if not remaining[0]:
            await self.close()
            raise Killed
        return await real(self, *arguments, **named)

    for left in (2, 5, 9, 14, 20, 27):
        engine.execute("delete from apm_private.cursors")
        engine.execute("delete from apm_metric_aggregations")
        remaining[0] = left
        with monkeypatch.context() as patch:
            patch.setattr(psycopg.AsyncConnection, "execute", execute)
            with pytest.raises((Killed, psycopg.OperationalError)):
                asyncio.run(fill_slices(database.engine, DAY))
        asyncio.run(fill_slices(database.engine, DAY))
        found = [rollups(engine, width) for width in WIDTHS.values()]
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
        assert asyncio.run(fill_slices(database.engine, DAY)) == 0


def assert_same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Equal, sums and percentiles but for the order of additions."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        for name, value in other.items():
            assert one[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_sql_and_engine_write_the_same(
    own: tuple[House, Database], engine: Connection, superuser: Connection
) -> None:
    _, database = own
    for n in range(40):
        values = [n * 1.5, -n, 0, n**5, 1 / (n + 1), n % 7]
        write(engine, values, start=HOUR + timedelta(seconds=53 * n), step=7, context='{"is_wedding_day": true}' if n % 9 == 0 else None)  # fmt: skip
    # a compacted span beside the write batches
    engine.execute(
        'insert into apm_metrics (organization_id, "timestamp", ends_at, level, series_ids, step_ms,'
        " metric_values) values (%s, %s, %s, 1, '{5}', 60000, array[1, 2.5, 2, 8]::float8[])",
        (ORGANIZATION_A, HOUR, HOUR + 3 * MINUTE),
    )
    aggregate_in_sql(engine, DAY)
    in_sql = [rollups(engine, width) for width in WIDTHS.values()]
    superuser.execute("delete from apm_private.cursors")
    superuser.execute("delete from apm_metric_aggregations")
    asyncio.run(fill_slices(database.engine, DAY))
    for width, wanted in zip(WIDTHS.values(), in_sql, strict=True):
        assert_same(rollups(engine, width), wanted)
    assert {row["series_id"] for row in in_sql[0]} == {5, SERIES}


def test_what_is_too_much_at_once_is_divided(
    own: tuple[House, Database], engine: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SAMPLES", 7)
    monkeypatch.setattr(store, "ENTRIES", 2)
    monkeypatch.setattr(store, "SKETCH_ENTRIES", 3)
    monkeypatch.setattr(store, "PAGE_BYTES", 1)
    for organization in (ORGANIZATION_A, ORGANIZATION_B):
        write(engine, range(120), step=29, organization=organization)
        write(engine, range(120), step=29, organization=organization, series=SERIES + 1)
    transactions: list[Any] = []
    real = store.fill

    async def fill(*arguments: Any, **named: Any) -> int:
        transactions.append(arguments)
        return await real(*arguments, **named)

    monkeypatch.setattr(store, "fill", fill)
    asyncio.run(fill_slices(own[1].engine, DAY))
    assert len(transactions) > 60
    for width in WIDTHS.values():
        assert sum(counts(engine, width)) == 480


def test_a_slice_that_another_process_has_is_left_to_it(
    own: tuple[House, Database], engine: Connection
) -> None:
    _, database = own
    ids = [UUID(int=n) for n in range(store.SLICES)]
    for n, organization in enumerate(ids):
        assert engine.execute(
            "select apm_private.rollup_slice(%s) as n", (organization,)
        ).fetchone() == {"n": n}
        write(engine, [1], organization=organization)

    async def fill(number: int) -> int | None:
        async with await psycopg.AsyncConnection.connect(
            database.engine, row_factory=dict_row
        ) as cx:
            return await store.fill_slice(cx, number, MINUTE)

    with connect(database.engine) as other:
        other.execute("select pg_advisory_xact_lock(hashtextextended('apm rollups ' || 3, 0))")
        assert [asyncio.run(fill(n)) for n in range(store.SLICES)] == [
            None if n == 3 else 1 for n in range(store.SLICES)
        ]
    assert {row["organization_id"] for row in rollups(engine, MINUTE)} == set(ids) - {ids[3]}
    assert asyncio.run(fill(3)) == 1


def test_two_engines_and_a_caller_of_the_function_beside_each_other(
    own: tuple[House, Database], engine: Connection
) -> None:
    """They share the work and never write what another has just made better."""
    _, database = own
    stop = threading.Event()
    failures: list[BaseException] = []

    def repeat(act: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                act()
        except BaseException as error:
            failures.append(error)

    def call() -> None:
        with connect(database.engine, autocommit=True) as cx:
            cx.execute("set lock_timeout = '60s'")
            aggregate_in_sql(cx, timedelta(hours=1))

    threads = [
        threading.Thread(target=repeat, args=(act,))
        for act in (
            lambda: asyncio.run(fill_slices(database.engine, DAY)),
            lambda: asyncio.run(fill_slices(database.engine, FIVE_MINUTES)),
            call,
        )
    ]
    for thread in threads:
        thread.start()
    for n in range(120):
        organization = (ORGANIZATION_A, ORGANIZATION_B)[n % 2]
        write(engine, [n], start=HOUR + timedelta(seconds=7 * n), organization=organization)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    asyncio.run(fill_slices(database.engine, DAY))
    for width in WIDTHS.values():
        assert sum(counts(engine, width)) == 120, width
