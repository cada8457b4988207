"""Blocks in, samples out: every layout of a row, the last write of a sample, and the few rows that a range reads."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import pytest

from tests.sql.conftest import House
from tests.support.people import (
    ADMIN_A,
    MEMBER_A,
    ORGANIZATION_A,
    ORGANIZATION_B,
    Connection,
    acting_as,
    become,
    connect,
)
from tests.support.postgres import Database

NOON: Final = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(
    days=2
)
SERIES: Final = 900001

BLOCK: Final = """
    insert into apm_metrics (organization_id, "timestamp", ends_at, level, series_ids, offsets_ms, metric_values,
        step_ms, scaled_values, value_base, value_scale, wedding_context, apm_source)
    values (%(organization_id)s, %(timestamp)s, %(ends_at)s, %(level)s, %(series_ids)s::int[], %(offsets_ms)s::int[],
        %(metric_values)s::float8[], %(step_ms)s, %(scaled_values)s::int2[], %(value_base)s, %(value_scale)s,
        %(wedding_context)s, 'test')
"""


def store(cx: Connection, **columns: Any) -> None:
    """One row of apm_metrics; what is not given is as for a write batch of nothing special."""
    row = {
        "organization_id": ORGANIZATION_A,
        "timestamp": NOON,
        "ends_at": NOON + timedelta(minutes=30),
        "level": 0,
        "series_ids": [SERIES],
        "offsets_ms": None,
        "metric_values": None,
        "step_ms": None,
        "scaled_values": None,
        "value_base": None,
        "value_scale": None,
        "wedding_context": None,
    }
    cx.execute(BLOCK, row | columns)


def shown(cx: Connection, *, seconds: int = 3600) -> list[tuple[float, float]]:
    """Seconds after noon and value, as the view shows the series; the function must agree."""
    columns = "series_id, extract(epoch from timestamp - %s)::float8 as s, metric_value as v"
    where = "where organization_id = %s and series_id >= %s order by series_id, timestamp"
    view = cx.execute(
        f"select {columns} from apm_samples {where}", (NOON, ORGANIZATION_A, SERIES)
    ).fetchall()
    function = cx.execute(
        f"select {columns} from apm_samples_between(%s, %s) {where}",
        (NOON, NOON, NOON + timedelta(seconds=seconds), ORGANIZATION_A, SERIES),
    ).fetchall()
    assert function == [row for row in view if 0 <= row["s"] < seconds]
    return [(row["s"], row["v"]) for row in view]


def test_the_last_write_of_a_sample_is_the_one_shown(cx: Connection) -> None:
    store(
        cx,
        series_ids=[SERIES, SERIES, SERIES + 1],
        offsets_ms=[0, 1000, 0],
        metric_values=[1, 2, 3],
    )
    store(cx, series_ids=[SERIES], offsets_ms=[1000], metric_values=[20])
    assert shown(cx) == [(0, 1), (1, 20), (0, 3)]
    store(cx, level=1, series_ids=[SERIES], step_ms=1000, metric_values=[100, 200])
    assert shown(cx) == [(0, 100), (1, 200), (0, 3)]


def test_compacted_rows_are_read_in_every_layout(cx: Connection) -> None:
    store(cx, level=1, step_ms=10_000, metric_values=[1.5, 2.5, 3.5])
    store(cx, level=1, series_ids=[SERIES + 1], offsets_ms=[0, 7, 1800000], metric_values=[1, 2, 3])
    store(
        cx,
        level=1,
        series_ids=[SERIES + 2],
        step_ms=500,
        scaled_values=[0, -5, 32767],
        value_base=100,
        value_scale=0.25,
    )
    store(
        cx,
        level=1,
        series_ids=[SERIES + 3],
        offsets_ms=[3, 4],
        scaled_values=[1, 2],
        value_base=0,
        value_scale=1,
    )
    assert shown(cx) == [
        (0, 1.5),
        (10, 2.5),
        (20, 3.5),
        (0, 1),
        (0.007, 2),
        (1800, 3),
        (0, 100),
        (0.5, 98.75),
        (1, 8291.75),
        (0.003, 1),
        (0.004, 2),
    ]


def test_a_range_begins_with_its_first_instant_and_ends_before_its_last(cx: Connection) -> None:
    store(
        cx,
        timestamp=NOON - timedelta(minutes=59),
        ends_at=NOON + timedelta(minutes=1),
        series_ids=[SERIES] * 3,
        offsets_ms=[0, 59 * 60_000, 60 * 60_000],
        metric_values=[1, 2, 3],
    )
    store(
        cx,
        level=1,
        series_ids=[SERIES + 1],
        timestamp=NOON - timedelta(hours=23),
        ends_at=NOON + timedelta(hours=1),
        offsets_ms=[0, 23 * 3600_000, 24 * 3600_000 - 1],
        metric_values=[4, 5, 6],
    )
    assert [v for s, v in shown(cx, seconds=60) if 0 <= s < 60] == [2, 5]
    assert [v for s, v in shown(cx, seconds=3600) if 0 <= s < 3600] == [2, 3, 5, 6]


def test_values_that_are_no_numbers_are_kept_and_shown(cx: Connection) -> None:
    store(
        cx,
        series_ids=[SERIES] * 3,
        offsets_ms=[0, 1, 2],
        metric_values=[float("inf"), float("-inf"), 5.0],
    )
    store(cx, series_ids=[SERIES + 1], offsets_ms=[0], metric_values=[float("nan")])
    values = [v for _, v in shown_loosely(cx)]
    assert values[:3] == [float("inf"), float("-inf"), 5]
    assert values[3] != values[3]


def shown_loosely(cx: Connection) -> list[tuple[float, float]]:
    rows = cx.execute(
        "select extract(epoch from timestamp - %s)::float8 as s, metric_value as v from apm_samples"
        " where organization_id = %s and series_id >= %s order by series_id, timestamp",
        (NOON, ORGANIZATION_A, SERIES),
    )
    return [(row["s"], row["v"]) for row in rows]


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(
            {"offsets_ms": [0, 1], "metric_values": [1]}, id="offsets longer than the series"
        ),
        pytest.param(
            {"offsets_ms": [0], "metric_values": [1, 2]}, id="values longer than the series"
        ),
        pytest.param({"metric_values": [1]}, id="no offsets"),
        pytest.param({"offsets_ms": [0]}, id="no values"),
        pytest.param({"series_ids": [], "offsets_ms": [], "metric_values": []}, id="no sample"),
        pytest.param(
            {"offsets_ms": [0], "metric_values": [1], "step_ms": 5}, id="a step in a write batch"
        ),
        pytest.param(
            {"offsets_ms": [0], "metric_values": [1], "ends_at": NOON + timedelta(minutes=61)},
            id="too wide",
        ),
        pytest.param(
            {"offsets_ms": [0], "metric_values": [1], "ends_at": NOON - timedelta(seconds=1)},
            id="ends before it begins",
        ),
        pytest.param(
            {
                "offsets_ms": [0],
                "metric_values": [1],
                "timestamp": NOON + timedelta(microseconds=1),
            },
            id="less than a millisecond",
        ),
        pytest.param(
            {"level": 1, "series_ids": [1, 2], "step_ms": 1, "metric_values": [1, 2]},
            id="two series compacted",
        ),
        pytest.param({"level": 1, "metric_values": [1]}, id="neither step nor offsets"),
        pytest.param(
            {"level": 1, "step_ms": 1, "offsets_ms": [0], "metric_values": [1]},
            id="step and offsets",
        ),
        pytest.param({"level": 1, "step_ms": 1, "scaled_values": [1]}, id="scaled without a scale"),
        pytest.param(
            {
                "level": 1,
                "step_ms": 1,
                "metric_values": [1],
                "scaled_values": [1],
                "value_base": 0,
                "value_scale": 1,
            },
            id="values twice",
        ),
        pytest.param(
            {"level": 1, "offsets_ms": [0, 1], "metric_values": [1]},
            id="offsets longer than the values",
        ),
        pytest.param({"level": 1, "step_ms": 1, "metric_values": []}, id="nothing compacted"),
        pytest.param({"level": 2, "offsets_ms": [0], "metric_values": [1]}, id="no such level"),
        *(
            pytest.param(
                {"offsets_ms": [0], "metric_values": [1], "wedding_context": context},
                id=f"context {context}",
            )
            for context in (
                '{"is_wedding_day":"banana"}',
                '{"is_wedding_day":null}',
                '{"is_wedding_day":1}',
                '{"phase":{}}',
                '{"wedding_id":7}',
                "[]",
                "7",
                "null",
            )
        ),
    ],
)
def test_a_row_that_could_not_be_read_is_refused(cx: Connection, columns: dict[str, Any]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        store(cx, **columns)


def test_sql_people_insert_samples_one_by_one(cx: Connection) -> None:
    with acting_as(cx, ADMIN_A):
        cx.execute(
            "insert into apm_samples (organization_id, service_name, metric_name, metric_value, unit, tags, timestamp, wedding_context)"
            " values (%(o)s, 'shop', 'orders_total', 1, null, '{\"b\":1,\"a\":2}', %(t)s, null),"
            " (%(o)s, 'shop', 'orders_total', 2, 'orders', '{\"a\":2,\"b\":1}', %(t)s + interval '1.2345 s', %(c)s)",
            {"o": ORGANIZATION_A, "t": NOON, "c": '{"is_wedding_day": false}'},
        )
        rows = cx.execute(
            "select metric_value, metric_type::text, unit, wedding_context, apm_source,"
            " extract(epoch from timestamp - %s)::float8 as s from apm_samples"
            " where organization_id = %s and service_name = 'shop' order by timestamp",
            (NOON, ORGANIZATION_A),
        ).fetchall()
    assert rows == [
        {
            "metric_value": 1,
            "metric_type": "counter",
            "unit": "orders",
            "wedding_context": None,
            "apm_source": "sql",
            "s": 0,
        },
        {
            "metric_value": 2,
            "metric_type": "counter",
            "unit": "orders",
            "wedding_context": {"is_wedding_day": False},
            "apm_source": "sql",
            "s": 1.234,
        },
    ]


def test_the_calendar_answers_where_a_sample_brings_no_context(cx: Connection) -> None:
    wedding = NOON.date() - timedelta(days=1)
    with cx.transaction(force_rollback=True):
        cx.execute(
            "insert into apm_weddings (organization_id, wedding_date, time_zone) values (%s, %s, 'Europe/Paris')",
            (ORGANIZATION_A, wedding),
        )
        become(cx, ADMIN_A)
        cx.execute(
            "insert into apm_samples (organization_id, metric_name, metric_value, timestamp)"
            " values (%(o)s, 'm', 1, %(d)s::date + time '14:30' at time zone 'Europe/Paris')",
            {"o": ORGANIZATION_A, "d": wedding},
        )
        row = cx.execute(
            "select wedding_context from apm_samples where metric_name = 'm'"
        ).fetchone()
    assert row is not None
    context = row["wedding_context"]
    assert (context["is_wedding_day"], context["phase"]) == (True, "ceremony")


def test_a_range_reads_the_partitions_of_its_days(cx: Connection) -> None:
    """As a member sees it: three days of thirteen and the default one."""
    with acting_as(cx, MEMBER_A):
        for bounds in (
            "now() - interval '1 hour', now()",
            f"'{NOON}', '{NOON + timedelta(hours=1)}'",
        ):
            row = cx.execute(
                f"explain (format json, analyze, timing off) select * from apm_samples_between({bounds})"
            ).fetchone()
            assert row is not None
            text = json.dumps(row["QUERY PLAN"])
            # Level 0 looks an hour back and level 1 a day: at most one and two more days.
            assert text.count('"Relation Name": "apm_metrics_') <= 2 * 3 + 2
            assert "Function Scan" not in text or "apm_samples_between" not in text
            removed = sum_of(json.loads(text), "Subplans Removed")
            assert removed >= 18 or "now()" not in bounds


def sum_of(node: Any, key: str) -> int:
    if isinstance(node, dict):
        return sum(v if k == key else sum_of(v, key) for k, v in node.items())
    return sum(sum_of(n, key) for n in node) if isinstance(node, list) else 0


def test_rows_that_were_faster_than_their_partition_move_into_it(
    own: tuple[House, Database],
) -> None:
    house, database = own
    with connect(house.superuser_of(database)) as cx:
        cx.execute(
            "insert into organizations (id, name) values (%s, 'A'), (%s, 'B')",
            (ORGANIZATION_A, ORGANIZATION_B),
        )
        for days in (20, 21, 400):
            cx.execute(
                "insert into apm_samples (organization_id, metric_name, metric_value, timestamp)"
                " values (%s, 'm', %s, now() + %s * interval '1 day')",
                (ORGANIZATION_A, days, days),
            )
        before = cx.execute("select * from apm_metrics order by block_id").fetchall()
        where = "select tableoid::regclass::text like '%%default' as lost from apm_metrics order by block_id"
        assert [row["lost"] for row in cx.execute(where)] == [True, True, True]
    with connect(database.engine, autocommit=True) as engine:
        engine.execute("select apm_private.make_partitions(now() + interval '20 days')")
    with connect(house.superuser_of(database)) as cx:
        assert [row["lost"] for row in cx.execute(where)] == [False, False, True]
        assert cx.execute("select * from apm_metrics order by block_id").fetchall() == before
        forced = cx.execute(
            "select bool_and(relforcerowsecurity) as forced from pg_class where relnamespace = 'apm_partitions'::regnamespace and relkind = 'r'"
        ).fetchone()
        assert forced == {"forced": True}
