"""What a row of `apm_metrics` must be like holds wherever it lies and by whatever way it came."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from tests.sql.conftest import House
from tests.support.people import ORGANIZATION_A, Connection, connect
from tests.support.postgres import Database

NOON: Final = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
UNSPLIT: Final = datetime(2020, 2, 3, 12, tzinfo=UTC)
"""A day that is one table, as on Citus."""
NOWHERE: Final = datetime(2019, 1, 1, 12, tzinfo=UTC)
"""Such rows go to the default partition."""

BATCH: Final[dict[str, Any]] = {
    "level": 0,
    "series_ids": [1, 2],
    "offsets_ms": [0, 5],
    "metric_values": [1.5, 2.5],
}
SPAN: Final[dict[str, Any]] = {
    "level": 1,
    "series_ids": [1],
    "offsets_ms": [0, 5],
    "metric_values": [1.5, 2.5],
}
BAD: Final = {
    "a batch of unequal columns": BATCH | {"offsets_ms": [0]},
    "a batch without samples": BATCH | {"series_ids": [], "offsets_ms": [], "metric_values": []},
    "a batch without values": BATCH | {"metric_values": None},
    "a batch with a step": BATCH | {"step_ms": 5},
    "a batch in a context that is a list": BATCH | {"wedding_context": "[]"},
    "a batch in a context of a wrong type": BATCH
    | {"wedding_context": '{"is_wedding_day": "yes"}'},
    "a span of two series": SPAN | {"series_ids": [1, 2]},
    "a span of unequal columns": SPAN | {"offsets_ms": [0]},
    "a span with offsets and a step": SPAN | {"step_ms": 5},
    "a span without values": SPAN | {"metric_values": None},
    "a span in a context of a wrong type": SPAN | {"wedding_context": '{"phase": 1}'},
    "packed without bits": SPAN | {"series_clocks": [2], "offsets_ms": None, "sample_count": 2},
    "a level that there is not": SPAN | {"level": 2},
}


@pytest.fixture
def engine(clone: tuple[House, Database]) -> Any:
    house, database = clone
    with connect(house.superuser_of(database), autocommit=True) as cx:
        cx.execute("set citus.shard_count = 32")
        day = UNSPLIT.replace(hour=0)
        cx.execute(
            "select apm_private.make_partition('apm_metrics', 'apm_metrics_20200203', %s, %s)",
            (day, day + timedelta(days=1)),
        )
        cx.execute("reset citus.shard_count")
    with connect(database.engine, autocommit=True) as cx:
        yield cx


def insert(cx: Connection, at: datetime, row: dict[str, Any]) -> None:
    whole = {"organization_id": ORGANIZATION_A, "timestamp": at, "ends_at": at} | row
    cx.execute(
        sql.SQL("insert into apm_metrics ({}) values ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, whole)),
            sql.SQL(", ").join(map(sql.Placeholder, whole)),
        ),
        whole,
    )


@pytest.mark.parametrize("at", [NOON, UNSPLIT, NOWHERE], ids=["split", "unsplit", "default"])
def test_bad_rows_are_refused_in_every_kind_of_partition(engine: Connection, at: datetime) -> None:
    for good in (BATCH, SPAN):
        insert(engine, at, good)
        insert(engine, at, good | {"wedding_context": '{"is_wedding_day": true, "phase": null}'})
    for name, bad in BAD.items():
        with pytest.raises(psycopg.errors.CheckViolation):
            insert(engine, at, bad)
            pytest.fail(name)
    levels = engine.execute(
        "select level, count(*) as n from apm_metrics where timestamp = %s group by 1 order by 1",
        (at,),
    ).fetchall()
    assert levels == [{"level": 0, "n": 2}, {"level": 1, "n": 2}]


def test_the_same_rules_stand_in_every_partition(engine: Connection) -> None:
    """But a write batch's table need not know those of compacted rows: its level is 0."""
    found = engine.execute(
        "select t.relid::regclass::text as name, array_agg(c.conname::text order by c.conname) as rules"
        " from pg_partition_tree('public.apm_metrics') as t"
        " join pg_constraint as c on c.conrelid = t.relid and c.contype = 'c'"
        " where t.isleaf group by 1"
    ).fetchall()
    assert len(found) > 20
    every = {
        "apm_metrics_level_0",
        "apm_metrics_level_1",
        "apm_metrics_levels",
        "apm_metrics_span",
        "apm_metrics_wedding_context",
        "apm_metrics_whole_milliseconds",
    }
    for part in found:
        expected = every - ({"apm_metrics_level_1"} if part["name"].endswith("_written") else set())
        assert set(part["rules"]) == expected, part["name"]
