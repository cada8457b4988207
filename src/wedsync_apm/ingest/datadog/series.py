"""Series and distribution points: v1 and v2 as JSON, v2 as the Agent's protobuf.

A gauge is the value at its time. A count is what was counted in the interval up to its time, a rate
that count a second; both are stored as they came, as gauges: add counts up with `agg=sum`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from wedsync_apm.errors import MalformedBody
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.datadog.reader import Reader, milliseconds, number, series_in
from wedsync_apm.ingest.distribution import Distribution
from wedsync_apm.ingest.foreign_json import convert, count_in
from wedsync_apm.ingest.model import Arrival, Decoded
from wedsync_apm.ingest.wire import datadog_pb2 as wire

T = TypeVar("T")

TYPES_V1: Final = ("gauge", "count", "rate", "counter")
"""`counter` is what clients of before 2018 call a count."""


class _Series(msgspec.Struct):
    metric: str
    points: list[Any]
    tags: list[str] | None = None


class _SeriesV1(_Series):
    type: str | None = None
    host: str | None = None
    device: str | None = None


class _Resource(msgspec.Struct):
    type: str = ""
    name: str = ""


class _SeriesV2(_Series):
    type: int | None = None
    unit: str | None = None
    resources: list[_Resource] | None = None


async def decode_v1(body: bytes, arrival: Arrival) -> Decoded:
    """`POST /api/v1/series`."""
    reader = Reader(arrival)
    for position, item in enumerate(series_in(body, arrival.limits)):
        await reader.pause()
        points: list[Any] = []
        try:
            one = _converted(item, _SeriesV1)
            points = one.points
            reader.expect(len(points) or 1)
            kind = (one.type or "gauge").lower()
            if kind not in TYPES_V1:
                raise Refused(model.INVALID, "type", f"is none of {', '.join(TYPES_V1)}")
            (handle,) = reader.series(
                one.metric, one.tags or (), host=one.host or "", device=one.device or ""
            )
        except Refused as refused:
            _refuse_series(reader, refused, position, item)
            continue
        await _take(reader, handle, position, map(_pair, points))
    return reader.finish()


async def decode_v2(body: bytes, arrival: Arrival) -> Decoded:
    """`POST /api/v2/series` as JSON."""
    reader = Reader(arrival)
    for position, item in enumerate(series_in(body, arrival.limits)):
        await reader.pause()
        points: list[Any] = []
        try:
            one = _converted(item, _SeriesV2)
            points = one.points
            reader.expect(len(points) or 1)
            if not 0 <= (one.type or 0) <= 3:
                raise Refused(model.INVALID, "type", "is none of 0, 1, 2 and 3")
            (handle,) = reader.series(
                one.metric,
                one.tags or (),
                unit=one.unit or None,
                more=_resources((resource.type, resource.name) for resource in one.resources or ()),
            )
        except Refused as refused:
            _refuse_series(reader, refused, position, item)
            continue
        await _take(reader, handle, position, map(_fields, points))
    return reader.finish()


async def decode_v2_protobuf(body: bytes, arrival: Arrival) -> Decoded:
    """`POST /api/v2/series` as the Agent sends it: MetricPayload."""
    try:
        items = wire.MetricPayload.FromString(body).series
    except DecodeError as exc:
        raise MalformedBody("The body is no MetricPayload.") from exc
    arrival.limits.check_samples(len(items))
    reader = Reader(arrival)
    for position, item in enumerate(items):
        await reader.pause()
        count = 1
        try:
            one = _parsed(item)
            count = len(one.points) or 1
            reader.expect(count)
            if not 0 <= one.type <= 2:
                raise Refused(model.INVALID, "type", "is none of 0, 1 and 2")
            (handle,) = reader.series(
                one.metric,
                one.tags,
                unit=one.unit or None,
                more=_resources((resource.type, resource.name) for resource in one.resources),
            )
        except Refused as refused:
            reader.columns.refuse(refused, position=position, count=count)
            continue
        await _take(reader, handle, position, ((p.timestamp, p.value) for p in one.points))
    return reader.finish()


async def decode_distributions(body: bytes, arrival: Arrival) -> Decoded:
    """`POST /api/v1/distribution_points`: points are a time and a list of values.

    Values of one series and time are one distribution, wherever in the request they stand.
    """
    reader = Reader(arrival)
    found: dict[tuple[tuple[int, ...], int], tuple[int, str, Distribution]] = {}
    for position, item in enumerate(series_in(body, arrival.limits)):
        await reader.pause()
        points: list[Any] = []
        try:
            one = _converted(item, _SeriesV1)
            points = one.points
            handles = reader.distribution_series(one.metric, one.tags or (), host=one.host or "")
        except Refused as refused:
            reader.expect(len(points) or 1)
            _refuse_series(reader, refused, position, item)
            continue
        for place, point in enumerate(points):
            try:
                at, values = _pair(point) or (None, None)
                field = f"points[{place}]"
                if not isinstance(values, list) or not values:
                    raise Refused(model.INVALID, field, "is no time with a list of values")
                reader.expect(len(values))
                time = milliseconds(at, field)
                reader.columns.check_time(time, field)
                numbers = [number(value, field) for value in values]
                await reader.pause(len(values))
            except Refused as refused:
                reader.columns.refuse(refused, position=position)
                continue
            entry = found.setdefault((handles, time), (position, one.metric, Distribution()))
            for value in numbers:
                entry[2].add(value)
    for (handles, time), (position, metric, distribution) in found.items():
        await reader.pause(len(distribution.bins))
        try:
            reader.distribution(metric, handles, time, distribution, position=position)
        except Refused as refused:
            reader.columns.refuse(refused, position=position)
    return reader.finish()


def _converted(item: Any, kind: type[T]) -> T:
    try:
        return convert(item, kind)
    except ValueError as exc:
        raise Refused(model.INVALID, "series", f"is not of its shape: {exc}") from None


def _parsed(item: bytes) -> wire.MetricSeries:
    try:
        return wire.MetricSeries.FromString(item)
    except DecodeError:
        raise Refused(model.INVALID, "series", "cannot be decoded") from None


def _resources(resources: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Resources (the host, the device) as tags: of each type the first that has a name."""
    found: dict[str, str] = {}
    for kind, name in resources:
        if kind and name:
            found.setdefault(kind, name)
    return tuple(found.items())


def _pair(point: Any) -> Sequence[Any] | None:
    return point if isinstance(point, list) and len(point) == 2 else None


def _fields(point: Any) -> Sequence[Any] | None:
    return (point.get("timestamp"), point.get("value")) if isinstance(point, dict) else None


async def _take(
    reader: Reader, handle: int, position: int, points: Iterable[Sequence[Any] | None]
) -> None:
    columns = reader.columns
    for place, point in enumerate(points):
        await reader.pause()
        try:
            if point is None:
                raise Refused(model.INVALID, f"points[{place}]", "is no time with a value")
            at = milliseconds(point[0], "time")
            columns.check_time(at, "time")
            value = number(point[1], "value")
        except Refused as refused:
            if point is not None:
                refused.field = f"points[{place}]'s {refused.field}"
            columns.refuse(refused, position=position)
        else:
            columns.add(handle, at, value, position=position)


def _refuse_series(reader: Reader, refused: Refused, position: int, item: Any) -> None:
    reader.columns.refuse(refused, position=position, count=count_in(item, "points") or 1)
