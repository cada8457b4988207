"""Lets go what is past its term: whole partitions, then what shorter terms leave in them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.metrics.retention import store
from wedsync_apm.metrics.retention.model import Terms
from wedsync_apm.telemetry import Counter

DROPPED: Final = Counter("wedsync_apm_retention_partitions_total", "Partitions past their term.")
DELETED: Final = Counter("wedsync_apm_retention_rows_total", "Rows past their own term.")

EXPIRED_AT_ONCE: Final = 1_000
"""Organizations and levels of a run; the next run finds the others."""
TIMEOUT_SECONDS: Final = 300.0


@dataclass(slots=True)
class Retain:
    """The job.

    Partitions go in the first run in which they may. Rows of shorter terms, and series, go at the
    beginning of an hour: a minute's rollup expires each minute, and nobody waits for it.
    """

    terms: Terms = field(default_factory=Terms)
    most_days: int = 0
    """The platform's longest term, 0 for none."""
    _done: datetime | None = field(default=None, init=False)

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run."""
        terms = self.terms.within(self.most_days)
        raw, rollups = await store.find_longest_terms(cx, terms, self.most_days)
        dropped = await store.drop_partitions(cx, at, raw, rollups)
        shrunk = await store.shrink_partitions(cx)
        deleted = await self._delete(cx, terms, at, raw)
        DROPPED.inc(dropped)
        DELETED.inc(deleted)
        if not dropped + shrunk + deleted:
            return ""
        return f"{dropped} partitions dropped, {shrunk} shrunk, {deleted} rows deleted"

    async def _delete(self, cx: Connection, terms: Terms, at: datetime, longest_raw: int) -> int:
        hour = at.replace(minute=0, second=0, microsecond=0)
        if hour == self._done:
            return 0
        expired = await store.list_expired(
            cx, terms, self.most_days, hour, longest_raw=longest_raw, limit=EXPIRED_AT_ONCE
        )
        deleted = 0
        for one in expired:
            deleted += await store.delete_expired(cx, one)
        if len(expired) < EXPIRED_AT_ONCE:
            deleted += await store.delete_series(cx, terms, self.most_days, hour)
            self._done = hour
        return deleted
