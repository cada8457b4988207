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
from wedsync_apm.metrics import sketch
from wedsync_apm.metrics.ranges import (
    MOST_SERIES,
    Aggregation,
    Grouping,
    RangeAnswer,
    RangePlan,
    RangeSeries,
    group_series,
    name_splits,
    plan_range,
)

Q = load_queries(__package__)

LATEST_WITHIN: Final = timedelta(hours=1)
"""A series without a sample for this long has no latest value."""

Points = dict[tuple[int, int], float]
"""The value of a group in a step."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A line of the catalogue."""

    service_name: str
    metric_name: str
    metric_type: str
    unit: str | None
    series_count: int
    newest_series_at: datetime


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
class Usage:
    """`series` as of now; samples and bytes of the period."""

    series: int
    samples: int
    bytes: int


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
    services, names = name_splits(metric)
    found = await cx.execute(
        Q.find_series,
        {
            "organization_id": organization_id,
            "service_names": services,
            "metric_names": names,
            "tags": json.dumps(dict(tags or {})),
            "limit": MOST_SERIES,
        },
    )
    return [Series(**row) for row in await found.fetchall()]


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


async def query_range(
    cx: Connection,
    organization_id: UUID,
    metric: str,
    start: datetime,
    end: datetime,
    *,
    step: timedelta | None = None,
    aggregation: Aggregation = Aggregation.AVG,
    tags: Mapping[str, str] | None = None,
    group_by: Sequence[str] | None = None,
) -> RangeAnswer:
    """The samples of [start, end) in steps, one line per series, or per group where `group_by`
    names tags (an empty one: a single line).

    Up to two hours come from raw samples. Longer ranges come from rollups as far as these reach,
    and from raw samples beyond. Raises NotValid for a range, step or name that cannot be used.
    """
    plan = plan_range(start, end, step)
    series = await find_series(cx, organization_id, metric, tags)
    grouping = group_series([one.tags for one in series], group_by)
    reader = _RangeReader(
        cx, organization_id, plan, aggregation=aggregation, series=series, grouping=grouping
    )
    lines: list[list[tuple[float, float]]] = [[] for _ in grouping.tags]
    seconds = plan.step.total_seconds()
    for (group, slot), value in sorted((await reader.read()).items()):
        lines[group].append((slot * seconds, value))
    units = {number: one.unit for number, one in zip(grouping.numbers, series, strict=True)}
    return RangeAnswer(
        [
            RangeSeries(metric, grouping.tags[group], units[group], points)
            for group, points in enumerate(lines)
            if points
        ],
        plan.resolution,
        seconds,
    )


class _RangeReader:
    """Reads one range query, the older part from rollups and the newer from raw samples."""

    def __init__(
        self,
        cx: Connection,
        organization_id: UUID,
        plan: RangePlan,
        *,
        aggregation: Aggregation,
        series: Sequence[Series],
        grouping: Grouping,
    ) -> None:
        self._cx, self._plan, self._aggregation = cx, plan, aggregation
        self._parameters = {
            "organization_id": organization_id,
            "series_ids": [one.id for one in series],
            "group_nos": list(grouping.numbers),
            "step": plan.step.total_seconds(),
            "width": plan.width,
        }

    async def read(self) -> Points:
        plan = self._plan
        if not self._parameters["series_ids"]:
            return {}
        raw_from = plan.start
        points: Points = {}
        if plan.width is not None:
            raw_from = await self._rollups_reach()
            if raw_from > plan.start:
                points = await self._rollups(plan.start, raw_from)
        if raw_from < plan.end:
            points |= await self._raw(raw_from, plan.end)
        return points

    async def _rollups_reach(self) -> datetime:
        """The start of the first step that is not wholly covered by finished rollups."""
        newest = await self._rows(Q.find_newest_bucket, self._plan.start, self._plan.end)
        reach = newest[0]["newest"]
        if reach is None:
            return self._plan.start
        seconds = self._plan.step.total_seconds()
        whole = reach.timestamp() // seconds * seconds
        return max(datetime.fromtimestamp(whole, reach.tzinfo), self._plan.start)

    async def _rollups(self, start: datetime, end: datetime) -> Points:
        quantile = self._aggregation.quantile
        if quantile is not None:
            rows = await self._rows(Q.list_rollup_sketches, start, end)
            merged = {
                (row["group_no"], row["slot"]): sketch.quantile(
                    sketch.merge(row["sketches"]), quantile
                )
                for row in rows
            }
            return {key: value for key, value in merged.items() if value is not None}
        if self._aggregation is Aggregation.RATE:
            return await self._rates(Q.list_rollup_increases, start, end)
        return self._summaries(await self._rows(Q.summarize_rollups, start, end))

    async def _raw(self, start: datetime, end: datetime) -> Points:
        quantile = self._aggregation.quantile
        if quantile is not None:
            rows = await self._rows(Q.rank_samples, start, end, q=quantile)
            return {(row["group_no"], row["slot"]): row["value"] for row in rows}
        if self._aggregation is Aggregation.RATE:
            return await self._rates(Q.list_increases, start, end)
        return self._summaries(await self._rows(Q.summarize_samples, start, end))

    async def _rates(self, query: str, start: datetime, end: datetime) -> Points:
        seconds = self._plan.step.total_seconds()
        rows = await self._rows(query, start - self._plan.step, end)
        first = start.timestamp() // seconds
        return {
            (row["group_no"], row["slot"]): row["value"] / seconds
            for row in rows
            if row["slot"] >= first
        }

    def _summaries(self, rows: Sequence[Mapping[str, Any]]) -> Points:
        if self._aggregation is Aggregation.AVG:
            return {(row["group_no"], row["slot"]): row["sum"] / row["count"] for row in rows}
        return {(row["group_no"], row["slot"]): row[self._aggregation] for row in rows}

    async def _rows(
        self, query: str, start: datetime, end: datetime, **more: float
    ) -> list[dict[str, Any]]:
        found = await self._cx.execute(
            query, {**self._parameters, "from": start, "to": end, **more}
        )
        return await found.fetchall()


async def aggregate_metrics(cx: Connection, bucket: timedelta) -> int:
    """Fills the rollups of one width; gives back how many buckets were written."""
    row = await (await cx.execute(Q.fill_rollups, {"bucket": bucket})).fetchone()
    return int(row["written"]) if row else 0


async def measure_usage(
    cx: Connection, organization_id: UUID, start: datetime, end: datetime
) -> Usage:
    """What an organization keeps now, and what its samples of [start, end) take."""
    row = await (
        await cx.execute(
            Q.measure_usage, {"organization_id": organization_id, "from": start, "to": end}
        )
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY always gives one
    return Usage(**row)


async def list_refusals(
    cx: Connection, organization_id: UUID, since: date, limit: int = 200
) -> list[RefusedSamples]:
    """What was not taken from an organization's senders, the newest first."""
    found = await cx.execute(
        Q.list_refusals, {"organization_id": organization_id, "since": since, "limit": limit}
    )
    return [RefusedSamples(**row) for row in await found.fetchall()]
