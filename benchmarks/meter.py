"""What a server's processes and the machine use while something is sent."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

EVERY_SECONDS: Final = 2.0
"""Between looks at memory: walking PostgreSQL's shared pages is not free."""

Tree = Mapping[psutil.Process, str]
"""The processes of a server, each with the part of it that it is."""


@dataclass(slots=True)
class Usage:
    """Over the block of a Meter."""

    seconds: float = 0.0
    cpu_by_part: dict[str, float] = field(default_factory=dict)
    """Seconds of each part of the server, with those of its ended children."""
    own_cpu: float = 0.0
    """Seconds of this process: the sender and the meter itself."""
    other_cpu: float = 0.0
    """Seconds of everybody else on the machine."""
    peak_mb: float = 0.0
    """Proportional set size of the whole tree: shared pages are counted once."""
    peak_without_postgres_mb: float = 0.0

    @property
    def cpu(self) -> float:
        """Seconds of the whole server."""
        return sum(self.cpu_by_part.values())


def cpu_seconds(tree: Tree) -> dict[tuple[int, str], float]:
    """By process id and part. A parent has the seconds of children that ended, so that a backend
    which came and went is not missed."""
    found = {}
    for process, part in tree.items():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        ended = times.children_user + times.children_system
        found[process.pid, part] = times.user + times.system + ended
    return found


def memory_mb(tree: Tree) -> tuple[float, float]:
    """Of the whole tree, and without PostgreSQL."""
    whole = without = 0.0
    for process, part in tree.items():
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it ended
            continue
        kib = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
        whole += kib / 1024
        without += 0 if part.startswith("postgres") else kib / 1024
    return whole, without


class Meter:
    """`with Meter(server.processes) as meter: ...`, then `meter.usage`."""

    def __init__(self, processes: Callable[[], Tree]) -> None:
        self._processes, self.usage = processes, Usage()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look_again, daemon=True)

    def __enter__(self) -> Self:
        # By process id alone: a backend's title, and so its part, changes when it has logged in.
        before = cpu_seconds(self._processes())
        self._cpu = {pid: seconds for (pid, _), seconds in before.items()}
        self._busy = _busy_seconds()
        self._own, self._started = time.process_time(), time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        usage = self.usage
        usage.seconds = time.perf_counter() - self._started
        by_part: defaultdict[str, float] = defaultdict(float)
        for (pid, part), seconds in cpu_seconds(self._processes()).items():
            by_part[part] += seconds - self._cpu.get(pid, 0.0)
        usage.cpu_by_part = dict(by_part)
        usage.own_cpu = time.process_time() - self._own
        usage.other_cpu = max(_busy_seconds() - self._busy - usage.cpu - usage.own_cpu, 0.0)
        self._end.set()
        self._thread.join()
        self._look()

    def _look_again(self) -> None:
        while not self._end.wait(EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        whole, without = memory_mb(self._processes())
        usage = self.usage
        usage.peak_mb = max(usage.peak_mb, whole)
        usage.peak_without_postgres_mb = max(usage.peak_without_postgres_mb, without)


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)
