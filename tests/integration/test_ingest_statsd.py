"""StatsD's clients against the real sockets of a real server."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.people import Connection, connect
from tests.support.ports import free_port
from tests.support.postgres import Database
from tests.support.serving import Running, World, populate, running, settings_for
from wedsync_apm.telemetry import render_prometheus


@pytest.fixture
def world(database: Database) -> World:
    return populate(database)


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.engine, autocommit=True) as cx:
        yield cx


@pytest.fixture
def port() -> int:
    return free_port()


Serve = Callable[..., Any]


@pytest.fixture
def serve(database: Database, tmp_path: Path, world: World, port: int) -> Serve:
    """A server whose listener has the key of that name."""

    @asynccontextmanager
    async def start(
        key: str = "ingest", flush_seconds: float = 1.0, taking: float = 1
    ) -> AsyncIterator[Running]:
        settings = settings_for(
            database,
            tmp_path,
            statsd=f"127.0.0.1:{port}={world.keys[key]}",
            statsd_flush_seconds=flush_seconds,
        )
        async with running(settings, world) as process:
            await until(lambda: shown("statsd_is_taking", port) == taking)
            yield process

    return start


def shown(name: str, port: int, **labels: str) -> float | None:
    """A figure of the telemetry of the listener on that port."""
    for line in render_prometheus().splitlines():
        wanted = [f":{port}", *(f'{key}="{value}"' for key, value in labels.items())]
        if line.startswith(f"wedsync_apm_{name}{{") and all(one in line for one in wanted):
            return float(line.rpartition(" ")[2])
    return None


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        await asyncio.sleep(0.05)


async def sent_by(which: str, port: int, now: int = 0) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.statsd_senders",
        which,
        str(port),
        str(now),
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()


def send(port: int, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for datagram in datagrams:
            one.sendto(datagram, ("127.0.0.1", port))


def stored(engine: Connection) -> list[dict[str, Any]]:
    return engine.execute(
        'select *, extract(epoch from "timestamp") as at from apm_samples'
        " where apm_source = 'statsd' order by \"timestamp\""
    ).fetchall()


def sums(engine: Connection) -> dict[str, float]:
    """By metric the sum over all intervals, which is what a count's readers ask for."""
    found: dict[str, float] = {}
    for row in stored(engine):
        found[row["metric_name"]] = found.get(row["metric_name"], 0) + row["metric_value"]
    return found


def last(engine: Connection) -> dict[str, float]:
    """By metric the newest value."""
    return {row["metric_name"]: row["metric_value"] for row in stored(engine)}


async def test_what_statsd_sends_is_added_up(
    serve: Serve, engine: Connection, port: int, world: World
) -> None:
    async with serve() as process:
        await sent_by("statsd", port)
        await until(lambda: "shop.piped_time_p99" in last(engine))
        async with process.as_person("oscar") as oscar:
            answer = await oscar.get("/api/v1/query", params={"metric": "default.shop.views"})
            assert answer.json()["series"] == []
    summed, newest = sums(engine), last(engine)
    assert summed["shop.views"] == 5
    assert summed["shop.piped"] == 1
    assert newest["shop.level"] == 8
    assert newest["shop.cold"] == -5
    assert newest["shop.falling"] == 6
    assert summed["shop.render_count"] == 100
    assert summed["shop.render_sum"] == 5050
    assert summed["shop.visitors"] in (2, 3)  # 3 where an interval ended in between
    rows = stored(engine)
    assert {row["organization_id"] for row in rows} == {world.here}
    units = {row["metric_name"]: row["unit"] for row in rows}
    assert (units["shop.render_p95"], units["shop.render_count"]) == ("ms", None)
    assert {row["metric_type"] for row in rows} == {"gauge"}


async def test_what_dogstatsd_sends_is_stored_with_its_tags_checks_and_events(
    serve: Serve, engine: Connection, port: int
) -> None:
    now = int(time.time())
    async with serve() as process:
        await sent_by("dogstatsd", port, now)
        await until(lambda: sums(engine).get("buffered") == 50)
        await until(lambda: "datadog.dogstatsd.client.metrics" in last(engine))
        async with process.as_person("vera") as vera:
            (event,) = (await vera.get("/api/v1/annotations")).json()["items"]
    summed, newest = sums(engine), last(engine)
    tags = {row["metric_name"]: row["tags"] for row in stored(engine)}
    services = {row["metric_name"]: row["service_name"] for row in stored(engine)}
    times = {row["metric_name"]: int(row["at"]) for row in stored(engine)}
    assert summed["page.views"] == 3
    assert tags["page.views"] == {"env": "prod", "canary": "true"}
    assert newest["queue"] == 9
    assert newest["cold"] == -5
    assert (summed["size_count"], summed["size_sum"]) == (2, 40)
    assert newest["latency_max"] == 2.5
    assert services["latency_max"] == "forms"
    assert summed["query_sum"] == 12
    assert summed["users"] == 2
    assert (newest["then"], times["then"]) == (1.5, now - 60)
    assert (newest["then.count"], times["then.count"]) == (4, now - 60)
    assert (newest["app.ok"], tags["app.ok"]) == (2, {"a": "b", "host": "h1"})
    assert (event["title"], event["text"]) == ("Deployed", "line 1\nline 2 | é")
    assert (event["alert_type"], event["source"], event["tags"]) == (
        "success",
        "statsd",
        {"v": "7"},
    )


async def test_a_bad_line_costs_only_itself_and_is_counted_for_its_owner(
    serve: Serve, engine: Connection, port: int
) -> None:
    async with serve() as process:
        send(port, b"good:1|c\nbad\nworse:x|c\n\xff:1|c\nbetter:2|g\n", b"", b"\n\n", b"last:1|c")
        await until(lambda: {"good", "better", "last"} <= last(engine).keys())
        async with process.as_person("alice") as alice:

            async def refusals() -> list[dict[str, Any]]:
                answer = await alice.get("/api/v1/usage/refusals")
                items: list[dict[str, Any]] = answer.json()["items"]
                return items

            end = time.monotonic() + 60
            while not (found := await refusals()):
                assert time.monotonic() < end
                await asyncio.sleep(0.1)
    assert [(one["source"], one["reason"], one["refused_count"]) for one in found] == [
        ("statsd", "invalid", 3)
    ]
    assert last(engine).keys() == {"good", "better", "last"}


async def test_what_arrived_before_the_end_is_stored(
    serve: Serve, engine: Connection, port: int
) -> None:
    async with serve(flush_seconds=300):
        send(port, *[b"parting:1|c"] * 40)
    assert sums(engine) == {"parting": 40}
    # and counts of the next process do not take their place
    async with serve(flush_seconds=300):
        send(port, b"parting:2|c")
    assert sums(engine) == {"parting": 42}


async def test_a_key_that_is_revoked_stops_the_intake(
    serve: Serve, engine: Connection, database: Database, port: int, world: World
) -> None:
    async with serve() as process:
        send(port, b"before:1|c")
        await until(lambda: "before" in last(engine))
        with connect(database.owner, autocommit=True) as owner:
            owner.execute("update apm_api_keys set revoked_at = now() where scope = 'ingest'")
        process.composed.services.authenticator.forget()
        await until(lambda: shown("statsd_is_taking", port) == 0)
        send(port, b"after:1|c")
        await until(lambda: bool(shown("statsd_datagrams_total", port, outcome="refused")))
        await asyncio.sleep(1.5)  # an interval and more
    assert last(engine).keys() == {"before"}


@pytest.mark.parametrize("key", ["read", "platform"])
async def test_a_key_that_may_not_send_for_one_organization_takes_nothing(
    serve: Serve, engine: Connection, port: int, key: str
) -> None:
    async with serve(key, taking=0):
        send(port, b"x:1|c")
        await until(lambda: bool(shown("statsd_datagrams_total", port, outcome="refused")))
    assert stored(engine) == []


async def test_a_second_process_takes_over_the_port(
    serve: Serve, engine: Connection, port: int
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
        first.bind(("127.0.0.1", port))
        async with serve(taking=0):
            first.close()
            await until(lambda: shown("statsd_is_taking", port) == 1)
            send(port, b"taken.over:1|c")
            await until(lambda: "taken.over" in last(engine))


async def test_a_process_that_is_told_to_end_stores_what_it_has(
    database: Database, world: World, engine: Connection, port: int, tmp_path: Path
) -> None:
    settings = settings_for(database, tmp_path)
    log = (tmp_path / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wedsync_apm",
        "serve",
        env={
            **os.environ,
            "WEDSYNC_APM_DATABASE_URL": str(settings.database_url),
            "WEDSYNC_APM_DATA_DIR": str(tmp_path),
            "WEDSYNC_APM_PORT": "0",
            "WEDSYNC_APM_STATSD": f"127.0.0.1:{port}={world.keys['ingest']}",
            "WEDSYNC_APM_STATSD_FLUSH_SECONDS": "300",
        },
        stdout=log,
        stderr=log,
    )
    try:
        await until(lambda: is_bound(port))
        send(port, *[b"parting:1|c"] * 100)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0, (tmp_path / "log").read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        log.close()
    assert sums(engine) == {"parting": 100}
    assert world.keys["ingest"] not in (tmp_path / "log").read_text()


def is_bound(port: int) -> bool:
    table = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in table)
