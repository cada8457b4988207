"""Data points as samples.

- A number is a sample of the metric's name. A cumulative monotonic sum is a counter, all else a
  gauge; what a delta counts is stored as it came, a count per interval.
- A histogram is what Prometheus makes of one: `<name>_bucket{le}` (cumulative), `<name>_count`, and
  `<name>_sum`, `<name>_min`, `<name>_max` where the sender has them; a summary is
  `<name>{quantile}`, `<name>_count` and `<name>_sum`.
- The tags are the attributes of resource and point, and `otel_scope_…` for the scope's name,
  version and attributes. All of the resource's: together they make a stream one (OpenTelemetry's
  data model), and they multiply nothing, since a sender has one resource. Where two have the same
  name the one that is nearer to the point wins.
- A point flagged as without a value ends its series.

The attributes of a point, still encoded, are the key under which its series are remembered, so
that a known series costs no object building.
"""

import asyncio
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, cast
from uuid import UUID

from wedsync_apm.ingest import model as ingest
from wedsync_apm.ingest.columns import Refused, SampleColumns, read_tenant
from wedsync_apm.ingest.model import Arrival, Decode, Decoded
from wedsync_apm.ingest.otlp.attributes import LEFT_OUT, tags_of
from wedsync_apm.ingest.otlp.exponential import Ladder, buckets
from wedsync_apm.ingest.otlp.model import (
    LARGE_BODY_BYTES,
    NO_RECORDED_VALUE,
    Attributes,
    Codec,
    Exponential,
    Histogram,
    Kind,
    Metric,
    Payload,
    PointRejections,
    Scope,
    Summary,
    Text,
)

SOURCE: Final = "otlp"
READ_AT_ONCE: Final = 1_000
"""Samples between which other requests get their turn."""
MOST_REMEMBERED_BYTES: Final = 256 * 1024 * 1024
"""Of what is remembered of streams; then all is learnt anew."""
_AN_ENTRY: Final = 300
"""Bytes that remembering anything takes besides its key."""

Part = tuple[str, float | None]
"""A series of a histogram or summary: what follows the metric's name, and the bound or quantile."""
_COUNT: Final[Part] = ("_count", None)
_SUM: Final[Part] = ("_sum", None)
_LABELS: Final = {"_bucket": "le", "": "quantile"}


@dataclass(slots=True)
class _Parts:
    """The series of one histogram or summary."""

    tags: dict[str, str]
    handles: dict[Part, int] = field(default_factory=dict)
    ladder: Ladder = field(default_factory=Ladder)


@dataclass(slots=True)
class _Stream:
    """A metric of a scope; what is known of its points by their attributes."""

    name: str
    unit: str | None
    metric_type: str
    tags: dict[str, str]
    numbers: dict[Attributes, int] = field(default_factory=dict)
    parts: dict[Attributes, _Parts] = field(default_factory=dict)


Streams = dict[Hashable, _Stream]


class _Known:
    """What one process remembers, by the handles of one directory."""

    def __init__(self) -> None:
        self.scopes: dict[Hashable, Streams] = {}
        self.size = 0

    def grow(self, size: int) -> None:
        """Notes what something more takes."""
        self.size += size + _AN_ENTRY

    def begin(self) -> None:
        """A request comes: forgets everything if it is too much."""
        if self.size > MOST_REMEMBERED_BYTES:
            self.scopes.clear()
            self.size = 0


def decoder(codec: Codec) -> Decode:
    """The decoder for an encoding."""

    async def decode(body: bytes, arrival: Arrival) -> Decoded:
        most = arrival.limits.samples
        if len(body) < LARGE_BODY_BYTES:
            scopes = codec.scopes(body, most)
        else:
            scopes = await asyncio.to_thread(codec.scopes, body, most)
        mapper = Mapper(arrival, codec)
        for scope in scopes:
            await mapper.take(scope)
        return mapper.finish()

    return decode


class Mapper:
    """Maps the points of one request."""

    def __init__(self, arrival: Arrival, codec: Codec) -> None:
        self._arrival, self._codec = arrival, codec
        self._columns = SampleColumns(arrival, SOURCE)
        self._columns.rejections = PointRejections(arrival.limits.listed_errors)
        self._known = arrival.directory.companion(_Known, _Known)
        self._known.begin()
        self._ended: list[tuple[int, int]] = []
        self._points = 0
        self._since_pause = 0

    async def take(self, scope: Scope) -> None:
        """The points of a scope. Raises TooLarge when it all becomes too much."""
        key = (
            self._arrival.grant.organization_id,
            scope.resource,
            scope.name,
            scope.version,
            scope.attributes,
        )
        streams = self._known.scopes.get(key)
        if streams is None:
            streams = self._known.scopes[key] = {}
            self._known.grow(_size(key))
        for metric in scope.metrics:
            await self._pause(1)
            if metric.points:
                await self._take_metric(scope, streams, metric)

    def finish(self) -> Decoded:
        """The good samples, and what was wrong with the other points."""
        decoded = self._columns.finish()
        return replace(decoded, batch=replace(decoded.batch, ended=tuple(self._ended)))

    async def _take_metric(self, scope: Scope, streams: Streams, metric: Metric) -> None:
        first, count = self._points, len(metric.points)
        self._points += count
        self._arrival.limits.check_samples(self._points)
        key = metric.name, metric.unit, metric.kind, metric.is_cumulative, metric.is_monotonic
        try:
            stream = streams.get(key)
            if stream is None:
                stream = streams[key] = self._stream(scope, metric)
                self._known.grow(_size((metric.name, metric.unit)))
        except Refused as refused:
            told = _naming(_shown(metric.name), refused)
            self._columns.refuse(told, position=first, count=count)
            return
        take = self._take_numbers if metric.kind is Kind.NUMBER else self._take_parts
        for start in range(0, count, READ_AT_ONCE):
            chunk = metric.points[start : start + READ_AT_ONCE]
            before = len(self._columns)
            take(stream, metric.read, chunk, first + start)
            self._arrival.limits.check_samples(len(self._columns))
            await self._pause(max(len(chunk), len(self._columns) - before))

    def _take_numbers(
        self, stream: _Stream, read: Callable[[Any], Any], points: Iterable[Any], position: int
    ) -> None:
        columns, known = self._columns, stream.numbers
        for place, encoded in enumerate(points, position):
            attributes: Attributes = None
            try:
                attributes, nanoseconds, flags, value = read(encoded)
                timestamp = self._timestamp(nanoseconds)
                handle = known.get(attributes)
                if handle is None:
                    handle = known[attributes] = self._learn_number(stream, attributes)
                if flags & NO_RECORDED_VALUE:
                    self._ended.append((handle, timestamp))
                elif value is None:
                    raise Refused(ingest.INVALID, "value", "is missing")
                else:
                    columns.add(handle, timestamp, value, position=place)
            except Refused as refused:
                self._refuse(refused, stream, place, attributes)

    def _take_parts(
        self, stream: _Stream, read: Callable[[Any], Any], points: Iterable[Any], position: int
    ) -> None:
        columns = self._columns
        for place, encoded in enumerate(points, position):
            attributes: Attributes = None
            try:
                attributes, nanoseconds, flags, payload = read(encoded)
                timestamp = self._timestamp(nanoseconds)
                parts = stream.parts.get(attributes)
                if parts is None:
                    parts = _Parts(stream.tags | tags_of(self._codec.attributes(attributes)))
                    self._learn_part(stream, parts, _COUNT)
                    stream.parts[attributes] = parts
                    self._known.grow(_size(attributes))
                if flags & NO_RECORDED_VALUE:
                    self._ended += [(handle, timestamp) for handle in parts.handles.values()]
                    continue
                samples, known = _expand(payload, parts), parts.handles
                for part, _ in samples:
                    if part not in known:
                        self._learn_part(stream, parts, part)
                for part, value in samples:
                    columns.add(known[part], timestamp, value, position=place)
            except Refused as refused:
                self._refuse(refused, stream, place, attributes)

    def _timestamp(self, nanoseconds: int) -> int:
        if not nanoseconds:
            return self._arrival.now_ms
        timestamp = nanoseconds // 1_000_000
        self._columns.check_time(timestamp, "timeUnixNano")
        return timestamp

    def _stream(self, scope: Scope, metric: Metric) -> _Stream:
        resource = tags_of(self._codec.attributes(scope.resource))
        for name in LEFT_OUT:
            resource.pop(name, None)
        own = tags_of(self._codec.attributes(scope.attributes), "otel_scope_")
        own["otel_scope_name"] = _decoded("scope name", scope.name)
        own["otel_scope_version"] = _decoded("scope version", scope.version)
        own = {name: value for name, value in own.items() if value}
        unit = _decoded("unit", metric.unit)
        if metric.kind is Kind.NUMBER:
            is_counter = metric.is_monotonic and metric.is_cumulative
        else:
            is_counter = metric.is_cumulative
        return _Stream(
            _decoded("name", metric.name),
            None if unit == "1" else unit or None,  # "1" is UCUM for "no unit"
            "counter" if is_counter else "gauge",
            resource | own,
        )

    def _learn_number(self, stream: _Stream, attributes: Attributes) -> int:
        tags = stream.tags | tags_of(self._codec.attributes(attributes))
        self._known.grow(_size(attributes))
        return self._series(stream, stream.name, tags, stream.metric_type, stream.unit)

    def _learn_part(self, stream: _Stream, parts: _Parts, part: Part) -> int:
        suffix, number = part
        tags, metric_type, unit = parts.tags, stream.metric_type, stream.unit
        if number is not None:
            tags = tags | {_LABELS[suffix]: _text_of(number)}
        if suffix in ("_bucket", "_count"):
            unit = None  # they count
        elif suffix in ("_min", "_max"):
            metric_type = "gauge"
        elif not suffix:
            metric_type = "summary"
        handle = self._series(stream, stream.name + suffix, tags, metric_type, unit)
        parts.handles[part] = handle
        self._known.grow(0)
        return handle

    def _series(
        self, stream: _Stream, name: str, tags: dict[str, str], metric_type: str, unit: str | None
    ) -> int:
        if not stream.name:
            raise Refused(ingest.INVALID, "name", "is empty")
        return self._columns.series(
            name, tags, metric_type=metric_type, unit=unit, prefix="attribute "
        )

    def _refuse(
        self, refused: Refused, stream: _Stream, position: int, attributes: Attributes
    ) -> None:
        """Notes a point; `attributes` are None where the point could not be read at all."""
        owner: UUID | None = None
        if self._arrival.grant.is_platform and attributes is not None:
            with suppress(Refused):
                tags = stream.tags | tags_of(self._codec.attributes(attributes))
                label = ingest.ORGANIZATION_LABEL
                owner = read_tenant(label, tags.get(label))
        told = _naming(stream.name, refused)
        self._columns.refuse(told, position=position, organization_id=owner)

    async def _pause(self, taken: int) -> None:
        """Lets others have their turn when enough was taken."""
        self._since_pause += taken
        if self._since_pause >= READ_AT_ONCE:
            self._since_pause = 0
            await asyncio.sleep(0)


def _expand(payload: Payload, parts: _Parts) -> list[tuple[Part, float]]:
    """The samples that a point becomes. Raises Refused."""
    match payload:
        case Histogram():
            found = _explicit(payload)
        case Exponential():
            parts.ladder, cumulative = buckets(payload, parts.ladder)
            found = [(("_bucket", bound), float(count)) for bound, count in cumulative]
        case Summary():
            found = _quantiles(payload)
        case _:
            raise Refused(ingest.INVALID, "value", "is missing")
    found.append((_COUNT, float(payload.count)))
    if payload.sum is not None:
        found.append((_SUM, payload.sum))
    if not isinstance(payload, Summary):
        found += [
            ((suffix, None), value)
            for suffix, value in (("_min", payload.min), ("_max", payload.max))
            if value is not None
        ]
    return found


def _explicit(histogram: Histogram) -> list[tuple[Part, float]]:
    counts, bounds = histogram.bucket_counts, histogram.bounds
    if not counts and not bounds:
        return [(("_bucket", math.inf), float(histogram.count))]
    if len(counts) != len(bounds) + 1:
        reason = f"are {len(counts)} to {len(bounds)} bounds; there must be one more than bounds"
        raise Refused(ingest.INVALID, "bucketCounts", reason)
    if not all(map(math.isfinite, bounds)) or not all(one < two for one, two in pairwise(bounds)):
        raise Refused(ingest.INVALID, "explicitBounds", "are not finite numbers that rise")
    if min(counts) < 0:
        raise Refused(ingest.INVALID, "bucketCounts", "are below zero")
    if sum(counts) > histogram.count:
        reason = f"is {histogram.count}, and the buckets add up to {sum(counts)}"
        raise Refused(ingest.INVALID, "count", reason)
    total, found = 0, []
    for bound, count in zip(bounds, counts, strict=False):
        total += count
        found.append((("_bucket", bound), float(total)))
    return [*found, (("_bucket", math.inf), float(histogram.count))]


def _quantiles(summary: Summary) -> list[tuple[Part, float]]:
    if not all(0 <= quantile <= 1 for quantile, _ in summary.quantiles):
        raise Refused(ingest.INVALID, "quantile", "does not lie between 0 and 1")
    return [(("", quantile), value) for quantile, value in summary.quantiles]


def _text_of(number: float) -> str:
    """A bound or quantile as Prometheus's own libraries for Go write whole ones: without ".0"."""
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return repr(number).removesuffix(".0")


def _decoded(field: str, text: Text) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError as exc:
        raise Refused(ingest.INVALID, field, "is not UTF-8") from exc


def _naming(metric_name: str, refused: Refused) -> Refused:
    """The refusal with the metric's name before the field's."""
    return Refused(refused.code, f"{metric_name[:64]} {refused.field}".strip(), str(refused))


def _shown(name: Text) -> str:
    return name if isinstance(name, str) else name.decode(errors="replace")


def _size(key: object) -> int:
    """Roughly how many bytes a key takes."""
    if isinstance(key, tuple):
        return sum(40 + _size(one) for one in cast(Sequence[object], key))
    return len(key) if isinstance(key, bytes | str) else 16
