"""How fast what happens reaches thousands of live connections of one serving process, what they
cost, and whether anybody ever hears of another's.

The clients are processes of their own, each connection with the token of its own organization's
owner and three topics. Times are from before the statement that changes a row to when a client has
the message, so the commit is in them; all processes read the same monotonic clock.
"""

import json
import socket
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import psutil
import psycopg

from benchmarks.live_changes import TOPICS, Changes, Clients, Told, signer, token_of
from benchmarks.live_clients import Report, make_room, masked_text
from benchmarks.live_wandering import wander
from benchmarks.meter import Meter, cpu_seconds
from benchmarks.ours import Ours
from benchmarks.run import facts, options_of, parsed, save, say, workplace
from benchmarks.workload import vendor_id

WANDERERS: Final = 100
"""People who gain and lose memberships all the time, each with a connection."""
SETTLE_SECONDS: Final = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/live.json; 1 when an event was lost or leaked."""
    parser = options_of("live", __doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--per-second", type=float, default=100.0, help="events, of all")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each phase")
    parser.add_argument("--changes", type=int, default=10_000, help="of access, in any order")
    parser.add_argument("--processes", type=int, default=2, help="that hold the connections")
    options = parsed(parser, arguments)
    if options.quick:
        options.connections, options.seconds, options.changes = 200, 3.0, 200
    make_room(512)
    Ours.settings |= {"WEDSYNC_APM_SERVE_PROCESSES": "1"}
    with workplace() as folder, Ours(folder, options.connections + WANDERERS) as server:
        told = facts(vars(options)) | measure(folder, server, options)
    save("live", options.out, told)
    say(json.dumps(told["figures"], indent=2))
    return int(bool(told["figures"]["lost"] or told["figures"]["leaked"]))


def measure(folder: Path, server: Ours, options: Any) -> dict[str, Any]:
    """All phases, one after the other."""
    people = furnish(server, options.connections + WANDERERS)
    settled, wanderers = people[:-WANDERERS], people[-WANDERERS:]
    serving = serving_process(server)
    figures: dict[str, Any] = {}
    before_mb, before_cpu = own_mb(serving), cpu_of(serving)
    clients = Clients(folder, server, [token for _, token in settled], options.processes)
    try:
        figures["connected_in_s"] = round(clients.wait(), 2)
        figures["connected_cpu_s"] = round(cpu_of(serving) - before_cpu, 2)
        time.sleep(SETTLE_SECONDS)
        after_mb = own_mb(serving)
        figures["memory_before_mb"] = round(before_mb, 1)
        figures["memory_mb"] = round(after_mb, 1)
        figures["kb_a_connection"] = round((after_mb - before_mb) * 1024 / options.connections, 1)
        owners = [vendor_id(number) for number in range(options.connections)]
        clients.report()

        figures |= run_phases(server, clients, owners, settled[0][1], options)
        figures["memory_after_mb"] = round(own_mb(serving), 1)
        figures["wandering"] = wander(folder, server, wanderers, options)
        say(f"wandering: {figures['wandering']}")
        final = clients.report()
        figures["still_connected"] = final.subscribed - sum(final.closed.values())
        figures["heartbeats"] = final.heartbeats
    finally:
        clients.end()
    phases = ("alone", "beside_broadcasts", "beside_never_reading")
    figures["lost"] = sum(figures[one]["lost"] for one in phases)
    figures["leaked"] = sum(figures[one]["leaked"] for one in phases)
    figures["leaked"] += figures["wandering"]["leaked"]
    return {"figures": figures}


def run_phases(
    server: Ours, clients: Clients, owners: Sequence[UUID], token: str, options: Any
) -> dict[str, Any]:
    """Events alone, beside broadcasts, and beside a connection of `token` that never reads."""
    figures: dict[str, Any] = {}
    changes = Changes(server.database, owners, options.per_second)
    with Meter(server.processes) as meter:
        quiet = changes.run(options.seconds)
        time.sleep(SETTLE_SECONDS)
    figures["alone"] = judge(quiet, clients.report(), owners)
    figures["serve_cpu_of_a_core"] = round(
        meter.usage.cpu_by_part.get("serve", 0.0) / meter.usage.seconds, 3
    )
    say(f"alone: {figures['alone']}")

    beside = changes.run(options.seconds, broadcasts=True)
    time.sleep(SETTLE_SECONDS)
    report = clients.report()
    figures["beside_broadcasts"] = judge(beside, report, owners)
    figures["broadcasts"] = judge_broadcasts(beside, report, options.connections)
    say(f"beside broadcasts: {figures['beside_broadcasts']} {figures['broadcasts']}")

    with deaf(server, token) as silent:
        flooding = threading.Thread(
            target=flood, args=(server.database, owners[0], options.seconds), daemon=True
        )
        flooding.start()
        others = Changes(server.database, owners[1:], options.per_second)
        disturbed = others.run(options.seconds)
        flooding.join()
        time.sleep(SETTLE_SECONDS)
        figures["beside_never_reading"] = judge(disturbed, clients.report(), owners)
        figures["never_reading_was_cut"] = was_cut(silent)
    say(f"beside one who never reads: {figures['beside_never_reading']}")
    return figures


def furnish(server: Ours, count: int) -> list[tuple[UUID, str]]:
    """An owner for each organization, a check that nobody makes, a guard mode; and their tokens."""
    people = [uuid4() for _ in range(count)]
    owners = [vendor_id(number) for number in range(count)]
    with psycopg.connect(server.database) as cx:
        cx.execute("set session_replication_role = replica")  # nobody listens to this
        cx.execute(
            "insert into apm_private.users (id, email, display_name, password_hash)"
            " select u, u || '@example.org', 'Owner', 'none' from unnest(%s::uuid[]) as u",
            (people,),
        )
        cx.execute(
            "insert into apm_memberships (organization_id, user_id, role)"
            " select o, u, 'OWNER' from unnest(%s::uuid[], %s::uuid[]) as a (o, u)",
            (owners[:-WANDERERS], people[:-WANDERERS]),
        )
        cx.execute(
            "insert into service_health_checks (organization_id, service_name, display_name,"
            " service_type, endpoint_url, is_active)"
            " select o, 'shop', 'Shop', 'http', 'https://example.org/', false"
            " from unnest(%s::uuid[]) as o",
            (owners,),
        )
        cx.execute(
            "insert into apm_private.guard_overrides (mode, reason, starts_at, ends_at,"
            " created_by_name) values ('enhanced', 'a benchmark', now(), now() + interval '1 hour',"
            " 'Olga')"
        )
    tokens = signer(server)
    return [(person, token_of(tokens, person)) for person in people]


def judge(told: dict[str, Told], report: Report, owners: Sequence[UUID]) -> dict[str, Any]:
    """How long organizations' own events took; what did not come, and what came to others.

    An organization's events reach its one connection in the order that they were made in.
    """
    made: defaultdict[str, list[float]] = defaultdict(list)
    for one in told.values():
        if one.owner is not None:
            made[str(one.owner)].append(one.before)
    came: defaultdict[str, list[float]] = defaultdict(list)
    leaked = 0
    for at, _, owner, when in report.arrivals:
        if owner is None:
            continue
        if UUID(owner) != owners[at]:
            leaked += 1
        came[owner].append(when)
    took = []
    lost = 0
    for owner, times in made.items():
        arrived = came.get(owner, [])
        lost += max(len(times) - len(arrived), 0)
        took += [then - before for before, then in zip(times, arrived, strict=False)]
    return {"events": sum(map(len, made.values())), "lost": lost, "leaked": leaked} | spread(took)


def judge_broadcasts(told: dict[str, Told], report: Report, connections: int) -> dict[str, Any]:
    """How long it took until the last one had what is for everybody."""
    made = sorted(one.before for one in told.values() if one.owner is None)
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for _, name, owner, when in report.arrivals:
        if owner is None:
            by_name[name].append(when)
    rounds = sorted(by_name.values(), key=min)
    took = [[when - before for when in times] for before, times in zip(made, rounds, strict=False)]
    return {
        "broadcasts": len(made),
        "reached_all": sum(len(times) == connections for times in rounds),
        "last_ms": round(max((max(times) for times in took), default=0) * 1000, 1),
        "median_last_ms": round(statistics.median([max(times) for times in took] or [0]) * 1000, 1),
    }


def spread(took: Sequence[float]) -> dict[str, float]:
    """In ms."""
    ordered = sorted(took) or [0.0]
    return {
        f"p{percent}_ms": round(
            ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1e3, 2
        )
        for percent in (50, 99)
    } | {"max_ms": round(ordered[-1] * 1000, 2)}


@contextmanager
def deaf(server: Ours, token: str) -> Iterator[socket.socket]:
    """A connection that subscribes and then reads nothing."""
    with ExitStack() as stack:
        one = stack.enter_context(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(30)
        one.connect(("127.0.0.1", server.port))
        one.sendall(
            b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        one.recv(1024)
        said = {"type": "subscribe", "topics": list(TOPICS), "token": token}
        one.sendall(masked_text(json.dumps(said).encode()))
        one.recv(64)
        yield one


def was_cut(one: socket.socket) -> bool:
    """Whether the server has let go of it: what the kernel holds comes to an end."""
    one.settimeout(10)
    try:
        while one.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def flood(database: str, owner: UUID, seconds: float) -> None:
    """Fifty events at once, ten times a second, of one organization."""
    end = time.monotonic() + seconds
    with psycopg.connect(database, autocommit=True) as cx:
        while time.monotonic() < end:
            cx.execute(
                "select pg_notify('apm_live', json_build_object('topic', 'incidents',"
                " 'organization_id', %s::uuid, 'id', n, 'xid', n)::text)"
                " from (select gen_random_uuid() as n from generate_series(1, 50)) as n",
                (owner,),
            )
            time.sleep(0.1)


def serving_process(server: Ours) -> psutil.Process:
    """The one that has the connections."""
    return next(one for one, part in server.processes().items() if part == "serve")


def own_mb(process: psutil.Process) -> float:
    """Its proportional set size."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_of(process: psutil.Process) -> float:
    """Its seconds."""
    return sum(cpu_seconds({process: "serve"}).values())


if __name__ == "__main__":
    raise SystemExit(main())
