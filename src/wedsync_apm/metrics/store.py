"""Reads samples and rollups back. Every function runs inside the caller's transaction, as the role
that the caller entered; row-level security decides what it may see."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.ranges import (
    MOST_SERIES,
    NameSplits,
    name_splits,
)
from wedsync_apm.metrics.units import unit_in_name, unit_to_show

Q = load_queries(__package__)

Tags = Mapping[str, str] | None

LATEST_WITHIN: Final = timedelta(hours=1)
"""A series without a sample for this long has no latest value."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A line of the catalogue."""

    service_name: str
    metric_name: str
    metric_type: str
    unit: str | None
    series_count: int
    newest_series_at: datetime

    @property
    def unit_in_name(self) -> str | None:
        """What its name says, where no unit was declared."""
        return unit_in_name(self.metric_name) if self.unit is None else None

    @property
    def shown_unit(self) -> str | None:
        """Its unit, by its name where none was declared."""
        return unit_to_show(self.unit, self.metric_name)


@dataclass(frozen=True, slots=True)
class Series:
    """A line of the catalogue's detail."""

    id: int
    service_name: str
    metric_name: str
    metric_type: str
    unit: str | None
    tags: Mapping[str, str]
    ended_at: datetime | None

    @property
    def shown_unit(self) -> str | None:
        """Its unit, by its name where none was declared."""
        return unit_to_show(self.unit, self.metric_name)

    @property
    def metric(self) -> str:
        """As people write it: `service.metric`."""
        return f"{self.service_name}.{self.metric_name}"


@dataclass(frozen=True, slots=True)
class LatestSample:
    """The newest sample of a series."""

    series: Series
    unix_s: float
    value: float
    wedding_context: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class RefusedSamples:
    """Samples of one day that were not taken for one reason, with an example."""

    day: date
    source: str
    reason: str
    refused_count: int
    example: str | None
    last_at: datetime


async def list_metrics(
    cx: Connection,
    organization_id: UUID,
    *,
    after: tuple[str, str] = ("", ""),
    search: str | None = None,
    limit: int = 200,
) -> list[Metric]:
    """The catalogue in the order of service and name, from behind `after` (service, metric)."""
    found = await cx.execute(
        Q.list_metrics,
        {
            "organization_id": organization_id,
            "after_service": after[0],
            "after_metric": after[1],
            "search": search,
            "limit": limit,
        },
    )
    return [Metric(**row) for row in await found.fetchall()]


async def find_series(
    cx: Connection, organization_id: UUID, metric: str, tags: Mapping[str, str] | None = None
) -> list[Series]:
    """The series of `service.metric` that have all of the tags; at most a thousand."""
    (found,) = await find_many_series(cx, organization_id, [(name_splits(metric), tags)])
    return found


async def find_many_series(
    cx: Connection, organization_id: UUID, wanted: Sequence[tuple[NameSplits, Tags]]
) -> list[list[Series]]:
    """The same for several metrics, each given by its splits."""
    split = [
        (number, service, name, json.dumps(dict(tags or {})))
        for number, (splits, tags) in enumerate(wanted)
        for service, name in zip(*splits, strict=True)
    ]
    questions, services, names, having = (list(column) for column in zip(*split, strict=True))
    rows = await cx.execute(
        Q.find_series,
        {
            "organization_id": organization_id,
            "questions": questions,
            "service_names": services,
            "metric_names": names,
            "tags": having,
            "limit": MOST_SERIES,
        },
    )
    found: list[list[Series]] = [[] for _ in wanted]
    for row in await rows.fetchall():
        found[row.pop("question")].append(Series(**row))
    return found


async def query_latest(
    cx: Connection,
    organization_id: UUID,
    metric: str,
    at: datetime,
    *,
    tags: Mapping[str, str] | None = None,
    within: timedelta = LATEST_WITHIN,
) -> list[LatestSample]:
    """The newest sample up to `at` of each series of a metric, NaN and infinities included."""
    series = {one.id: one for one in await find_series(cx, organization_id, metric, tags)}
    found = await cx.execute(
        Q.list_latest_samples,
        {
            "organization_id": organization_id,
            "series_ids": list(series),
            "from": at - within,
            "to": at + timedelta(milliseconds=1),
        },
    )
    return [
        LatestSample(series[row["series_id"]], row["unix_s"], row["value"], row["wedding_context"])
        for row in await found.fetchall()
    ]


async def aggregate_metrics(cx: Connection, bucket: timedelta) -> int:
    """Fills the rollups of one width; gives back how many buckets were written."""
    row = await (await cx.execute(Q.fill_rollups, {"bucket": bucket})).fetchone()
    return int(row["written"]) if row else 0


async def list_refusals(
    cx: Connection, organization_id: UUID, since: date, limit: int = 200
) -> list[RefusedSamples]:
    """What was not taken from an organization's senders, the newest first."""
    found = await cx.execute(
        Q.list_refusals, {"organization_id": organization_id, "since": since, "limit": limit}
    )
    return [RefusedSamples(**row) for row in await found.fetchall()]
