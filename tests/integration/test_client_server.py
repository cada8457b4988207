"""The client for vendors' programs against the product itself, killed and started again."""

import json
import os
import random
import signal
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
from tests.support.ports import free_port
from tests.support.postgres import Database, PostgresServer
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
class Product:
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
        self.process.wait(60)

    def series(self, metric: str, **query: object) -> list[dict[str, Any]]:
        """What people read through the API."""
        text = urlencode({"metric": metric, **query})
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/api/v1/query_range?{text}", headers={"X-API-Key": self.world.keys["read"]}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
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


@pytest.fixture(scope="module")
def one_for_all(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    port = free_port()
    with server.clone() as database:
        for role, password in database.passwords.items():
            load_or_create_secret(folder, f"{role}_password", partial(str, password))
        running = Product(database, folder, port, populate(database))
        running.start()
        yield running
        running.kill()


@pytest.fixture
def product(one_for_all: Product) -> Product:
    """Up, whatever the test before did to it. Each test has its own metrics."""
    assert one_for_all.process is not None
    if one_for_all.process.poll() is not None:
        one_for_all.start()
    return one_for_all


def test_what_a_shop_records_is_what_people_read(product: Product) -> None:
    told: list[Rejection] = []
    key = product.world.keys["ingest"]
    with Client(product.url, key, service_name="shop", on_rejected=told.append) as client:
        client.gauge("basket", 129.5, unit="EUR", tags={"page": "gifts"})
        client.count("orders_total", 3)
        client.gauge("old", 1, at=time.time() - 8 * 24 * 3600)
        with client.timer("checkout_time"):
            pass
        assert client.flush(60)
        assert client.stats().sent == 4
        assert client.stats().rejected == 1
    (basket,) = product.series("shop.basket", agg="last")
    assert basket["tags"] == {"page": "gifts"}
    assert basket["unit"] == "EUR"
    assert [value for _, value in basket["points"] if value is not None] == [129.5]
    assert product.values("orders_total") == [0, 3]
    (rejection,) = told
    assert rejection.sample["metric_name"] == "old"
    assert rejection.field == "timestamp"
    assert "7 days back" in rejection.reason


@pytest.mark.parametrize(("with_folder", "kills"), [(True, 2), (False, 1)])
def test_a_server_that_is_killed_in_the_middle_costs_nothing_and_repeats_nothing(
    product: Product, tmp_path: Path, with_folder: bool, kills: int
) -> None:
    recorded = 0
    client = Client(
        product.url,
        product.world.keys["ingest"],
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
            client.gauge(f"m_{kills}", recorded)
            client.count(f"n_{kills}_total")
            recorded += 1
            time.sleep(0.001)

    thread = threading.Thread(target=record)
    thread.start()
    try:
        for _ in range(kills):
            until(partial(has_sent, client.stats().sent + 200))
            product.kill()
            until(lambda: client.stats().problem)
            product.start()
    finally:
        stop.set()
        thread.join()
    assert client.flush(60)
    client.close()
    assert client.stats().rejected == 0
    assert client.stats().dropped == {}
    assert product.values(f"m_{kills}") == list(range(recorded))
    totals = product.values(f"n_{kills}_total")
    assert totals == sorted(totals)
    assert (totals[0], totals[-1]) == (0, recorded)
    assert list(tmp_path.rglob("*.seg")) == []


def test_a_key_of_the_wrong_scope_keeps_the_samples_for_a_better_one(
    product: Product, tmp_path: Path
) -> None:
    wrong = Client(product.url, product.world.keys["read"], service_name="shop", queue_dir=tmp_path)
    wrong.gauge("held", 7)
    assert not wrong.flush(2)
    until(lambda: "403" in str(wrong.stats().problem))
    wrong.close()
    with Client(
        product.url,
        product.world.keys["ingest"],
        service_name="shop",
        queue_dir=tmp_path,
        previous_keys=[product.world.keys["read"]],
    ) as right:
        assert right.flush(60)
        until(lambda: product.values("held") == [7])


PROGRAM = """
import sys, time
from wedsync_apm.client import Client
client = Client(sys.argv[1], sys.argv[2], service_name="shop", queue_dir=sys.argv[3])
for n in range(int(sys.argv[4]), 1_000_000):
    client.gauge("killed", n)
    client.flush(0)  # puts it on disk, and does not wait for the answer
    print(n, flush=True)
    time.sleep(0.002)
"""


def test_a_program_that_is_killed_while_it_sends_loses_and_repeats_nothing(
    product: Product, tmp_path: Path
) -> None:
    chance = random.Random(20260620)  # noqa: S311 - the same kills each time
    queue, key = tmp_path / "queue", product.world.keys["ingest"]
    on_disk: list[int] = []
    for life in range(6):
        first = life * 10_000
        command = [sys.executable, "-c", PROGRAM, product.url, key, str(queue), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= first + chance.randrange(20, 150):
                    process.send_signal(signal.SIGKILL)
                    break
            rest = process.stdout.read().splitlines()
            last = int(rest[-1]) if rest else int(line)
        on_disk += range(first, last + 1)
    with Client(product.url, key, service_name="shop", queue_dir=queue) as client:
        assert client.flush(60)
        assert client.stats().rejected == 0
    values = product.values("killed")
    assert len(values) == len(set(values)), (
        "each is shown once, though some may have been sent twice"
    )
    assert set(on_disk) <= set(values)
    assert len(values) <= len(on_disk) + 6, "at most one a life was on disk and not told of"
