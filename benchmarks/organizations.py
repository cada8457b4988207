"""Does the number of organizations cost throughput? The same 500,000 series, once as 100
organizations of 5,000 each and once as 10,000 of fifty, in bodies of 500 series x 1 sample.

A body then holds one organization or ten. Runs take turns; the ratio is within a round, of the
steady state: making the series is told apart.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.ingest import report_losses, send_measured
from benchmarks.ours import Ours
from benchmarks.run import facts, options_of, parsed, save, say, workplace
from benchmarks.workload import bodies

SERIES_PER_BODY: Final = 500
PASSES: Final = 4
"""Over all series, the first included."""


@dataclass(frozen=True, slots=True)
class Run:
    """Rates in samples a second; CPU of server and PostgreSQL in us a sample."""

    server: str
    organizations: int
    series: int
    round: int
    samples: int
    stored: int
    stored_by_sql: int | None
    first_per_second: float
    steady_per_second: float
    steady_cpu_us: float
    others_cores: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/organizations.json; 1 when something was lost."""
    parser = options_of("organizations", __doc__)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parsed(parser, arguments)
    if options.quick:
        options.few, options.many, options.rounds = 4, 40, 1
    told = facts(vars(options))
    runs: list[Run] = []
    for number in range(options.rounds):
        for organizations in (options.few, options.many):
            runs.append(measure(organizations, options.many // organizations, number))
            say(line(runs[-1]))
            save("organizations", options.out, told | {"runs": [asdict(run) for run in runs]})
    return report_losses(runs)


def measure(organizations: int, instances: int, number: int) -> Run:
    """One run over an empty server, every organization with fifty series an instance."""
    series = organizations * instances * 50
    made = bodies(
        vendors=organizations,
        instances=instances,
        samples=PASSES * series,
        series_per_body=SERIES_PER_BODY,
        samples_per_series=1,
        end_ms=int(time.time()) * 1000,
    )
    lanes = max(body.lane for body in made) + 1
    with workplace() as folder, Ours(folder, organizations) as server:
        opening, _ = send_measured(server, made[:lanes])
        rest, used = send_measured(server, made[lanes:])
        return Run(
            server=server.name,
            organizations=organizations,
            series=series,
            round=number,
            samples=opening.acknowledged + rest.acknowledged,
            stored=server.count(),
            stored_by_sql=server.count_otherwise(),
            first_per_second=opening.acknowledged / opening.seconds,
            steady_per_second=rest.acknowledged / rest.seconds,
            steady_cpu_us=used.cpu / rest.acknowledged * 1e6,
            others_cores=used.other_cpu / used.seconds,
        )


def line(run: Run) -> str:
    """A run for whoever waits."""
    return (
        f"{run.organizations:,} organizations, {run.series:,} series, round {run.round + 1}: "
        f"{run.steady_per_second:,.0f} samples/s (first pass {run.first_per_second:,.0f}), "
        f"{run.steady_cpu_us:.2f} us CPU a sample, others' cores {run.others_cores:.2f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
