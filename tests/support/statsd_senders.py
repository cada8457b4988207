"""StatsD's clients, each in a process of its own: `python -m tests.support.statsd_senders <which>
<port>` sends one of everything that the client has."""

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any


def statsd(port: int) -> None:
    """`statsd`."""
    module: Any = import_module("statsd")
    client = module.StatsClient("127.0.0.1", port, prefix="shop")
    for _ in range(3):
        client.incr("views")
    client.incr("views", 4)
    client.decr("views", 2)
    client.gauge("level", 5)
    client.gauge("level", 3, delta=True)
    client.gauge("cold", -5)
    client.gauge("falling", 10)
    client.gauge("falling", -4, delta=True)
    for milliseconds in range(1, 101):
        client.timing("render", milliseconds)
    for member in ("a", "b", "a"):
        client.set("visitors", member)
    with client.pipeline() as pipe:
        pipe.incr("piped")
        pipe.timing("piped_time", 7)


def dogstatsd(port: int) -> None:
    """`datadog`'s DogStatsD, unbuffered and buffered, its own telemetry included."""
    module: Any = import_module("datadog.dogstatsd")
    now = int(sys.argv[3])
    plain = module.DogStatsd(
        host="127.0.0.1", port=port, disable_telemetry=True, disable_buffering=True
    )
    tags = ["env:prod", "canary"]
    plain.increment("page.views", tags=tags)
    plain.increment("page.views", 2, tags=["canary", "env:prod"])
    plain.gauge("queue", 9, tags=tags)
    plain.gauge("cold", -5, tags=tags)
    plain.histogram("size", 10, tags=tags)
    plain.histogram("size", 30, tags=tags)
    plain.distribution("latency", 2.5, tags=["service:forms"])
    plain.timing("query", 12, tags=tags)
    plain.set("users", "u1", tags=tags)
    plain.set("users", "u2", tags=tags)
    plain.gauge_with_timestamp("then", 1.5, now - 60, tags=tags)
    plain.count_with_timestamp("then.count", 4, now - 60, tags=tags)
    plain.service_check("app.ok", 2, tags=["a:b"], hostname="h1", message="down|pipe\nsecond")
    plain.event(
        "Deployed", "line 1\nline 2 | é", alert_type="success", tags=["v:7"], date_happened=now
    )
    buffered = module.DogStatsd(
        host="127.0.0.1",
        port=port,
        flush_interval=0.1,
        disable_telemetry=False,
        telemetry_min_flush_interval=0,
    )
    for _ in range(50):
        buffered.increment("buffered", tags=["env:prod"])
    buffered.flush()
    buffered.stop()


SENDERS: dict[str, Callable[[int], None]] = {"statsd": statsd, "dogstatsd": dogstatsd}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    SENDERS[sys.argv[1]](int(sys.argv[2]))
