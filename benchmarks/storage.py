"""What samples take on disk, and what compacting them costs: `python -m benchmarks.storage`.

Vendors of fifty series each, half of them noisy floats: 15 counters, 20 latencies of one decimal,
5 ratios of four, 5 small whole numbers, 5 constants. Written as single samples of a series come in
(a row holds one sample of each of a vendor's series), then compacted by the engine's own functions,
with fsync on. Sizes are those of the day's tables with all indexes and TOAST, after a VACUUM and
what the engine's retention job does to emptied tables, by the number of samples. Prints JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import dict_row
from tests.support.postgres import Database, throw_away_server

from benchmarks.workload import vendor_id
from wedsync_apm.metrics.blocks import last_wins
from wedsync_apm.metrics.blocks.store import read_columns
from wedsync_apm.metrics.compaction.store import compact_next, note_work, settle_blocks

SERIES: Final = 50
START: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(1)
DURABLE: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
}
_COPY: Final = (
    'copy apm_metrics (organization_id, "timestamp", ends_at, series_ids, offsets_ms,'
    " metric_values, apm_source) from stdin (format binary)"
)
_SIZE: Final = """
    select coalesce(sum(pg_total_relation_size(relid)), 0)::bigint as bytes
    from pg_partition_tree('apm_metrics') where isleaf
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """So many samples of each series, one every so many seconds."""

    samples: int
    step_seconds: int


SHAPES: Final = (Shape(60, 15), Shape(1_440, 60))


def series_values(chance: np.random.Generator, samples: int) -> NDArray[np.float64]:
    """A vendor's fifty series, one a row."""
    counters = np.cumsum(chance.poisson(chance.uniform(5, 60, (15, 1)), (15, samples)), axis=1)
    level = chance.lognormal(4, 0.6, (20, 1))
    latencies = np.round(level * chance.lognormal(0, 0.25, (20, samples)), 1)
    ratios = np.round(np.abs(chance.normal(0.02, 0.01, (5, samples))), 4)
    small = chance.poisson(chance.uniform(3, 40, (5, 1)), (5, samples))
    constant = np.broadcast_to(np.ones((5, 1)), (5, samples))
    return np.concatenate((counters, latencies, ratios, small, constant)).astype(np.float64)


def write(cx: psycopg.Connection[Any], vendors: int, shape: Shape) -> int:
    """The samples as write batches; returns how many."""
    chance = np.random.default_rng(7)
    values = [series_values(chance, shape.samples) for _ in range(vendors)]
    series = list(range(1, SERIES + 1))
    offsets = [0] * SERIES
    types = ["uuid", "timestamptz", "timestamptz", "int4[]", "int4[]", "float8[]", "text"]
    for turn in range(shape.samples):
        at = START + timedelta(seconds=turn * shape.step_seconds)
        with cx.cursor().copy(_COPY) as copy:
            copy.set_types(types)
            for number in range(vendors):
                column = values[number][:, turn].tolist()
                copy.write_row((vendor_id(number), at, at, series, offsets, column, "remote_write"))
    return vendors * SERIES * shape.samples


async def compact(database: Database) -> dict[str, float]:
    """Everything that is there."""
    async with await psycopg.AsyncConnection.connect(database.engine, row_factory=dict_row) as cx:
        settled = 0
        for _ in range(2):
            settled = await settle_blocks(cx, timedelta())
        started, cpu = time.perf_counter(), time.process_time()
        await note_work(cx)
        samples = days = 0
        while done := await compact_next(cx, settled, noted_before=datetime.now(UTC), blocks=1):
            samples += done.samples
            days += done.batches > 0
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "samples": samples,
        "organization_days": days,
        "samples_per_second": round(samples / seconds),
        "us_per_sample": round(seconds / samples * 1e6, 3),
        "python_cpu_us_per_sample": round(cpu / samples * 1e6, 3),
    }


async def read(database: Database, shape: Shape) -> dict[str, float]:
    """Milliseconds for an organization's samples: by columns, and by the SQL function."""
    end = START + timedelta(days=1)
    async with await psycopg.AsyncConnection.connect(database.engine, row_factory=dict_row) as cx:
        found: dict[str, list[float]] = {"columns": [], "one_series_columns": [], "sql": []}
        for number in range(5):
            for name, series in (("columns", None), ("one_series_columns", [7])):
                started = time.perf_counter()
                columns = last_wins(await read_columns(cx, vendor_id(number), START, end, series))
                found[name].append(time.perf_counter() - started)
                assert len(columns) == shape.samples * len(series or range(SERIES))  # noqa: S101
            started = time.perf_counter()
            await cx.execute(
                "select count(metric_value) from apm_samples_between(%s, %s)"
                " where organization_id = %s",
                (START, end, vendor_id(number)),
            )
            found["sql"].append(time.perf_counter() - started)
    return {name: round(float(np.median(times)) * 1000, 2) for name, times in found.items()}


def measure(shape: Shape, vendors: int) -> dict[str, Any]:
    """One shape in a database of its own."""
    with throw_away_server(options=DURABLE) as server, server.clone() as database:
        with psycopg.connect(database.owner, autocommit=True, row_factory=dict_row) as owner:

            def size() -> int:
                owner.execute("vacuum (analyze) apm_metrics")
                row = owner.execute(_SIZE).fetchone()
                return int(row["bytes"]) if row else 0

            empty = size()
            for number in range(vendors):
                owner.execute(
                    "insert into organizations (id, name) values (%s, 'V')", (vendor_id(number),)
                )
            with psycopg.connect(database.writer, autocommit=True) as writer:
                samples = write(writer, vendors, shape)
            owner.execute("select apm_private.make_partitions(now())")
            written = size() - empty
            reads = {"as_written_ms": asyncio.run(read(database, shape))}
            compaction = asyncio.run(compact(database))
            size()
            owner.execute("select apm_private.shrink_partitions()")
            compacted = size() - empty
            reads["compacted_ms"] = asyncio.run(read(database, shape))
        return {
            "samples_per_series": shape.samples,
            "samples": samples,
            "bytes_per_sample_as_written": round(written / samples, 2),
            "bytes_per_sample_compacted": round(compacted / samples, 2),
            "compaction": compaction,
            "organization_day_read": reads,
        }


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=3_000_000, help="of each shape, about")
    arguments = parser.parse_args()
    found = [
        measure(shape, max(1, arguments.samples // SERIES // shape.samples)) for shape in SHAPES
    ]
    json.dump({"storage": found}, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
