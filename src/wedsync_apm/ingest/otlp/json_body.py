"""OTLP as JSON: the protobuf messages in protobuf's own JSON mapping, with OTLP's exceptions.

Names in lowerCamelCase only, enums as numbers only, 64-bit integers as text or as numbers, unknown
fields ignored. The fields of a data point are read one point at a time, so that a wrong one costs
only its point.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from wedsync_apm.errors import MalformedBody, TooLarge
from wedsync_apm.ingest import model as ingest
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.otlp.attributes import MOST_LEVELS, inner, render
from wedsync_apm.ingest.otlp.model import (
    CUMULATIVE,
    LARGE_BODY_BYTES,
    MOST_POINT_BYTES,
    Attributes,
    Buckets,
    Exponential,
    Histogram,
    Kind,
    Metric,
    Point,
    Scope,
    Summary,
)

OBJECTS_A_POINT: Final = 20
"""A request has at most this many times as many JSON objects as points that are taken; one with
the longest body that is taken never comes near."""

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


class _Point(_Struct):
    """A data point of any kind."""

    attributes: Raw = _NOTHING
    time_unix_nano: Raw = _NOTHING
    flags: Raw = _NOTHING
    as_double: Raw = _NOTHING
    as_int: Raw = _NOTHING
    count: Raw = _NOTHING
    sum: Raw = _NOTHING
    min: Raw = _NOTHING
    max: Raw = _NOTHING
    bucket_counts: Raw = _NOTHING
    explicit_bounds: Raw = _NOTHING
    scale: Raw = _NOTHING
    zero_count: Raw = _NOTHING
    zero_threshold: Raw = _NOTHING
    positive: Raw = _NOTHING
    negative: Raw = _NOTHING
    quantile_values: Raw = _NOTHING


class _Data(_Struct):
    data_points: list[_Point] | None = None
    aggregation_temporality: int | None = None
    is_monotonic: bool | None = None


class _Metric(_Struct):
    name: str | None = None
    unit: str | None = None
    gauge: _Data | None = None
    sum: _Data | None = None
    histogram: _Data | None = None
    exponential_histogram: _Data | None = None
    summary: _Data | None = None


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
_decode_list = msgspec.json.Decoder(list[Raw] | None).decode
_decode_quantiles = msgspec.json.Decoder(list[_Quantile] | None).decode
_NOT_JSON: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class JsonCodec:
    """An `ExportMetricsServiceRequest`."""

    def scopes(self, body: bytes, most_points: int) -> Iterable[Scope]:
        """The request's scopes. Raises MalformedBody and TooLarge."""
        most = OBJECTS_A_POINT * most_points
        if len(body) >= LARGE_BODY_BYTES and body.count(b"{") > most:
            raise TooLarge(f"The request consists of more than {most} objects.")
        try:
            request = _decode_request(body)
        except _NOT_JSON as exc:
            raise MalformedBody(f"The body is no OTLP: {_told(exc)}.") from exc
        return _scopes(request)

    def attributes(self, encoded: Attributes) -> list[tuple[str, str]]:
        """From a JSON list of `KeyValue`. Raises Refused."""
        text = cast(bytes, encoded)
        if not text:
            return []
        try:
            pairs = _decode_attributes(text) or []
        except _NOT_JSON as exc:
            raise Refused(ingest.INVALID, "attributes", _told(exc)) from exc
        return [(pair.key or "", render(_value(pair.value))) for pair in pairs]


def _scopes(request: _Request) -> Iterator[Scope]:
    for resource in request.resource_metrics or ():
        attributes = bytes(resource.resource.attributes) if resource.resource else b""
        for one in resource.scope_metrics or ():
            scope = one.scope or _Scope()
            yield Scope(
                attributes,
                scope.name or "",
                scope.version or "",
                bytes(scope.attributes),
                filter(None, map(_metric, one.metrics or ())),
            )


def _metric(metric: _Metric) -> Metric | None:
    for which, (kind, read) in _READERS.items():
        data: _Data | None = getattr(metric, which)
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
    return None


def _number(point: _Point) -> Point:
    value = _double("asDouble", point.as_double)
    if value is None:
        whole = _whole("asInt", point.as_int, _INT64)
        value = None if whole is None else float(whole)
    return *_head(point), value


def _histogram(point: _Point) -> Point:
    _check_size(point.bucket_counts, point.explicit_bounds)
    histogram = Histogram(
        _whole("count", point.count) or 0,
        _double("sum", point.sum),
        _double("min", point.min),
        _double("max", point.max),
        _counts("bucketCounts", point.bucket_counts),
        [_double("explicitBounds", one) or 0.0 for one in _list(point.explicit_bounds)],
    )
    return *_head(point), histogram


def _exponential(point: _Point) -> Point:
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


def _summary(point: _Point) -> Point:
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
    return [_whole(field, one) or 0 for one in _list(encoded)]


def _list(encoded: Raw) -> list[Raw]:
    return _decoded("data point", _decode_list, encoded) or []


def _decoded(field: str, decode: Callable[[Raw], Any], encoded: Raw) -> Any:
    if not bytes(encoded):
        return None
    try:
        return decode(encoded)
    except _NOT_JSON as exc:
        raise Refused(ingest.INVALID, field, _told(exc)) from exc


def _check_size(*lists: Raw) -> None:
    size = sum(len(bytes(one)) for one in lists)
    if size > MOST_POINT_BYTES:
        reason = f"has lists of {size} bytes; at most {MOST_POINT_BYTES} are taken"
        raise Refused(ingest.INVALID, "data point", reason)


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
