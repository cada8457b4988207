"""Samples out: the newest values, ranges in steps, the catalogue, and what an organization uses."""

import csv
import io
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.params import FromQuery, QueryParameter

from wedsync_apm.api.durations import read_duration
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Limit,
    Organization,
    Page,
    one_organization,
)
from wedsync_apm.api.together import Together
from wedsync_apm.clock import EARLIEST, LATEST, is_usable, utcnow
from wedsync_apm.errors import FieldError, Forbidden, NotValid
from wedsync_apm.metrics import store
from wedsync_apm.metrics.range_questions import RangeQuestion, range_wanted
from wedsync_apm.metrics.ranges import Aggregation
from wedsync_apm.metrics.usage.store import measure_usage
from wedsync_apm.organizations.identity import actor_of

Metric = Annotated[str, QueryParameter(description="`service.metric`", max_length=2049)]
DEFAULT_RANGE: Final = timedelta(hours=1)


class Series(msgspec.Struct):
    """One line: points are Unix seconds and the value. Where no unit was declared, `unit_in_name`
    is what the metric's name says."""

    metric: str
    tags: dict[str, Any]
    unit: str | None
    unit_in_name: str | None
    points: list[tuple[float, float | None]]


class RangeResult(msgspec.Struct):
    """`resolution` is `raw` or the width of the rollups read; `step_seconds` the step used."""

    series: list[Series]
    resolution: str
    step_seconds: float


class LatestResult(msgspec.Struct):
    """The newest sample of each series."""

    series: list[Series]


class CatalogueEntry(msgspec.Struct):
    """A metric that samples came for. Where no unit was declared, `unit_in_name` is what its name
    says."""

    service_name: str
    metric_name: str
    metric_type: str
    unit: str | None
    unit_in_name: str | None
    series_count: int
    newest_series_at: datetime


class Usage(msgspec.Struct):
    """What an organization keeps now, and what keeping as much costs a month.

    `bytes` are those of samples, rollups and the catalogue of series, with their share of the
    indexes; the cost is that at the platform's price for a gigabyte (2^30 bytes) of its disk.
    """

    organization_id: UUID
    series: int
    active_series: int
    samples: int
    samples_last_day: int
    bytes: int
    sample_bytes: int
    rollup_bytes: int
    series_bytes: int
    index_bytes: int
    price_per_gb: float
    estimated_monthly_cost: float


class RefusedSamples(msgspec.Struct):
    """Samples of one day that were not taken for one reason."""

    day: date
    source: str
    reason: str
    refused_count: int
    example: str | None
    last_at: datetime


def inferred(declared: str | None, shown: str | None) -> str | None:
    """What a metric's name says, where that is all that is known."""
    return shown if declared is None else None


def read_time(name: str, text: str | None) -> datetime | None:
    """An instant as RFC 3339 with its offset, or as Unix seconds. Raises NotValid."""
    if text is None:
        return None
    with suppress(ValueError):
        seconds = float(text)
        if 0 <= seconds < LATEST.timestamp():
            return datetime.fromtimestamp(seconds, UTC)
    with suppress(ValueError):
        # A `+` in a query string arrives as a blank.
        at = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
        if is_usable(at):
            return at
    reason = (
        "must be RFC 3339 with its offset, like 2026-06-06T14:00:00Z, or Unix seconds,"
        f" from {EARLIEST.year} to {LATEST.year - 1}"
    )
    raise NotValid(errors=[FieldError(name, reason)])


def tags_in(request: ApiRequest) -> dict[str, str]:
    """The tags that a query asks for: `tag.region=eu`."""
    return {
        name.removeprefix("tag."): value
        for name, value in request.query_params.items()
        if name.startswith("tag.")
    }


def wants_csv(request: ApiRequest) -> bool:
    """Whether the caller prefers a table."""
    return request.headers.get("accept", "").partition(",")[0].strip().startswith("text/csv")


def csv_of(series: list[Series]) -> Response[str]:
    """One row a point."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["metric", "tags", "unit", "time", "value"])
    for one in series:
        tags = ",".join(f"{key}={value}" for key, value in sorted(one.tags.items()))
        for at, value in one.points:
            time = datetime.fromtimestamp(at, UTC).isoformat()
            table.writerow([*map(_cell, (one.metric, tags, one.unit or "")), time, value])
    return Response(out.getvalue(), media_type="text/csv")


def _cell(text: str) -> str:
    # A spreadsheet would run what begins like a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


@get("/api/v1/query", tags=["samples"])
async def query_latest(
    request: ApiRequest,
    metric: Metric,
    at: FromQuery[str | None] = None,
    organization_id: Organization = None,
) -> Response[LatestResult] | Response[str]:
    """Read the newest sample of each series of a metric, up to an hour old. `tag.k=v` narrows
    it."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        found = await store.query_latest(
            cx, owner, metric, read_time("at", at) or utcnow(), tags=tags_in(request)
        )
    series = [
        Series(
            one.series.metric,
            dict(one.series.tags),
            one.series.unit,
            inferred(one.series.unit, one.series.shown_unit),
            [(one.unix_s, one.value)],
        )
        for one in found
    ]
    return csv_of(series) if wants_csv(request) else Response(LatestResult(series))


@get("/api/v1/query_range", tags=["samples"])
async def query_range(
    request: ApiRequest,
    *,
    metric: Metric,
    start: FromQuery[str | None] = None,
    end: FromQuery[str | None] = None,
    step: FromQuery[str | None] = None,
    agg: FromQuery[Aggregation] = Aggregation.AVG,
    group_by: FromQuery[str | None] = None,
    organization_id: Organization = None,
) -> Response[RangeResult] | Response[str]:
    """Read a metric over a range in steps; the last hour where no range is given. `tag.k=v`
    narrows it, `group_by=a,b` draws one line for each combination of these tags."""
    until = read_time("end", end) or utcnow()
    since = read_time("start", start) or until - DEFAULT_RANGE
    wide = None
    if step is not None:
        seconds = float(step) if step.replace(".", "", 1).isdecimal() else step
        wide = read_duration("step", seconds)
    names = None
    if group_by is not None:
        names = [name.strip() for name in group_by.split(",") if name.strip()]
    if request.identity.only_sends_samples:
        raise Forbidden("This key may only send samples.")
    wanted = range_wanted(request.services.settings, since, until, wide, utcnow())
    asked = RangeQuestion(metric, wanted, agg, tags_in(request), names)
    together: Together = request.app.state.together
    answer = await together.read_range(actor_of(request.identity), organization_id, asked)
    series = [
        Series(
            one.metric,
            dict(one.tags),
            one.unit,
            inferred(one.unit, one.shown_unit),
            list(one.points),
        )
        for one in answer.series
    ]
    if wants_csv(request):
        return csv_of(series)
    return Response(RangeResult(series, answer.resolution, answer.step_seconds))


@get("/api/v1/metrics", tags=["samples"])
async def list_metrics(
    request: ApiRequest,
    *,
    search: FromQuery[str | None] = None,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: FromQuery[str | None] = None,
) -> Page[CatalogueEntry]:
    """List the metrics that samples came for, by service and name."""
    service, _, metric = (cursor or "\n").partition("\n")
    async with request.tenant() as cx:
        rows = await store.list_metrics(
            cx,
            await one_organization(cx, organization_id),
            after=(service, metric),
            search=search,
            limit=limit + 1,
        )
    shown = [msgspec.convert(row, CatalogueEntry, from_attributes=True) for row in rows[:limit]]
    more = f"{shown[-1].service_name}\n{shown[-1].metric_name}" if len(rows) > limit else None
    return Page(shown, more)


@get("/api/v1/usage", tags=["platform"])
async def read_usage(request: ApiRequest, organization_id: Organization = None) -> Usage:
    """Read what an organization keeps: series, samples, bytes, and their estimated monthly cost."""
    price = request.services.settings.price_per_gb
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        usage = await measure_usage(cx, utcnow(), owner)
    return Usage(
        organization_id=owner,
        series=usage.series,
        active_series=usage.active_series,
        samples=usage.samples,
        samples_last_day=usage.samples_last_day,
        bytes=usage.total_bytes,
        sample_bytes=usage.sample_bytes,
        rollup_bytes=usage.rollup_bytes,
        series_bytes=usage.series_bytes,
        index_bytes=usage.index_bytes,
        price_per_gb=price,
        estimated_monthly_cost=usage.monthly_cost(price),
    )


@get("/api/v1/usage/refusals", tags=["platform"])
async def list_refusals(
    request: ApiRequest,
    since: FromQuery[date | None] = None,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[RefusedSamples]:
    """List the samples that were not taken, by day and reason; the last seven days unless told."""
    earliest = since or utcnow().date() - timedelta(days=7)
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        rows = await store.list_refusals(cx, owner, earliest, limit)
    return Page([msgspec.convert(row, RefusedSamples, from_attributes=True) for row in rows])


HANDLERS: Final = (
    query_latest,
    query_range,
    list_metrics,
    read_usage,
    list_refusals,
)
