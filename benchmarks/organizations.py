"""Does the number of organizations cost throughput? The same 500,000 series, once as 100
organizations of 5,000 each and once as 10,000 of fifty, in bodies of 500 series x 1 sample.

A body then holds a tenth of an organization, or ten. Both servers run all the time and take turns,
a pass over all series each, so that the ratio is within a round. Making the series comes first and
is told apart.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from benchmarks.ingest import report_losses, send_measured
from benchmarks.ours import Ours
from benchmarks.run import facts, options_of, parsed, save, say, workplace
from benchmarks.workload import SERIES_PER_VENDOR, Body, bodies

SERIES_PER_BODY: Final = 500


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over all series. The rate is in samples a second, CPU in us a sample."""

    organizations: int
    round: int
    per_second: float
    cpu_us: float
    others_cores: float


@dataclass(frozen=True, slots=True)
class Whole:
    """All that was sent to one server."""

    server: str
    organizations: int
    series: int
    first_per_second: float
    """Of the pass that made the series."""
    samples: int
    stored: int
    stored_by_sql: int


class Side:
    """A server with so many organizations, and what is still to be sent to it."""

    def __init__(self, folder: Path, organizations: int, instances: int, rounds: int) -> None:
        self.series = organizations * instances * SERIES_PER_VENDOR
        made = bodies(
            vendors=organizations,
            instances=instances,
            samples=(rounds + 1) * self.series,
            series_per_body=SERIES_PER_BODY,
            samples_per_series=1,
            end_ms=int(time.time()) * 1000,
        )
        lanes = max(body.lane for body in made) + 1
        self._passes = [made[start : start + lanes] for start in range(0, len(made), lanes)]
        self._server = Ours(folder / str(organizations), organizations)
        self._samples, self._first = 0, 0.0

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(None, None, None)

    def make_series(self) -> None:
        self._first = self._send(self._passes[0], 0).per_second

    def send_pass(self, number: int) -> Run:
        return self._send(self._passes[number + 1], number)

    def count(self) -> Whole:
        return Whole(
            server=self._server.name,
            organizations=self._server.vendors,
            series=self.series,
            first_per_second=self._first,
            samples=self._samples,
            stored=self._server.count(),
            stored_by_sql=self._server.count_otherwise(),
        )

    def _send(self, some: Sequence[Body], number: int) -> Run:
        sent, used = send_measured(self._server, some)
        self._samples += sent.acknowledged
        return Run(
            organizations=self._server.vendors,
            round=number,
            per_second=sent.acknowledged / sent.seconds,
            cpu_us=used.cpu / sent.acknowledged * 1e6,
            others_cores=used.other_cpu / used.seconds,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/organizations.json; 1 when something was lost."""
    parser = options_of("organizations", __doc__)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parsed(parser, arguments)
    if options.quick:
        options.few, options.many, options.rounds = 4, 40, 2
    told = facts(vars(options))
    rounds, instances = options.rounds, options.many // options.few
    with (
        workplace() as folder,
        Side(folder, options.few, instances, rounds) as few,
        Side(folder, options.many, 1, rounds) as many,
    ):
        for side in (few, many):
            say(f"making {side.series:,} series")
            side.make_series()
        runs = []
        for number in range(rounds):
            for side in (few, many):
                runs.append(side.send_pass(number))
                say(line(runs[-1]))
        wholes = [side.count() for side in (few, many)]
    told |= {"runs": [asdict(run) for run in runs], "wholes": [asdict(one) for one in wholes]}
    save("organizations", options.out, told)
    return report_losses(wholes)


def line(run: Run) -> str:
    """A run for whoever waits."""
    return (
        f"{run.organizations:,} organizations, round {run.round + 1}: {run.per_second:,.0f} "
        f"samples/s, {run.cpu_us:.2f} us CPU a sample, others' cores {run.others_cores:.2f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
