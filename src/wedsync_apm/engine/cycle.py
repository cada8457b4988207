"""One job, again and again: what every cycle of the engine has in common.

A tick reads the clock once, from the database, and hands it to the job. An *exclusive* job runs
inside one transaction that holds an advisory lock, so that of many engines one does it and its
effects stand or fall together. A *shared* job gets a bare connection and leases its own rows.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from wedsync_apm.db.pool import Connection, Pool
from wedsync_apm.engine import store
from wedsync_apm.errors import WedSyncError
from wedsync_apm.telemetry import Counter, Gauge, Histogram, get_logger

log = get_logger(__name__)

RUNS = Counter("wedsync_apm_engine_runs_total", "Runs of each job by outcome.", ("job", "outcome"))
SECONDS = Histogram("wedsync_apm_engine_run_seconds", "How long runs take.", ("job",))
LAST_OK = Gauge(
    "wedsync_apm_engine_last_ok_timestamp_seconds", "When each job last ended well.", ("job",)
)

Job = Callable[[Connection, datetime], Awaitable[str]]
"""Does what is due at an instant, and says in a few words what it did; "" when that was nothing."""

RETRIES: Final = 3
LONGEST_PAUSE_SECONDS: Final = 5.0
NOTED_EVERY_SECONDS: Final = 3.0
"""Runs that end well are written down so often: health asks whether a job goes on, not each run."""


class Outcome(StrEnum):
    """How a tick ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"  # another engine had the job


@dataclass(slots=True, eq=False)
class Cycle:
    """A job and its rhythm, in seconds. A run over its timeout is broken off and has failed."""

    name: str
    interval: float
    run: Job
    timeout: float = 30.0
    is_exclusive: bool = True
    wake: asyncio.Event | None = None
    """Set by whoever knows that there is something to do before the next turn."""
    apart: float = 0.0
    """Runs that were woken begin at least so far apart, in seconds."""
    is_needed: Callable[[], bool] | None = None
    """Whether a turn is taken at all; without it every one is."""
    noted_at: float | None = None
    """When a run that ended well was last written down, by the monotonic clock."""

    def is_worth_noting(self) -> bool:
        """Whether the last run that was written down is some seconds ago, or failed."""
        return self.noted_at is None or time.monotonic() - self.noted_at >= NOTED_EVERY_SECONDS


async def run_forever(
    pool: Pool, cycle: Cycle, stop: asyncio.Event, begin_after: float = 0.0
) -> None:
    """Runs the cycle until `stop` is set, at first after some seconds; the run under way then is
    finished.

    A run that takes longer than the interval delays the next one, and none is made up for. After
    failures in a row the pause grows, to 5 seconds at most: somebody may be waiting to be called.

    A cycle that is woken after a quiet while runs at once. Woken again it rests for as long as the
    last run took, and begins no sooner than `apart` after the last run that was woken: under a
    stream of wakes one look finds what many have announced. Failures are not hurried.
    """
    failures = 0
    due = time.monotonic() + begin_after
    is_woken = False
    await _wait(stop, due)
    while not stop.is_set():
        if cycle.is_needed is not None and not cycle.is_needed():
            due = max(due + cycle.interval, time.monotonic())
            await _wait(stop, due)
            continue
        if cycle.wake is not None:
            # Before the run: what is committed while it looks wakes it once more.
            cycle.wake.clear()
        started = time.monotonic()
        outcome = await run_tick(pool, cycle)
        ended = time.monotonic()
        failures = failures + 1 if outcome is Outcome.FAILED else 0
        pause = min(cycle.interval * 2 ** min(failures, 10), LONGEST_PAUSE_SECONDS)
        due = max(due + max(cycle.interval, pause if failures else 0.0), ended)
        if cycle.wake is None or failures:
            await _wait(stop, due)
        else:
            rested = ended + (ended - started)
            if is_woken:
                rested = max(rested, started + cycle.apart)
            await _wait(stop, min(rested, due))
            is_woken = await _wait_for_either(stop, cycle.wake, due)
            if is_woken:
                # The rhythm goes on from here.
                due = min(due, time.monotonic())


async def _wait(stop: asyncio.Event, due: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(due - time.monotonic()):
            await stop.wait()


async def _wait_for_either(stop: asyncio.Event, wake: asyncio.Event, due: float) -> bool:
    """Until the one, the other or the time comes; whether it was the wake."""
    if stop.is_set() or wake.is_set():
        return wake.is_set()
    waiting = [asyncio.ensure_future(event.wait()) for event in (stop, wake)]
    try:
        await asyncio.wait(
            waiting, timeout=max(due - time.monotonic(), 0), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for one in waiting:
            one.cancel()
    return wake.is_set()


async def run_tick(pool: Pool, cycle: Cycle) -> Outcome:
    """One run; nothing that it raises gets past here but the end of the process."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(cycle.timeout):
            outcome = await _run_with_retries(pool, cycle)
    except Exception as exc:  # the barrier: one job's fault must not stop the others
        outcome = Outcome.FAILED
        await _record_failure(pool, cycle, started, exc)
    RUNS.inc(job=cycle.name, outcome=outcome.value)
    SECONDS.observe(time.perf_counter() - started, job=cycle.name)
    if outcome is Outcome.OK:
        LAST_OK.set(time.time(), job=cycle.name)
    return outcome


async def _run_with_retries(pool: Pool, cycle: Cycle) -> Outcome:
    for attempt in range(1, RETRIES + 1):
        try:
            run = _run_exclusive if cycle.is_exclusive else _run_shared
            return await run(pool, cycle)
        except psycopg.errors.Error as exc:
            # Class 40: the transaction lost against another one and may be tried again.
            if not (exc.sqlstate or "").startswith("40") or attempt == RETRIES:
                raise
        # Both losers of a deadlock must not meet again at the same moment.
        await asyncio.sleep(random.uniform(0.01, 0.1) * attempt)  # noqa: S311
    raise AssertionError("the last attempt returns or raises")


async def _run_exclusive(pool: Pool, cycle: Cycle) -> Outcome:
    async with pool.connection() as cx, cx.transaction():
        started = time.perf_counter()
        at = await store.take_turn(cx, cycle.name)
        if at is None:
            return Outcome.SKIPPED
        detail = await cycle.run(cx, at)
        is_noted = cycle.is_worth_noting()
        if is_noted:
            milliseconds = (time.perf_counter() - started) * 1000
            await store.record_run(
                cx, cycle.name, at, milliseconds, outcome=Outcome.OK.value, detail=detail
            )
    if is_noted:
        cycle.noted_at = time.monotonic()
    return Outcome.OK


async def _run_shared(pool: Pool, cycle: Cycle) -> Outcome:
    async with pool.connection() as cx:
        started = time.perf_counter()
        # One statement needs no transaction around it.
        await cx.set_autocommit(True)
        at = await store.read_clock(cx)
        await cx.set_autocommit(False)
        detail = await cycle.run(cx, at)
        if cycle.is_worth_noting():
            milliseconds = (time.perf_counter() - started) * 1000
            async with cx.transaction():
                await store.record_run(
                    cx, cycle.name, at, milliseconds, outcome=Outcome.OK.value, detail=detail
                )
            cycle.noted_at = time.monotonic()
    return Outcome.OK


async def _record_failure(pool: Pool, cycle: Cycle, started: float, exc: Exception) -> None:
    cycle.noted_at = None
    words = str(exc).partition("\n")[0] or type(exc).__name__
    is_away = isinstance(exc, PoolTimeout | TimeoutError | WedSyncError) or (
        isinstance(exc, psycopg.OperationalError) and exc.sqlstate is None
    )
    log.error(
        "The job %s failed: %s",
        cycle.name,
        words,
        extra={"action": "run_job", "job": cycle.name},
        # Of a database that is away the trace says nothing; of a defect it says everything.
        exc_info=None if is_away else exc,
    )
    try:
        async with asyncio.timeout(5), pool.connection(timeout=1) as cx, cx.transaction():
            at = await store.read_clock(cx)
            milliseconds = (time.perf_counter() - started) * 1000
            await store.record_run(
                cx, cycle.name, at, milliseconds, outcome=Outcome.FAILED.value, detail=words
            )
    except Exception as second:
        # Most likely for the same reason as the failure itself, which has been logged.
        log.debug("The failure was not recorded: %s", second, extra={"action": "record_run"})
