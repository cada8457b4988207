"""Looks on the evening before a wedding whether everything is ready, and again while it is not."""

from datetime import datetime, timedelta
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.telemetry import Counter, get_logger
from wedsync_apm.weddings.readiness import store

log = get_logger(__name__)

REPORTS = Counter("wedsync_apm_readiness_reports_total", "Readiness reports made.", ("outcome",))

MADE_AT_ONCE: Final = 200
PLANNED_EVERY: Final = timedelta(minutes=1)
"""The whole calendar of these days is read for it: 0.8 s of a core for 5,000 weddings in a week."""


class Ready:
    """The job. It remembers when it last set the timers; what is due stands in them."""

    def __init__(self) -> None:
        self._planned_at: datetime | None = None

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run. A wedding whose report cannot be made costs no other one its own."""
        planned = 0
        # A clock that was put back plans at once.
        if self._planned_at is None or not timedelta() <= at - self._planned_at < PLANNED_EVERY:
            planned = await store.plan_readiness(cx, at)
            self._planned_at = at
        made = faults = 0
        for timer in await store.claim_due_timers(cx, at, MADE_AT_ONCE):
            try:
                async with cx.transaction():
                    report = await store.make_due_report(cx, timer, at)
            except Exception:  # the barrier: it is tried again later, behind those that wait now
                faults += 1
                await store.postpone_timer(cx, timer, at)
                log.exception(
                    "A readiness report could not be made",
                    extra={
                        "action": "make_report",
                        "organization_id": str(timer.organization_id),
                        "wedding_id": str(timer.wedding_id),
                    },
                )
            else:
                if report is not None:
                    made += 1
                    REPORTS.inc(outcome=report.outcome.value)
        return f"{planned} planned, {made} reports, {faults} failed"
