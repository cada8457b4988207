"""OTLP as JSON: the protobuf messages in protobuf's own JSON mapping, with OTLP's exceptions.

Names in lowerCamelCase only, enums as numbers only, 64-bit integers as text or as numbers, unknown
fields ignored. The fields of a data point are read one point at a time, so that a wrong one costs
only its point.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

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

OBJECTS_A_POINT: Final = 20
"""A request has at most this many times as many JSON objects as points that are taken: more than
fit into the longest body that is taken, if they say anything."""
OTHER_OBJECTS_A_POINT: Final = 4
"""The same without the objects that attributes consist of, which are not made until they are
needed."""
OBJECTS_AN_ATTRIBUTE: Final = 2

Raw = msgspec.Raw
_NOTHING: Final = Raw(b"")


class _Struct(msgspec.Struct, rename="camel"):
    """What is left out or null is as protobuf's default."""


class _AnyValue(_Struct):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Raw = _NOTHING
    double_value: Raw = _NOTHING
    bytes_value: str | None = None
    array_value: "_ArrayValue | None" = None
    kvlist_value: "_KeyValueList | None" = None


class _ArrayValue(_Struct):
    values: list[_AnyValue] | None = None


class _KeyValue(_Struct):
    key: str | None = None
    value: _AnyValue | None = None


class _KeyValueList(_Struct):
    values: list[_KeyValue] | None = None


class _Point(_Struct, gc=False):
    attributes: Raw = _NOTHING
    time_unix_nano: Raw = _NOTHING
    flags: Raw = _NOTHING


class _Number(_Point, gc=False):
    as_double: Raw = _NOTHING
    as_int: Raw = _NOTHING


class _Counted(_Point, gc=False):
    count: Raw = _NOTHING
    sum: Raw = _NOTHING


class _Histogram(_Counted, gc=False):
    min: Raw = _NOTHING
    max: Raw = _NOTHING
    bucket_counts: Raw = _NOTHING
    explicit_bounds: Raw = _NOTHING


class _Exponential(_Counted, gc=False):
    min: Raw = _NOTHING
    max: Raw = _NOTHING
    scale: Raw = _NOTHING
    zero_count: Raw = _NOTHING
    zero_threshold: Raw = _NOTHING
    positive: Raw = _NOTHING
    negative: Raw = _NOTHING


class _Summary(_Counted, gc=False):
    quantile_values: Raw = _NOTHING


P = TypeVar("P")


class _Data(_Struct, Generic[P]):
    data_points: list[P] | None = None
    aggregation_temporality: int | None = None
    is_monotonic: bool | None = None


class _Metric(_Struct):
    name: str | None = None
    unit: str | None = None
    gauge: _Data[_Number] | None = None
    sum: _Data[_Number] | None = None
    histogram: _Data[_Histogram] | None = None
    exponential_histogram: _Data[_Exponential] | None = None
    summary: _Data[_Summary] | None = None


class _Scope(_Struct):
    name: str | None = None
    version: str | None = None
    attributes: Raw = _NOTHING


class _ScopeMetrics(_Struct):
    scope: _Scope | None = None
    metrics: list[_Metric] | None = None


class _Resource(_Struct):
    attributes: Raw = _NOTHING


class _ResourceMetrics(_Struct):
    resource: _Resource | None = None
    scope_metrics: list[_ScopeMetrics] | None = None


class _Request(_Struct):
    resource_metrics: list[_ResourceMetrics] | None = None


class _Buckets(_Struct):
    offset: Raw = _NOTHING
    bucket_counts: Raw = _NOTHING


class _Quantile(_Struct):
    quantile: Raw = _NOTHING
    value: Raw = _NOTHING


_decode_request = msgspec.json.Decoder(_Request).decode
_decode_attributes = msgspec.json.Decoder(list[_KeyValue] | None).decode
_decode_buckets = msgspec.json.Decoder(_Buckets | None).decode
_decode_wholes = msgspec.json.Decoder(list[int | float | str] | None).decode
_decode_doubles = msgspec.json.Decoder(list[float | str] | None).decode
_decode_quantiles = msgspec.json.Decoder(list[_Quantile] | None).decode
_NOT_JSON: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class JsonCodec:
    """An `ExportMetricsServiceRequest`."""

    def resources(self, body: bytes, most_points: int) -> Iterable[Resource]:
        """What the request holds. Raises MalformedBody and TooLarge."""
        if len(body) >= LARGE_BODY_BYTES:
            objects = body.count(b"{")
            others = objects - OBJECTS_AN_ATTRIBUTE * body.count(b'"key"')
            if (
                objects > OBJECTS_A_POINT * most_points
                or others > OTHER_OBJECTS_A_POINT * most_points
            ):
                raise TooLarge(f"The request consists of {objects} objects.")
        try:
            request = _decode_request(body)
        except _NOT_JSON as exc:
            raise MalformedBody(f"The body is no OTLP: {_told(exc)}.") from exc
        return map(_resource, request.resource_metrics or ())

    def attributes(self, encoded: Attributes) -> list[tuple[str, str]]:
        """From a JSON list of `KeyValue`. Raises Refused."""
        text = cast(bytes, encoded)
        if not text:
            return []
        check_count("attributes", len(text), MOST_ATTRIBUTES_BYTES, "bytes")
        try:
            pairs = _decode_attributes(text) or []
        except _NOT_JSON as exc:
            raise Refused(ingest.INVALID, "attributes", _told(exc)) from exc
        check_count("attributes", len(pairs), MOST_ATTRIBUTES, "of them")
        return [(pair.key or "", render(_value(pair.value))) for pair in pairs]


def _resource(found: _ResourceMetrics) -> Resource:
    attributes = bytes(found.resource.attributes) if found.resource else b""
    return Resource(attributes, map(_scope, found.scope_metrics or ()))


def _scope(found: _ScopeMetrics) -> Scope:
    scope = found.scope or _Scope()
    metrics, attributes = map(_metric, found.metrics or ()), bytes(scope.attributes)
    return Scope(scope.name or "", scope.version or "", attributes, metrics)


def _metric(metric: _Metric) -> Metric:
    for which, (kind, read) in _READERS.items():
        data: _Data[Any] | None = getattr(metric, which)
        if data is not None:
            return Metric(
                metric.name or "",
                metric.unit or "",
                kind,
                data.aggregation_temporality == CUMULATIVE or kind is Kind.SUMMARY,
                which == "sum" and bool(data.is_monotonic),
                data.data_points or (),
                read,
            )
    return NO_METRIC


def _number(point: _Number) -> Point:
    value = _double("asDouble", point.as_double)
    if value is None:
        whole = _whole("asInt", point.as_int, _INT64)
        value = None if whole is None else float(whole)
    return *_head(point), value


def _histogram(point: _Histogram) -> Point:
    _check_size(point.bucket_counts, point.explicit_bounds)
    bounds = _decoded("explicitBounds", _decode_doubles, point.explicit_bounds) or ()
    histogram = Histogram(
        _whole("count", point.count) or 0,
        _double("sum", point.sum),
        _double("min", point.min),
        _double("max", point.max),
        _counts("bucketCounts", point.bucket_counts),
        [_bound("explicitBounds", one) for one in bounds],
    )
    return *_head(point), histogram


def _exponential(point: _Exponential) -> Point:
    _check_size(point.positive, point.negative)
    histogram = Exponential(
        _whole("count", point.count) or 0,
        _double("sum", point.sum),
        _double("min", point.min),
        _double("max", point.max),
        _whole("scale", point.scale, _INT32) or 0,
        _whole("zeroCount", point.zero_count) or 0,
        _double("zeroThreshold", point.zero_threshold) or 0.0,
        _buckets("positive", point.positive),
        _buckets("negative", point.negative),
    )
    return *_head(point), histogram


def _summary(point: _Summary) -> Point:
    _check_size(point.quantile_values)
    quantiles = _decoded("quantileValues", _decode_quantiles, point.quantile_values) or []
    pairs = [
        (_double("quantile", one.quantile) or 0.0, _double("value", one.value) or 0.0)
        for one in quantiles
    ]
    summary = Summary(_whole("count", point.count) or 0, _double("sum", point.sum) or 0.0, pairs)
    return *_head(point), summary


_READERS: Final[Mapping[str, tuple[Kind, Callable[[Any], Point]]]] = {
    "gauge": (Kind.NUMBER, _number),
    "sum": (Kind.NUMBER, _number),
    "histogram": (Kind.HISTOGRAM, _histogram),
    "exponential_histogram": (Kind.EXPONENTIAL, _exponential),
    "summary": (Kind.SUMMARY, _summary),
}


def _head(point: _Point) -> tuple[bytes, int, int]:
    return (
        bytes(point.attributes),
        _whole("timeUnixNano", point.time_unix_nano) or 0,
        _whole("flags", point.flags) or 0,
    )


def _buckets(field: str, encoded: Raw) -> Buckets:
    buckets = _decoded(field, _decode_buckets, encoded) or _Buckets()
    return Buckets(
        _whole(f"{field}.offset", buckets.offset, _INT32) or 0,
        _counts(f"{field}.bucketCounts", buckets.bucket_counts),
    )


def _counts(field: str, encoded: Raw) -> list[int]:
    given = _decoded(field, _decode_wholes, encoded) or []
    check_count(field, len(given), MOST_BUCKETS, "buckets")
    return [one if type(one) is int and one >= 0 else _count(field, one) for one in given]


def _count(field: str, given: object) -> int:
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 20:
        return int(given)
    return _whole(field, Raw(str(given).encode())) or 0


def _bound(field: str, given: object) -> float:
    return given if isinstance(given, float) else _double(field, Raw(str(given).encode())) or 0.0


def _decoded(field: str, decode: Callable[[Raw], Any], encoded: Raw) -> Any:
    if not bytes(encoded):
        return None
    try:
        return decode(encoded)
    except _NOT_JSON as exc:
        raise Refused(ingest.INVALID, field, _told(exc)) from exc


def _check_size(*lists: Raw) -> None:
    size = sum(len(bytes(one)) for one in lists)
    check_count("data point", size, MOST_POINT_BYTES, "bytes")


_WHOLE: Final = re.compile(rb'"?(-?[0-9]{1,20})(?:\.0{1,20})?"?')
_DOUBLE: Final = re.compile(rb'"?(-?[0-9.]+(?:[eE][-+]?[0-9]+)?|NaN|-?Infinity)"?')


_UINT64: Final = range(2**64)
_INT64: Final = range(-(2**63), 2**63)
_INT32: Final = range(-(2**31), 2**31)


def _whole(field: str, encoded: Raw, taken: range = _UINT64) -> int | None:
    """A whole number, as text or as a number; None if it is not there."""
    text = bytes(encoded)
    if not text or text == b"null":
        return None
    found = _WHOLE.fullmatch(text)
    if found is None or int(found[1]) not in taken:
        reason = f"is no whole number from {taken[0]} to {taken[-1]}"
        raise Refused(ingest.INVALID, field, reason)
    return int(found[1])


def _double(field: str, encoded: Raw) -> float | None:
    """A number, or one of the texts "NaN", "Infinity" and "-Infinity"; None if it is not there."""
    text = bytes(encoded)
    if not text or text == b"null":
        return None
    found = _DOUBLE.fullmatch(text)
    try:
        return float((found or [b"", b""])[1])
    except ValueError:
        raise Refused(ingest.INVALID, field, "is no number") from None


def _value(value: _AnyValue | None, levels: int = MOST_LEVELS) -> Any:
    """An attribute's value as plain Python."""
    if value is None:
        return None
    if value.array_value is not None:
        levels = inner(levels)
        return [_value(one, levels) for one in value.array_value.values or ()]
    if value.kvlist_value is not None:
        levels, pairs = inner(levels), value.kvlist_value.values or ()
        return {pair.key or "": _value(pair.value, levels) for pair in pairs}
    scalars = (
        value.string_value,
        value.bool_value,
        _whole("intValue", value.int_value, _INT64),
        _double("doubleValue", value.double_value),
        value.bytes_value,  # Base64 text already, which is how bytes are shown
    )
    return next((one for one in scalars if one is not None), None)


def _told(exc: BaseException) -> str:
    if isinstance(exc, RecursionError):
        return "it is nested too deeply"
    return str(exc).encode(errors="replace").decode().replace("`", "").rstrip(".")[:300]
