"""The client for vendors' programs against the product itself, killed and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.people import connect
from tests.support.postgres import Database
from tests.support.serving import World, populate
from wedsync_apm.client import Client, Rejection
from wedsync_apm.config import load_or_create_secret

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.05)


@dataclass
class Server:
    """`serve` as a process of its own, on a port that stays the same."""

    database: Database
    folder: Path
    port: int
    world: World
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "wedsync_apm", "serve", "--port", str(self.port)]
        command += ["--data-dir", str(self.folder), "--database-url", self.database.owner]
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={k: v for k, v in os.environ.items() if not k.startswith("WEDSYNC_APM_")},
            )

        def is_up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "serve.log").read_text()
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=5):  # noqa: S310
                return True
            return False

        until(is_up)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def series(self, metric: str, **query: object) -> list[dict[str, Any]]:
        """What people read through the API."""
        text = urlencode({"metric": metric, **query})
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/api/v1/query_range?{text}", headers={"X-API-Key": self.world.keys["read"]}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            found: list[dict[str, Any]] = json.load(answer)["series"]
        return found

    def values(self, metric_name: str) -> list[float]:
        """Each sample that people see of a metric."""
        with connect(self.database.engine) as cx:
            rows = cx.execute(
                "select metric_value from apm_samples where organization_id = %s"
                " and metric_name = %s order by timestamp",
                (self.world.here, metric_name),
            ).fetchall()
        return [row["metric_value"] for row in rows]


@pytest.fixture
def server(database: Database, tmp_path: Path) -> Iterator[Server]:
    for role, password in database.passwords.items():
        load_or_create_secret(tmp_path, f"{role}_password", partial(str, password))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    running = Server(database, tmp_path, port, populate(database))
    running.start()
    yield running
    running.kill()


def test_what_a_shop_records_is_what_people_read(server: Server) -> None:
    told: list[Rejection] = []
    key = server.world.keys["ingest"]
    with Client(server.url, key, service_name="shop", on_rejected=told.append) as client:
        client.gauge("basket", 129.5, unit="EUR", tags={"page": "gifts"})
        client.count("orders_total", 3)
        client.gauge("old", 1, at=time.time() - 8 * 24 * 3600)
        with client.timer("checkout_time"):
            pass
        assert client.flush(20)
        assert client.stats().sent == 4
        assert client.stats().rejected == 1
    (basket,) = server.series("shop.basket", agg="last")
    assert basket["tags"] == {"page": "gifts"}
    assert basket["unit"] == "EUR"
    assert [value for _, value in basket["points"] if value is not None] == [129.5]
    assert server.values("orders_total") == [0, 3]
    (rejection,) = told
    assert rejection.sample["metric_name"] == "old"
    assert rejection.field == "timestamp"
    assert "7 days back" in rejection.reason


@pytest.mark.parametrize(("with_folder", "kills"), [(True, 2), (False, 1)])
def test_a_server_that_is_killed_in_the_middle_costs_nothing_and_repeats_nothing(
    server: Server, tmp_path: Path, with_folder: bool, kills: int
) -> None:
    recorded = 0
    client = Client(
        server.url,
        server.world.keys["ingest"],
        service_name="shop",
        queue_dir=tmp_path / "queue" if with_folder else None,
        flush_interval=0.02,
        max_batch=50,
    )
    stop = threading.Event()

    def has_sent(count: int) -> bool:
        client.flush(0)  # which ends a pause
        return client.stats().sent >= count

    def record() -> None:
        nonlocal recorded
        while not stop.is_set():
            client.gauge("m", recorded)
            client.count("n_total")
            recorded += 1
            time.sleep(0.001)

    thread = threading.Thread(target=record)
    thread.start()
    try:
        for _ in range(kills):
            until(partial(has_sent, client.stats().sent + 200))
            server.kill()
            until(lambda: client.stats().problem)
            server.start()
    finally:
        stop.set()
        thread.join()
    assert client.flush(60)
    client.close()
    assert client.stats().rejected == 0
    assert client.stats().dropped == {}
    assert server.values("m") == list(range(recorded))
    totals = server.values("n_total")
    assert totals == sorted(totals)
    assert (totals[0], totals[-1]) == (0, recorded)
    assert list(tmp_path.rglob("*.seg")) == []


def test_a_key_of_the_wrong_scope_keeps_the_samples_for_a_better_one(
    server: Server, tmp_path: Path
) -> None:
    wrong = Client(server.url, server.world.keys["read"], service_name="shop", queue_dir=tmp_path)
    wrong.gauge("m", 7)
    assert not wrong.flush(2)
    assert "403" in str(wrong.stats().problem)
    wrong.close()
    with Client(
        server.url,
        server.world.keys["ingest"],
        service_name="shop",
        queue_dir=tmp_path,
        previous_keys=[server.world.keys["read"]],
    ) as right:
        assert right.flush(10)
        until(lambda: server.values("m") == [7])
