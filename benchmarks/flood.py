"""Does one organization that invents series hold up the others? One sends 100,000 new series a
minute, the others go on sending what is known, twenty bodies of 50 series a second.

Quiet and flooded times take turns, so that a ratio within a round survives a machine that others
use too. A flood beyond the limit of active series is refused, which is part of what is measured.
"""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Final
from urllib.parse import urlsplit

import psycopg

from benchmarks.ours import Ours
from benchmarks.run import HEADERS, facts, options_of, parsed, save, say, workplace
from benchmarks.workload import SERIES_PER_VENDOR, Body, bodies, vendor_id

NEW_SERIES_PER_BODY: Final = 500
BODIES_PER_SECOND: Final = 20.0


@dataclass(frozen=True, slots=True)
class Run:
    """One round; times in ms, of the others' requests."""

    round: int
    quiet_p50_ms: float
    quiet_p95_ms: float
    flooded_p50_ms: float
    flooded_p95_ms: float
    new_series_per_minute: float
    """That the flood offered."""
    statuses: dict[int, int]
    """Of the flood's requests."""


class Pace(threading.Thread):
    """Sends bodies one after the other, so many a second or as fast as they are answered, if that
    is slower, until it is stopped."""

    def __init__(self, server: Ours, some: Sequence[Body], per_second: float) -> None:
        super().__init__(daemon=True)
        self._server, self._bodies, self._every = server, some, 1 / per_second
        self._end = threading.Event()
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        """Until `stop`."""
        address = urlsplit(self._server.write_url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        due = time.perf_counter()
        for body in cycle(self._bodies):
            due = max(due + self._every, time.perf_counter())
            if self._end.wait(due - time.perf_counter()):
                break
            started = time.perf_counter()
            connection.request("POST", address.path, body.data, {**HEADERS, **self._server.headers})
            answer = connection.getresponse()
            answer.read()
            self.latencies.append(time.perf_counter() - started)
            self.statuses[answer.status] += 1
        connection.close()

    def stop(self) -> None:
        """Returns when the last request is answered."""
        self._end.set()
        self.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/flood.json; 1 when the limit did not hold, or another
    organization was refused anything."""
    parser = options_of("flood", __doc__)
    parser.add_argument("--vendors", type=int, default=200, help="the others")
    parser.add_argument("--per-minute", type=int, default=100_000, help="new series")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each time")
    parser.add_argument("--rounds", type=int, default=3)
    options = parsed(parser, arguments)
    if options.quick:
        options.vendors, options.seconds, options.rounds = 5, 1.0, 1
    known = bodies(
        vendors=options.vendors,
        samples=4 * options.vendors * SERIES_PER_VENDOR,
        series_per_body=SERIES_PER_VENDOR,
        samples_per_series=1,
    )
    with workplace() as folder, Ours(folder, options.vendors + 1) as server:
        flooder = options.vendors
        warm = measure(server, known, options.seconds)
        refused = sum(count for status, count in warm.statuses.items() if status >= 300)
        runs = []
        for number in range(options.rounds):
            flood = new_series(flooder, number, options.per_minute, options.seconds)
            run, others = measure_round(server, known, flood, number, options.seconds)
            refused += others
            runs.append(run)
            say(line(run))
        made = count_series(server, flooder)
        told = facts(vars(options)) | {
            "runs": [asdict(run) for run in runs],
            "series_of_the_flood": made,
            "others_refused": refused,
        }
    save("flood", options.out, told)
    return int(refused > 0 or made > 20_000)


def new_series(vendor: int, number: int, per_minute: int, seconds: float) -> list[Body]:
    """Of one vendor, none of which was there before."""
    wanted = int(per_minute / 60 * seconds)
    instances = -(-wanted // SERIES_PER_VENDOR)
    return bodies(
        vendors=1,
        first_vendor=vendor,
        first_instance=number * instances,
        instances=instances,
        samples=instances * SERIES_PER_VENDOR,
        series_per_body=NEW_SERIES_PER_BODY,
        samples_per_series=1,
    )


def measure(server: Ours, some: Sequence[Body], seconds: float) -> Pace:
    """The others alone."""
    pace = Pace(server, some, BODIES_PER_SECOND)
    pace.start()
    time.sleep(seconds)
    pace.stop()
    return pace


def measure_round(
    server: Ours, known: Sequence[Body], flood: Sequence[Body], number: int, seconds: float
) -> tuple[Run, int]:
    """A quiet time, a flooded one, and how many of the others' requests were refused."""
    quiet = measure(server, known, seconds)
    flooding = Pace(server, flood, len(flood) / seconds)
    flooding.start()
    flooded = measure(server, known, seconds)
    flooding.stop()
    run = Run(
        round=number,
        quiet_p50_ms=percentile(quiet.latencies, 50),
        quiet_p95_ms=percentile(quiet.latencies, 95),
        flooded_p50_ms=percentile(flooded.latencies, 50),
        flooded_p95_ms=percentile(flooded.latencies, 95),
        new_series_per_minute=len(flooding.latencies) * NEW_SERIES_PER_BODY / seconds * 60,
        statuses=dict(flooding.statuses),
    )
    statuses = quiet.statuses + flooded.statuses
    return run, sum(count for status, count in statuses.items() if status >= 300)


def percentile(latencies: Sequence[float], percent: int) -> float:
    """In ms."""
    ordered = sorted(latencies)
    return ordered[len(ordered) * percent // 100] * 1000


def count_series(server: Ours, vendor: int) -> int:
    """That one organization has in the catalogue."""
    with psycopg.connect(server.database) as cx:
        row = cx.execute(
            "select count(*) from apm_series where organization_id = %s", (vendor_id(vendor),)
        ).fetchone()
    return int(row[0]) if row else 0


def line(run: Run) -> str:
    """A round for whoever waits."""
    return (
        f"round {run.round + 1}: others' p50/p95 {run.quiet_p50_ms:.1f}/{run.quiet_p95_ms:.1f} ms"
        f" quiet, {run.flooded_p50_ms:.1f}/{run.flooded_p95_ms:.1f} ms beside"
        f" {run.new_series_per_minute:,.0f} new series a minute {run.statuses}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
