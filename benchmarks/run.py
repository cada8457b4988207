"""How many samples a second are acknowledged, and what each costs: ours beside the peers.

Rounds take turns (A B C A B C), so that a ratio within a round survives a machine that others use
too. What was stored is counted after each run and must be what was acknowledged.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.peers import PeerMissing, find_peer
from benchmarks.sender import Sent, send
from benchmarks.servers import SERVERS, Server
from benchmarks.workload import Body, bodies

RESULTS: Final = Path(__file__).parent / "results"
HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
OURS: Final = "wedsync-apm"
YARDSTICK: Final = "prometheus"


@dataclass(frozen=True, slots=True)
class Run:
    """One server in one round. `steady_per_second` is a second pass, with all series known."""

    server: str
    round: int
    samples: int
    stored: int
    first_per_second: float
    steady_per_second: float
    cpu_us_per_sample: float
    cpu_us_by_part: dict[str, float]
    p50_ms: float
    p99_ms: float
    others_cores: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/ingest.json and .md; 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000, help="of the steady pass")
    parser.add_argument("--vendors", type=int, default=1000, help="with fifty series each")
    parser.add_argument("--series-per-body", type=int, default=500)
    parser.add_argument("--samples-per-series", type=int, default=1, help="in one body")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    missing = _missing()
    names = [name for name in SERVERS if name not in missing]
    for name, reason in missing.items():
        _say(f"{name}: not measured, {reason}")
    first, steady = _workload(options)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="wedsync-apm-bench-") as folder:
        Path(folder).chmod(0o755)
        for number in range(options.rounds):
            for name in names:
                with SERVERS[name](Path(folder), options.vendors) as server:
                    run = _measure(server, number, first, steady, options.connections)
                runs.append(run)
                _say(_line(run))
    _write(options, runs, missing)
    lost = [run for run in runs if run.stored != run.samples]
    for run in lost:
        _say(f"{run.server} acknowledged {run.samples} samples and stored {run.stored}")
    return 1 if lost else 0


def _missing() -> dict[str, str]:
    missing = {}
    for name in SERVERS:
        if name == OURS:
            continue
        try:
            find_peer(name)
        except PeerMissing as exc:
            missing[name] = str(exc)
    return missing


def _workload(options: argparse.Namespace) -> tuple[list[Body], list[Body]]:
    """The first sample or samples of each series, and then the others."""
    shape = {
        "vendors": options.vendors,
        "series_per_body": options.series_per_body,
        "samples_per_series": options.samples_per_series,
    }
    every = options.vendors * 50 * options.samples_per_series
    made = bodies(samples=options.samples + every, **shape)
    lanes = max(body.lane for body in made) + 1
    return made[:lanes], made[lanes:]


def _measure(
    server: Server, number: int, first: list[Body], steady: list[Body], connections: int
) -> Run:
    url, headers = f"{server.base}{server.write_path}", HEADERS | server.headers
    opening = send(url, first, headers, connections)
    cpu, busy, own = server.cpu_seconds(), _busy_seconds(), _own_seconds()
    sent = send(url, steady, headers, connections)
    by_part: defaultdict[str, float] = defaultdict(float)
    for (pid, part_name), seconds in server.cpu_seconds().items():
        by_part[part_name] += seconds - cpu.get((pid, part_name), 0.0)
    used = sum(by_part.values())
    others = _busy_seconds() - busy - used - (_own_seconds() - own)
    for part in (opening, sent):
        if part.first_refusal:
            raise RuntimeError(f"{server.name} refused: {part.first_refusal}")
    latencies = sorted(sent.latencies)
    return Run(
        server=server.name,
        round=number,
        samples=opening.acknowledged + sent.acknowledged,
        stored=server.count(),
        first_per_second=_rate(opening),
        steady_per_second=_rate(sent),
        cpu_us_per_sample=used / sent.acknowledged * 1e6,
        cpu_us_by_part={
            name: round(seconds / sent.acknowledged * 1e6, 3) for name, seconds in by_part.items()
        },
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
        others_cores=max(others, 0.0) / sent.seconds,
    )


def _rate(sent: Sent) -> float:
    return sent.acknowledged / sent.seconds


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _own_seconds() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def _write(options: argparse.Namespace, runs: Sequence[Run], missing: dict[str, str]) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "make bench",
        "machine": {
            "cpus": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "options": {key: value for key, value in vars(options).items() if key != "out"},
        "not_measured": missing,
        "runs": [asdict(run) for run in runs],
        "ratio_to_prometheus": ratios(runs),
    }
    (options.out / "ingest.json").write_text(json.dumps(facts, indent=2) + "\n")
    (options.out / "ingest.md").write_text(report(facts, runs))


def ratios(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Each server's steady rate by that of Prometheus in the same round; empty without it."""
    base = {run.round: run.steady_per_second for run in runs if run.server == YARDSTICK}
    found: dict[str, list[float]] = {}
    for run in runs:
        if run.round in base:
            ratio = run.steady_per_second / base[run.round]
            found.setdefault(run.server, []).append(round(ratio, 3))
    return found


def report(facts: dict[str, Any], runs: Sequence[Run]) -> str:
    """The same for people: medians with the range of the rounds."""
    options, machine = facts["options"], facts["machine"]
    lines = [
        "# Ingest",
        "",
        f"Measured {facts['measured_at']} by `{facts['command']}` on {machine['cpus']} CPUs, "
        f"{machine['memory_gb']} GB, Python {machine['python']}, shared with the sender and "
        "whatever else ran (last column).",
        f"Remote write 1.0, {options['vendors']} organizations of 50 series, bodies of "
        f"{options['series_per_body']} series x {options['samples_per_series']}, "
        f"{options['connections']} connections, closed loop, {options['rounds']} rounds. "
        "Median [lowest..highest]; ratios are within a round. Stored samples were counted after "
        "each run.",
        "",
        "| server | steady samples/s | x Prometheus | first pass samples/s | CPU us/sample "
        "| p50 ms | p99 ms | stored = acknowledged | others' cores |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(run.server for run in runs):
        own = [run for run in runs if run.server == name]
        ratio = facts["ratio_to_prometheus"].get(name)
        columns = (
            name,
            _spread(own, lambda run: run.steady_per_second, ",.0f"),
            _spread_of(ratio, ".2f") if ratio else "not measured",
            _spread(own, lambda run: run.first_per_second, ",.0f"),
            _spread(own, lambda run: run.cpu_us_per_sample, ".2f"),
            _spread(own, lambda run: run.p50_ms, ".1f"),
            _spread(own, lambda run: run.p99_ms, ".1f"),
            "yes" if all(run.stored == run.samples for run in own) else "NO",
            _spread(own, lambda run: run.others_cores, ".2f"),
        )
        lines.append(f"| {' | '.join(columns)} |")
    parts = _parts([run for run in runs if run.server == OURS])
    lines += ["", f"CPU us a sample of {OURS} by part, median: {parts}.", ""]
    lines += [*(f"- {name}: {server.what}" for name, server in SERVERS.items())]
    lines += [f"- {name}: not measured, {why}" for name, why in facts["not_measured"].items()]
    return "\n".join(lines) + "\n"


def _parts(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(name for run in runs for name in run.cpu_us_by_part)
    medians = {
        name: statistics.median(run.cpu_us_by_part.get(name, 0.0) for run in runs) for name in names
    }
    return ", ".join(f"{name} {value:.2f}" for name, value in medians.items())


def _spread(runs: Sequence[Run], value: Callable[[Run], float], shape: str) -> str:
    return _spread_of([value(run) for run in runs], shape)


def _spread_of(values: Sequence[float], shape: str) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:{shape}} [{low:{shape}}..{high:{shape}}]"


def _line(run: Run) -> str:
    return (
        f"round {run.round + 1} {run.server}: {run.steady_per_second:,.0f} samples/s, "
        f"{run.cpu_us_per_sample:.2f} us CPU a sample, p99 {run.p99_ms:.1f} ms"
    )


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - it is a command
