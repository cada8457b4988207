"""The engine process: opens the pool, runs every cycle, and stops when it is told to."""

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from wedsync_apm.config import Settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.engine import compact, escalate, tidy
from wedsync_apm.engine.cycle import Cycle, run_forever
from wedsync_apm.engine.deliver import open_deliver
from wedsync_apm.engine.evaluate import Evaluator
from wedsync_apm.engine.pace import Pace
from wedsync_apm.engine.probe import Probe
from wedsync_apm.engine.retain import TIMEOUT_SECONDS as RETAIN_TIMEOUT_SECONDS
from wedsync_apm.engine.retain import Retain
from wedsync_apm.engine.rollup import TIMEOUT_SECONDS, Rollup
from wedsync_apm.metrics.retention.model import Terms
from wedsync_apm.organizations.secrets import load_keyring
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

POOL_SIZE: Final = 14
STOP_SECONDS: Final = 5.0
"""How long runs under way get to finish when the engine is told to stop."""
PROBES: Final = 3
"""Checks are made by so many at once, so that services that do not answer hold up few others."""
PROBE_TIMEOUT_SECONDS: Final = 75.0
"""Two tries of 30 s each, and room to write them down."""


async def run_engine(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Runs until SIGTERM, SIGINT or `stop`; runs under way get a moment to finish.

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
        policy = EgressPolicy.parse(settings.egress_allow)
        client = EgressClient(policy)
        stack.push_async_callback(client.aclose)
        own_client = EgressClient(policy.allowing(urlsplit(settings.local_url).netloc))
        stack.push_async_callback(own_client.aclose)
        cycles = list_cycles(settings, client, own_client)
        deliver = await stack.enter_async_context(
            open_deliver(pool, settings, load_keyring(settings))
        )
        cycles.append(Cycle("deliver", 0.5, deliver.run_once, is_exclusive=False))
        log.info("The engine runs %d jobs", len(cycles), extra={"action": "start_engine"})
        await run_cycles(pool, cycles, stop)
        log.info("The engine stops", extra={"action": "stop_engine"})


def list_cycles(settings: Settings, client: EgressClient, own_client: EgressClient) -> list[Cycle]:
    """Every job but the sending, with its rhythm."""
    factor, pace = settings.wedding_factor, Pace(settings.background_share)
    # Readers take the newest samples as they are, so nobody waits for these.
    rhythms = {"1m": 60.0, "5m": 300.0, "1h": 900.0, "1d": 3600.0}
    return [
        Cycle("evaluate", 1.0, Evaluator(factor).run_once),
        Cycle("escalate", 1.0, escalate.run_once),
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
        Cycle("tidy", 60.0, tidy.run_once),
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
                Probe(client, factor, own_client).run_once,
                timeout=PROBE_TIMEOUT_SECONDS,
                is_exclusive=False,
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


async def run_cycles(pool: Pool, cycles: list[Cycle], stop: asyncio.Event) -> None:
    """Runs all cycles side by side until `stop` is set; a run that then takes too long is broken
    off, which sets it back as a whole."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(run_forever(pool, cycle, stop), name=cycle.name) for cycle in cycles
        ]
        await stop.wait()
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
