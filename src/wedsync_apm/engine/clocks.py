"""Watches what runs out while incidents are open: holds without a word, and promised updates."""

from datetime import datetime, timedelta

from wedsync_apm.config import Settings
from wedsync_apm.db.pool import Connection
from wedsync_apm.incidents.clocks import store
from wedsync_apm.incidents.clocks.store import Terms
from wedsync_apm.telemetry import Counter

EXPIRED = Counter("wedsync_apm_incidents_expired_total", "Holds that ran out without a word.")
LATE = Counter("wedsync_apm_incidents_late_updates_total", "Promised updates that did not come.")


async def run_once(cx: Connection, at: datetime) -> str:
    """One run over the timers that are due."""
    warned = await store.warn_holders(cx, at)
    late = await store.miss_promises(cx, at)
    expired = await store.expire_acknowledgements(cx, at)
    EXPIRED.inc(expired)
    LATE.inc(late)
    if not (warned or late or expired):
        return ""
    return f"{expired} expired, {warned} warned, {late} late"


class Surroundings:
    """What live incidents hit now, and which of them are one wedding's. Tells the database the
    terms of the settings first."""

    def __init__(self, settings: Settings) -> None:
        self._terms: Terms | None = Terms(
            _minutes(settings.hold_minutes_wedding),
            _minutes(settings.hold_minutes),
            _minutes(settings.promise_minutes_wedding),
            _minutes(settings.promise_minutes),
        )
        self._vendors = settings.shared_wedding_vendors
        self._within = timedelta(minutes=settings.shared_wedding_minutes)

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run."""
        if self._terms is not None:
            await store.write_terms(cx, self._terms)
            self._terms = None
        moved = await store.keep_current(cx, at)
        joined = await store.join_weddings(cx, at, vendors=self._vendors, within=self._within)
        return f"{moved} moved, {joined} joined" if moved or joined else ""


def _minutes(count: int) -> timedelta | None:
    return timedelta(minutes=count) if count else None
