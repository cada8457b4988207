"""What the process says about itself: structured logs, and numbers in Prometheus' text format.

"Metrics" always means the customer's samples; ours are telemetry.
"""

import json
import logging
import math
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import add
from typing import Any, Final, Self

# What a LogRecord carries by itself; everything else came in by `extra`.
# (uvicorn adds its message once more, coloured.)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


def get_logger(name: str) -> logging.Logger:
    """A standard logger. Log as `log.info("text for people", extra={"action": "verb_noun", …})`."""
    return logging.getLogger(name)


def configure_logging(format: str = "text", level: int = logging.INFO) -> None:
    """Sends all logs of the process to standard error, as text for people or JSON for machines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if format == "json" else _TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # Says every request that went well, in a line.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        extras = " ".join(f"{key}={value}" for key, value in _extras(record).items())
        # A newline in foreign text must not look like a line of ours.
        text = record.getMessage().replace("\n", "\\n")
        line = f"{at} {record.levelname.lower():7} {record.name}: {text}" + (
            f"  [{extras}]".replace("\n", "\\n") if extras else ""
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


Numbers = dict[tuple[str, ...], list[float]]
"""Of one family, by the values of its labels: the value, or a histogram's counts and its sum."""

_registry: dict[str, "_Family"] = {}
_lock = threading.Lock()


class _Family:
    kind: str
    is_level = False
    """Whether it says how things are, and not how often something has happened."""

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name, self.help, self.labels = name, help, tuple(labels)
        with _lock:
            if name in _registry:
                raise ValueError(f"{name} is registered twice")
            _registry[name] = self

    def _key(self, labels: dict[str, str]) -> tuple[str, ...]:
        if not labels and not self.labels:
            return ()
        if labels.keys() != set(self.labels):
            raise ValueError(f"{self.name} takes the labels {self.labels}, got {tuple(labels)}")
        return tuple(str(labels[label]) for label in self.labels)

    def _line(self, suffix: str, key: tuple[str, ...], value: float, extra: str = "") -> str:
        pairs = [f'{label}="{_escape(text)}"' for label, text in zip(self.labels, key, strict=True)]
        inner = ",".join([*pairs, extra] if extra else pairs)
        return (
            f"{self.name}{suffix}{{{inner}}} {_show(value)}"
            if inner
            else (f"{self.name}{suffix} {_show(value)}")
        )

    def numbers(self) -> Numbers:
        """A copy of all of them."""
        raise NotImplementedError

    def go_on_from(self, numbers: Numbers) -> None:
        """Adds what another process has counted before."""
        raise NotImplementedError

    def lines(self, numbers: Numbers) -> Iterator[str]:
        """The text for these numbers."""
        raise NotImplementedError


class _Scalar(_Family):
    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, help, labels)
        # Without labels there is exactly one series, and it is there from the start: a rate needs
        # the zero before the first event.
        self._values: dict[tuple[str, ...], float] = {} if self.labels else {(): 0.0}

    def value(self, **labels: str) -> float:
        """The present value; 0 for labels not seen yet."""
        return self._values.get(self._key(labels), 0.0)

    def numbers(self) -> Numbers:
        with _lock:
            return {key: [float(value)] for key, value in self._values.items()}

    def go_on_from(self, numbers: Numbers) -> None:
        with _lock:
            for key, (value,) in numbers.items():
                self._values[key] = self._values.get(key, 0.0) + value

    def lines(self, numbers: Numbers) -> Iterator[str]:
        for key, (value,) in sorted(numbers.items()):
            yield self._line("", key, value)


class Counter(_Scalar):
    """A number that only grows; name it `…_total`."""

    kind = "counter"

    def inc(self, n: float = 1.0, **labels: str) -> None:
        """Adds `n`, which must not be negative."""
        if n < 0:
            raise ValueError(f"{self.name} only grows")
        key = self._key(labels)
        with _lock:
            self._values[key] = self._values.get(key, 0.0) + n


class Gauge(_Scalar):
    """A number that goes up and down. Those of several processes are added up, unless each of them
    knows the whole (`of_all`): then it is the one's that is asked."""

    kind = "gauge"
    is_level = True

    def __init__(
        self, name: str, help: str, labels: Sequence[str] = (), *, of_all: bool = False
    ) -> None:
        super().__init__(name, help, labels)
        self.of_all = of_all

    def set(self, value: float, **labels: str) -> None:
        """Replaces the value."""
        key = self._key(labels)
        with _lock:
            self._values[key] = value

    def inc(self, n: float = 1.0, **labels: str) -> None:
        """Adds `n`, which may be negative."""
        key = self._key(labels)
        with _lock:
            self._values[key] = self._values.get(key, 0.0) + n


SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram(_Family):
    """How values are spread over buckets; in seconds unless other buckets are given."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = SECONDS,
    ) -> None:
        super().__init__(name, help, labels)
        self.buckets = tuple(sorted(buckets))
        self._numbers: Numbers = {}

    def observe(self, value: float, **labels: str) -> None:
        """Counts one value."""
        key = self._key(labels)
        with _lock:
            numbers = self._numbers.get(key)
            if numbers is None:
                numbers = self._numbers[key] = [0.0] * (len(self.buckets) + 2)
            numbers[bisect_left(self.buckets, value)] += 1
            numbers[-1] += value

    @contextmanager
    def time(self, **labels: str) -> Iterator[Self]:
        """Counts the seconds that the block takes, whether it ends well or not."""
        started = time.perf_counter()
        try:
            yield self
        finally:
            self.observe(time.perf_counter() - started, **labels)

    def numbers(self) -> Numbers:
        with _lock:
            return {key: list(numbers) for key, numbers in self._numbers.items()}

    def go_on_from(self, numbers: Numbers) -> None:
        with _lock:
            _add_up(self._numbers, numbers)

    def lines(self, numbers: Numbers) -> Iterator[str]:
        for key, (*counts, total) in sorted(numbers.items()):
            running = 0.0
            for bound, count in zip((*self.buckets, math.inf), counts, strict=True):
                running += count
                yield self._line("_bucket", key, running, f'le="{_show(bound)}"')
            yield self._line("_sum", key, total)
            yield self._line("_count", key, running)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers of one process, by family."""

    totals: dict[str, Numbers]
    """What only grows."""
    levels: dict[str, Numbers]
    """How things are: of no use once the process is gone."""


def take_snapshot() -> Snapshot:
    """Everything registered in this process."""
    totals: dict[str, Numbers] = {}
    levels: dict[str, Numbers] = {}
    for family in _families():
        (levels if family.is_level else totals)[family.name] = family.numbers()
    return Snapshot(totals, levels)


def go_on_from(snapshot: Snapshot) -> None:
    """Counts on from what another process has counted, so that the sum over all never falls."""
    for family in _families():
        if not family.is_level:
            family.go_on_from(snapshot.totals.get(family.name, {}))


def render_prometheus(others: Iterable[Snapshot] = ()) -> str:
    """Everything registered in this process, with the numbers of the others added, in Prometheus'
    text format 0.0.4."""
    others = list(others)
    lines: list[str] = []
    for family in _families():
        help_text = family.help.replace("\\", r"\\").replace("\n", r"\n")
        lines += [f"# HELP {family.name} {help_text}", f"# TYPE {family.name} {family.kind}"]
        numbers = family.numbers()
        if not (isinstance(family, Gauge) and family.of_all):
            for other in others:
                found = other.levels if family.is_level else other.totals
                _add_up(numbers, found.get(family.name, {}))
        lines += family.lines(numbers)
    return "\n".join(lines) + "\n"


def _families() -> list[_Family]:
    with _lock:
        return sorted(_registry.values(), key=lambda family: family.name)


def _add_up(numbers: Numbers, more: Numbers) -> None:
    for key, added in more.items():
        own = numbers.get(key)
        numbers[key] = added if own is None else list(map(add, own, added))


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _show(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
