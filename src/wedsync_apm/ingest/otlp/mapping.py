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
- A point flagged as without a value ends its series, of a histogram those that this process knows.

The attributes of a point, still encoded, are the key under which its series are remembered, so
that a known series costs no object building.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any, Final
from uuid import UUID

from wedsync_apm.errors import TooLarge
from wedsync_apm.ingest import model as ingest
from wedsync_apm.ingest.columns import Refused, SampleColumns, read_tenant
from wedsync_apm.ingest.model import Arrival, Decode, Decoded
from wedsync_apm.ingest.otlp.attributes import LEFT_OUT, tags_of
from wedsync_apm.ingest.otlp.expansion import COUNT, Part, expand, label_of
from wedsync_apm.ingest.otlp.known import (
    Memory,
    Origin,
    Parts,
    ResourceMemory,
    ScopeMemory,
    Stream,
    Tags,
)
from wedsync_apm.ingest.otlp.model import (
    LARGE_BODY_BYTES,
    NO_RECORDED_VALUE,
    Attributes,
    Codec,
    Kind,
    Metric,
    PointRejections,
    Resource,
    Scope,
    Text,
)

SOURCE: Final = "otlp"
READ_AT_ONCE: Final = 100
"""Points (of known numbers, 3 us each) after which we look at the clock."""
EXPANDED_AT_ONCE: Final = 10
"""The same for histograms and summaries, which may take a millisecond each."""
PIECES_A_POINT: Final = 3
"""A point has at most a resource, a scope and a metric of its own."""
TURN_SECONDS: Final = 0.01
"""After so long other requests get their turn."""


def decoder(codec: Codec) -> Decode:
    """The decoder for an encoding."""

    async def decode(body: bytes, arrival: Arrival) -> Decoded:
        most = arrival.limits.samples
        if len(body) < LARGE_BODY_BYTES:
            resources = codec.resources(body, most)
        else:
            resources = await asyncio.to_thread(codec.resources, body, most)
        mapper = Mapper(arrival, codec)
        for resource in resources:
            await mapper.take(resource)
        return mapper.finish()

    return decode


class Mapper:
    """Maps the points of one request."""

    def __init__(self, arrival: Arrival, codec: Codec) -> None:
        self._arrival, self._codec = arrival, codec
        self._columns = SampleColumns(arrival, SOURCE)
        self._columns.rejections = PointRejections(arrival.limits.listed_errors)
        self._memory = arrival.directory.companion(Memory, Memory)
        self._memory.begin()
        self._ended: list[tuple[int, int]] = []
        self._points = self._pieces = 0
        self._turn_ends = monotonic() + TURN_SECONDS

    async def take(self, resource: Resource) -> None:
        """The points of a resource. Raises TooLarge when it all becomes too much."""
        await self._begin_piece()
        key = self._arrival.grant.organization_id, resource.attributes
        memory = self._memory.resources.get(key)
        if memory is None:
            memory = ResourceMemory(self._origin(lambda: self._resource_tags(resource)))
            self._memory.resources[key] = memory
            self._memory.grow(key, key)
        for scope in resource.scopes:
            await self._take_scope(memory, scope)

    def finish(self) -> Decoded:
        """The good samples, and what was wrong with the other points."""
        decoded = self._columns.finish()
        return replace(decoded, batch=replace(decoded.batch, ended=tuple(self._ended)))

    async def _take_scope(self, resource: ResourceMemory, scope: Scope) -> None:
        await self._begin_piece()
        key = scope.name, scope.version, scope.attributes
        memory = resource.scopes.get(key)
        if memory is None:
            memory = ScopeMemory(self._origin(lambda: self._scope_tags(resource.origin, scope)))
            resource.scopes[key] = memory
            self._memory.grow(key, key)
        for metric in scope.metrics:
            await self._begin_piece()
            if metric.points:
                await self._take_metric(memory, metric)

    async def _take_metric(self, scope: ScopeMemory, metric: Metric) -> None:
        first, count = self._points, len(metric.points)
        self._points += count
        self._arrival.limits.check_samples(self._points)
        key = metric.name, metric.unit, metric.kind, metric.is_cumulative, metric.is_monotonic
        try:
            stream = scope.streams.get(key)
            if stream is None:
                stream = scope.streams[key] = _stream(scope.origin.checked(), metric)
                self._memory.grow(key)
        except Refused as refused:
            told = _naming(_shown(metric.name), refused)
            self._columns.refuse(told, position=first, count=count)
            return
        if metric.kind is Kind.NUMBER:
            take, at_once = self._take_numbers, READ_AT_ONCE
        else:
            take, at_once = self._take_parts, EXPANDED_AT_ONCE
        for start in range(0, count, at_once):
            chunk = metric.points[start : start + at_once]
            take(stream, metric.read, chunk, first + start)
            self._arrival.limits.check_samples(len(self._columns))
            await self._pause()

    def _take_numbers(
        self, stream: Stream, read: Callable[[Any], Any], points: Iterable[Any], position: int
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
        self, stream: Stream, read: Callable[[Any], Any], points: Iterable[Any], position: int
    ) -> None:
        for place, encoded in enumerate(points, position):
            attributes: Attributes = None
            try:
                attributes, nanoseconds, flags, payload = read(encoded)
                timestamp = self._timestamp(nanoseconds)
                parts = stream.parts.get(attributes)
                if parts is None:
                    parts = Parts(stream.tags | tags_of(self._codec.attributes(attributes)))
                    self._learn_part(stream, parts, COUNT)
                    stream.parts[attributes] = parts
                    self._memory.grow(attributes, attributes)
                known = parts.handles
                if flags & NO_RECORDED_VALUE:
                    self._ended += [(handle, timestamp) for handle in known.values()]
                    continue
                parts.ladder, samples = expand(payload, parts.ladder)
                for part, _ in samples:
                    if part not in known:
                        self._learn_part(stream, parts, part)
                for part, value in samples:
                    self._columns.add(known[part], timestamp, value, position=place)
            except Refused as refused:
                self._refuse(refused, stream, place, attributes)

    def _timestamp(self, nanoseconds: int) -> int:
        if not nanoseconds:
            return self._arrival.now_ms
        timestamp = nanoseconds // 1_000_000
        self._columns.check_time(timestamp, "timeUnixNano")
        return timestamp

    def _origin(self, tags: Callable[[], Tags]) -> Origin:
        try:
            found = tags()
            if len(found) > self._arrival.limits.tags:
                reason = f"are {len(found)}; a series has at most {self._arrival.limits.tags} tags"
                raise Refused(ingest.INVALID, "attributes", reason)
        except Refused as refused:
            return Origin(refused=(refused.code, refused.field, str(refused)))
        return Origin(found)

    def _resource_tags(self, resource: Resource) -> Tags:
        tags = tags_of(self._codec.attributes(resource.attributes))
        return {name: value for name, value in tags.items() if name not in LEFT_OUT}

    def _scope_tags(self, resource: Origin, scope: Scope) -> Tags:
        own = tags_of(self._codec.attributes(scope.attributes), "otel_scope_")
        own["otel_scope_name"] = _decoded("scope name", scope.name)
        own["otel_scope_version"] = _decoded("scope version", scope.version)
        return resource.checked() | {name: value for name, value in own.items() if value}

    def _learn_number(self, stream: Stream, attributes: Attributes) -> int:
        tags = stream.tags | tags_of(self._codec.attributes(attributes))
        self._memory.grow(attributes)
        return self._series(stream.name, tags, stream.metric_type, stream.unit)

    def _learn_part(self, stream: Stream, parts: Parts, part: Part) -> None:
        suffix, _ = part
        metric_type, unit = stream.metric_type, stream.unit
        if suffix in ("_bucket", "_count"):
            unit = None  # they count
        elif suffix in ("_min", "_max"):
            metric_type = "gauge"
        elif not suffix:
            metric_type = "summary"
        parts.handles[part] = self._series(
            stream.name + suffix, parts.tags | label_of(part), metric_type, unit
        )
        self._memory.grow()

    def _series(self, name: str, tags: Tags, metric_type: str, unit: str | None) -> int:
        return self._columns.series(
            name, tags, metric_type=metric_type, unit=unit, prefix="attribute "
        )

    def _refuse(
        self, refused: Refused, stream: Stream, position: int, attributes: Attributes
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

    async def _begin_piece(self) -> None:
        """Counts resources, scopes and metrics, which may be empty. Raises TooLarge."""
        self._pieces += 1
        most = PIECES_A_POINT * self._arrival.limits.samples
        if self._pieces > most:
            raise TooLarge(f"The request has more than {most} resources, scopes and metrics.")
        await self._pause()

    async def _pause(self) -> None:
        """Lets others have their turn when ours is over."""
        if monotonic() >= self._turn_ends:
            await asyncio.sleep(0)
            self._turn_ends = monotonic() + TURN_SECONDS


def _stream(tags: Tags, metric: Metric) -> Stream:
    """What is new of a metric. Raises Refused."""
    name, unit = _decoded("name", metric.name), _decoded("unit", metric.unit)
    if not name:
        raise Refused(ingest.INVALID, "name", "is empty")
    is_counter = metric.is_cumulative
    if metric.kind is Kind.NUMBER:
        is_counter = metric.is_cumulative and metric.is_monotonic
    return Stream(
        name,
        None if unit == "1" else unit or None,  # "1" is UCUM for "no unit"
        "counter" if is_counter else "gauge",
        tags,
    )


def _naming(metric_name: str, refused: Refused) -> Refused:
    """The refusal with the metric's name before the field's."""
    return Refused(refused.code, f"{metric_name[:64]} {refused.field}".strip(), str(refused))


def _decoded(field: str, text: Text) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError as exc:
        raise Refused(ingest.INVALID, field, "is not UTF-8") from exc


def _shown(name: Text) -> str:
    return name if isinstance(name, str) else name.decode(errors="replace")
