"""InfluxDB's own client in a process of its own: `python -m tests.support.influx_senders
<which> <url> <key> <Unix milliseconds>` sends points and prints what the client made of it."""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def _points(api: Any, now: int, count: int) -> list[Any]:
    return [
        api.Point("cpu load")
        .tag("host", f"h,{n % 3}")
        .tag("service", "shop")
        .field("usage=", n + 0.5)
        .field("cores", n)
        .field("up", n % 2 == 0)
        .time(now - n, api.WritePrecision.MS)
        for n in range(count)
    ]


def synchronous(url: str, key: str, now: int) -> dict[str, Any]:
    """One call, one request, gzip."""
    api: Any = import_module("influxdb_client")
    modes: Any = import_module("influxdb_client.client.write_api")
    with api.InfluxDBClient(url=url, token=key, org="ours", enable_gzip=True) as client:
        writing = client.write_api(write_options=modes.SYNCHRONOUS)
        writing.write(bucket="shop", record=_points(api, now, 20))
        writing.write("shop", "ours", f"mem,host=a free=5i {now // 1000}", write_precision="s")
        writing.write("shop", "ours", {"measurement": "disk", "fields": {"used": 1}, "time": now},
                      write_precision="ms")  # fmt: skip
        return {"ping": client.ping(), "health": client.health().status}


def batching(url: str, key: str, now: int) -> dict[str, Any]:
    """The client's own thread sends, several requests."""
    api: Any = import_module("influxdb_client")
    modes: Any = import_module("influxdb_client.client.write_api")
    outcome = {"sent": 0, "failed": 0}

    def count(what: str) -> Callable[..., None]:
        def add(*_: Any) -> None:
            outcome[what] += 1

        return add

    with api.InfluxDBClient(url=url, token=key, org="ours") as client:
        options = modes.WriteOptions(batch_size=100, flush_interval=200)
        with client.write_api(
            write_options=options, success_callback=count("sent"), error_callback=count("failed")
        ) as writing:
            for point in _points(api, now, 1000):
                writing.write(bucket="shop", record=point)
    return outcome


def refused(url: str, key: str, now: int) -> dict[str, Any]:
    """One line of three is not valid; then a key that is none."""
    api: Any = import_module("influxdb_client")
    modes: Any = import_module("influxdb_client.client.write_api")
    errors: Any = import_module("influxdb_client.rest")
    told = {}
    lines = [f"m f=1 {now}", "m f=x", f"m f=2 {now + 1}"]
    for name, token in (("partial", key), ("unauthorized", "nobody")):
        with api.InfluxDBClient(url=url, token=token, org="ours") as client:
            try:
                writing = client.write_api(write_options=modes.SYNCHRONOUS)
                writing.write("shop", "ours", lines, write_precision="ms")
            except errors.ApiException as exc:
                told[name] = [exc.status, json.loads(exc.body), exc.message]
    return told


if __name__ == "__main__":
    which, url, key, now = sys.argv[1:]
    print(json.dumps(globals()[which](url, key, int(now))))  # noqa: T201 - read by the test
