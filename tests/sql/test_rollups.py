"""Rollups by aggregate_metrics() and by the engine: the right figures, once, again for late samples, nothing lost."""

import math
import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import psycopg
import pytest

from tests.sql.conftest import House
from tests.support.people import (
    MEMBER_A,
    ORGANIZATION_A,
    ORGANIZATION_B,
    Connection,
    acting_as,
    connect,
)
from tests.support.postgres import Database
from tests.support.rollups import (
    FIVE_MINUTES,
    HOUR,
    SERIES,
    Aggregate,
    aggregate_in_sql,
    rollups,
    write,
)

GAMMA: Final = 1.01 / 0.99


def decoded(sketch: bytes) -> Counter[int]:
    """code -> count; six bytes an entry."""
    entries = list(struct.iter_unpack(">hi", sketch))
    assert [code for code, _ in entries] == sorted({code for code, _ in entries})
    return Counter(dict(entries))


def value_of(code: int) -> float:
    """The middle of the code's bucket: within 1 % of each value in it."""
    if code == 0:
        return 0.0
    return math.copysign(2 * GAMMA ** (abs(code) - 16384) / (GAMMA + 1), code)


def quantile(counts: Counter[int], share: float) -> float:
    """The value at that share of all, from the sketch alone."""
    rank, seen = share * (counts.total() - 1), 0
    for code in sorted(counts):
        seen += counts[code]
        if seen > rank:
            return value_of(code)
    raise AssertionError("an empty sketch")


def test_figures_are_those_of_the_samples(engine: Connection, aggregate: Aggregate) -> None:
    chance = random.Random(7)
    values = [chance.lognormvariate(3, 2) * chance.choice([1, 1, 1, -1, 0]) for _ in range(600)]
    write(engine, values)
    write(engine, [5.0, 6.0], series=SERIES + 1, context='{"is_wedding_day": true}')
    assert aggregate(engine) == 2
    first, second, other = rollups(engine)
    for row, part in ((first, values[:300]), (second, values[300:])):
        assert row["sample_count"] == 300
        assert row["sum_value"] == pytest.approx(math.fsum(part))
        assert row["avg_value"] == pytest.approx(math.fsum(part) / 300)
        assert (row["min_value"], row["max_value"], row["last_value"]) == (
            min(part),
            max(part),
            part[-1],
        )
        for name, share in (("p50", 50), ("p95", 95), ("p99", 99)):
            # from the sketch, which knows both neighbours within 1 %
            assert row[name] == pytest.approx(np.percentile(part, share), rel=0.0101)
    assert [r["time_bucket"] for r in (first, second, other)] == [HOUR, HOUR + FIVE_MINUTES, HOUR]
    # The bucket's own flag: some sample in it was taken on a wedding day.
    assert (first["is_wedding_day"], second["is_wedding_day"]) == (True, False)
    view = engine.execute(
        "select * from apm_rollups where bucket_width = interval '5 minutes'"
        " order by organization_id, series_id, time_bucket"
    ).fetchall()
    assert view == [
        {k: v for k, v in row.items() if k != "sketch"} for row in (first, second, other)
    ]


def test_a_second_run_finds_nothing_and_changes_nothing(
    engine: Connection, aggregate: Aggregate
) -> None:
    write(engine, range(600))
    assert aggregate(engine) == 2
    before = rollups(engine)
    assert aggregate(engine) == 0
    engine.execute("delete from apm_private.cursors")
    assert aggregate(engine) == 2
    assert rollups(engine) == before


def test_a_late_sample_opens_its_bucket_again(engine: Connection, aggregate: Aggregate) -> None:
    write(engine, [1, 2])
    write(engine, [7], start=HOUR + timedelta(minutes=7))
    assert aggregate(engine) == 2
    write(engine, [100], start=HOUR + timedelta(seconds=30))
    assert aggregate(engine) == 1
    first, second = rollups(engine)
    assert (first["sample_count"], first["max_value"], first["last_value"]) == (3, 100, 100)
    assert second["sample_count"] == 1


def test_a_repeated_batch_counts_once(engine: Connection, aggregate: Aggregate) -> None:
    for _ in range(3):
        write(engine, [1, 2, 3])
    aggregate(engine)
    assert [r["sample_count"] for r in rollups(engine)] == [3]


def test_what_is_no_number_stays_out(engine: Connection, aggregate: Aggregate) -> None:
    write(engine, [1, math.nan, 2, math.inf, -math.inf, 3])
    write(engine, [math.nan], series=SERIES + 1)
    assert aggregate(engine) == 1
    [row] = rollups(engine)
    assert (row["sample_count"], row["sum_value"], row["last_value"]) == (3, 6, 3)


def test_absurd_values_of_one_tenant_stop_nobodys_rollups(
    engine: Connection, aggregate: Aggregate
) -> None:
    write(engine, [1.7e308] * 10 + [-1.7e308] + [5e-324])
    write(engine, [4], organization=ORGANIZATION_B)
    assert aggregate(engine) == 2
    absurd, sane = rollups(engine)
    if absurd["organization_id"] != ORGANIZATION_A:
        absurd, sane = sane, absurd
    assert (absurd["max_value"], absurd["min_value"], absurd["sample_count"]) == (
        1.7e308,
        -1.7e308,
        12,
    )
    assert math.isfinite(absurd["sum_value"])
    assert sane["sum_value"] == 4


def test_the_sketch_is_right_within_one_percent_and_merges(
    engine: Connection, aggregate: Aggregate
) -> None:
    chance = random.Random(11)
    values = [chance.lognormvariate(0, 4) * chance.choice([1, 1, -1]) for _ in range(3600)]
    values[17] = 0
    write(engine, values)
    aggregate(engine)
    aggregate(engine, timedelta(hours=1))
    merged: Counter[int] = Counter()
    for row in rollups(engine):
        merged += decoded(row["sketch"])
    [hour] = rollups(engine, timedelta(hours=1))
    assert merged == decoded(hour["sketch"])
    assert merged.total() == 3600
    assert merged[0] == 1
    ordered = sorted(values)
    for share in (0.001, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999):
        true = ordered[int(share * (len(values) - 1))]
        assert quantile(merged, share) == pytest.approx(true, rel=0.0101), share


def test_every_width_and_no_other(engine: Connection, aggregate: Aggregate) -> None:
    write(engine, range(600))
    for minutes, buckets in ((1, 10), (5, 2), (60, 1), (1440, 1)):
        assert aggregate(engine, timedelta(minutes=minutes)) == buckets
    if aggregate is not aggregate_in_sql:
        return
    for width in (timedelta(minutes=2), timedelta(0), timedelta(minutes=-5)):
        with pytest.raises(psycopg.DatabaseError) as caught:
            aggregate(engine, width)
        assert caught.value.sqlstate == "AP004"


def test_a_day_is_a_utc_day_whatever_the_callers_zone(
    engine: Connection, aggregate: Aggregate
) -> None:
    midnight = HOUR.replace(hour=0) - timedelta(days=1)
    engine.execute("set timezone = 'America/New_York'")
    write(engine, [1] * 3600, start=midnight - timedelta(minutes=30))
    assert aggregate(engine, timedelta(days=1)) == 2
    days = rollups(engine, timedelta(days=1))
    assert [(r["time_bucket"].astimezone(UTC), r["sample_count"]) for r in days] == [
        (midnight - timedelta(days=1), 1800),
        (midnight, 1800),
    ]


def test_blocks_that_commit_late_are_not_passed_over(
    own: tuple[House, Database], engine: Connection, aggregate: Aggregate
) -> None:
    """The slower transaction has the lower ids: following "id > last seen" would lose it."""
    _, database = own
    with connect(database.owner) as slow:
        write(slow, [1, 2, 3])
        write(engine, [7], start=HOUR + timedelta(minutes=20))
        assert aggregate(engine) == 1
        assert aggregate(engine) == 0
        slow.commit()
    assert aggregate(engine) == 1
    assert [r["sample_count"] for r in rollups(engine)] == [3, 1]


def test_nothing_is_lost_between_writers_that_never_wait(
    own: tuple[House, Database], engine: Connection, aggregate: Aggregate
) -> None:
    """Four writers commit as they like while the rollup runs all the time."""
    _, database = own
    written: Counter[datetime] = Counter()
    lock, stop = threading.Lock(), threading.Event()
    failures: list[BaseException] = []

    def writer(number: int) -> None:
        chance = random.Random(number)
        try:
            with connect(database.owner) as cx:
                while not stop.is_set():
                    start = HOUR + timedelta(seconds=chance.randrange(3000), milliseconds=number)
                    write(cx, [1.0, 1.0], start=start, step=0.05, series=SERIES + number)
                    time.sleep(chance.random() * 0.02)
                    cx.commit()
                    with lock:
                        for n in (0, 50):
                            written[start + timedelta(milliseconds=n)] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=writer, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    runs = 0
    # Three seconds, and on a busy machine for as long as it takes to have met often enough.
    while (spent := time.monotonic() - begun) < 3 or (
        spent < 60 and not failures and (runs <= 5 or len(written) <= 200)
    ):
        aggregate(engine)
        runs += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    aggregate(engine)
    assert runs > 5
    assert len(written) > 200
    assert sum(r["sample_count"] for r in rollups(engine)) == len(written)


def test_a_members_run_leaves_the_cursor_to_the_service(
    own: tuple[House, Database], engine: Connection
) -> None:
    house, database = own
    write(engine, [1])
    write(engine, [1], organization=ORGANIZATION_B)
    with connect(house.superuser_of(database)) as cx:
        cx.execute(
            "insert into user_profiles (user_id, organization_id, role) values (%s, %s, 'MEMBER')",
            (MEMBER_A.id, ORGANIZATION_A),
        )
    with connect(database.api) as api, acting_as(api, MEMBER_A, keeping=True):
        assert aggregate_in_sql(api) == 1
        assert [r["organization_id"] for r in rollups(api)] == [ORGANIZATION_A]
    assert aggregate_in_sql(engine) == 2


def test_an_hour_of_fifty_series_rolls_up_fast(
    engine: Connection, aggregate: Aggregate, figure: Callable[[str, str], None]
) -> None:
    """360 flushes of 50 series: 18,000 samples."""
    engine.execute(
        "insert into apm_metrics (organization_id, timestamp, ends_at, series_ids, offsets_ms, metric_values)"
        " select %s, %s::timestamptz + n * interval '10 s', %s::timestamptz + n * interval '10 s',"
        " (select array_agg(g) from generate_series(1, 50) as g), array_fill(0, array[50]),"
        " (select array_agg(g * 1.5) from generate_series(1, 50) as g) from generate_series(0, 359) as n",
        (ORGANIZATION_A, HOUR, HOUR),
    )
    started = time.perf_counter()
    assert aggregate(engine) == 12
    took = (time.perf_counter() - started) * 1000
    figure("aggregate_metrics, one hour of 50 series, 18,000 samples", f"{took:.0f} ms")
    assert took < 30_000
