"""Makes room ahead, and clears away what only had to last a while or lost its owner."""

from datetime import datetime
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import evaluate, rollup, store
from wedsync_apm.metrics.compaction import store as compaction
from wedsync_apm.telemetry import Gauge, get_logger

log = get_logger(__name__)

LATE_BYTES = Gauge(
    "wedsync_apm_default_partition_bytes",
    "Size of the partition for rows that no partition was made for in time; 0 when all is well.",
    ("partition",),
)

READERS: Final = (*evaluate.READERS, *rollup.READERS, compaction.READER)
"""Whoever follows the flushes: they are kept until all of them have passed."""


async def run_once(cx: Connection, at: datetime) -> str:
    """One run."""
    made = await store.make_partitions(cx, at)
    for name, size in (await store.measure_default_partitions(cx)).items():
        LATE_BYTES.set(size, partition=name)
        if size:
            log.error(
                "Rows came for a day that had no partition and lie in %s (%d bytes)",
                name,
                size,
                extra={"action": "tidy", "partition": name, "bytes": size},
            )
    flushes = await store.forget_flushes(cx, READERS, at)
    leftovers = await store.forget_leftovers(cx, at)
    orphans = await store.resolve_orphaned_incidents(cx, at)
    return (
        f"{made} partitions made, {flushes} flushes and {leftovers} leftovers removed, "
        f"{orphans} incidents of deleted rules ended"
    )
