"""Raises open incidents when a wedding begins, or is moved onto their day.

What was a warning on Thursday is critical at the altar, if its rule says so. It is never lowered: a
wedding that moves away leaves what people have been told, and the ladder slows down by itself.
"""

from datetime import datetime

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import store
from wedsync_apm.telemetry import Counter

RAISED = Counter("wedsync_apm_incidents_raised_total", "Open incidents that a wedding has come to.")


async def run_once(cx: Connection, at: datetime) -> str:
    """One run."""
    raised = await store.follow_weddings(cx, at)
    RAISED.inc(raised)
    return f"{raised} raised" if raised else ""
