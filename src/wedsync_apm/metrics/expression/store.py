"""Series and samples for expressions, as the database shows them to the caller."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
from psycopg.rows import kwargs_row

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.blocks.decoding import Row, decode_rows
from wedsync_apm.metrics.blocks.model import Columns
from wedsync_apm.metrics.blocks.store import read_columns
from wedsync_apm.metrics.blocks.wire import speak_numpy
from wedsync_apm.metrics.expression.selection import LabelledSeries, read_labels

Q = load_queries(__package__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def list_series(
    cx: Connection, organization_id: UUID, metric_names: Sequence[str] | None
) -> list[LabelledSeries]:
    """The series of an organization, of some names or of all."""
    found = await cx.execute(
        Q.list_labelled_series,
        {
            "organization_id": organization_id,
            "metric_names": None if metric_names is None else list(metric_names),
        },
    )
    return [_series(row) for row in await found.fetchall()]


async def list_platform_series(
    cx: Connection, organization_ids: Sequence[UUID] | None, metric_names: Sequence[str] | None
) -> list[LabelledSeries]:
    """The same for a platform reader, of some organizations or of all; none for anybody else."""
    found = await cx.execute(
        Q.list_platform_series,
        {
            "organization_ids": None if organization_ids is None else list(organization_ids),
            "metric_names": None if metric_names is None else list(metric_names),
        },
    )
    return [_series(row) for row in await found.fetchall()]


async def read_samples(
    cx: Connection, organization_id: UUID, from_ms: int, to_ms: int, series_ids: Sequence[int]
) -> Columns:
    """The samples of [from, to] of some series, unsorted, and with what was written twice."""
    return await read_columns(cx, organization_id, _time(from_ms), _time(to_ms + 1), series_ids)


async def read_platform_samples(
    cx: Connection,
    organization_ids: Sequence[UUID],
    from_ms: int,
    to_ms: int,
    series_ids: Sequence[int],
) -> Columns:
    """The same of many organizations, for a platform reader; none for anybody else."""
    wanted = np.array(series_ids, np.int32)
    async with cx.cursor(binary=True, row_factory=kwargs_row(Row)) as cursor:
        speak_numpy(cursor)
        await cursor.execute(
            Q.list_platform_blocks,
            {
                "organization_ids": list(organization_ids),
                "from": _time(from_ms),
                "to": _time(to_ms + 1),
                "series_ids": list(series_ids),
            },
        )
        rows = await cursor.fetchall()
    columns = decode_rows(rows, wanted)
    at = columns.timestamps_ms
    return columns.take((at >= from_ms) & (at <= to_ms))


async def note_platform_read(cx: Connection, expression: str) -> bool:
    """Puts into the audit log what a platform reader asks; False for anybody else."""
    found = await cx.execute(Q.note_platform_read, {"expression": expression})
    row = await found.fetchone()
    return bool(row and row["is_reader"])


def _series(row: dict[str, Any]) -> LabelledSeries:
    labels = read_labels(row["service_name"], row["metric_name"], row["tags"])
    return LabelledSeries(row["organization_id"], row["id"], labels, row["ended_ms"])


def _time(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)
