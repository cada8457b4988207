"""How many vendors can use the pages at once: thousands of people who open Today, incidents and
dashboards and take incidents in hand, each thinking between two pages, while samples come in.

The people are processes of their own, each person with a connection and the token of his own
organization. They become busier from step to step (`--think`, seconds between two pages), until
one request in twenty takes longer than half a second or one fails: what was at its limit then is
told. `python -m benchmarks.users` writes results/users.json.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
import psycopg

from benchmarks.flood import Pace, percentile
from benchmarks.live_changes import signer, token_of
from benchmarks.live_clients import make_room
from benchmarks.meter import Meter
from benchmarks.ours import Ours
from benchmarks.run import HEADERS, facts, options_of, parsed, save, say, workplace
from benchmarks.sender import send
from benchmarks.users_crowd import Crowd, Person, Seen
from benchmarks.workload import SERIES_PER_VENDOR, Body, bodies, vendor_id

SERIES_PER_BODY: Final = 500
SENDERS: Final = 4
LONGEST_P95_MS: Final = 500.0
WARM_SECONDS: Final = 15.0
PANELS: Final = (
    *(("apm_latency_ms", "p95", "avg"), ("apm_latency_ms", "p50", "avg")),
    *(("apm_requests_total", "2xx", "rate"), ("apm_error_ratio", "all", "avg")),
    *(("apm_query_ms", "all", "avg"), ("apm_requests_total", "5xx", "rate")),
)

FURNISH: Final = """
with made as (
    insert into apm_private.users (id, email, display_name, password_hash)
    select u, u || '@example.org', 'Owner', 'none' from unnest(%(people)s::uuid[]) as u
), member as (
    insert into apm_memberships (organization_id, user_id, role)
    select o, u, 'OWNER' from unnest(%(owners)s::uuid[], %(people)s::uuid[]) as a (o, u)
), checked as (
    insert into service_health_checks
        (organization_id, service_name, display_name, service_type, endpoint_url, is_active)
    select o, 'shop ' || n, 'Shop ' || n, 'http', 'https://example.org/', false
    from unnest(%(owners)s::uuid[]) as o cross join generate_series(1, 3) as n
), ruled as (
    insert into apm_alerts
        (organization_id, alert_name, metric_pattern, comparison_operator, threshold_value)
    select o, 'Rule ' || n, '*.apm_latency_ms', '>', 1000000 * n
    from unnest(%(owners)s::uuid[]) as o cross join generate_series(1, 3) as n
)
insert into apm_incidents
    (organization_id, title, severity, priority, dedup_key, detected_at, last_seen_at)
select o, 'The shop answers slowly', 'warning', 'medium', 'benchmark ' || n,
    now() - n * interval '40 minutes', now()
from unnest(%(owners)s::uuid[]) as o cross join generate_series(1, 3) as n
"""

WEDDINGS: Final = """
insert into apm_weddings (organization_id, wedding_date, time_zone)
select o, current_date + (n %% 10)::int, 'Europe/London'
from unnest(%s::uuid[]) with ordinality as a (o, n)
"""

HISTORY: Final = """
with listed as (
    select organization_id, array_agg(id order by id) as ids from apm_series
    where organization_id = any (%(owners)s::uuid[])
    group by organization_id
)
insert into apm_metrics
    (organization_id, "timestamp", ends_at, series_ids, offsets_ms, metric_values, apm_source)
select l.organization_id, t.at, t.at, l.ids, array_fill(0, array[cardinality(l.ids)]),
    array(select random() * 100 from unnest(l.ids)), 'filler'
from generate_series(
    date_trunc('minute', now()) - interval '1 day', now() - interval '5 minutes',
    interval '20 minutes'
) as t (at)
cross join listed as l
"""


class Crowds:
    """The processes that people are in."""

    def __init__(
        self, folder: Path, server: Ours, people: Sequence[Person], processes: int
    ) -> None:
        self._folder = folder
        self._processes = []
        for number in range(processes):
            crowd = Crowd(
                "127.0.0.1", server.port, f"127.0.0.{number + 2}", list(people[number::processes])
            )
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.users_crowd"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._processes.append(process)
            self._tell(process, msgspec.json.encode(crowd))

    def run(self, think: float, seconds: float) -> Seen:
        """What all of them saw. Raises RuntimeError when a process has ended."""
        paths = [self._folder / f"seen-{number}.json" for number in range(len(self._processes))]
        for process, path in zip(self._processes, paths, strict=True):
            self._tell(process, f"run {think} {seconds} {path}".encode())
        for process in self._processes:
            if not (process.stdout and process.stdout.readline()):
                raise RuntimeError("A process of people has ended.")
        whole = Seen({}, 0, {})
        for path in paths:
            part = msgspec.json.decode(path.read_bytes(), type=Seen)
            for kind, took in part.seconds.items():
                whole.seconds.setdefault(kind, []).extend(took)
            for fault, count in part.faults.items():
                whole.faults[fault] = whole.faults.get(fault, 0) + count
            whole.bytes_received += part.bytes_received
        return whole

    def end(self) -> None:
        """Sends all home."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            process.wait(60)

    def _tell(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        if process.stdin is not None:
            process.stdin.write(line + b"\n")
            process.stdin.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/users.json; 1 when a request failed at the first
    step, which is what must be borne."""
    parser = options_of("users", __doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument(
        "--think", default="120,60,45,30,20", help="seconds between two pages, step by step"
    )
    parser.add_argument("--samples-per-second", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each step")
    parser.add_argument("--processes", type=int, default=1, help="that the people are in")
    options = parsed(parser, arguments)
    if options.quick:
        options.users, options.think, options.seconds = 20, "2,1", 4.0
        options.samples_per_second = 1_000
    make_room(512)
    with workplace() as folder, Ours(folder, options.users) as server:
        people = furnish(server, options.users)
        crowds = Crowds(folder, server, people, options.processes)
        told = facts(vars(options)) | {"steps": []}
        try:
            crowds.run(10.0, min(WARM_SECONDS, options.seconds))
            for think in map(float, options.think.split(",")):
                step = measure(server, crowds, think, options)
                told["steps"].append(step)
                say(line(step))
                if is_over(step):
                    break
        finally:
            crowds.end()
    save("users", options.out, told)
    return int(not told["steps"] or is_over(told["steps"][0]))


def furnish(server: Ours, count: int) -> list[Person]:
    """For each organization an owner, three rules, checks and open incidents, a wedding within
    ten days, a day of samples and a dashboard."""
    owners = [vendor_id(number) for number in range(count)]
    people = [uuid4() for _ in owners]
    sent = send(server.write_url, _bodies(count, 1), HEADERS | server.headers)
    if sent.first_refusal:
        raise RuntimeError(sent.first_refusal)
    with psycopg.connect(server.database) as cx:
        cx.execute("set session_replication_role = replica")  # no calendar, no ladder, no news
        cx.execute(FURNISH, {"owners": owners, "people": people})
        cx.execute("set session_replication_role = origin")
        cx.execute(WEDDINGS, (owners,))
        cx.execute("set apm.batch = 'on'")
        cx.execute(HISTORY, {"owners": owners})
        boards = [_save_board(cx, number, owner) for number, owner in enumerate(owners)]
        rows = cx.execute("select organization_id, id from apm_incidents").fetchall()
    with psycopg.connect(server.database, autocommit=True) as cx:
        cx.execute("analyze")
    incidents: dict[UUID, list[str]] = {owner: [] for owner in owners}
    for owner, incident in rows:
        incidents.setdefault(owner, []).append(str(incident))
    tokens = signer(server)
    return [
        Person(token_of(tokens, person), board, incidents[owner])
        for owner, person, board in zip(owners, people, boards, strict=True)
    ]


def _save_board(cx: psycopg.Connection[Any], number: int, owner: UUID) -> str:
    kind = ("venue", "florist", "caterer", "photographer")[number % 4]
    panels = [
        {
            "kind": "series",
            "key": f"p{n}",
            "title": f"{metric} {stat}",
            "at": {"x": 6 * (n % 2), "y": 5 * (n // 2), "w": 6, "h": 5},
            "queries": [
                {
                    "metric": f"{kind}-site.{metric}",
                    "agg": how,
                    "tags": {"route": "/bookings", "stat": stat},
                }
            ],
        }
        for n, (metric, stat, how) in enumerate(PANELS)
    ]
    row = cx.execute(
        "insert into apm_dashboards (organization_id, name, layout) values (%s, %s, %s)"
        " returning id",
        (owner, "Benchmark", json.dumps({"panels": panels})),
    ).fetchone()
    return str(row[0]) if row else ""


def _bodies(count: int, passes: int) -> list[Body]:
    return bodies(
        vendors=count,
        samples=count * SERIES_PER_VENDOR * passes,
        series_per_body=SERIES_PER_BODY,
        samples_per_series=1,
    )


def measure(server: Ours, crowds: Crowds, think: float, options: Any) -> dict[str, Any]:
    """One step: everybody so busy, samples coming in beside."""
    wanted = int(options.samples_per_second * options.seconds)
    passes = -(-wanted // (options.users * SERIES_PER_VENDOR))
    some = _bodies(options.users, passes)
    rate = options.samples_per_second / SERIES_PER_BODY / SENDERS
    senders = [Pace(server, some[number::SENDERS], rate) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    with Meter(server.processes) as meter:
        seen = crowds.run(think, options.seconds)
    for sender in senders:
        sender.stop()
    usage = meter.usage
    took = [one for times in seen.seconds.values() for one in times]
    writes = [one for sender in senders for one in sender.latencies]
    return {
        "think_seconds": think,
        "requests": len(took),
        "per_second": round(len(took) / options.seconds, 1),
        "p50_ms": round(percentile(took, 50), 1) if took else 0.0,
        "p95_ms": round(percentile(took, 95), 1) if took else 0.0,
        "p99_ms": round(percentile(took, 99), 1) if took else 0.0,
        "p95_ms_by_kind": {
            kind: round(percentile(times, 95), 1) for kind, times in sorted(seen.seconds.items())
        },
        "faults": seen.faults,
        "kb_a_request": round(seen.bytes_received / 1024 / max(len(took), 1), 1),
        "samples_per_second": round(len(writes) * SERIES_PER_BODY / usage.seconds),
        "samples_refused": sum(
            count
            for sender in senders
            for status, count in sender.statuses.items()
            if status >= 300
        ),
        "write_p95_ms": round(percentile(writes, 95), 1) if writes else 0.0,
        "cores_by_part": {
            part: round(seconds / usage.seconds, 3)
            for part, seconds in sorted(usage.cpu_by_part.items())
            if seconds / usage.seconds >= 0.005
        },
        "others_cores": round((usage.other_cpu + usage.own_cpu) / usage.seconds, 3),
        "memory_mb": round(usage.peak_mb),
    }


def is_over(step: dict[str, Any]) -> bool:
    """Whether it was more than the machine bears."""
    return bool(step["faults"]) or step["p95_ms"] > LONGEST_P95_MS


def line(step: dict[str, Any]) -> str:
    """A step for whoever waits."""
    busiest = sorted(step["cores_by_part"].items(), key=lambda one: -one[1])[:4]
    return (
        f"a page every {step['think_seconds']:g} s: {step['per_second']:,.0f} requests/s,"
        f" p50 {step['p50_ms']} ms, p95 {step['p95_ms']} ms, p99 {step['p99_ms']} ms,"
        f" faults {step['faults'] or 'none'}; {step['samples_per_second']:,} samples/s;"
        f" cores {', '.join(f'{part} {cores:.2f}' for part, cores in busiest)}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
