"""Drills that are due by schedule begin, and those that are over end."""

from datetime import datetime

from wedsync_apm.db.pool import Connection
from wedsync_apm.drills import store


async def run_once(cx: Connection, at: datetime) -> str:
    """One run, as a whole or not at all."""
    ended = await store.end_drills(cx, at)
    started, held = await store.start_due(cx, at)
    if not (ended or started or held):
        return ""
    return f"{started} started, {held} held back, {ended} ended"
