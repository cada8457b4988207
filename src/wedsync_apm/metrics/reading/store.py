"""Reads the samples of an organization in the caller's transaction and with its rights."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import numpy as np
from psycopg.rows import tuple_row

from wedsync_apm.clock import to_datetime
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.reading.lines import Line, SeriesIds, decode, line_up, most_samples
from wedsync_apm.metrics.reading.wire import keep_arrays_packed

Q = load_queries(__package__)

MOST_BYTES: Final = 128 * 1024 * 1024
"""Of values in write batches that one question may read."""
_MANY_SAMPLES: Final = 250_000


async def read_samples(
    cx: Connection, organization_id: UUID, from_ms: int, behind_ms: int, series_ids: Sequence[int]
) -> Line:
    """The samples of some series of [from, behind), each time of a series once.

    Raises NotValid where there are more than one process should have in its memory.
    """
    wanted = np.unique(np.array(series_ids, np.int32))
    parameters = {
        "organization_id": organization_id,
        "from": to_datetime(from_ms),
        "to": to_datetime(behind_ms),
        "series_ids": wanted.tolist(),
        "most_bytes": MOST_BYTES,
    }
    return await fetch_line(cx, Q.list_columns_between, parameters, wanted, (from_ms, behind_ms))


async def fetch_line(
    cx: Connection,
    query: str,
    parameters: Mapping[str, Any],
    wanted: SeriesIds,
    span: tuple[int, int],
) -> Line:
    """The samples of some series (ascending) and a span in the rows that a query finds; it has the
    columns of `list_columns_between`."""
    async with cx.cursor(binary=True, row_factory=tuple_row) as cursor:
        keep_arrays_packed(cursor)
        await cursor.execute(query, parameters)
        rows = await cursor.fetchall()
    if sum(map(most_samples, rows)) > _MANY_SAMPLES:
        # Beside the event loop, where other requests would notice.
        return await asyncio.to_thread(lambda: line_up(decode(rows, wanted), *span))
    return line_up(decode(rows, wanted), *span)
