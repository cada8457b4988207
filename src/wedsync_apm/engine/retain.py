"""Lets go what is past its term: whole partitions, then what shorter terms leave in them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.metrics.retention import store
from wedsync_apm.metrics.retention.model import Terms
from wedsync_apm.telemetry import Counter

DROPPED: Final = Counter("wedsync_apm_retention_partitions_total", "Partitions past their term.")
DELETED: Final = Counter("wedsync_apm_retention_rows_total", "Rows past their own term.")

ORGANIZATIONS_AT_ONCE: Final = 200
TIMEOUT_SECONDS: Final = 300.0
_FIRST: Final = UUID(int=0)


@dataclass(slots=True)
class Retain:
    """The job. Each run looks at some organizations and the next run at the following ones."""

    terms: Terms = field(default_factory=Terms)
    most_days: int = 0
    """The platform's longest term, 0 for none."""
    _after: UUID = field(default=_FIRST, init=False)

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run."""
        terms = self.terms.within(self.most_days)
        raw, rollups = await store.find_longest_terms(cx, terms, self.most_days)
        dropped = await store.drop_partitions(cx, at, raw, rollups)
        shrunk = await store.shrink_partitions(cx)
        some = await store.list_terms(cx, terms, self.most_days, self._after, ORGANIZATIONS_AT_ONCE)
        deleted = 0
        for owned in some:
            deleted += await store.delete_expired(cx, owned, at, raw)
            self._after = owned.organization_id
        if len(some) < ORGANIZATIONS_AT_ONCE:
            self._after = _FIRST
        DROPPED.inc(dropped)
        DELETED.inc(deleted)
        if not dropped + shrunk + deleted:
            return ""
        return f"{dropped} partitions dropped, {shrunk} shrunk, {deleted} rows deleted"
