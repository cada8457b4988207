"""OpenTelemetry's SDK and one of its exporters, in an environment that knows nothing of ours:
`python otlp_sender.py <protobuf|json> <everything|deltas|points> [<Unix nanoseconds>…]`, pointed
at a server by the SDK's own environment variables. Prints what was exported and answered."""

import json
import sys
from importlib import import_module
from typing import Any

MODULES = {
    "protobuf": "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "json": "opentelemetry.exporter.otlp.json.http.metric_exporter",
}


class Listening:
    """The exporter's own transport; keeps what came back."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.answers: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Sends."""
        result = self._transport.request(*args, **kwargs)
        if result.status_code is not None:
            self.answers.append(
                {
                    "status": result.status_code,
                    "content_type": result.headers().get("content-type"),
                    "retry_after": result.headers().get("retry-after"),
                    "body": result.content().hex(),
                    "sent": len(kwargs["data"]),
                    "sent_gzip": kwargs["data"][:2] == b"\x1f\x8b",
                }
            )
        return result


def everything(exporter: Any) -> dict[str, Any]:
    """One of each instrument, through the whole SDK; exported on request and again at the end."""
    metrics: Any = import_module("opentelemetry.sdk.metrics")
    export: Any = import_module("opentelemetry.sdk.metrics.export")
    view: Any = import_module("opentelemetry.sdk.metrics.view")
    api: Any = import_module("opentelemetry.metrics")
    exponential = view.View(
        instrument_name="render.time", aggregation=view.ExponentialBucketHistogramAggregation()
    )
    reader = export.PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = metrics.MeterProvider(metric_readers=[reader], views=[exponential])
    meter = provider.get_meter("shop.instruments", "1.4")
    meter.create_counter("orders", unit="{order}").add(3, {"kind": "flowers"})
    meter.create_up_down_counter("baskets").add(-2)
    meter.create_gauge("temperature", unit="Cel").set(21.5, {"room": "cellar", "dry": True})
    meter.create_observable_counter(
        "cpu.time", callbacks=[lambda _: [api.Observation(12.25, {"core": 0})]], unit="s"
    )
    classic = meter.create_histogram("request.time", unit="ms")
    fine = meter.create_histogram("render.time", unit="ms")
    for value in range(1, 101):
        classic.record(value)
        fine.record(value)
    flushed = provider.force_flush()
    provider.shutdown()
    return {"flushed": flushed}


def deltas(exporter: Any) -> dict[str, Any]:
    """What was counted in each of two intervals; the exporter is set to deltas."""
    metrics: Any = import_module("opentelemetry.sdk.metrics")
    export: Any = import_module("opentelemetry.sdk.metrics.export")
    reader = export.PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = metrics.MeterProvider(metric_readers=[reader])
    meter = provider.get_meter("shop.instruments")
    counter, times = meter.create_counter("uploads"), meter.create_histogram("wait", unit="s")
    for counted, seconds in ((3, (0.3, 5.0)), (4, (0.7, 40.0, 0.9))):
        counter.add(counted)
        for one in seconds:
            times.record(one)
        provider.force_flush()
    provider.shutdown()
    return {}


def points(exporter: Any, nanoseconds: list[int]) -> dict[str, Any]:
    """A gauge with a point at each of the given times, handed to the exporter."""
    export: Any = import_module("opentelemetry.sdk.metrics.export")
    resource: Any = import_module("opentelemetry.sdk.resources").Resource.create()
    scope: Any = import_module("opentelemetry.sdk.util.instrumentation").InstrumentationScope("s")
    found = [
        export.NumberDataPoint(
            attributes={"n": str(n)}, start_time_unix_nano=0, time_unix_nano=at, value=n + 0.5
        )
        for n, at in enumerate(nanoseconds)
    ]
    metric = export.Metric(
        name="handmade", description="", unit="", data=export.Gauge(data_points=found)
    )
    inner = export.ScopeMetrics(scope=scope, metrics=[metric], schema_url="")
    outer = export.ResourceMetrics(resource=resource, scope_metrics=[inner], schema_url="")
    result = exporter.export(export.MetricsData(resource_metrics=[outer]))
    exporter.shutdown()
    return {"result": result.name}


def main() -> None:
    """Exports and reports."""
    encoding, scenario, *times = sys.argv[1:]
    exporter: Any = import_module(MODULES[encoding]).OTLPMetricExporter()
    client: Any = exporter._client
    client._transport = listening = Listening(client._transport)
    if scenario == "everything":
        report = everything(exporter)
    elif scenario == "deltas":
        report = deltas(exporter)
    else:
        report = points(exporter, [int(one) for one in times])
    sys.stdout.write(json.dumps(report | {"answers": listening.answers}))


if __name__ == "__main__":
    main()
