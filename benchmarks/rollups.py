"""What rolling up costs: `python -m benchmarks.rollups`, each figure with fsync on.

1. A day of 8 organizations x 50 series every 15 seconds, all four widths from scratch.
2. The steady state of 1,000 organizations x 50 series: minute after minute, every job as often as
   the engine runs it.

CPU of this process and of PostgreSQL is what counts on a machine that others use as well.
"""

import argparse
import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import psutil
import psycopg
from psycopg.rows import dict_row
from tests.support.postgres import Database, PostgresServer, throw_away_server

from benchmarks.workload import STEP_MS, vendor_id
from wedsync_apm.metrics.rollups.store import SLICES, fill_slice

SERIES: Final = 50
WIDTHS: Final = {"1 minute": 60, "5 minutes": 300, "1 hour": 3600, "1 day": 86400}
TODAY: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
MINUTE: Final = timedelta(minutes=1)
DURABLE: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}

# Half of the series are noisy floats, half whole numbers; every eighth is a counter.
_BLOCK_OF_ALL: Final = """
    insert into apm_metrics
        (organization_id, "timestamp", ends_at, series_ids, offsets_ms, metric_values)
    select o.id, %(at)s, %(at)s::timestamptz + (%(each)s - 1) * %(step)s * interval '1 ms',
        b.series_ids, b.offsets_ms, b.metric_values
    from organizations as o
    cross join lateral (
        select array_agg(n order by n, i) as series_ids,
            array_agg(i * %(step)s order by n, i) as offsets_ms,
            array_agg(
                case
                    when mod(n, 8) = 0 then mod(extract(epoch from %(at)s::timestamptz), 1000000) + 40 * i
                    when mod(n, 2) = 0 then floor(v.noise)
                    else round(v.noise::numeric, 4)
                end::float8 order by n, i
            ) as metric_values
        from generate_series(1, %(series)s) as n
        cross join generate_series(0, %(each)s - 1) as i
        cross join lateral (
            select 10 * n * (1 + 0.15 * random_normal()) + 0 * i + 0 * length(o.name) as noise
        ) as v
    ) as b"""  # noqa: E501
_FLUSH_OF_ALL: Final = """
    insert into apm_private.flushes (organization_ids, earliest, latest)
    select array_agg(o.id), array_agg(%(at)s::timestamptz),
        array_agg(%(at)s::timestamptz + (%(each)s - 1) * %(step)s * interval '1 ms')
    from organizations as o"""


def main() -> int:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--day", nargs="*", default=["engine"], choices=("engine", "sql"))
    parser.add_argument("--pushes", type=int, default=24, help="write batches an hour of a vendor")
    parser.add_argument("--vendors", type=int, default=1000, help="in the steady state; 0: none")
    parser.add_argument("--history", type=int, default=22, help="minutes that are there already")
    parser.add_argument("--minutes", type=int, default=15, help="minutes that are measured")
    asked = parser.parse_args()
    with throw_away_server(options=DURABLE) as server:
        for way in asked.day:
            say(f"a day of 8 x {SERIES} series, {asked.pushes} write batches an hour, by {way}:")
            fill = fill_in_engine if way == "engine" else fill_in_sql
            measure_day(server, fill, asked.pushes)
        if asked.vendors:
            say(f"steady, {asked.vendors} x {SERIES} series, {asked.history} minutes before:")
            measure_steady(server, asked.vendors, asked.history, asked.minutes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"peak memory of this process: {peak:.0f} MB")
    return 0


def say(line: str) -> None:
    """A line for whoever runs it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Engine:
    """As the engine does it, on a connection that stays."""

    def __init__(self, database: Database) -> None:
        self._runner = asyncio.Runner()
        self._cx = self._runner.run(
            psycopg.AsyncConnection.connect(
                database.engine, row_factory=dict_row, prepare_threshold=None
            )
        )

    def fill(self, width: str) -> int:
        """All slices of one width; gives back how many buckets were written."""

        async def fill_slices() -> int:
            each = timedelta(seconds=WIDTHS[width])
            written = [await fill_slice(self._cx, number, each) for number in range(SLICES)]
            return sum(one or 0 for one in written)

        return self._runner.run(fill_slices())

    def close(self) -> None:
        """Ends connection and loop."""
        self._runner.run(self._cx.close())
        self._runner.close()


def fill_in_engine(database: Database, width: str) -> int:
    """The same with a connection of its own."""
    with contextlib.closing(Engine(database)) as engine:
        return engine.fill(width)


def fill_in_sql(database: Database, width: str) -> int:
    """As a service or a member calls it."""
    with psycopg.connect(database.engine) as cx:
        cx.execute("set local statement_timeout = 0")
        rows = cx.execute("select aggregate_metrics(%s::interval)", (width,)).fetchall()
        return int(rows[0][0])


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds: by the clock, and of CPU in this process and in the database."""

    wall: float = 0.0
    own: float = 0.0
    database: float = 0.0

    @property
    def cpu(self) -> float:
        """Both together."""
        return self.own + self.database

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.own + other.own, self.database + other.database)

    def __str__(self) -> str:
        own, database = f"{self.own:.2f} s here", f"{self.database:.2f} s in PostgreSQL"
        return f"{self.wall:6.2f} s, CPU {own} and {database}"


def measure(server: PostgresServer, act: Callable[[], int]) -> tuple[Cost, int]:
    """What an action costs, and what it gives back."""
    pid_file = server.embedded.data_dir / "postgres" / "postmaster.pid"
    postmaster = psutil.Process(int(pid_file.read_text().split()[0]))

    def spent() -> float:
        total = 0.0
        for process in (postmaster, *postmaster.children()):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        times = postmaster.cpu_times()
        return total + times.children_user + times.children_system

    before, own, started = spent(), time.process_time(), time.perf_counter()
    result = act()
    wall = time.perf_counter() - started
    time.sleep(0.1)  # until the postmaster has noticed that a backend ended
    return Cost(wall, time.process_time() - own, spent() - before), result


def settle(cx: psycopg.Connection[Any], vendors: int) -> None:
    """The organizations, without series: rollups need no names."""
    for number in range(vendors):
        cx.execute(
            "insert into organizations (id, name) values (%s, %s)",
            (vendor_id(number), f"Vendor {number}"),
        )


def write(cx: psycopg.Connection[Any], at: datetime, each: int) -> None:
    """One write batch of each organization, and one flush of all, as the writer notes it."""
    cx.execute("set apm.batch = 'on'")
    values = {"at": at, "series": SERIES, "step": STEP_MS, "each": each}
    cx.execute(_BLOCK_OF_ALL, values)
    cx.execute(_FLUSH_OF_ALL, values)
    cx.commit()


def measure_day(
    server: PostgresServer, fill: Callable[[Database, str], int], pushes_an_hour: int
) -> None:
    """From scratch, width after width."""
    each = 3_600_000 // STEP_MS // pushes_an_hour
    count = 24 * pushes_an_hour * each * SERIES * 8
    with server.clone() as database:
        with psycopg.connect(database.owner) as cx:
            settle(cx, 8)
            for push in range(24 * pushes_an_hour):
                write(
                    cx, TODAY - timedelta(days=1) + push * timedelta(hours=1) / pushes_an_hour, each
                )
        total = Cost()
        for width in WIDTHS:
            cost, written = measure(server, partial(fill, database, width))
            total += cost
            say(f"  {width:>9}: {cost}, {written} buckets")
        each_sample = total.cpu / count * 1e6
        say(f"   all four: {total}, {each_sample:.2f} us of CPU a sample, {count} samples")


def measure_steady(server: PostgresServer, vendors: int, history: int, minutes: int) -> None:
    """The day's job runs once, in the end; `minutes` bear their part of its hour."""
    count = 60_000 // STEP_MS * SERIES * vendors * minutes
    begin = TODAY - timedelta(hours=12)
    costs = dict.fromkeys(WIDTHS, Cost())
    every = {"1 minute": 1, "5 minutes": 5, "1 hour": 15, "1 day": minutes}
    with server.clone() as database:
        with psycopg.connect(database.owner) as cx:
            settle(cx, vendors)
            for minute in range(history):
                write(cx, begin + minute * MINUTE, 60_000 // STEP_MS)
        with contextlib.closing(Engine(database)) as engine:
            engine.fill("1 day")
            for minute in range(1, minutes + 1):
                with psycopg.connect(database.owner) as cx:
                    write(cx, begin + (history + minute - 1) * MINUTE, 60_000 // STEP_MS)
                for width in WIDTHS:
                    if minute % every[width] == 0:
                        costs[width] += measure(server, partial(engine.fill, width))[0]
    for width in WIDTHS:
        say(f"  {width:>9}: {costs[width]}, {minutes // every[width]} runs")
    part = {**dict.fromkeys(WIDTHS, 1.0), "1 day": minutes / 60}
    total = sum(costs[width].cpu * part[width] for width in WIDTHS)
    say(f"   together: {total / count * 1e6:.2f} us of CPU a sample, {count} samples")


if __name__ == "__main__":
    raise SystemExit(main())
