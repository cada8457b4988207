"""Reads host, processes, PostgreSQL and our own `/metrics`; each reading is a list of figures."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import psutil
import psycopg
from psycopg.rows import DictRow, dict_row

from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

_UNITS: Final = {"percent": "%", "bytes": "By", "seconds": "s"}
_LINE: Final = re.compile(
    r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?"
)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Figure:
    """One number about ourselves; units and types follow from the name."""

    service: str
    metric: str
    value: float
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Literal["counter", "gauge"]:
        """`…_total` only grows."""
        return "counter" if self.metric.endswith("_total") else "gauge"

    @property
    def unit(self) -> str | None:
        """By the last word of the name, `_total` aside."""
        return _UNITS.get(self.metric.removesuffix("_total").rpartition("_")[2])


class HostReader:
    """The machine: processor, memory, disk of the data folder, network."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        psutil.cpu_percent()  # the first call only sets the mark

    def read(self) -> Iterator[Figure]:
        """Figures since the last reading where they are rates, else as of now."""
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._data_dir))
        numbers = {
            "cpu_percent": psutil.cpu_percent(),
            "memory_percent": memory.percent,
            "memory_available_bytes": memory.available,
            "swap_percent": psutil.swap_memory().percent,
            "disk_percent": disk.percent,
            "disk_free_bytes": disk.free,
            "load_1m": psutil.getloadavg()[0],
        }
        with suppress(OSError, AttributeError):  # some containers show no network
            network = psutil.net_io_counters()
            numbers |= {
                "network_received_bytes_total": network.bytes_recv,
                "network_sent_bytes_total": network.bytes_sent,
            }
        yield from (Figure("host", name, float(value)) for name, value in numbers.items())


class ProcessReader:
    """Our own processes, each with its children, by role."""

    def __init__(self) -> None:
        self._cpu: dict[tuple[str, int, float], tuple[float, float]] = {}

    def read(self, pids: Mapping[str, int]) -> Iterator[Figure]:
        """Processor time since the last reading, memory, files and threads of each role."""
        seen: dict[tuple[str, int, float], tuple[float, float]] = {}
        for role, pid in pids.items():
            processes = _family(pid, pids)
            if not processes:
                continue
            percent, memory, files, threads = 0.0, 0, 0, 0
            for process in processes:
                with suppress(psutil.Error):
                    with process.oneshot():
                        times, now = process.cpu_times(), time.monotonic()
                        spent = times.user + times.system
                        key = (role, process.pid, process.create_time())
                        seen[key] = (now, spent)
                        if (last := self._cpu.get(key)) and now > last[0]:
                            percent += 100 * (spent - last[1]) / (now - last[0])
                        memory += process.memory_info().rss
                        threads += process.num_threads()
                    with suppress(AttributeError):
                        files += process.num_fds()
            for name, value in (
                ("cpu_percent", percent),
                ("resident_memory_bytes", memory),
                ("open_files", files),
                ("threads", threads),
                ("processes", len(processes)),
            ):
                yield Figure("process", name, float(value), {"role": role})
        self._cpu = seen


class DatabaseReader:
    """PostgreSQL's statistics over a connection of its own, opened again after a loss."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._cx: psycopg.Connection[dict[str, Any]] | None = None

    def read(self) -> Iterator[Figure]:
        """The figures. Raises DatabaseAway."""
        for row in self._ask(Q.read_database_figures):
            for name, value in row.items():
                if value is not None:
                    yield Figure("postgresql", name, float(value))

    def read_health(self) -> Iterator[Figure]:
        """What the health report found last; nothing before its first round."""
        rows = self._ask(Q.list_health_figures)
        for row in rows:
            tags = {"line": row["key"]}
            yield Figure("database_health", "line_red", row["is_red"], tags)
            if row["figure"] is not None:
                yield Figure("database_health", "line_figure", row["figure"], tags)
        if rows:
            totals = {
                "red_lines": sum(row["is_red"] for row in rows),
                "unknown_lines": sum(row["is_unknown"] for row in rows),
                "since_measured_seconds": min(row["seconds_ago"] for row in rows),
            }
            yield from (Figure("database_health", name, value) for name, value in totals.items())

    def _ask(self, statement: str) -> list[dict[str, Any]]:
        try:
            with wrap_database_errors():
                if self._cx is None or self._cx.closed:
                    self._cx = psycopg.Connection[DictRow].connect(
                        self._conninfo,
                        autocommit=True,
                        row_factory=dict_row,
                        prepare_threshold=None,
                        application_name="wedsync-apm/selfwatch",
                        connect_timeout=5,
                    )
                return self._cx.execute(statement.encode()).fetchall()
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Gives the connection back."""
        if self._cx is not None:
            with suppress(psycopg.Error):
                self._cx.close()
            self._cx = None


def read_exposition(text: str) -> Iterator[Figure]:
    """Our own `/metrics`; of a histogram only its sum and count, which say the mean."""
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if line.startswith("#") or match is None or match["name"].endswith("_bucket"):
            continue
        with suppress(ValueError):
            value = float(match["value"])
            if value - value == 0:  # neither NaN nor infinite
                labels = dict(_LABEL.findall(match["labels"] or ""))
                yield Figure("wedsync_apm", match["name"], value, labels)


def as_samples(figures: Iterable[Figure], at: str) -> list[dict[str, Any]]:
    """The figures as the API takes them; `at` is RFC 3339."""
    return [
        {
            "service_name": figure.service,
            "metric_name": figure.metric,
            "metric_type": figure.kind,
            "value": figure.value,
            "timestamp": at,
            "tags": dict(figure.tags),
            **({"unit": figure.unit} if figure.unit else {}),
        }
        for figure in figures
    ]


def _family(pid: int, pids: Mapping[str, int]) -> list[psutil.Process]:
    """A process and those below it that have no role of their own."""
    others = set(pids.values()) - {pid}
    try:
        root = psutil.Process(pid)
        return [root, *(p for p in _below(root, others))]
    except psutil.Error:
        return []


def _below(process: psutil.Process, others: set[int]) -> Iterator[psutil.Process]:
    for child in process.children():
        if child.pid not in others:
            yield child
            yield from _below(child, others)
