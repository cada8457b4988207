"""Series and samples for expressions, as the database shows them to the caller."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np

from wedsync_apm.clock import to_datetime
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.expression.evaluate import NAME
from wedsync_apm.metrics.expression.selection import (
    LabelledSeries,
    exact_value,
    read_labels,
    sure_tags,
)
from wedsync_apm.metrics.expression.syntax import Matcher
from wedsync_apm.metrics.reading.lines import Line
from wedsync_apm.metrics.reading.store import fetch_line

Q = load_queries(__package__)


async def list_series(
    cx: Connection, organization_id: UUID, selectors: Sequence[Sequence[Matcher]]
) -> list[LabelledSeries]:
    """The series of an organization among which those are that the selectors mean."""
    found = await cx.execute(
        Q.list_labelled_series,
        {
            "organization_id": organization_id,
            "metric_names": [exact_value(one, NAME) for one in selectors],
            "tags": [sure_tags(one) for one in selectors],
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


async def read_platform_samples(
    cx: Connection,
    organization_ids: Sequence[UUID],
    from_ms: int,
    behind_ms: int,
    series_ids: Sequence[int],
) -> Line:
    """The samples of [from, behind) of series of many organizations, for a platform reader; none
    for anybody else."""
    wanted = np.unique(np.array(series_ids, np.int32))
    parameters = {
        "organization_ids": list(organization_ids),
        "from": to_datetime(from_ms),
        "to": to_datetime(behind_ms),
        "series_ids": wanted.tolist(),
    }
    return await fetch_line(cx, Q.list_platform_columns, parameters, wanted, (from_ms, behind_ms))


async def note_platform_read(cx: Connection, expression: str) -> bool:
    """Puts into the audit log what a platform reader asks; False for anybody else."""
    found = await cx.execute(Q.note_platform_read, {"expression": expression})
    row = await found.fetchone()
    return bool(row and row["is_reader"])


def _series(row: dict[str, Any]) -> LabelledSeries:
    labels = read_labels(row["service_name"], row["metric_name"], row["tags"])
    return LabelledSeries(row["organization_id"], row["id"], labels, row["ended_ms"])
