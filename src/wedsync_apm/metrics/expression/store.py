"""Series and samples for expressions, as the database shows them to the caller."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np

from wedsync_apm.clock import to_datetime
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.expression.ages import Kept
from wedsync_apm.metrics.expression.budget import MOST_SAMPLES, TooMuch
from wedsync_apm.metrics.expression.selection import (
    LabelledSeries,
    exact_value,
    possible_values,
    read_labels,
    sure_tags,
)
from wedsync_apm.metrics.expression.syntax import Matcher
from wedsync_apm.metrics.expression.vectors import NAME
from wedsync_apm.metrics.reading.lines import Line
from wedsync_apm.metrics.reading.store import fetch_line
from wedsync_apm.metrics.reading.wire import keep_arrays_packed, read_lines
from wedsync_apm.metrics.steps import Rollups, rollups_of_rows, stack_rollups
from wedsync_apm.metrics.store import Q as METRICS

Q = load_queries(__package__)

_ROWS_AT_A_TIME: Final = 1_000
"""Whose labels are read in the event loop."""
_BUCKETS_AT_FIRST: Final = 64
_SKETCHED_AT_FIRST: Final = 8
_VALUES_AT_A_TIME: Final = 1_000_000
_SKETCHES_AT_A_TIME: Final = 100_000
"""Of rollups, in one figure; those of all of an organization's series come together."""


@dataclass(frozen=True, slots=True)
class MetricKind:
    """What is known of a metric's series."""

    metric_name: str
    metric_type: str
    unit: str


async def list_series(
    cx: Connection,
    organization_id: UUID,
    selectors: Sequence[Sequence[Matcher]],
    since: datetime | None = None,
) -> list[LabelledSeries]:
    """The series of an organization among which those are that the selectors mean, of those that
    were seen since."""
    possible = [possible_values(one, NAME) for one in selectors]
    found = await cx.execute(
        Q.list_labelled_series,
        {
            "organization_id": organization_id,
            "metric_names": [exact_value(one, NAME) for one in selectors],
            "only_names": None if None in possible else [n for ns in possible for n in ns or ()],
            "tags": [sure_tags(one) for one in selectors],
            "since": since,
        },
    )
    return await _labelled(await found.fetchall())


async def list_label_names(
    cx: Connection, organization_id: UUID, since: datetime | None
) -> list[str]:
    """The names of all labels under which an organization's series are known."""
    parameters = {"organization_id": organization_id, "since": since}
    found = await cx.execute(Q.list_label_names, parameters)
    return [row["label"] for row in await found.fetchall()]


async def list_label_values(
    cx: Connection, organization_id: UUID, label: str, since: datetime | None
) -> list[str]:
    """All values that a label has."""
    parameters = {"organization_id": organization_id, "label": label, "since": since}
    found = await cx.execute(Q.list_label_values, parameters)
    return [row["label_value"] for row in await found.fetchall()]


async def list_metric_kinds(
    cx: Connection, organization_id: UUID, metric_name: str | None
) -> list[MetricKind]:
    """The types and units of all metrics, or of one."""
    parameters = {"organization_id": organization_id, "metric_name": metric_name}
    found = await cx.execute(Q.list_metric_kinds, parameters)
    return [MetricKind(**row) for row in await found.fetchall()]


async def count_samples(
    cx: Connection, organization_id: UUID, from_ms: int, behind_ms: int, series_ids: Sequence[int]
) -> int:
    """How many samples of some series there can be in the compacted rows of [from, behind)."""
    parameters = {
        "organization_id": organization_id,
        "from": to_datetime(from_ms),
        "to": to_datetime(behind_ms),
        "series_ids": list(series_ids),
    }
    found = await cx.execute(Q.count_compacted_samples, parameters)
    row = await found.fetchone()
    return int(row["samples"]) if row else 0


async def find_kept(cx: Connection, organization_id: UUID, platform: Kept) -> Kept:
    """What is kept of an organization, of what the platform keeps at most.

    Samples are whole as far back as they go where no rollups lie before them: nothing was let go
    yet, however old they are.
    """
    found = await cx.execute(Q.find_kept, {"organization_id": organization_id})
    row = await found.fetchone()
    if row is None:
        return platform
    own = {name: timedelta(days=row[name]) for name in platform.terms if row[name] is not None}
    terms = {name: min(term, platform.most) for name, term in {**platform.terms, **own}.items()}
    kept = replace(platform, terms=terms)
    if not row["is_cut"]:
        return kept
    from_ms = kept.at_ms - terms["raw"] // timedelta(milliseconds=1)
    begins_ms = row["samples_from_ms"]
    begins_ms = kept.at_ms if begins_ms is None else begins_ms
    return replace(kept, samples_from_ms=max(from_ms, begins_ms))


async def read_rollups(
    cx: Connection,
    organization_id: UUID,
    *,
    width_ms: int,
    span: tuple[int, int],
    series_ids: Sequence[int],
    figures: Sequence[str],
) -> Rollups:
    """Rollups of one width of some series in [from, behind), some buckets at a time.

    Raises TooMuch.
    """
    wanted = np.unique(np.array(series_ids, np.int32))
    from_ms, behind_ms = max(span[0], 0), span[1]
    buckets = _SKETCHED_AT_FIRST if "sketches" in figures else _BUCKETS_AT_FIRST
    parts: list[Rollups] = []
    while from_ms < behind_ms:
        until_ms = min(from_ms + buckets * width_ms, behind_ms)
        async with cx.cursor(binary=True) as cursor:
            keep_arrays_packed(cursor)
            await cursor.execute(
                METRICS.list_rollups,
                {
                    "organization_id": organization_id,
                    "width": timedelta(milliseconds=width_ms),
                    "from": to_datetime(from_ms),
                    "to": to_datetime(until_ms),
                    "figures": list(figures),
                },
            )
            rows = await cursor.fetchall()
        parts.append(await asyncio.to_thread(rollups_of_rows, rows, figures, wanted))
        if sum(len(part.series) for part in parts) > MOST_SAMPLES:
            raise TooMuch(
                f"the selectors mean more than {MOST_SAMPLES:,} rollups: narrow them or take a"
                " shorter time"
            )
        values = sum(read_lines(row["series_ids"]).shape[1] for row in rows) * buckets
        room = _SKETCHES_AT_A_TIME if "sketches" in figures else _VALUES_AT_A_TIME
        buckets = max(min(buckets * room // max(values, 1), buckets * 16), 1)
        from_ms = until_ms
    return stack_rollups(parts, figures)


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
    return await _labelled(await found.fetchall())


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


async def _labelled(rows: Sequence[dict[str, Any]]) -> list[LabelledSeries]:
    found: list[LabelledSeries] = []
    for first in range(0, len(rows), _ROWS_AT_A_TIME):
        if first:
            await asyncio.sleep(0)  # others are waiting, too
        found += map(_series, rows[first : first + _ROWS_AT_A_TIME])
    return found


def _series(row: dict[str, Any]) -> LabelledSeries:
    labels = read_labels(row["service_name"], row["metric_name"], row["tags"])
    return LabelledSeries(row["organization_id"], row["id"], labels, row["ended_ms"] or ())
