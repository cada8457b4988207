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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
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


_registry: dict[str, "_Family"] = {}
_lock = threading.Lock()


class _Family:
    kind: str

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

    def lines(self) -> Iterator[str]:
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

    def lines(self) -> Iterator[str]:
        with _lock:
            values = sorted(self._values.items())
        for key, value in values:
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
    """A number that goes up and down."""

    kind = "gauge"

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
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, value: float, **labels: str) -> None:
        """Counts one value."""
        key = self._key(labels)
        with _lock:
            counts = self._counts.setdefault(key, [0] * (len(self.buckets) + 1))
            counts[bisect_left(self.buckets, value)] += 1
            self._sums[key] = self._sums.get(key, 0.0) + value

    @contextmanager
    def time(self, **labels: str) -> Iterator[Self]:
        """Counts the seconds that the block takes, whether it ends well or not."""
        started = time.perf_counter()
        try:
            yield self
        finally:
            self.observe(time.perf_counter() - started, **labels)

    def lines(self) -> Iterator[str]:
        with _lock:
            state = [(key, list(n), self._sums[key]) for key, n in sorted(self._counts.items())]
        for key, counts, total in state:
            running = 0
            for bound, count in zip((*self.buckets, math.inf), counts, strict=True):
                running += count
                yield self._line("_bucket", key, running, f'le="{_show(bound)}"')
            yield self._line("_sum", key, total)
            yield self._line("_count", key, running)


def render_prometheus() -> str:
    """Everything registered in this process, in Prometheus' text format 0.0.4."""
    with _lock:
        families = sorted(_registry.values(), key=lambda family: family.name)
    lines: list[str] = []
    for family in families:
        help_text = family.help.replace("\\", r"\\").replace("\n", r"\n")
        lines += [f"# HELP {family.name} {help_text}", f"# TYPE {family.name} {family.kind}"]
        lines += family.lines()
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _show(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
