"""SIGTERM while samples come in: what is under way is finished, what comes then is sent away."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.people import connect
from tests.support.ports import free_port
from tests.support.postgres import Database
from tests.support.serving import World, populate
from wedsync_apm.config import load_or_create_secret

pytestmark = pytest.mark.timeout(300)


class Serving:
    """`serve` as a process of its own."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.world = database, populate(database)
        self.port = free_port()
        for role, password in database.passwords.items():
            load_or_create_secret(folder, f"{role}_password", partial(str, password))
        command = [sys.executable, "-m", "wedsync_apm", "serve", "--port", str(self.port)]
        command += ["--data-dir", str(folder), "--database-url", database.owner]
        self.process = subprocess.Popen(
            command, env={k: v for k, v in os.environ.items() if not k.startswith("WEDSYNC_APM_")}
        )
        until(self._is_up)

    def _is_up(self) -> bool:
        assert self.process.poll() is None
        with suppress(OSError, http.client.HTTPException), connected(self.port) as connection:
            connection.request("GET", "/healthz")
            with connection.getresponse() as answer:
                return answer.status == 200
        return False

    def stored(self) -> set[float]:
        with connect(self.database.engine) as cx:
            rows = cx.execute("select metric_value from apm_samples").fetchall()
        return {row["metric_value"] for row in rows}


@pytest.fixture
def serving(database: Database, tmp_path: Path) -> Iterator[Serving]:
    running = Serving(database, tmp_path)
    yield running
    running.process.kill()
    running.process.wait()


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.02)


def connected(port: int) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60))


def post(connection: http.client.HTTPConnection, world: World, value: int) -> int:
    body = {"samples": [{"service_name": "s", "metric_name": f"m{value}", "value": value}]}
    headers = {"X-API-Key": world.keys["ingest"], "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/metrics", json.dumps(body), headers)
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


def test_under_load_everything_acknowledged_is_there_and_nobody_gets_another_answer(
    serving: Serving,
) -> None:
    acknowledged: set[float] = set()
    others: set[int] = set()

    def send(first: int) -> None:
        with (
            suppress(OSError, http.client.HTTPException),  # the server has gone
            connected(serving.port) as connection,
        ):
            for value in range(first, first + 100_000):
                status = post(connection, serving.world, value)
                if status == 202:
                    acknowledged.add(value)
                else:
                    others.add(status)

    threads = [threading.Thread(target=send, args=(n * 100_000,)) for n in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) > 100)
    serving.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert serving.process.wait(60) == 0
    assert others <= {503}
    assert acknowledged <= serving.stored()


def test_a_request_that_waits_for_its_commit_is_answered_before_the_end(serving: Serving) -> None:
    answers: list[int] = []

    def send() -> None:
        with connected(serving.port) as connection:
            answers.append(post(connection, serving.world, 7))

    with connect(serving.database.owner) as holder, connect(serving.database.owner) as watcher:
        watcher.autocommit = True
        holder.execute("lock table apm_metrics in access exclusive mode")
        thread = threading.Thread(target=send)
        thread.start()
        until(
            lambda: (
                watcher.execute(
                    "select from pg_stat_activity where usename = 'apm_writer'"
                    " and datname = current_database() and wait_event_type = 'Lock'"
                ).fetchone()
                is not None
            )
        )
        serving.process.send_signal(signal.SIGTERM)
        until(lambda: not _accepts(serving.port))
        holder.rollback()
        thread.join(60)
    assert answers == [202]
    assert serving.process.wait(60) == 0
    assert serving.stored() == {7.0}


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
