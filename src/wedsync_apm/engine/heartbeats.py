"""Opens an incident for each heartbeat that was not heard of in time.

Judged by when the database heard of it. After a pause of the engine's own, in which pings may have
been lost, what ran out meanwhile gets another minute.
"""

from datetime import datetime

from wedsync_apm.db.pool import Connection
from wedsync_apm.heartbeats import store
from wedsync_apm.telemetry import Counter, Histogram, get_logger

log = get_logger(__name__)

MISSED = Counter("wedsync_apm_heartbeats_missed_total", "Heartbeats that were not heard in time.")
LATENESS = Histogram(
    "wedsync_apm_heartbeats_lateness_seconds", "From a heartbeat's time-out to its incident.", ()
)


async def run_once(cx: Connection, at: datetime) -> str:
    """One run."""
    missed = await store.miss_heartbeats(cx, at)
    for one in missed:
        LATENESS.observe(one.overdue.total_seconds())
        log.info(
            "A heartbeat was missed",
            extra={
                "action": "miss_heartbeat",
                "organization_id": str(one.organization_id),
                "heartbeat_id": str(one.heartbeat_id),
                "incident_id": str(one.incident_id),
            },
        )
    MISSED.inc(len(missed))
    return f"{len(missed)} missed" if missed else ""
