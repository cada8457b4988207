"""OTLP requests as OpenTelemetry's own messages, in both encodings."""

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
CUMULATIVE = 2
DELTA = 1


def any_value(value: Any) -> AnyValue:
    """A value of any of the types that an attribute may have."""
    found = AnyValue()
    match value:
        case None:
            pass
        case bool():
            found.bool_value = value
        case int():
            found.int_value = value
        case float():
            found.double_value = value
        case bytes():
            found.bytes_value = value
        case str():
            found.string_value = value
        case list():
            found.array_value.SetInParent()
            found.array_value.values.extend(any_value(one) for one in value)
        case _:
            found.kvlist_value.SetInParent()
            found.kvlist_value.values.extend(attributes(value))
    return found


def attributes(pairs: Mapping[str, Any]) -> list[KeyValue]:
    """Attributes as messages."""
    return [KeyValue(key=name, value=any_value(value)) for name, value in pairs.items()]


def request(
    *metrics: Metric,
    resource: Mapping[str, Any] | None = None,
    scope: tuple[str, str] = ("", ""),
    scope_attributes: Mapping[str, Any] | None = None,
) -> ExportMetricsServiceRequest:
    """A request of one resource and one scope."""
    found = ExportMetricsServiceRequest()
    outer = found.resource_metrics.add()
    outer.resource.attributes.extend(attributes(resource or {}))
    inner = outer.scope_metrics.add()
    inner.scope.name, inner.scope.version = scope
    inner.scope.attributes.extend(attributes(scope_attributes or {}))
    inner.metrics.extend(metrics)
    return found


def gauge(name: str, *points: Mapping[str, Any], unit: str = "") -> Metric:
    """`points` are the fields of data points; `attributes` as a plain mapping."""
    metric = Metric(name=name, unit=unit)
    metric.gauge.SetInParent()
    for point in points:
        metric.gauge.data_points.add(**_fields(point))
    return metric


def total(
    name: str, *points: Mapping[str, Any], temporality: Any = CUMULATIVE, monotonic: bool = True
) -> Metric:
    """A sum."""
    metric = Metric(name=name)
    metric.sum.aggregation_temporality = temporality
    metric.sum.is_monotonic = monotonic
    for point in points:
        metric.sum.data_points.add(**_fields(point))
    return metric


def histogram(
    name: str, *points: Mapping[str, Any], temporality: Any = CUMULATIVE, unit: str = ""
) -> Metric:
    """A histogram with bounds of its own."""
    metric = Metric(name=name, unit=unit)
    metric.histogram.aggregation_temporality = temporality
    for point in points:
        metric.histogram.data_points.add(**_fields(point))
    return metric


def exponential(name: str, *points: Mapping[str, Any], temporality: Any = CUMULATIVE) -> Metric:
    """An exponential histogram; `positive` and `negative` are fields of buckets."""
    metric = Metric(name=name)
    metric.exponential_histogram.aggregation_temporality = temporality
    for point in points:
        metric.exponential_histogram.data_points.add(**_fields(point))
    return metric


def summary(name: str, *points: Mapping[str, Any], unit: str = "") -> Metric:
    """A summary; `quantiles` maps quantiles to values."""
    metric = Metric(name=name, unit=unit)
    metric.summary.SetInParent()
    for point in points:
        fields = _fields(point)
        quantiles = fields.pop("quantiles", {})
        fields["quantile_values"] = [
            {"quantile": quantile, "value": value} for quantile, value in quantiles.items()
        ]
        metric.summary.data_points.add(**fields)
    return metric


def as_json(message: ExportMetricsServiceRequest) -> bytes:
    """In OTLP's JSON: enums as numbers, as protobuf's own printer writes them if asked."""
    return json.dumps(MessageToDict(message, use_integers_for_enums=True)).encode()


def encoded(message: ExportMetricsServiceRequest, media_type: str) -> bytes:
    """In the encoding of that content type."""
    return message.SerializeToString() if media_type == PROTOBUF else as_json(message)


def _fields(point: Mapping[str, Any]) -> dict[str, Any]:
    return {**point, "attributes": attributes(point.get("attributes", {}))}


def json_request(points: str, data: str = '"gauge":{"dataPoints":[%s]}') -> bytes:
    """A request of one metric "m" around JSON text."""
    metric = f'{{"name":"m",{data % points}}}'
    return f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}'.encode()
