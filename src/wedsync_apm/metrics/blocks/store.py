"""Reads blocks as columns, inside the caller's transaction and with its rights."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
from psycopg.rows import kwargs_row

from wedsync_apm.clock import to_ms
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.blocks.decoding import Row, decode_rows
from wedsync_apm.metrics.blocks.model import Columns
from wedsync_apm.metrics.blocks.wire import speak_numpy

Q = load_queries(__package__)


async def read_columns(
    cx: Connection,
    organization_id: UUID,
    start: datetime,
    end: datetime,
    series_ids: Sequence[int] | None = None,
) -> Columns:
    """The samples of [start, end) of one organization as they are stored, whatever the level:
    unsorted, and with what was written twice; `last_wins` sees to both."""
    async with cx.cursor(binary=True, row_factory=kwargs_row(Row)) as cursor:
        speak_numpy(cursor)
        await cursor.execute(
            Q.list_blocks,
            {
                "organization_id": organization_id,
                "from": start,
                "to": end,
                "hour_before": start - timedelta(hours=1),
                "day_before": start - timedelta(days=1),
                "series_ids": None if series_ids is None else list(series_ids),
            },
        )
        rows = await cursor.fetchall()
    wanted = None if series_ids is None else np.array(series_ids, np.int32)
    columns = decode_rows(rows, wanted)
    at = columns.timestamps_ms
    # The end is not whole milliseconds either: up to the one that it lies in.
    first, behind = to_ms(start), to_ms(end + timedelta(microseconds=999))
    inside = (at >= first) & (at < behind)
    return columns if inside.all() else columns.take(inside)
