"""How many samples a second are acknowledged, and what each costs: ours beside the peers.

Rounds take turns (A B C A B C), so that a ratio within a round survives a machine that others use
too. What was stored is counted after each run and must be what was acknowledged. The first pass
makes every series; the rest is the steady state; both together are the run.
"""

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

from benchmarks.meter import Meter, Usage
from benchmarks.ours import Ours
from benchmarks.peers import PACKAGES, PeerMissing, find_peer, peer_version
from benchmarks.run import HEADERS, options_of, parsed, save, say, workplace
from benchmarks.run import facts as facts_of
from benchmarks.sender import Sent, send
from benchmarks.servers import TAKING_REMOTE_WRITE, Server
from benchmarks.workload import SERIES_PER_VENDOR, Body, bodies


@dataclass(frozen=True, slots=True)
class Shape:
    """What is in a body, and who gets such bodies."""

    name: str
    series: int
    samples: int
    """Of each series, in one body."""
    is_shuffled: bool = False
    only: tuple[str, ...] = tuple(TAKING_REMOTE_WRITE)


SHAPES: Final = (
    Shape("500x1", 500, 1),
    Shape("2000x1", 2000, 1),
    Shape("50x10", 50, 10),
    # Our decoder guesses the next series from the order of the body before; here it fails.
    Shape("500x1 shuffled", 500, 1, is_shuffled=True, only=(Ours.name,)),
)
T = TypeVar("T")
Passes = tuple[Sequence[Body], Sequence[Body]]
"""The first sample or samples of each series, and then the others."""
PROGRAMS: Final = {"influxdb": "influxd"}
"""Of a server, where the program has another name."""


@dataclass(frozen=True, slots=True)
class Run:
    """One server with one shape in one round; rates in samples a second, CPU in us a sample."""

    shape: str
    server: str
    round: int
    samples: int
    """Acknowledged."""
    stored: int
    stored_by_sql: int | None
    whole_per_second: float
    first_per_second: float
    steady_per_second: float
    cpu_us: float
    cpu_us_by_part: dict[str, float]
    steady_cpu_us: float
    sender_cpu_us: float
    peak_mb: float
    peak_without_postgres_mb: float
    p50_ms: float
    p99_ms: float
    others_cores: float
    bytes_per_sample: float | None
    """Of ours, as written, with all indexes."""
    series_bytes_per_sample: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/ingest.json; 1 when something was lost."""
    parser = options_of("ingest", __doc__)
    parser.add_argument("--samples", type=int, default=3_000_000, help="the first pass included")
    parser.add_argument("--vendors", type=int, default=1000, help="with fifty series each")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", default=",".join(shape.name for shape in SHAPES))
    parser.add_argument("--servers", default=",".join(TAKING_REMOTE_WRITE))
    options = parsed(parser, arguments)
    if options.quick:
        options.samples, options.vendors, options.rounds = 30_000, 40, 1
    shapes = chosen(parser, options.shapes, {shape.name: shape for shape in SHAPES})
    servers = chosen(parser, options.servers, TAKING_REMOTE_WRITE)
    versions, missing = look_for(server.name for server in servers)
    told = facts_of(vars(options)) | {
        "versions": versions,
        "not_measured": missing,
        "what": {server.name: server.what for server in servers},
    }
    runs: list[Run] = []
    with workplace() as folder:
        for shape in shapes:
            passes = workload(shape, options)
            for number in range(options.rounds):
                for kind in servers:
                    if kind.name in missing or kind.name not in shape.only:
                        continue
                    with kind(folder, options.vendors) as server:
                        runs.append(measure(server, shape, number, passes, options.connections))
                        if isinstance(server, Ours):
                            told["postgresql"] = server.database_settings()
                    say(line(runs[-1]))
                    save("ingest", options.out, told | {"runs": [asdict(run) for run in runs]})
    return report_losses(runs)


def chosen(parser: argparse.ArgumentParser, names: str, known: Mapping[str, T]) -> list[T]:
    """Those named, comma-separated; a wrong name ends the program."""
    wanted = names.split(",")
    for name in wanted:
        if name not in known:
            parser.error(f"{name}: one of {', '.join(known)} is expected")
    return [known[name] for name in wanted]


def look_for(names: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The versions of those that are here, and why others are not."""
    versions, missing = {}, {}
    for name in names:
        program = PROGRAMS.get(name, name)
        if program not in PACKAGES:
            continue
        try:
            find_peer(program)
        except PeerMissing as exc:
            missing[name] = str(exc)
            say(f"{name}: not measured, {exc}")
        else:
            versions[name] = peer_version(program)
    return versions, missing


def workload(shape: Shape, options: argparse.Namespace) -> Passes:
    """As the options want it, ending now."""
    made = bodies(
        vendors=options.vendors,
        samples=max(options.samples, 2 * options.vendors * SERIES_PER_VENDOR * shape.samples),
        series_per_body=shape.series,
        samples_per_series=shape.samples,
        is_shuffled=shape.is_shuffled,
        end_ms=int(time.time()) * 1000,
    )
    lanes = max(body.lane for body in made) + 1
    return made[:lanes], made[lanes:]


def measure(server: Server, shape: Shape, number: int, passes: Passes, connections: int) -> Run:
    """One run over an empty server. Raises RuntimeError where something is refused."""
    (opening, opened), (rest, used) = (send_measured(server, some, connections) for some in passes)
    sizes = server.bytes_written() if isinstance(server, Ours) else None
    samples = opening.acknowledged + rest.acknowledged
    latencies = sorted(opening.latencies + rest.latencies)
    return Run(
        shape=shape.name,
        server=server.name,
        round=number,
        samples=samples,
        stored=server.count(),
        stored_by_sql=server.count_otherwise(),
        whole_per_second=samples / (opening.seconds + rest.seconds),
        first_per_second=opening.acknowledged / opening.seconds,
        steady_per_second=rest.acknowledged / rest.seconds,
        cpu_us=(opened.cpu + used.cpu) / samples * 1e6,
        cpu_us_by_part={
            part: (opened.cpu_by_part.get(part, 0) + used.cpu_by_part.get(part, 0)) / samples * 1e6
            for part in (opened.cpu_by_part | used.cpu_by_part)
        },
        steady_cpu_us=used.cpu / rest.acknowledged * 1e6,
        sender_cpu_us=(opening.cpu_seconds + rest.cpu_seconds) / samples * 1e6,
        peak_mb=max(opened.peak_mb, used.peak_mb),
        peak_without_postgres_mb=max(
            opened.peak_without_postgres_mb, used.peak_without_postgres_mb
        ),
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
        others_cores=(opened.other_cpu + used.other_cpu) / (opened.seconds + used.seconds),
        bytes_per_sample=sizes["samples"] / samples if sizes else None,
        series_bytes_per_sample=sizes["series"] / samples if sizes else None,
    )


def send_measured(server: Server, some: Sequence[Body], connections: int = 8) -> tuple[Sent, Usage]:
    """Everything must be acknowledged: raises RuntimeError with the first refusal."""
    with Meter(server.processes) as meter:
        sent = send(server.write_url, some, HEADERS | server.headers, connections)
    if sent.first_refusal or sent.is_cut_short:
        raise RuntimeError(f"{server.name} refused: {sent.first_refusal} {dict(sent.statuses)}")
    return sent, meter.usage


def report_losses(runs: Iterable[Any]) -> int:
    """1 when a count differs from what was acknowledged."""
    code = 0
    for run in runs:
        counts = {"by queries": run.stored, "by SQL": run.stored_by_sql}
        for how, count in counts.items():
            if count is not None and count != run.samples:
                say(f"{run.server} acknowledged {run.samples} samples; stored {how}: {count}")
                code = 1
    return code


def line(run: Run) -> str:
    """A run for whoever waits."""
    return (
        f"{run.shape} round {run.round + 1} {run.server}: {run.whole_per_second:,.0f} samples/s "
        f"(first pass {run.first_per_second:,.0f}, steady {run.steady_per_second:,.0f}), "
        f"{run.cpu_us:.2f} us CPU a sample (sender {run.sender_cpu_us:.3f}), "
        f"{run.peak_without_postgres_mb:.0f}/{run.peak_mb:.0f} MB, p50 {run.p50_ms:.1f} "
        f"p99 {run.p99_ms:.1f} ms, others' cores {run.others_cores:.2f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
