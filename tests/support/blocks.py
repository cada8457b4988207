"""Write batches as a test wants them, and what every read path shows of them."""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.errors import SerializationFailure
from psycopg.types.json import Jsonb

from tests.support.people import Connection
from wedsync_apm.db.pool import Connection as PoolConnection
from wedsync_apm.db.pool import Pool
from wedsync_apm.metrics.blocks import last_wins
from wedsync_apm.metrics.blocks.store import read_columns
from wedsync_apm.metrics.compaction.store import (
    Compacted,
    compact_next,
    note_work,
    settle_blocks,
)

DAY = timedelta(days=1)
HOUR_MS = 3_600_000
FAR = datetime(2100, 1, 1, tzinfo=UTC)

Shown = dict[tuple[int, int], tuple[bytes, str | None, str]]
"""By series and millisecond: the value's bits, the wedding context, the source."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one flush: series, milliseconds and value of each, within one hour."""

    samples: Sequence[tuple[int, int, float]]
    context: Mapping[str, Any] | None = None
    source: str = "test"


def write(cx: Connection, organization_id: UUID, batch: Batch) -> None:
    """One row, in a transaction of its own unless the caller has one open."""
    first = min(at for _, at, _ in batch.samples)
    last = max(at for _, at, _ in batch.samples)
    cx.execute(
        'insert into apm_metrics (organization_id, "timestamp", ends_at, series_ids, offsets_ms,'
        " metric_values, wedding_context, apm_source) values (%s, %s, %s, %s, %s, %b, %s, %s)",
        (
            organization_id,
            moment(first),
            moment(last),
            [series for series, _, _ in batch.samples],
            [at - first for _, at, _ in batch.samples],
            [value for _, _, value in batch.samples],
            None if batch.context is None else Jsonb(dict(batch.context)),
            batch.source,
        ),
    )


def moment(milliseconds: int) -> datetime:
    """Of milliseconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def shown_by_sql(cx: Connection, organization_id: UUID, start: datetime, end: datetime) -> Shown:
    """As the function shows the range; the view must show the same."""
    columns = (
        "series_id, (extract(epoch from timestamp) * 1000)::bigint as at,"
        " float8send(metric_value) as bits, wedding_context::text as context, apm_source as source"
    )
    where = "where organization_id = %(organization)s and timestamp between %(start)s and %(last)s"
    last = end - timedelta(milliseconds=1)
    scope = {"organization": organization_id, "start": start, "end": end, "last": last}
    by_function = cx.execute(
        f"select {columns} from apm_samples_between(%(start)s, %(end)s) {where}", scope
    ).fetchall()
    by_view = cx.execute(f"select {columns} from apm_samples {where}", scope).fetchall()
    found = [
        {
            (row["series_id"], row["at"]): (bytes(row["bits"]), row["context"], row["source"])
            for row in rows
        }
        for rows in (by_function, by_view)
    ]
    assert found[0] == found[1]
    assert len(by_function) == len(found[0]), "a sample is shown once"
    return found[0]


async def shown_by_numpy(
    pool: Pool, organization_id: UUID, start: datetime, end: datetime
) -> Shown:
    """As the columns have it."""
    async with pool.connection() as cx:
        columns = last_wins(await read_columns(cx, organization_id, start, end))
    bits = columns.values.astype(">f8").tobytes()
    return {
        (series, at): (bits[8 * n : 8 * n + 8], *columns.contexts[code])
        for n, (series, at, code) in enumerate(
            zip(
                columns.series.tolist(),
                columns.timestamps_ms.tolist(),
                columns.context.tolist(),
                strict=True,
            )
        )
    }


async def settle(pool: Pool) -> int:
    """All that is committed by now may be compacted."""
    for _ in range(100):
        async with pool.connection() as cx:
            drawn = await (
                await cx.execute("select pg_sequence_last_value('apm_private.block_ids') as id")
            ).fetchone()
            await cx.rollback()
            settled = await settle_blocks(cx, timedelta())
        if drawn is not None and settled >= (drawn["id"] or 0):
            return settled
        await asyncio.sleep(0.02)
    raise AssertionError("the blocks do not settle: is a transaction open?")


async def compact_all(pool: Pool, settled_id: int, **options: Any) -> list[Compacted]:
    """Compacts every day that has settled batches."""
    async with pool.connection() as cx:
        return await compact_over(cx, settled_id, **options)


async def compact_over(cx: PoolConnection, settled_id: int, **options: Any) -> list[Compacted]:
    """The same over one connection; where another engine was there first, it tries again."""
    done: list[Compacted] = []
    stuck: list[Compacted] = []
    await note_work(cx)
    while True:
        try:
            one = await compact_next(
                cx, settled_id, noted_before=FAR, blocks=1, stuck=stuck, **options
            )
        except SerializationFailure:
            continue
        if one is None:
            return done
        (done if one.batches else stuck).append(one)


def float_of(bits: int) -> float:
    """The double of 64 bits."""
    return float(struct.unpack(">d", bits.to_bytes(8, "big"))[0])


def noisy(seed: int, count: int, digits: int = 1) -> list[float]:
    """Decimals, as sensors give them."""
    values = np.random.default_rng(seed).normal(40, 6, count)
    return [float(value) for value in np.round(values, digits)]
