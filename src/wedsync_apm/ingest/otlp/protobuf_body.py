"""OTLP as protobuf."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from google.protobuf.message import DecodeError

from wedsync_apm.errors import MalformedBody, TooLarge
from wedsync_apm.ingest import model as ingest
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.otlp.attributes import MOST_LEVELS, inner, render
from wedsync_apm.ingest.otlp.model import (
    CUMULATIVE,
    LARGE_BODY_BYTES,
    MOST_ATTRIBUTES,
    MOST_ATTRIBUTES_BYTES,
    MOST_BUCKETS,
    MOST_POINT_BYTES,
    NO_METRIC,
    Attributes,
    Buckets,
    Exponential,
    Histogram,
    Kind,
    Metric,
    Point,
    Resource,
    Scope,
    Summary,
    check_count,
)
from wedsync_apm.ingest.wire import otlp_pb2 as wire

MESSAGES_A_POINT: Final = 4
FIELDS_A_POINT: Final = 20
"""A request has at most so many times as many of either as points that are taken: one for the point
and three for an envelope of its own, and more fields than fit into the longest body."""


class ProtobufCodec:
    """An `ExportMetricsServiceRequest`."""

    def resources(self, body: bytes, most_points: int) -> Iterable[Resource]:
        """What the request holds. Raises MalformedBody and TooLarge."""
        if len(body) >= LARGE_BODY_BYTES:
            check_pieces(body, MESSAGES_A_POINT * most_points, FIELDS_A_POINT * most_points)
        try:
            request = wire.MetricsRequest.FromString(body)
        except DecodeError as exc:
            raise MalformedBody("The body is no ExportMetricsServiceRequest.") from exc
        return map(_resource, request.resource_metrics)

    def attributes(self, encoded: Attributes) -> list[tuple[str, str]]:
        """From the encoded `KeyValue` messages. Raises Refused."""
        messages = cast(tuple[bytes, ...], encoded)
        check_count("attributes", len(messages), MOST_ATTRIBUTES, "of them")
        size = sum(map(len, messages))
        check_count("attributes", size, MOST_ATTRIBUTES_BYTES, "bytes")
        try:
            pairs = map(wire.KeyValue.FromString, messages)
            return [(pair.key.decode(), render(_value(pair.value))) for pair in pairs]
        except DecodeError as exc:
            raise Refused(ingest.INVALID, "attributes", "cannot be decoded") from exc
        except UnicodeDecodeError as exc:
            raise Refused(ingest.INVALID, "attributes", "are not UTF-8") from exc


def _resource(found: wire.ResourceMetrics) -> Resource:
    return Resource(tuple(found.resource.attributes), map(_scope, found.scope_metrics))


def _scope(found: wire.ScopeMetrics) -> Scope:
    scope = found.scope
    attributes = tuple(scope.attributes)
    return Scope(scope.name, scope.version, attributes, map(_metric, found.metrics))


def _metric(metric: wire.Metric) -> Metric:
    which = metric.WhichOneof("data")
    if which is None:
        return NO_METRIC
    data = getattr(metric, which)
    kind, read = _READERS[which]
    return Metric(
        metric.name,
        metric.unit,
        kind,
        data.aggregation_temporality == CUMULATIVE or kind is Kind.SUMMARY,
        which == "sum" and data.is_monotonic,
        data.data_points,
        read,
    )


def _number(point: wire.NumberDataPoint) -> Point:
    which = point.WhichOneof("value")
    value = None
    if which is not None:
        value = point.as_double if which == "as_double" else float(point.as_int)
    return tuple(point.attributes), point.time_unix_nano, point.flags, value


def _histogram(encoded: bytes) -> Point:
    point = _parse(wire.HistogramDataPoint.FromString, encoded)
    histogram = Histogram(
        point.count,
        point.sum if point.HasField("sum") else None,
        point.min if point.HasField("min") else None,
        point.max if point.HasField("max") else None,
        _counts("bucketCounts", point.bucket_counts),
        list(point.explicit_bounds),
    )
    return tuple(point.attributes), point.time_unix_nano, point.flags, histogram


def _exponential(encoded: bytes) -> Point:
    point = _parse(wire.ExponentialHistogramDataPoint.FromString, encoded)
    histogram = Exponential(
        point.count,
        point.sum if point.HasField("sum") else None,
        point.min if point.HasField("min") else None,
        point.max if point.HasField("max") else None,
        point.scale,
        point.zero_count,
        point.zero_threshold,
        Buckets(point.positive.offset, _counts("positive", point.positive.bucket_counts)),
        Buckets(point.negative.offset, _counts("negative", point.negative.bucket_counts)),
    )
    return tuple(point.attributes), point.time_unix_nano, point.flags, histogram


def _summary(encoded: bytes) -> Point:
    point = _parse(wire.SummaryDataPoint.FromString, encoded)
    pairs = [(one.quantile, one.value) for one in point.quantile_values]
    summary = Summary(point.count, point.sum, pairs)
    return tuple(point.attributes), point.time_unix_nano, point.flags, summary


def _counts(field: str, counts: Sequence[int]) -> list[int]:
    check_count(field, len(counts), MOST_BUCKETS, "buckets")
    return list(counts)


def _parse(parse: Callable[[bytes], Any], encoded: bytes) -> Any:
    check_count("data point", len(encoded), MOST_POINT_BYTES, "bytes")
    try:
        return parse(encoded)
    except DecodeError as exc:
        raise Refused(ingest.INVALID, "data point", "cannot be decoded") from exc


_READERS: Final[Mapping[str, tuple[Kind, Callable[[Any], Point]]]] = {
    "gauge": (Kind.NUMBER, _number),
    "sum": (Kind.NUMBER, _number),
    "histogram": (Kind.HISTOGRAM, _histogram),
    "exponential_histogram": (Kind.EXPONENTIAL, _exponential),
    "summary": (Kind.SUMMARY, _summary),
}


def _value(value: wire.AnyValue, levels: int = MOST_LEVELS) -> Any:
    """An attribute's value as plain Python."""
    which = value.WhichOneof("value")
    match which:
        case None:
            return None
        case "string_value":
            return value.string_value.decode()
        case "array_value":
            levels = inner(levels)
            return [_value(one, levels) for one in value.array_value.values]
        case "kvlist_value":
            levels, pairs = inner(levels), value.kvlist_value.values
            return {pair.key.decode(): _value(pair.value, levels) for pair in pairs}
        case _:
            return getattr(value, which)


_MESSAGE: Final = 2
"""The wire type of messages, bytes and text."""

Shape: TypeAlias = dict[int, "Shape"]

_LEAF: Final[Shape] = {}
_PARTS: Final[Shape] = {1: _LEAF}
_NUMBERS: Final[Shape] = {1: {7: _LEAF}}
_METRIC: Final[Shape] = {5: _NUMBERS, 7: _NUMBERS, 9: _PARTS, 10: _PARTS, 11: _PARTS}
_REQUEST: Final[Shape] = {1: {1: {1: _LEAF}, 2: {1: {3: _LEAF}, 2: _METRIC}}}
"""By field number, which fields are messages that the parser makes objects of."""


def check_pieces(body: bytes, most_messages: int, most_fields: int) -> None:
    """Raises TooLarge for more messages, or fields in them, than given, of those that parsing makes
    objects of.

    An empty message takes two bytes of a body and seventy of memory: 32 MiB of them took a gigabyte
    and two seconds.
    """
    messages = fields = 0
    outer: list[tuple[int, int, Shape]] = []
    at, end, shape = 0, len(body), _REQUEST
    try:
        while at < end or outer:
            if at >= end:
                if at > end:
                    raise MalformedBody("The body is no ExportMetricsServiceRequest.")
                at, end, shape = outer.pop()
                continue
            fields += 1
            tag, at = body[at], at + 1
            if tag > 127:
                tag, at = _varint(body, at - 1)
            if tag & 7 == _MESSAGE:
                size, at = body[at], at + 1
                if size > 127:
                    size, at = _varint(body, at - 1)
                inside = shape.get(tag >> 3)
                if inside:
                    messages += 1
                    outer.append((at + size, end, shape))
                    end, shape = at + size, inside
                else:
                    at += size
            else:
                at = _skip(body, at, tag & 7)
            if messages > most_messages or fields > most_fields:
                raise TooLarge(f"The request consists of {fields} pieces and more.")
    except IndexError as exc:
        raise MalformedBody("The body is no ExportMetricsServiceRequest.") from exc
    if at != end:
        raise MalformedBody("The body is no ExportMetricsServiceRequest.")


def _skip(body: bytes, at: int, wire_type: int) -> int:
    """Where the field's value ends."""
    match wire_type:
        case 0:
            return _varint(body, at)[1]
        case 1:
            return at + 8
        case 5:
            return at + 4
    raise MalformedBody("The body has fields that OTLP does not know.")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = body[at]
    if value < 128:
        return value, at + 1
    value, shift = value & 127, 7
    while shift < 70:
        at += 1
        byte = body[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
    raise MalformedBody("The body is no ExportMetricsServiceRequest.")
