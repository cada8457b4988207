"""Datadog's own clients, each in a process of its own: `python -m tests.support.datadog_senders
<which> <url> <key> <Unix seconds>` sends one of everything and prints what the client got back."""

import json
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any


def datadogpy(url: str, key: str, now: int) -> dict[str, Any]:
    """`datadog`: an error raises."""
    client: Any = import_module("datadog")
    client.initialize(
        api_key=key,
        app_key="x",
        api_host=url,
        hostname_from_config=False,
        mute=False,
        host_name="h",
    )
    api = client.api
    return {
        "gauge": api.Metric.send(
            metric="page.time", points=[(now - 10, 1.5), (now, 2.5)], tags=["env:prod", "canary"]
        ),
        "count": api.Metric.send(metric="page.views", points=(now, 7), type="count", interval=10),
        "compressed": api.Metric.send(
            [
                {"metric": "packed.rate", "points": (now, 0.25), "type": "rate", "interval": 10},
                {"metric": "packed.gauge", "points": (now, -1), "tags": ["service:forms"]},
            ],
            compress_payload=True,
        ),
        "distribution": api.Distribution.send(
            metric="latency", points=[(now, [1.0, 2.0, 3.0, 4.0])], tags=["env:prod"]
        ),
        "check": api.ServiceCheck.check(
            check="app.ok", host_name="h1", status=2, message="down", timestamp=now, tags=["a:b"]
        ),
        "event": api.Event.create(
            title="Deployed",
            text="version 7",
            date_happened=now,
            alert_type="success",
            tags=["v:7"],
        ),
    }


def datadogpy_partial(url: str, key: str, now: int) -> dict[str, Any]:
    """`datadog` with samples that are too old and not finite beside a good one."""
    client: Any = import_module("datadog")
    client.initialize(
        api_key=key, api_host=url, hostname_from_config=False, mute=False, host_name="h"
    )
    points = [(now, 1), (now - 30 * 86400, 2), (now, float("nan"))]
    try:
        client.api.Metric.send(metric="half", points=points)
    except client.api.exceptions.ApiError as exc:
        return {"raised": exc.args[0]}
    return {"raised": None}


def api_client(url: str, key: str, now: int) -> dict[str, Any]:
    """`datadog-api-client`: v1 and v2, in every encoding that it knows."""
    package: Any = import_module("datadog_api_client")

    def api(version: str, module: str, name: str) -> Any:
        found = import_module(f"datadog_api_client.{version}.api.{module}_api")
        return getattr(found, f"{name}Api")(client)

    def model(version: str, module: str, name: str) -> Any:
        return getattr(import_module(f"datadog_api_client.{version}.model.{module}"), name)

    configuration = package.Configuration(host=url)
    configuration.api_key["apiKeyAuth"] = key
    got: dict[str, Any] = {}
    with package.ApiClient(configuration) as client:
        got["valid"] = api("v1", "authentication", "Authentication").validate().to_dict()
        v1 = api("v1", "metrics", "Metrics")
        for encoding in ("identity", "deflate"):
            series = model("v1", "series", "Series")(
                metric=f"v1.{encoding}",
                type="count",
                interval=10,
                host="h2",
                points=[model("v1", "point", "Point")([float(now), 3.0])],
                tags=["env:prod", "env:test"],
            )
            body = model("v1", "metrics_payload", "MetricsPayload")(series=[series])
            more = _encoding(model, "v1", "metric_content_encoding", encoding)
            got[f"v1 {encoding}"] = v1.submit_metrics(body=body, **more).to_dict()
        points = [model("v1", "distribution_point", "DistributionPoint")([float(now), [5.0, 15.0]])]
        series = model("v1", "distribution_points_series", "DistributionPointsSeries")(
            metric="v1.latency", points=points
        )
        body = model("v1", "distribution_points_payload", "DistributionPointsPayload")(
            series=[series]
        )
        got["v1 distribution"] = v1.submit_distribution_points(body=body).to_dict()
        check = model("v1", "service_check", "ServiceCheck")(
            check="v1.ok",
            host_name="h2",
            status=model("v1", "service_check_status", "ServiceCheckStatus")(1),
            tags=["a:b"],
        )
        checks = model("v1", "service_checks", "ServiceChecks")([check])
        answer = api("v1", "service_checks", "ServiceChecks").submit_service_check(body=checks)
        got["check"] = answer.to_dict()
        event = model("v1", "event_create_request", "EventCreateRequest")(
            title="Restarted", text="by hand", tags=["a:b"], date_happened=now
        )
        answer = api("v1", "events", "Events").create_event(body=event).to_dict()
        got["event"] = {"status": answer["status"], "title": answer["event"]["title"]}

        v2 = api("v2", "metrics", "Metrics")

        def payload(metric: str, *times: int) -> Any:
            series = [
                model("v2", "metric_series", "MetricSeries")(
                    metric=metric,
                    type=model("v2", "metric_intake_type", "MetricIntakeType")(3),
                    points=[model("v2", "metric_point", "MetricPoint")(timestamp=at, value=0.5)],
                    resources=[
                        model("v2", "metric_resource", "MetricResource")(name="h3", type="host")
                    ],
                    tags=["service:forms"],
                    unit="second",
                )
                for at in times
            ]
            return model("v2", "metric_payload", "MetricPayload")(series=series)

        for encoding in ("identity", "gzip", "deflate", "zstd1"):
            more = _encoding(model, "v2", "metric_content_encoding", encoding)
            answer = v2.submit_metrics(body=payload(f"v2.{encoding}", now), **more)
            got[f"v2 {encoding}"] = answer.to_dict()
        mixed = payload("v2.mixed", now, now - 30 * 86400)
        got["v2 partial"] = v2.submit_metrics(body=mixed).to_dict()
    return got


def _encoding(
    model: Callable[[str, str, str], Any], version: str, module: str, encoding: str
) -> dict[str, Any]:
    if encoding == "identity":
        return {}
    return {"content_encoding": model(version, module, "MetricContentEncoding")(encoding)}


SENDERS: dict[str, Callable[[str, str, int], dict[str, Any]]] = {
    "datadog": datadogpy,
    "datadog-partial": datadogpy_partial,
    "datadog-api-client": api_client,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    which, url, key, now = sys.argv[1:]
    print(json.dumps(SENDERS[which](url, key, int(now)), default=str))  # noqa: T201
