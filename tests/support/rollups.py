"""Samples written as the writer does, and both ways to roll them up."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tests.support.people import ORGANIZATION_A, Connection
from wedsync_apm.metrics.rollups import store

HOUR: Final = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
FIVE_MINUTES: Final = timedelta(minutes=5)
SERIES: Final = 800001


def write(
    cx: Connection,
    values: Sequence[float],
    *,
    start: datetime = HOUR,
    step: float = 1.0,
    series: int = SERIES,
    organization: UUID = ORGANIZATION_A,
    context: str | None = None,
) -> None:
    """One block, as the writer stores it."""
    offsets = [round(i * step * 1000) for i in range(len(values))]
    cx.execute(
        "insert into apm_metrics (organization_id, timestamp, ends_at, series_ids, offsets_ms,"
        " metric_values, wedding_context) values (%s, %s, %s::timestamptz"
        " + %s * interval '1 millisecond', %s::int[], %s::int[], %s::float8[], %s)",
        (
            organization,
            start,
            start,
            offsets[-1],
            [series] * len(values),
            offsets,
            [float(v) for v in values],
            context,
        ),
    )


Aggregate = Callable[..., int]
"""Fills the rollups of a width for everybody, and gives back how many buckets were written."""


def aggregate_in_sql(cx: Connection, width: timedelta = FIVE_MINUTES) -> int:
    row = cx.execute("select aggregate_metrics(%s) as n", (width,)).fetchone()
    assert row is not None
    return int(row["n"])


async def fill_slices(conninfo: str, width: timedelta) -> int | None:
    """Every slice in turn, as the engine does; None if another one had any of them."""
    async with await psycopg.AsyncConnection.connect(
        conninfo, row_factory=dict_row, prepare_threshold=None
    ) as cx:
        written = [await store.fill_slice(cx, number, width) for number in range(store.SLICES)]
    return None if None in written else sum(one or 0 for one in written)


def rollups(cx: Connection, width: timedelta = FIVE_MINUTES) -> list[dict[str, Any]]:
    return cx.execute(
        "select * from apm_rollups_between('-infinity', 'infinity', %s)"
        " order by organization_id, series_id, time_bucket",
        (width,),
    ).fetchall()
