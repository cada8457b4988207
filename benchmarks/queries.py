"""How long a dashboard takes: twenty panels at once over a day of one organization, and one series
of the last hour, over HTTP, ours beside the peers.

Every server gets the same samples by remote write, one a minute. Ours is also measured with many
more organizations in the same tables (`--organizations`), whose rows are made by SQL. Compaction
packs a day some five minutes after it came: `--settle-seconds 480` asks of packed rows, the default
of rows as they were written.
`python -m benchmarks.queries` writes results/queries.json.
"""

import argparse
import http.client
import json
import statistics
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from benchmarks.meter import Meter
from benchmarks.peers import PeerMissing, find_peer
from benchmarks.run import HEADERS, facts, options_of, parsed, save, say, workplace
from benchmarks.sender import send
from benchmarks.servers import SERVERS, Ours, Server
from benchmarks.workload import ROUTES, SERIES_PER_VENDOR, bodies, vendor_id
from wedsync_apm.organizations.keys import make_key
from wedsync_apm.types import KeyScope

DAY_S: Final = 86_400
STEP_S: Final = 60
PANELS: Final = [
    (metric, route, stat, is_rate)
    for route in ROUTES
    for metric, stat, is_rate in (
        ("apm_latency_ms", "p95", False),
        ("apm_requests_total", "2xx", True),
        ("apm_error_ratio", "all", False),
        ("apm_query_ms", "all", False),
    )
]
LEAST_POINTS: Final = {
    "one series, 1 h": 50,
    "dashboard": 5000,
    "dashboard, our own API": 5000,
    "dashboard, saved, in one call": 5000,
}

FILL: Final = """
with made as (
    insert into organizations (id, name)
    select gen_random_uuid(), 'Filler ' || n from generate_series(1, %(organizations)s::int) as n
    returning id
), series as (
    insert into apm_series
        (organization_id, service_name, metric_name, metric_type, tags, fingerprint)
    select o.id, s.service_name, s.metric_name, s.metric_type, s.tags,
        apm_private.series_fingerprint(s.service_name, s.metric_name, s.tags)
    from made as o
    cross join (select * from apm_series where organization_id = %(like)s::uuid) as s
    returning organization_id, id
), listed as (
    select organization_id, array_agg(id order by id) as ids from series group by organization_id
)
insert into apm_metrics
    (organization_id, "timestamp", ends_at, series_ids, offsets_ms, metric_values, apm_source)
select l.organization_id, t.at, t.at, l.ids, array_fill(0, array[cardinality(l.ids)]),
    array(select random() * 100 from unnest(l.ids)), 'filler'
from generate_series(
    %(end)s::timestamptz - interval '24 hours', %(end)s::timestamptz,
    make_interval(mins => %(minutes)s::int)
) as t (at)
cross join listed as l
"""

PACKED: Final = """
select sum(sample_count) filter (where level = 1)
    / sum(coalesce(sample_count, cardinality(series_ids)))
from apm_metrics
where organization_id = any (%(ids)s::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One kind of question to one server, asked of one organization after the other. Ours counts
    the CPU of what answers, without the engine's own work in the background."""

    server: str
    organizations: int
    question: str
    round: int
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    points: int
    others_cores: float
    packed_share: float | None = None
    """Of the samples that are asked about, those that compaction had packed; of ours alone."""


class Client:
    """A keep-alive connection."""

    def __init__(self, base: str) -> None:
        address = urllib.parse.urlsplit(base)
        self._connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=60
        )

    def get(self, path: str, headers: dict[str, str]) -> bytes:
        """Raises RuntimeError for anything but 200."""
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {body[:300]!r}")
        return body


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/queries.json."""
    parser = options_of("queries", __doc__)
    parser.add_argument("--vendors", type=int, default=60, help="that are asked about")
    parser.add_argument("--organizations", type=int, default=10_000, help="in our tables")
    parser.add_argument("--fill-minutes", type=int, default=60, help="between blocks of the others")
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--queries", type=int, default=60, help="of each kind in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--settle-seconds", type=int, default=60, help="before ours is asked")
    parser.add_argument("--servers", default=",".join(SERVERS))
    options = parsed(parser, arguments)
    if options.quick:
        options.vendors = options.organizations = options.queries = 2
        options.rounds, options.settle_seconds = 1, 0
    told: dict[str, Any] = {**facts(vars(options)), "not_measured": {}, "loaded": {}, "runs": []}
    end = int(time.time()) // 60 * 60
    with workplace() as folder:
        for name in options.servers.split(","):
            try:
                if SERVERS[name] is not Ours:
                    find_peer(name)
            except PeerMissing as exc:
                told["not_measured"][name] = str(exc)
                continue
            with SERVERS[name](folder, options.vendors) as server:
                try:
                    told["loaded"][name] = _load(server, options, end)
                except RuntimeError as exc:
                    if isinstance(server, Ours):
                        raise
                    # Prometheus refuses what its head has moved past, when it falls behind.
                    told["not_measured"][name] = str(exc)
                    say(f"{name}: not measured, {exc}")
                    continue
                if isinstance(server, Ours):
                    time.sleep(options.settle_seconds)
                runs = list(_rounds(server, options, end, options.vendors))
                if isinstance(server, Ours) and options.organizations > options.vendors:
                    _fill(server, options, end)
                    runs += _rounds(server, options, end, options.organizations)
                told["runs"] += [asdict(run) for run in runs]
                save("queries", options.out, told)
    save("queries", options.out, told)
    return 0


def _load(server: Server, options: argparse.Namespace, end: int) -> dict[str, Any]:
    made = bodies(
        vendors=options.vendors,
        samples=options.vendors * SERIES_PER_VENDOR * options.hours * 3600 // STEP_S,
        series_per_body=500,
        samples_per_series=1,
        step_ms=STEP_S * 1000,
        end_ms=end * 1000,
    )
    sent = send(server.write_url, made, HEADERS | server.headers)
    if sent.first_refusal:
        raise RuntimeError(f"{server.name} refused: {sent.first_refusal}")
    stored = server.count()
    if stored != sent.acknowledged:
        raise RuntimeError(f"{server.name} stored {stored} of {sent.acknowledged}")
    return {"samples": sent.acknowledged, "per_second": sent.acknowledged / sent.seconds}


def _fill(server: Ours, options: argparse.Namespace, end: int) -> None:
    """Other organizations with as many series, in the tables themselves."""
    with psycopg.connect(server.database, autocommit=True) as cx:
        cx.execute("set apm.batch = 'on'")
        left = options.organizations - options.vendors
        while left > 0:
            some = min(left, 500)
            cx.execute(
                FILL,
                {
                    "organizations": some,
                    "like": vendor_id(0),
                    "end": datetime.fromtimestamp(end, UTC),
                    "minutes": options.fill_minutes,
                },
            )
            left -= some
        cx.execute("analyze")


def _packed_share(server: Ours, vendors: int) -> float:
    with psycopg.connect(server.database) as cx:
        row = cx.execute(PACKED, {"ids": [vendor_id(n) for n in range(vendors)]}).fetchone()
    return float(row[0] or 0.0) if row else 0.0


def _keys(server: Server, vendors: int) -> list[dict[str, str]]:
    """The headers of each organization; ours gets a key for each."""
    if not isinstance(server, Ours):
        return [{} for _ in range(vendors)]
    made = [make_key(KeyScope.READ) for _ in range(vendors)]
    with psycopg.connect(server.database) as cx:
        cx.cursor().executemany(
            "insert into apm_api_keys (organization_id, name, scope, key_hash, prefix)"
            " values (%s, 'benchmark', 'read', %s, %s)",
            [(vendor_id(n), key.key_hash, key.prefix) for n, key in enumerate(made)],
        )
    return [{"Authorization": f"Bearer {key.secret}"} for key in made]


def _rounds(
    server: Server, options: argparse.Namespace, end: int, organizations: int
) -> Iterator[Run]:
    clients = [Client(server.base) for _ in PANELS]
    share = _packed_share(server, options.vendors) if isinstance(server, Ours) else None
    keys = _keys(server, options.vendors)
    questions = _questions(isinstance(server, Ours), end)
    if isinstance(server, Ours):
        saved = _save_dashboards(server, options.vendors)
        span = urllib.parse.urlencode({"start": end - DAY_S, "end": end})
        questions["dashboard, saved, in one call"] = lambda vendor: [
            f"/api/v1/dashboards/{saved[vendor]}/data?{span}"
        ]
    with ThreadPoolExecutor(len(clients)) as threads:
        for number in range(options.rounds):
            for question, paths in questions.items():
                latencies, points = [], 0
                with Meter(server.processes) as meter:
                    for one in range(options.queries):
                        vendor = (number * options.queries + one) % options.vendors
                        asked = paths(vendor)
                        started = time.perf_counter()
                        answers = list(
                            threads.map(
                                lambda pair, vendor=vendor: pair[0].get(pair[1], keys[vendor]),
                                zip(clients, asked, strict=False),
                            )
                        )
                        latencies.append(time.perf_counter() - started)
                        points = sum(map(_points, answers))
                        if points < LEAST_POINTS[question]:
                            raise RuntimeError(f"{server.name}, {question}: {points} points only")
                answering = ("serve", "postgres for apm_api", server.name)
                used = sum(meter.usage.cpu_by_part.get(part, 0.0) for part in answering)
                latencies.sort()
                run = Run(
                    server.name,
                    organizations,
                    question,
                    number,
                    statistics.median(latencies) * 1000,
                    latencies[len(latencies) * 95 // 100] * 1000,
                    used / options.queries * 1000,
                    points,
                    meter.usage.other_cpu / meter.usage.seconds,
                    share,
                )
                say(
                    f"{run.server} ({organizations}, packed {share}), {question}:"
                    f" p50 {run.p50_ms:.1f} ms, p95 {run.p95_ms:.1f} ms,"
                    f" {run.cpu_ms:.1f} ms CPU, {points} points"
                )
                yield run


def _kind_of(vendor: int) -> str:
    return ("venue", "florist", "caterer", "photographer")[vendor % 4]


def _save_dashboards(server: Ours, vendors: int) -> list[str]:
    """Twenty panels for each organization, kept as the API keeps them."""
    found = []
    with psycopg.connect(server.database) as cx:
        for vendor in range(vendors):
            panels = [
                {
                    "kind": "series",
                    "key": f"p{n}",
                    "title": f"{metric} {route}",
                    "at": {"x": 6 * (n % 2), "y": 5 * (n // 2), "w": 6, "h": 5},
                    "queries": [
                        {
                            "metric": f"{_kind_of(vendor)}-site.{metric}",
                            "agg": "rate" if is_rate else "avg",
                            "tags": {"route": route, "stat": stat},
                        }
                    ],
                }
                for n, (metric, route, stat, is_rate) in enumerate(PANELS)
            ]
            row = cx.execute(
                "insert into apm_dashboards (organization_id, name, layout) values (%s, %s, %s)"
                " on conflict (organization_id, name) do update set layout = excluded.layout"
                " returning id",
                (vendor_id(vendor), "Benchmark", json.dumps({"panels": panels})),
            ).fetchone()
            found.append(str(row[0]) if row else "")
    return found


def _questions(is_ours: bool, end: int) -> dict[str, Callable[[int], list[str]]]:
    prefix = "/prometheus/api/v1" if is_ours else "/api/v1"

    def ask(expression: str, start: int, step: int) -> str:
        asked = {"query": expression, "start": start, "end": end, "step": step}
        return f"{prefix}/query_range?{urllib.parse.urlencode(asked)}"

    def selector(vendor: int, metric: str, route: str, stat: str) -> str:
        labels = f'organization_id="{vendor_id(vendor)}",route="{route}",stat="{stat}"'
        return f"{metric}{{{labels}}}"

    def dashboard(vendor: int) -> list[str]:
        return [
            ask(
                f"rate({selector(vendor, metric, route, stat)}[5m])"
                if is_rate
                else selector(vendor, metric, route, stat),
                end - DAY_S,
                300,
            )
            for metric, route, stat, is_rate in PANELS
        ]

    def one_series(vendor: int) -> list[str]:
        return [ask(selector(vendor, "apm_latency_ms", "/bookings", "p95"), end - 3600, 60)]

    def own(vendor: int) -> list[str]:
        return [
            "/api/v1/query_range?"
            + urllib.parse.urlencode(
                {
                    "metric": f"{_kind_of(vendor)}-site.{metric}",
                    "tag.route": route,
                    "tag.stat": stat,
                    "agg": "rate" if is_rate else "avg",
                    "start": end - DAY_S,
                    "end": end,
                    "step": 300,
                }
            )
            for metric, route, stat, is_rate in PANELS
        ]

    found: dict[str, Callable[[int], list[str]]] = {
        "one series, 1 h": one_series,
        "dashboard": dashboard,
    }
    if is_ours:
        found["dashboard, our own API"] = own
    return found


def _points(answer: bytes) -> int:
    decoded = json.loads(answer)
    if "panels" in decoded:
        lines = [line for one in decoded["panels"].values() for line in one["lines"]]
        return sum(value is not None for line in lines for value in line["values"])
    if "series" in decoded:
        return sum(len(line["points"]) for line in decoded["series"])
    return sum(len(line["values"]) for line in decoded["data"]["result"])


if __name__ == "__main__":
    raise SystemExit(main())
