"""What is to be reached, and what the results say of it."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Results = Mapping[str, Mapping[str, Any]]
"""The results by part, as the parts saved them."""

OURS: Final = "wedsync-apm"


@dataclass(frozen=True, slots=True)
class Target:
    """One row. `find` gives a figure for each round; none means that it was not measured."""

    part: str
    what: str
    bar: float
    stretch: float | None
    find: Callable[[Mapping[str, Any]], Sequence[float]]
    unit: str = ""
    is_least: bool = False
    """More is better; else less is."""
    is_worst: bool = False
    """Judged by the worst round; else by the median."""

    def verdict(self, values: Sequence[float]) -> str:
        """In a word or two."""
        if not values:
            return "not measured"
        worst = min(values) if self.is_least else max(values)
        value = worst if self.is_worst else statistics.median(values)
        if self.stretch is not None and self._reaches(value, self.stretch):
            return "reached, stretch too"
        return "reached" if self._reaches(value, self.bar) else "NOT reached"

    def goal(self, value: float | None) -> str:
        """As a table shows it."""
        if value is None:
            return ""
        return f"{'>=' if self.is_least else '<='} {value:g}{self.unit}"

    def _reaches(self, value: float, goal: float) -> bool:
        return value >= goal if self.is_least else value <= goal


def ratios(
    runs: Iterable[Mapping[str, Any]], shape: str, base: str, server: str = OURS
) -> list[float]:
    """A server's rate by that of `base`, round by round, of whole runs."""
    found: dict[str, dict[int, float]] = {server: {}, base: {}}
    for run in runs:
        if run["shape"] == shape and run["server"] in found:
            found[run["server"]][run["round"]] = run["whole_per_second"]
    return [rate / found[base][n] for n, rate in found[server].items() if n in found[base]]


def _ratio(shape: str, base: str) -> Callable[[Mapping[str, Any]], list[float]]:
    return lambda told: ratios(told["runs"], shape, base)


def _ingest(shape: str, name: str) -> Callable[[Mapping[str, Any]], list[float]]:
    return lambda told: [
        run[name] for run in told["runs"] if run["server"] == OURS and run["shape"] == shape
    ]


def _lost(mode: str) -> Callable[[Mapping[str, Any]], list[float]]:
    return lambda told: [one["lost"] for one in told["trials"] if one["mode"] == mode]


def _organizations(told: Mapping[str, Any]) -> list[float]:
    rates: dict[int, dict[int, float]] = {}
    for run in told["runs"]:
        rates.setdefault(run["round"], {})[run["organizations"]] = run["per_second"]
    return [of[max(of)] / of[min(of)] for of in rates.values() if len(of) > 1]


def _flood(told: Mapping[str, Any]) -> list[float]:
    return [run["flooded_p95_ms"] / run["quiet_p95_ms"] for run in told["runs"]]


def _compacted(samples: int) -> Callable[[Mapping[str, Any]], list[float]]:
    return lambda told: [
        one["bytes_per_sample_compacted"]
        for one in told.get("storage", ())
        if one["samples_per_series"] == samples
    ]


def _question(question: str) -> Callable[[Mapping[str, Any]], list[float]]:
    def find(told: Mapping[str, Any]) -> list[float]:
        own = [run for run in told["runs"] if run["server"] == OURS]
        most = max((run["organizations"] for run in own), default=0)
        return [
            run["p95_ms"]
            for run in own
            if run["organizations"] == most and run["question"] == question
        ]

    return find


def _statements(told: Mapping[str, Any]) -> list[float]:
    fewest = min(run["partitions"] for run in told["runs"])
    return [run["p95_ms"] for run in told["runs"] if run["partitions"] == fewest]


def _alerted(told: Mapping[str, Any]) -> list[float]:
    return [
        run["p95"] if run["missing"] == 0 else float("inf")
        for run in told["runs"]
        if run["server"] == OURS
    ]


def _rules(name: str) -> Callable[[Mapping[str, Any]], list[float]]:
    def find(told: Mapping[str, Any]) -> list[float]:
        most = max(run["rules"] for run in told["runs"])
        return [run[name] for run in told["runs"] if run["rules"] == most]

    return find


def _users(told: Mapping[str, Any]) -> list[float]:
    """At a page a minute."""
    return [
        float("inf") if step["faults"] else step["p95_ms"]
        for step in told["steps"]
        if step["think_seconds"] == 60.0
    ]


TARGETS: Final = (
    Target(
        "ingest",
        "remote write, 500 samples a body, by VictoriaMetrics in the same round",
        0.8,
        1.5,
        _ratio("500x1", "victoria-metrics"),
        " x",
        is_least=True,
    ),
    Target(
        "ingest",
        "the same, by Prometheus",
        3,
        None,
        _ratio("500x1", "prometheus"),
        " x",
        is_least=True,
    ),
    Target(
        "ingest",
        "the same with 2,000 samples a body, by VictoriaMetrics",
        1,
        2,
        _ratio("2000x1", "victoria-metrics"),
        " x",
        is_least=True,
    ),
    Target(
        "ingest",
        "a vendor's own push, 50 series x 10 samples a body, by VictoriaMetrics",
        0.8,
        1.5,
        _ratio("50x10", "victoria-metrics"),
        " x",
        is_least=True,
    ),
    Target(
        "ingest",
        "CPU a sample at 500 a body, server and PostgreSQL",
        2.8,
        1.5,
        _ingest("500x1", "cpu_us"),
        " us",
    ),
    Target(
        "durability",
        "acknowledged samples lost by kill -9 of the server",
        0,
        None,
        _lost("server"),
        is_worst=True,
    ),
    Target(
        "durability",
        "acknowledged samples lost by kill -9 of PostgreSQL",
        0,
        None,
        _lost("postgres"),
        is_worst=True,
    ),
    Target(
        "ingest",
        "bytes a sample as written, 500 a body, all indexes",
        24,
        16,
        _ingest("500x1", "bytes_per_sample"),
    ),
    Target("storage", "bytes a sample after compaction, 60 samples a series", 8, 4, _compacted(60)),
    Target(
        "storage",
        "bytes a sample after compaction, 1,440 samples a series",
        4,
        1.5,
        _compacted(1440),
    ),
    Target(
        "queries",
        "a dashboard of 20 panels as Prometheus asks, p95",
        40,
        15,
        _question("dashboard"),
        " ms",
    ),
    Target(
        "queries",
        "the same by our own API, p95",
        40,
        15,
        _question("dashboard, our own API"),
        " ms",
    ),
    Target(
        "queries",
        "all data of a saved dashboard of 20 panels in one call, p95",
        40,
        15,
        _question("dashboard, saved, in one call"),
        " ms",
    ),
    Target(
        "queries",
        "one series, last hour, raw, p95",
        10,
        2,
        _question("one series, 1 h"),
        " ms",
    ),
    Target(
        "statements",
        "three typical SQL statements, prepared, over 14 daily partitions, p95 of the slowest",
        20,
        5,
        _statements,
        " ms",
        is_worst=True,
    ),
    Target(
        "alerting",
        "from the acknowledged sample to the received webhook with 1,000 rules, p95",
        0.5,
        0.2,
        _alerted,
        " s",
    ),
    Target(
        "rules",
        "100,000 rules judged anew over 500,000 series with a new sample each, one core",
        1000,
        None,
        _rules("whole_ms"),
        " ms",
    ),
    Target("rules", "memory of that", 1000, None, _rules("memory_mb"), " MB"),
    Target(
        "backlog",
        "an emergency behind 100,000 messages, to a provider's acceptance",
        5,
        None,
        lambda told: told["seconds"],
        " s",
        is_worst=True,
    ),
    Target(
        "soak",
        "from a critical sample at a wedding to a provider's acceptance, whatever is killed",
        10,
        None,
        lambda told: told["accepted_seconds"],
        " s",
        is_worst=True,
    ),
    Target(
        "soak",
        "the same to a receipt of delivery",
        120,
        None,
        lambda told: told["receipt_seconds"],
        " s",
        is_worst=True,
    ),
    Target(
        "soak",
        "promises broken: lost, repeated, late, to others, after the acknowledgement",
        0,
        None,
        lambda told: [float(len(told["failures"]))],
    ),
    Target(
        "live",
        "an event to its own organization's live connection, 100 a second, p99",
        50,
        None,
        lambda told: [told["figures"]["alone"]["p99_ms"]],
        " ms",
    ),
    Target(
        "live",
        "the same beside broadcasts to all, p99",
        100,
        50,
        lambda told: [told["figures"]["beside_broadcasts"]["p99_ms"]],
        " ms",
    ),
    Target(
        "live",
        "an event for everybody, to the last of 10,000 connections",
        1000,
        250,
        lambda told: [told["figures"]["broadcasts"]["last_ms"]],
        " ms",
    ),
    Target(
        "live",
        "memory of the process that holds 10,000 live connections",
        500,
        None,
        lambda told: [told["figures"]["memory_after_mb"]],
        " MB",
    ),
    Target(
        "live",
        "events lost, or heard by another tenant",
        0,
        None,
        lambda told: [float(told["figures"]["lost"] + told["figures"]["leaked"])],
    ),
    Target(
        "flood",
        "p95 of others beside 100,000 new series a minute, by that without",
        2,
        None,
        _flood,
        " x",
    ),
    Target(
        "organizations",
        "throughput with 10,000 organizations by that with 100",
        0.7,
        0.95,
        _organizations,
        " x",
        is_least=True,
    ),
    Target(
        "ingest",
        "memory of the server at full speed, without PostgreSQL",
        500,
        250,
        _ingest("500x1", "peak_without_postgres_mb"),
        " MB",
    ),
    Target(
        "ingest",
        "the same with PostgreSQL and its shared buffers",
        500,
        250,
        _ingest("500x1", "peak_mb"),
        " MB",
    ),
    Target(
        "users",
        "10,000 people on the pages, a page a minute each, beside 30,000 samples/s, p95",
        500,
        None,
        _users,
        " ms",
    ),
)
