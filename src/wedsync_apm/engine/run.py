"""The engine process: opens the pool, runs every cycle, and stops when it is told to."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Final
from urllib.parse import urlsplit

from wedsync_apm.checks.probes import Prober
from wedsync_apm.config import Settings
from wedsync_apm.dashboards.pictures.desk import SheetOf
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.engine import (
    clocks,
    compact,
    dashboard_mails,
    drills,
    escalate,
    follow,
    heartbeats,
    ready,
    reviews,
    status_pages,
    tidy,
)
from wedsync_apm.engine.audit import EVERY_SECONDS as AUDIT_EVERY_SECONDS
from wedsync_apm.engine.audit import Audit
from wedsync_apm.engine.cycle import Cycle, run_forever
from wedsync_apm.engine.dashboard_mails import DashboardMails
from wedsync_apm.engine.deliver import open_deliver
from wedsync_apm.engine.evaluate import Evaluator
from wedsync_apm.engine.leases import Leases
from wedsync_apm.engine.pace import Pace, Rota
from wedsync_apm.engine.probe import Probe
from wedsync_apm.engine.retain import TIMEOUT_SECONDS as RETAIN_TIMEOUT_SECONDS
from wedsync_apm.engine.retain import Retain
from wedsync_apm.engine.rollup import TIMEOUT_SECONDS, Rollup
from wedsync_apm.engine.wake import Wakes
from wedsync_apm.metrics.retention.model import Terms
from wedsync_apm.organizations.secrets import load_keyring
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

POOL_SIZE: Final = 12
"""A connection for each job that does not share the rollups', should all run at once: they seldom
do, and what is not used is given back."""
ROLLUP_CONNECTIONS: Final = 2
"""Of rollups one piece is done at a time, so that more would be held and not used: each is a
process with megabytes of its own."""
STOP_SECONDS: Final = 5.0
"""How long runs under way get to finish when the engine is told to stop."""
LEAVE_SECONDS: Final = 2.0
PROBES: Final = 3
"""Checks are made by so many at once, so that services that do not answer hold up few others."""
LOOKS_APART_SECONDS: Final = 0.1
"""While samples stream in, they are judged so often; after a quiet while, at once."""
BEGIN_APART_SECONDS: Final = 0.15
"""One job begins so long after the other. Those of a rhythm would else all come at one instant, and
each hold a connection of its own for some milliseconds of each second."""
SELDOM_SECONDS: Final = 15.0
"""Jobs that come no more often begin at once: what they find to do at the start is done before many
samples come."""
PROBE_TIMEOUT_SECONDS: Final = 45.0
"""A look of 30 s, and room to write it down."""


async def run_engine(
    settings: Settings, sheet_of: SheetOf, stop: asyncio.Event | None = None
) -> None:
    """Runs until SIGTERM, SIGINT or `stop`; runs under way get a moment to finish. `sheet_of` says
    dashboards that go out by mail in words.

    Raises ConfigurationError when no database is named or a setting cannot be read. A database that
    is away is waited for.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
            stack.callback(loop.remove_signal_handler, number)
        pool = await open_pool(
            role_conninfo(settings, "apm_engine"), name="engine", min_size=2, max_size=POOL_SIZE
        )
        stack.push_async_callback(pool.close)
        rolling = await open_pool(
            role_conninfo(settings, "apm_engine"),
            name="rollups",
            max_size=ROLLUP_CONNECTIONS,
            acquire_seconds=TIMEOUT_SECONDS,
        )
        stack.push_async_callback(rolling.close)
        policy = EgressPolicy.parse(settings.egress_allow)
        client = EgressClient(policy)
        stack.push_async_callback(client.aclose)
        own_client = EgressClient(policy.allowing(urlsplit(settings.local_url).netloc))
        stack.push_async_callback(own_client.aclose)
        wakes = Wakes()
        leases = Leases(timedelta(seconds=settings.evaluation_lease_seconds))
        stack.push_async_callback(_leave, pool, leases)
        outside = EgressClient(_allowing(policy, settings.auditor_url))
        stack.push_async_callback(outside.aclose)
        cycles = list_cycles(settings, client, own_client, wakes, leases)
        audit = Audit(outside, settings.auditor_url)
        cycles.append(Cycle("audit", AUDIT_EVERY_SECONDS, audit.run_once))
        # Dashboards are read with the rights of those who get them, as the API does it.
        readers = await open_pool(
            role_conninfo(settings, "apm_api"), name="readers", min_size=0, max_size=1
        )
        stack.push_async_callback(readers.close)
        mails = DashboardMails(readers, settings, sheet_of)
        cycles.append(
            Cycle(
                "dashboard mails",
                dashboard_mails.EVERY_SECONDS,
                mails.run_once,
                timeout=dashboard_mails.TIMEOUT_SECONDS,
                is_exclusive=False,
            )
        )
        deliver = await stack.enter_async_context(
            open_deliver(pool, settings, load_keyring(settings))
        )
        wake = wakes.events["deliver"]
        cycles.append(Cycle("deliver", 1.0, deliver.run_once, is_exclusive=False, wake=wake))
        listening = asyncio.create_task(
            wakes.run(role_conninfo(settings, "apm_engine", direct=True)), name="wakes"
        )
        stack.push_async_callback(_end, listening)
        log.info("The engine runs %d jobs", len(cycles), extra={"action": "start_engine"})
        await run_cycles(lambda cycle: rolling if is_rollup(cycle) else pool, cycles, stop)
        log.info("The engine stops", extra={"action": "stop_engine"})


def _allowing(policy: EgressPolicy, url: str | None) -> EgressPolicy:
    """What the operator named himself may lie in a private network."""
    return policy.allowing(urlsplit(url).netloc.rpartition("@")[2]) if url else policy


async def _leave(pool: Pool, leases: Leases) -> None:
    try:
        async with asyncio.timeout(LEAVE_SECONDS), pool.connection(timeout=1) as cx:
            await leases.leave(cx)
    except Exception as exc:  # the leases end by themselves
        log.warning("The leases were not given back: %s", exc, extra={"action": "stop_engine"})


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def list_cycles(
    settings: Settings,
    client: EgressClient,
    own_client: EgressClient,
    wakes: Wakes,
    leases: Leases,
) -> list[Cycle]:
    """Every job but the sending, with its rhythm."""
    factor, pace = settings.wedding_factor, Pace(settings.background_share)
    # Readers take the newest samples as they are, so nobody waits for these.
    rhythms = {"1m": 60.0, "5m": 300.0, "1h": 900.0, "1d": 3600.0}
    evaluator = Evaluator(factor, leases)
    wakes.watched = evaluator.watched
    rota = Rota()
    return [
        Cycle(
            "evaluate",
            1.0,
            evaluator.run_once,
            is_exclusive=False,
            wake=wakes.events["evaluate"],
            apart=LOOKS_APART_SECONDS,
        ),
        Cycle(
            "attend",
            settings.evaluation_lease_seconds / 4,
            leases.attend,
            is_exclusive=False,
            is_needed=leases.is_quiet,
        ),
        Cycle("escalate", 1.0, escalate.run_once, wake=wakes.events["escalate"]),
        *(
            Cycle(
                f"rollup {name}",
                rhythm,
                Rollup(name, pace).run_once,
                timeout=TIMEOUT_SECONDS,
                is_exclusive=False,
            )
            for name, rhythm in rhythms.items()
        ),
        Cycle(
            "compact",
            30.0,
            partial(compact.run_once, pace=pace),
            timeout=compact.TIMEOUT_SECONDS,
            is_exclusive=False,
        ),
        Cycle("follow", 5.0, follow.run_once),
        Cycle("heartbeats", 1.0, heartbeats.run_once),
        Cycle("drills", 2.0, drills.run_once),
        Cycle("status pages", status_pages.EVERY_SECONDS, status_pages.run_once),
        Cycle("clocks", 1.0, clocks.run_once),
        Cycle("surroundings", 15.0, clocks.Surroundings(settings).run_once),
        Cycle("tidy", 60.0, tidy.run_once),
        Cycle("ready", 15.0, ready.Ready().run_once),
        Cycle("reviews", reviews.EVERY_SECONDS, reviews.run_once),
        Cycle(
            "retain",
            60.0,
            Retain(_terms(settings), settings.retention_most_days).run_once,
            timeout=RETAIN_TIMEOUT_SECONDS,
            is_exclusive=False,
        ),
        *(
            Cycle(
                f"probe {number}",
                1.0,
                rota.taking(Probe(Prober(client, own_client), factor).run_once),
                timeout=PROBE_TIMEOUT_SECONDS,
                is_exclusive=False,
                is_needed=rota.is_needed,
            )
            for number in range(1, PROBES + 1)
        ),
    ]


def _terms(settings: Settings) -> Terms:
    return Terms(
        settings.retention_raw_days,
        settings.retention_1m_days,
        settings.retention_5m_days,
        settings.retention_1h_days,
        settings.retention_1d_days,
    )


def is_rollup(cycle: Cycle) -> bool:
    """Whether the job is one of those that take turns."""
    return cycle.name.startswith("rollup ")


async def run_cycles(
    pool_of: Callable[[Cycle], Pool], cycles: list[Cycle], stop: asyncio.Event
) -> None:
    """Runs all cycles side by side until `stop` is set; a run that then takes too long is broken
    off, which sets it back as a whole."""
    in_order = sorted(cycles, key=attrgetter("interval"))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                run_forever(
                    pool_of(cycle),
                    cycle,
                    stop,
                    place * BEGIN_APART_SECONDS if cycle.interval < SELDOM_SECONDS else 0,
                ),
                name=cycle.name,
            )
            for place, cycle in enumerate(in_order)
        ]
        await stop.wait()
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
