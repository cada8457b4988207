"""Takes write batches that have settled into packed rows, a day of an organization at a time.

Engines share the work: each day is claimed, done and committed by itself, so that a kill at any
moment leaves a day as it was or done.
"""

import time
from datetime import datetime, timedelta
from typing import Final

from psycopg.errors import SerializationFailure

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine.pace import Pace
from wedsync_apm.metrics.compaction.store import Compacted, compact_next, note_work, settle_blocks
from wedsync_apm.telemetry import Counter

SAMPLES = Counter("wedsync_apm_compacted_samples_total", "Samples taken out of write batches.")
BATCHES = Counter("wedsync_apm_compacted_batches_total", "Write batches compacted.")

SETTLED_AFTER: Final = timedelta(minutes=5)
"""Newer batches are left alone: their samples may still be sent again, or late."""
WAITS_AT_MOST: Final = timedelta(hours=1)
"""A day with few batches is compacted so often; it bounds how often samples are rewritten."""
MANY_BATCHES: Final = 1_000
"""A day with so many is compacted at once."""
RUN_SECONDS: Final = 20.0
"""Then the next tick goes on."""
TIMEOUT_SECONDS: Final = 600.0
MOST_STUCK: Final = 10
"""Days that nothing could be done for, while some transaction is still open; then it is enough."""


async def run_once(cx: Connection, at: datetime, pace: Pace | None = None) -> str:
    """One run, a day of an organization at each turn of the pace."""
    pace = pace or Pace(1.0)
    settled_id = await settle_blocks(cx, SETTLED_AFTER)
    await note_work(cx)
    finished: list[Compacted] = []
    stuck: list[Compacted] = []
    failures = 0
    ends = time.monotonic() + RUN_SECONDS
    while time.monotonic() < ends and failures + len(stuck) < MOST_STUCK:
        try:
            async with pace.turn():
                done = await compact_next(
                    cx,
                    settled_id,
                    noted_before=at - WAITS_AT_MOST,
                    blocks=MANY_BATCHES,
                    stuck=stuck,
                )
        except SerializationFailure:
            # Retention or an erasure was there first; what is left comes with the next tick.
            failures += 1
            continue
        if done is None:
            break
        (finished if done.batches else stuck).append(done)
        SAMPLES.inc(done.samples)
        BATCHES.inc(done.batches)
    if not finished:
        return ""
    samples = sum(done.samples for done in finished)
    batches = sum(done.batches for done in finished)
    return f"{samples} samples of {batches} batches compacted"
