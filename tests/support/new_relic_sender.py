"""New Relic's own SDK in a process of its own: `python -m tests.support.new_relic_sender
<port> <key>` sends one of everything over plain HTTP and prints what the SDK was answered."""

import json
import sys
import time
from importlib import import_module
from typing import Any


def main(port: int, key: str) -> None:
    """Two batches: one by hand, one that the SDK gathered."""
    sdk: Any = import_module("newrelic_telemetry_sdk")
    plain: Any = import_module("urllib3").HTTPConnectionPool
    client = type("Plain", (sdk.MetricClient,), {"POOL_CLS": plain})(
        key, host="127.0.0.1", port=port
    )
    now = int(time.time() * 1000)
    by_hand = [
        sdk.GaugeMetric("temperature", 20.5, tags={"room": "hall", "floor": 2}, end_time_ms=now),
        sdk.CountMetric("guests", 12, interval_ms=10_000, end_time_ms=now),
        sdk.SummaryMetric(
            "answer", count=3, sum=0.6, min=0.1, max=0.3, interval_ms=5_000, end_time_ms=now
        ),
        sdk.GaugeMetric("broken", float("nan"), end_time_ms=now),
        sdk.GaugeMetric("ancient", 1, end_time_ms=1),
    ]
    answers = [client.send_batch(by_hand, common={"attributes": {"service.name": "venue"}})]
    batch = sdk.MetricBatch(tags={"host": "web1"})
    for value in (1, 2, 3):
        batch.record_summary("gathered", value)
        batch.record_count("counted", value)
        batch.record_gauge("gauged", value)
    items, common = batch.flush()
    answers.append(client.send_batch(items, common))
    answers.append(client.send(sdk.GaugeMetric("broken", float("inf"))))
    client.close()
    told = [[answer.status, answer.ok, answer.json()] for answer in answers]
    print(json.dumps({"now": now, "told": told}))  # noqa: T201 - read by the test


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
