"""The servers under measurement: started on a free loopback port over a fresh folder, asked what
they stored, and stopped by process id."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil
import psycopg

from benchmarks.peers import find_peer
from benchmarks.workload import METRICS, vendor_id

KEY_CREATE: Final = ("key", "create", "--platform", "--scope", "ingest", "--json")


class Server(ABC):
    """Use as a context manager; it is ready inside the block and gone, with its data, after it."""

    name: str
    ready_path: str
    write_path: str
    what: str

    def __init__(self, folder: Path, vendors: int) -> None:
        self.folder, self.vendors = folder / self.name, vendors
        self.port = _free_port()
        self.headers: dict[str, str] = {}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def count(self) -> int:
        """The samples that it stored."""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """After it is ready, before anything is sent."""

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                self.command(), stdout=log, stderr=log, env=self.environment()
            )
        try:
            self._wait_until_ready()
            self.prepare()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def cpu_seconds(self) -> dict[tuple[int, str], float]:
        """By process id and part, of the whole tree."""
        top = psutil.Process(self._process.pid)
        found = {}
        for process in [top, *top.children(recursive=True)]:
            try:
                times, command = process.cpu_times(), process.cmdline()
            except psutil.Error:
                continue
            found[process.pid, self.part(command)] = times.user + times.system
        return found

    def part(self, command: list[str]) -> str:
        """Which part of the server a process is."""
        return self.name

    def _wait_until_ready(self, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while True:
            if self._process.poll() is not None or time.monotonic() > end:
                log = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not come up:\n{log}")
            try:
                get(f"{self.base}{self.ready_path}")
            except OSError:
                time.sleep(0.1)
            else:
                return


class Ours(Server):
    """The product as `wedsync-apm up` runs it: supervisor, PostgreSQL, API, engine, self-watch."""

    name = "wedsync-apm"
    ready_path = "/healthz"
    write_path = "/prometheus/api/v1/write"
    what = "wedsync-apm up: PostgreSQL, API and engine; every answer after a durable commit"

    def command(self) -> list[str]:
        data = str(self.folder / "data")
        return [_program(), "up", "--data-dir", data, "--port", str(self.port)]

    def part(self, command: list[str]) -> str:
        title = command[0] if command else ""
        if title.startswith("postgres: apm_"):  # a backend names the role that it works for
            return f"postgres for {title.split()[1]}"
        if "postgres" in title:
            return "postgres itself"
        return next((one for one in ("serve", "work") if one in command), "supervisor")

    def environment(self) -> dict[str, str]:
        # The workload is days of traffic in seconds; the rate limit per vendor would refuse it.
        lifted = {"WEDSYNC_APM_INGEST_RATE": "1e9", "WEDSYNC_APM_INGEST_BURST": "1e9"}
        return super().environment() | lifted

    def prepare(self) -> None:
        data = self.folder / "data"
        runtime = data / "runtime.json"
        while not runtime.exists():  # it is written when all processes have reported
            time.sleep(0.1)
        self._database = json.loads(runtime.read_text())["database_url"]
        with psycopg.connect(self._database) as cx:
            cx.cursor().executemany(
                "insert into organizations (id, name) values (%s, %s)",
                [(vendor_id(n), f"Vendor {n}") for n in range(self.vendors)],
            )
        made = subprocess.run(  # noqa: S603 - our own arguments
            [
                _program(),
                *["key", "create", "--platform", "--scope", "ingest", "--json", "--data-dir"],
                data,
            ],
            check=True,
            capture_output=True,
        )
        self.headers = {"Authorization": f"Bearer {json.loads(made.stdout)['secret']}"}

    def count(self) -> int:
        with psycopg.connect(self._database) as cx:
            row = cx.execute(
                "select coalesce(sum(cardinality(metric_values)), 0) from apm_metrics"
                " where apm_source = 'prometheus' and organization_id = any (%s)",
                ([vendor_id(n) for n in range(self.vendors)],),
            ).fetchone()
        return int(row[0]) if row else 0


class Prometheus(Server):
    name = "prometheus"
    ready_path = "/-/ready"
    write_path = "/api/v1/write"
    what = "prometheus 2.42 (Debian); written to its log before the answer, not synced"

    def command(self) -> list[str]:
        config = self.folder / "prometheus.yml"
        config.write_text("global: {}\n")
        return [
            str(find_peer("prometheus")),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-remote-write-receiver",
            "--log.level=warn",
        ]

    def count(self) -> int:
        return sum(
            int(float(one["value"][1]))
            for metric in {metric for metric, _ in METRICS}
            for one in self._query(f"sum(count_over_time({metric}[8d]))")
        )

    def _query(self, expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression, "time": time.time() + 1})
        found: list[dict[str, Any]] = json.loads(get(f"{self.base}/api/v1/query?{query}"))["data"][
            "result"
        ]
        return found


class VictoriaMetrics(Server):
    name = "victoria-metrics"
    ready_path = "/health"
    write_path = "/api/v1/write"
    what = "victoria-metrics 1.79 (Debian); answers from memory, the last seconds die with it"

    def command(self) -> list[str]:
        return [
            str(find_peer("victoria-metrics")),
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=1",
            "-loggerLevel=WARN",
        ]

    def count(self) -> int:
        get(f"{self.base}/internal/force_flush")
        query = urllib.parse.urlencode({"match[]": '{__name__=~"apm_.+"}', "reduce_mem_usage": "1"})
        text = get(f"{self.base}/api/v1/export?{query}")
        return sum(len(json.loads(line)["values"]) for line in text.splitlines())


SERVERS: dict[str, type[Server]] = {one.name: one for one in (Ours, Prometheus, VictoriaMetrics)}


def get(url: str) -> bytes:
    """Raises OSError for anything but 2xx."""
    with urllib.request.urlopen(url, timeout=300) as answer:  # noqa: S310 - loopback
        body: bytes = answer.read()
        return body


def _program() -> str:
    return str(Path(sys.executable).with_name("wedsync-apm"))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
