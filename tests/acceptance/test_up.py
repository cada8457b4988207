"""`up --demo`: one command, a living product; it stops cleanly and survives being killed."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.ports import free_port
from wedsync_apm.simulate.vendors import STAR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

START_SECONDS = 120.0
# The scenario, faster than for people: trouble after five seconds.
QUICK = ("--quiet=5", "--trouble=240", "--every=600", "--history=1", "--step=2")


@dataclass
class Product:
    """A running `up`."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    log: Path

    @property
    def runtime(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.data_dir / "runtime.json").read_text())
        return content

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        url = self.runtime["database_url"]
        with psycopg.connect(url, row_factory=dict_row) as cx:
            return cx.execute(statement.encode(), values).fetchall()

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes]:
        parts = urlsplit(self.runtime["url"])
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "wedsync_apm", *arguments]
        done = subprocess.run(
            [*command, "--data-dir", str(self.data_dir)],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout.strip()

    def everything(self) -> list[psutil.Process]:
        """Every process of it, those that PostgreSQL forked included."""
        found = {}
        for pid in self.runtime["pids"].values():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                for one in (process, *process.children(recursive=True)):
                    found[one.pid] = one
        return list(found.values())


def wait_for(what: Callable[[], object], seconds: float, product: Product, why: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, psycopg.OperationalError, ValueError):
            if found := what():
                return found
        assert product.process.poll() is None, product.log.read_text()
        time.sleep(0.3)
    raise AssertionError(f"{why} did not happen in {seconds} s:\n{product.log.read_text()}")


def start(data_dir: Path, port: int, *more: str, **environment: str) -> Product:
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir.parent / f"{time.monotonic_ns()}.log"
    arguments = ["up", "--demo", "--port", str(port), "--data-dir", str(data_dir)]
    arguments += [f"--simulate-argument={argument}" for argument in QUICK]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "wedsync_apm", *arguments, *more],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=data_dir.parent,
            env={k: v for k, v in os.environ.items() if not k.startswith("WEDSYNC_APM_")}
            | environment,
        )
    product = Product(process, data_dir, log)
    try:
        wait_for(
            lambda: "Ctrl-C stops everything" in log.read_text(),
            START_SECONDS,
            product,
            "the banner",
        )
    except BaseException:
        end(product)
        raise
    return product


def end(product: Product) -> None:
    """Whatever a test left behind."""
    with suppress(FileNotFoundError, ValueError):
        for process in product.everything():
            with suppress(psutil.NoSuchProcess):
                process.kill()
    with suppress(ProcessLookupError):
        product.process.kill()
    product.process.wait()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    # An unprivileged database user must be able to pass through; pytest's folders are closed.
    return tmp_path / "data"


@pytest.fixture
def fresh(data_dir: Path) -> Iterator[Product]:
    """Its first start."""
    running = start(data_dir, free_port())
    yield running
    end(running)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lasting") / "data"


@pytest.fixture
def product(lasting: Path) -> Iterator[Product]:
    """Started again where the test before left it, whatever it did to it."""
    running = start(lasting, free_port())
    yield running
    end(running)


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_newcomer_sees_a_living_product_and_ctrl_c_leaves_nothing(fresh: Product) -> None:
    product = fresh
    runtime = product.runtime
    assert (product.data_dir / "runtime.json").stat().st_mode & 0o777 == 0o600
    assert (product.data_dir / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert {"up", "postgres", "serve", "work"} <= runtime["pids"].keys()
    assert runtime["data_dir"] == str(product.data_dir)
    status, _ = product.get("/healthz")
    assert status == 200

    # the demo: its own wedding is under way, and says that it is simulated
    [today] = product.rows(
        "select w.source from apm_weddings as w"
        " join wedding_window_at(%s, now()) as n on n.wedding_id = w.id"
        " where w.organization_id = %s and n.phase <> 'day'",
        STAR.id,
        STAR.id,
    )
    assert today["source"] == "simulated"

    # charts have data: history and what comes in now, marked as simulated
    token = product.run("token", "create", "--user", STAR.people[0].email)
    form = "metric=wedding_forms.form_submission_time"

    def points() -> int:
        begins = time.time() - 3000
        path = f"/api/v1/query_range?{form}&start={begins:.0f}&end={time.time():.0f}&step=60"
        status, body = product.get(path, token)
        assert status == 200, body
        series = json.loads(body)["series"]
        assert all(one["tags"].get("simulated") == "true" for one in series)
        return sum(len(one["points"]) for one in series)

    assert wait_for(lambda: points() > 30, 120, product, "a chart with history")

    # the platform watches itself for real
    wait_for(
        lambda: product.rows(
            "select from apm_series as s join apm_private.platform as p using (organization_id)"
            " where s.service_name = 'host' and s.metric_name = 'cpu_percent'"
            " and not s.tags ? 'simulated'"
        ),
        120,
        product,
        "self-watch",
    )
    wait_for(
        lambda: product.rows(
            "select from service_health_checks as c join apm_private.platform as p"
            " using (organization_id) where c.service_name = 'api' and c.status = 'healthy'"
        ),
        120,
        product,
        "a check of our own endpoint",
    )

    # the wedding-day threshold fires, the normal one does not; one incident, escalated
    [incident] = wait_for(
        lambda: product.rows("select * from apm_incidents where organization_id = %s", STAR.id),
        180,
        product,
        "the demo's incident",
    )
    assert incident["status"] == "open"
    assert incident["was_wedding_day"]
    assert incident["threshold_source"] == "wedding_value"
    assert incident["threshold_value"] < incident["metric_value"] < 5000
    wait_for(
        lambda: product.rows("select from apm_incident_events where kind = 'escalated'"),
        120,
        product,
        "its escalation",
    )

    # whoever starts a second one is told who has the folder
    second = subprocess.run(
        [sys.executable, "-m", "wedsync_apm", "up", "--data-dir", str(product.data_dir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert second.returncode == 2
    assert str(product.process.pid) in second.stderr

    everything = product.everything()
    assert len(everything) > 8
    product.process.send_signal(signal.SIGINT)
    assert product.process.wait(timeout=60) == 0
    assert [p for p in everything if not is_gone(p)] == []
    assert not (product.data_dir / "runtime.json").exists()


def test_killing_everything_loses_no_acknowledged_sample(product: Product) -> None:
    key = product.run("key", "create", "--organization", str(STAR.id), "--scope", "ingest")
    parts = urlsplit(product.runtime["url"])
    acknowledged = []
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    begins = time.time() - 600
    for number in range(50):
        sample = {
            "service_name": "acceptance",
            "metric_name": "counted",
            "value": number,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begins + number)),
        }
        connection.request(
            "POST",
            "/api/v1/metrics",
            json.dumps({"samples": [sample]}),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 202
        acknowledged.append(number)
    connection.close()
    for process in product.everything():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    product.process.wait(timeout=60)

    again = start(product.data_dir, urlsplit(f"http://{parts.netloc}").port or 0)
    try:
        stored = again.rows(
            "select metric_value from apm_samples where organization_id = %s"
            " and service_name = 'acceptance' order by metric_value",
            STAR.id,
        )
        assert [int(row["metric_value"]) for row in stored] == acknowledged
    finally:
        end(again)


def test_children_and_database_end_with_a_killed_supervisor(product: Product) -> None:
    everything = [p for p in product.everything() if p.pid != product.process.pid]
    product.process.kill()
    product.process.wait(timeout=60)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and not all(is_gone(p) for p in everything):
        time.sleep(0.2)
    assert [p.cmdline() for p in everything if not is_gone(p)] == []


def test_a_child_that_ends_is_started_again_and_it_is_said(product: Product) -> None:
    killed = product.runtime["pids"]["work"]
    os.kill(killed, signal.SIGKILL)
    wait_for(
        lambda: product.runtime["pids"].get("work") not in (None, killed),
        120,
        product,
        "another engine",
    )
    assert "work ended with -9" in product.log.read_text()


def test_a_second_ctrl_c_does_not_wait_for_anybody(product: Product) -> None:
    everything = product.everything()
    # It will not hear of a polite request.
    os.kill(product.runtime["pids"]["work"], signal.SIGSTOP)
    product.process.send_signal(signal.SIGINT)
    time.sleep(3)
    assert product.process.poll() is None
    product.process.send_signal(signal.SIGINT)
    assert product.process.wait(timeout=60) == 0
    assert "did not stop within" not in product.log.read_text()
    assert [p for p in everything if not is_gone(p)] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_start_that_is_broken_off_leaves_nothing(data_dir: Path, number: signal.Signals) -> None:
    log = data_dir.parent / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "wedsync_apm", "up", "--port", "0", "--data-dir", str(data_dir)],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    supervisor = psutil.Process(process.pid)
    begun: list[psutil.Process] = []
    deadline = time.monotonic() + START_SECONDS
    # Once `serve` loads, the schema is under way.
    while not any("serve" in one.cmdline() for one in begun if not is_gone(one)):
        assert time.monotonic() < deadline, log.read_text()
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
        begun = supervisor.children(recursive=True)
    assert any("wedsync_apm.preparing" in one.cmdline() for one in begun)
    process.send_signal(number)
    assert process.wait(timeout=60) == (0 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert log.read_text() == "Stopping before the start was through.\n"
        deadline = 0.0
    while time.monotonic() < deadline and not all(is_gone(one) for one in begun):
        time.sleep(0.1)
    assert [one.cmdline() for one in begun if not is_gone(one)] == []
