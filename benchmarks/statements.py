"""How long the typical statements of people take on a large database.

Blocks of fifty samples, spread evenly over the organizations and over daily partitions, one in
fifty on a wedding day; incidents, of which one in twenty is live; the rollups of the last day. All
is made by SQL in a throw-away PostgreSQL with the product's schema. Each statement is prepared and
asked as a member, under Row Level Security, of one organization after the other.
`python -m benchmarks.statements` writes results/statements.json.
"""

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, LiteralString
from uuid import UUID, uuid5

import psutil
import psycopg
from tests.support.postgres import Database, throw_away_server

from wedsync_apm.db.queries import parse_queries

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
Q: Final = parse_queries((HERE / "statements.sql").read_text(), "benchmarks/statements.sql")
SERIES: Final = 50
MEMBER: Final = UUID("6f1f3b0e-8f3a-4b5e-9d53-0d6c1a7e5a12")
STATEMENTS: Final[dict[str, LiteralString]] = {
    "blocks on wedding days": (
        "select * from apm_metrics where organization_id = %s"
        " and (wedding_context->>'is_wedding_day')::boolean = true"
    ),
    "live incidents": (
        "select * from apm_incidents where organization_id = %s"
        " and status in ('open','acknowledged') order by priority desc, detected_at desc"
    ),
    "rollups of a day": (
        "select * from apm_metric_aggregations where organization_id = %s"
        " and time_bucket >= now() - interval '24 hours' order by time_bucket desc"
    ),
}
SETTINGS: Final = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "512MB",
    "synchronous_commit": "off",
    "max_locks_per_transaction": "512",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds until the last row is here."""

    statement: str
    partitions: int
    samples: int
    organizations: int
    rows: float
    first_ms: float
    p50_ms: float
    p95_ms: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statements", description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000_000)
    parser.add_argument("--organizations", type=int, default=10_000)
    parser.add_argument("--partitions", default="14,90", help="daily ones; each is measured apart")
    parser.add_argument("--queries", type=int, default=400, help="of each statement")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    found: list[Measured] = []
    for days in map(int, options.partitions.split(",")):
        with throw_away_server(options=SETTINGS) as server, server.clone() as database:
            made = _fill(database, options.samples, options.organizations, days)
            found += _measure(database, made, options.organizations, days, options.queries)
    options.out.mkdir(parents=True, exist_ok=True)
    told = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python -m benchmarks.statements --samples {options.samples}"
        f" --organizations {options.organizations} --partitions {options.partitions}",
        "machine": {
            "cpus": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "system": platform.platform(),
            "load_average": os.getloadavg(),
        },
        "runs": [asdict(one) for one in found],
    }
    (options.out / "statements.json").write_text(json.dumps(told, indent=2) + "\n")
    return 0


def _fill(database: Database, samples: int, organizations: int, days: int) -> int:
    """Returns how many samples were made."""
    blocks = max(1, round(samples / organizations / SERIES / days))
    with psycopg.connect(database.owner, autocommit=True) as cx:
        cx.execute("set apm.batch = 'on'")
        cx.execute("set timezone = 'UTC'")
        cx.execute("set max_parallel_workers_per_gather = 0")
        cx.execute(Q.make_organizations, {"count": organizations})
        cx.execute(Q.make_days, {"days": days})
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        wanted = {"organizations": organizations, "series": SERIES, "blocks": blocks}
        for back in range(days, 0, -1):
            day = datetime.fromtimestamp(today.timestamp() - back * 86400, UTC)
            cx.execute(Q.make_blocks, {**wanted, "day": day, "first": 0, "last": blocks - 1})
            _say(f"day {days - back + 1} of {days}: {blocks * organizations} blocks")
        cx.execute(Q.make_incidents, wanted)
        for first in range(1, organizations + 1, 500):
            last = min(first + 499, organizations)
            cx.execute(Q.make_rollups, {**wanted, "first": first, "last": last})
        cx.execute("vacuum analyze")
    return blocks * organizations * days * SERIES


def _measure(
    database: Database, samples: int, organizations: int, days: int, queries: int
) -> list[Measured]:
    chance = random.Random(7)  # noqa: S311 - no secret
    found = []
    with psycopg.connect(database.owner, autocommit=True) as owner:
        ids = [
            row[0]
            for row in owner.execute(
                "select md5('organization ' || n)::uuid from generate_series(1, %s) as n",
                (organizations,),
            )
        ]
        asked = chance.sample(ids, min(queries, len(ids)))
        owner.cursor().executemany(
            "insert into apm_memberships (organization_id, user_id, role)"
            " values (%s, %s, 'MEMBER')",
            [(one, uuid5(MEMBER, str(one))) for one in asked],
        )
    with psycopg.connect(database.api, autocommit=True) as cx:
        cx.execute("set role authenticated")
        for name, statement in STATEMENTS.items():
            taken, rows = [], 0
            for one in asked:
                claims = {"sub": str(uuid5(MEMBER, str(one))), "role": "authenticated"}
                cx.execute(
                    "select set_config('request.jwt.claims', %s, false)", (json.dumps(claims),)
                )
                started = time.perf_counter()
                rows += len(cx.execute(statement, (one,), prepare=True, binary=True).fetchall())
                taken.append(time.perf_counter() - started)
            ordered = sorted(taken)
            measured = Measured(
                name,
                days,
                samples,
                organizations,
                rows / len(asked),
                taken[0] * 1000,
                statistics.median(taken) * 1000,
                ordered[len(ordered) * 95 // 100] * 1000,
            )
            found.append(measured)
            _say(
                f"{days} partitions, {samples:,} samples, {name}: {measured.rows:.1f} rows,"
                f" first {measured.first_ms:.1f}, p50 {measured.p50_ms:.2f},"
                f" p95 {measured.p95_ms:.2f} ms"
            )
    return found


def _say(text: Any) -> None:
    print(text, flush=True)  # noqa: T201 - it is a command


if __name__ == "__main__":
    raise SystemExit(main())
