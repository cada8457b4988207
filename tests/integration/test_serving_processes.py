"""Several processes behind one address: what one could do, all of them do together."""

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.support.people import connect
from tests.support.ports import free_port
from tests.support.postgres import Database
from tests.support.serve_process import ServeProcess, until
from tests.support.serving import World, populate

pytestmark = pytest.mark.timeout(300)

Serve = Callable[..., ServeProcess]


@pytest.fixture
def world(database: Database) -> World:
    return populate(database)


@pytest.fixture
def serve(database: Database, tmp_path: Path) -> Iterator[Serve]:
    """Two processes, and further settings."""
    with ExitStack() as stack:

        def start(**settings: str) -> ServeProcess:
            serving = ServeProcess(database, tmp_path, {"SERVE_PROCESSES": "2", **settings})
            stack.callback(serving.end)
            serving.start()
            return serving

        yield start


def connected(serving: ServeProcess) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", serving.port, timeout=60)


def get(connection: http.client.HTTPConnection, path: str, key: str | None = None) -> int:
    connection.request("GET", path, headers={"X-API-Key": key} if key else {})
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


def post(connection: http.client.HTTPConnection, key: str, value: int, count: int = 1) -> int:
    one = {"service_name": "s", "metric_name": f"m{value}", "value": value}
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/metrics", json.dumps({"samples": [one] * count}), headers)
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


def spread(serving: ServeProcess) -> list[int]:
    """How many connections each process has, without the one that asks."""
    with closing(connected(serving)) as asking:
        asking.request("GET", "/metrics")
        with asking.getresponse() as answer:
            text = answer.read().decode()
    found = [line for line in text.splitlines() if line.startswith("wedsync_apm_serve_connections")]
    return [int(line.rpartition(" ")[2]) for line in found]


def test_few_connections_are_spread_evenly_whoever_opens_them_and_however_fast(
    serve: Serve, world: World
) -> None:
    serving = serve()
    assert len(serving.forks()) == 2
    for _ in range(5):
        until(lambda: sum(spread(serving)) == 1)  # the asker's own
        with ExitStack() as stack:
            # All at once: none is accepted before the last has come.
            for fork in serving.forks():
                fork.suspend()
            opened = [stack.enter_context(closing(connected(serving))) for _ in range(8)]
            for one in opened:
                one.connect()
            for fork in serving.forks():
                fork.resume()
            assert [get(one, "/healthz") for one in opened] == [200] * 8
            assert sorted(spread(serving)) == [4, 5]
            # They go on being whose they are, and later ones fill up what has gone.
            for one in opened[:5]:
                one.close()
            until(lambda: sum(spread(serving)) == 4)
            for _ in range(5):
                one = stack.enter_context(closing(connected(serving)))
                assert get(one, "/healthz") == 200
            assert sorted(spread(serving)) == [4, 5]


def test_a_process_that_hangs_is_not_waited_for(serve: Serve, world: World) -> None:
    serving = serve()
    hanging, _ = serving.forks()
    hanging.suspend()
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(connected(serving))) for _ in range(8)]
        started = time.monotonic()
        assert [get(one, "/healthz") for one in opened] == [200] * 8
        assert time.monotonic() - started < 60
    hanging.resume()


def test_what_was_acknowledged_survives_the_kill_of_one_process_which_comes_back(
    serve: Serve, world: World
) -> None:
    serving = serve()
    acknowledged: list[float] = []
    statuses: set[int] = set()
    refused: list[OSError] = []
    is_over = threading.Event()

    def send(first: int) -> None:
        value = first
        while not is_over.is_set():
            try:
                connection = socket.create_connection(("127.0.0.1", serving.port), timeout=60)
            except OSError as exc:
                refused.append(exc)
                return
            with (
                suppress(OSError, http.client.HTTPException),  # its process was killed
                closing(connected(serving)) as one,
            ):
                one.sock = connection
                while not is_over.is_set():
                    value += 1
                    statuses.add(status := post(one, world.keys["ingest"], value % 50 + first))
                    if status == 202:
                        acknowledged.append(value % 50 + first)

    threads = [threading.Thread(target=send, args=(n * 1000,)) for n in range(6)]
    for thread in threads:
        thread.start()
    before = {fork.pid for fork in serving.forks()}
    for killed in sorted(before):
        goal = len(acknowledged) + 20
        until(partial(has, acknowledged, goal))
        os.kill(killed, signal.SIGKILL)
        until(partial(is_replaced, serving, killed))
    is_over.set()
    for thread in threads:
        thread.join(60)
    assert not refused
    assert statuses <= {202, 503}
    assert set(acknowledged) <= set(serving.stored())
    assert before.isdisjoint(fork.pid for fork in serving.forks())
    assert serving.log.count("ended with -9") == 2
    starts = [
        serving.telemetry()[f'wedsync_apm_serve_starts_total{{process="{n}"}}'] for n in (0, 1)
    ]
    assert starts == [2, 2]


def has(found: list[float], count: int) -> bool:
    return len(found) >= count


def is_replaced(serving: ServeProcess, pid: int) -> bool:
    """Whether another process is there for the killed one, and takes connections."""
    forks = {fork.pid for fork in serving.forks()}
    up = [f'wedsync_apm_serve_up{{process="{number}"}}' for number in (0, 1)]
    return len(forks - {pid}) == 2 and all(serving.telemetry()[name] for name in up)


def test_all_stop_in_grace(serve: Serve, world: World) -> None:
    serving = serve()
    acknowledged: set[float] = set()
    others: set[int] = set()

    def send(first: int) -> None:
        with (
            suppress(OSError, http.client.HTTPException),  # the server has gone
            closing(connected(serving)) as connection,
        ):
            for value in range(first, first + 100_000):
                status = post(connection, world.keys["ingest"], value)
                (acknowledged if status == 202 else others).add(value if status == 202 else status)

    forks = serving.forks()
    threads = [threading.Thread(target=send, args=(n * 100_000,)) for n in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) > 100)
    serving.terminate()
    for thread in threads:
        thread.join(60)
    assert serving.running.wait(60) == 0
    assert not any(fork.is_running() for fork in forks)
    assert others <= {503}, serving.log
    assert acknowledged <= set(serving.stored())
    assert "failed" not in serving.log


def test_what_outlasts_the_time_of_grace_is_told_to_come_again(serve: Serve, world: World) -> None:
    serving = serve(SERVE_PROCESSES="1")
    answers: list[tuple[int, str | None]] = []

    def send() -> None:
        with closing(connected(serving)) as connection:
            one = {"service_name": "s", "metric_name": "m", "value": 1}
            headers = {"X-API-Key": world.keys["ingest"], "Content-Type": "application/json"}
            connection.request("POST", "/api/v1/metrics", json.dumps({"samples": [one]}), headers)
            with connection.getresponse() as answer:
                answer.read()
                answers.append((answer.status, answer.headers["retry-after"]))

    send()
    with connect(serving.database.owner) as asking:
        rows = asking.execute(
            "select pid from pg_stat_activity where usename = 'apm_writer'"
            " and datname = current_database()"
        ).fetchall()
    backends = [psutil.Process(row["pid"]) for row in rows]
    with ExitStack() as stack:
        for backend in backends:
            backend.suspend()
            stack.callback(backend.resume)
        sending = threading.Thread(target=send)
        sending.start()
        until(lambda: serving.telemetry()["wedsync_apm_ingest_pending_samples"])
        serving.terminate()
        sending.join(60)
    assert answers == [(202, None), (503, "1")]


def test_what_waits_for_its_commit_in_either_process_is_answered_before_the_end(
    serve: Serve, world: World
) -> None:
    serving = serve()
    answers: list[int] = []

    def send(value: int) -> None:
        with closing(connected(serving)) as connection:
            answers.append(post(connection, world.keys["ingest"], value))

    with connect(serving.database.owner) as holder:
        holder.execute("lock table apm_metrics in access exclusive mode")
        threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: waiting(serving) >= 2)
        serving.terminate()
        until(lambda: not accepts(serving.port))
        holder.rollback()
        for thread in threads:
            thread.join(60)
    assert answers == [202] * 8
    assert serving.running.wait(60) == 0
    assert sorted(serving.stored()) == list(range(8))


def waiting(serving: ServeProcess) -> int:
    """How many of the writers' connections wait for a lock."""
    with connect(serving.database.owner) as watcher:
        row = watcher.execute(
            "select count(*) as n from pg_stat_activity where usename = 'apm_writer'"
            " and datname = current_database() and wait_event_type = 'Lock'"
        ).fetchone()
    return int(row["n"]) if row else 0


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_the_processes_end_with_the_one_that_started_them(serve: Serve, world: World) -> None:
    serving = serve()
    forks = serving.forks()
    serving.kill()
    serving.start()  # although the first ones may still hold the address
    until(lambda: not any(fork.is_running() for fork in forks))
    until(lambda: len(serving.forks()) == 2)
    until(serving.is_up)


def test_telemetry_is_of_all_and_never_falls_when_a_process_is_killed(
    serve: Serve, world: World
) -> None:
    serving = serve()
    name = "wedsync_apm_ingest_samples_stored_total"
    flushes = "wedsync_apm_ingest_flush_seconds_count"
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(connected(serving))) for _ in range(4)]
        for value, one in enumerate(opened):
            assert post(one, world.keys["ingest"], value, count=10) == 202
        until(lambda: serving.telemetry()[name] == 40)
        assert serving.telemetry()[flushes] == 4
        assert serving.telemetry()['wedsync_apm_build_info{version="0.1.0"}'] == 1
        assert serving.telemetry()["wedsync_apm_database_up"] == 1
    for fork in serving.forks():
        fork.kill()
        fork.wait(60)
        assert serving.telemetry()[name] == 40
        until(partial(is_replaced, serving, fork.pid))
        assert serving.telemetry()[name] == 40


def test_one_process_has_the_statsd_socket_and_its_successor_after_it(
    serve: Serve, world: World
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    taking = f'wedsync_apm_statsd_is_taking{{listener="127.0.0.1:{port}"}}'
    serving = serve(STATSD=f"127.0.0.1:{port}={world.keys['ingest']}", STATSD_FLUSH_SECONDS="0.5")
    until(lambda: serving.telemetry().get(taking) == 1)
    assert "cannot be opened" not in serving.log
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(50):
            sender.sendto(b"once:1|c", ("127.0.0.1", port))
        until(lambda: sum(serving.stored()) == 50)
        (bound,) = [one for one in serving.forks() if one.net_connections("udp")]
        bound.kill()
        until(partial(is_replaced, serving, bound.pid))
        until(lambda: serving.telemetry().get(taking) == 1)
        sender.sendto(b"once:7|c", ("127.0.0.1", port))
        until(lambda: sum(serving.stored()) == 57)


def test_a_rate_holds_over_all_processes(serve: Serve, world: World) -> None:
    serving = serve(INGEST_RATE="1", INGEST_BURST="99")
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(connected(serving))) for _ in range(4)]
        for one in opened:
            assert get(one, "/healthz") == 200
        statuses = [post(one, world.keys["ingest"], 1, count=100) for one in opened]
    assert statuses == [202, 429, 429, 429]


def test_a_key_that_is_revoked_in_one_process_is_of_no_use_in_the_others(
    serve: Serve, world: World
) -> None:
    serving = serve()
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(connected(serving))) for _ in range(4)]
        assert [post(one, world.keys["ingest"], 1) for one in opened] == [202] * 4
        headers = {"X-API-Key": world.keys["admin"]}
        opened[0].request("GET", "/api/v1/api-keys", headers=headers)
        with opened[0].getresponse() as answer:
            listed = json.load(answer)["items"]
        (revoked,) = [key["id"] for key in listed if key["name"] == "ingest key"]
        opened[0].request("DELETE", f"/api/v1/api-keys/{revoked}", headers=headers)
        with opened[0].getresponse() as answer:
            answer.read()
            assert answer.status == 204
        assert [post(one, world.keys["ingest"], 1) for one in opened] == [401] * 4


def test_settings_that_cannot_work_end_it_with_a_word(
    database: Database, world: World, tmp_path: Path
) -> None:
    serving = ServeProcess(
        database, tmp_path, {"SERVE_PROCESSES": "2", "EGRESS_ALLOW": "x", "JWT_ALGORITHMS": "RS256"}
    )
    with pytest.raises(AssertionError):
        serving.start()
    assert serving.running.wait(60) == 2
    assert "JWKS" in serving.log
