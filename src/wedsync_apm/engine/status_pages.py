"""Follows what public status pages show, and puts the news of it in line for their subscribers."""

from datetime import datetime
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.status import store
from wedsync_apm.telemetry import Counter

EVERY_SECONDS: Final = 5.0
TOLD = Counter(
    "wedsync_apm_status_page_messages_total", "Messages to subscribers of status pages, put in line"
)


async def run_once(cx: Connection, at: datetime) -> str:
    """One run."""
    told = await store.follow_status_pages(cx, at)
    if at.second < EVERY_SECONDS:
        await store.forget_status_asks(cx, at)
    TOLD.inc(told)
    return f"{told} messages" if told else ""
