"""A server under measurement: started on a free loopback port over a fresh folder, asked what it
stored, and stopped by process id."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from benchmarks.meter import cpu_seconds
from benchmarks.workload import METRICS

READY_SECONDS = 120.0


class Server(ABC):
    """Use as a context manager; it is ready inside the block and gone, with its data, after it."""

    name: str
    ready_path: str
    write_path: str
    what: str

    def __init__(self, folder: Path, vendors: int) -> None:
        self.folder, self.vendors = folder / self.name, vendors
        self.port = free_port()
        self.headers: dict[str, str] = {}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def write_url(self) -> str:
        return f"{self.base}{self.write_path}"

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def count(self) -> int:
        """The samples that it stored, as its own way of reading tells."""

    def count_otherwise(self) -> int | None:
        """The same by another way of reading, where there is one."""
        return None

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """After it is ready for the first time, before anything is sent."""

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            self.start()
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

    def start(self) -> None:
        """Over whatever lies in its folder; returns when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                self.command(), stdout=log, stderr=log, env=self.environment()
            )
        self.wait_until_ready()

    def reap(self) -> None:
        """After the process was killed."""
        self._process.wait(60)

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def processes(self) -> dict[psutil.Process, str]:
        """Its process tree, each with the part of the server that it is."""
        top = psutil.Process(self._process.pid)
        found = {}
        for process in [top, *top.children(recursive=True)]:
            try:
                found[process] = self.part(process.cmdline())
            except psutil.Error:
                continue
        return found

    def cpu_seconds(self) -> dict[tuple[int, str], float]:
        """By process id and part, of the whole tree."""
        return cpu_seconds(self.processes())

    def part(self, command: list[str]) -> str:
        """Which part of the server a process is."""
        return self.name

    def is_ready(self) -> bool:
        try:
            get(f"{self.base}{self.ready_path}")
        except OSError:
            return False
        return True

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Raises RuntimeError with the end of its log."""
        end = time.monotonic() + seconds
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                log = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not come up:\n{log}")
            time.sleep(0.05)


def get(url: str, headers: Mapping[str, str] | None = None, data: bytes | None = None) -> bytes:
    """Raises OSError for anything but 2xx."""
    request = urllib.request.Request(url, headers=dict(headers or {}), data=data)  # noqa: S310
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310 - loopback
        body: bytes = answer.read()
        return body


def count_by_queries(base: str, headers: Mapping[str, str] | None = None) -> int:
    """Samples of the workload's metrics, as Prometheus' query API counts them.

    One metric after the other: Prometheus takes no range function over several names at once.
    """
    total = 0
    for metric in sorted({metric for metric, _ in METRICS}):
        expression = f"sum(count_over_time({metric}[7d]))"
        asked = urllib.parse.urlencode({"query": expression, "time": f"{time.time() + 1:.3f}"})
        answer: dict[str, Any] = json.loads(get(f"{base}/api/v1/query?{asked}", headers))
        total += sum(int(float(one["value"][1])) for one in answer["data"]["result"])
    return total


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
