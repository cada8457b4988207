"""Fills the rollups of one width from the samples that have come since."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import store
from wedsync_apm.telemetry import Counter

WRITTEN = Counter("wedsync_apm_rollup_buckets_total", "Rollup buckets written.", ("width",))

WIDTHS: Final = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
SLICES: Final = 8
"""Into so many parts the organizations are divided; the schema says which is whose."""
READERS: Final = tuple(
    f"rollup {int(width.total_seconds())} {number}"
    for width in WIDTHS.values()
    for number in range(SLICES)
)
"""The cursors of `aggregate_metrics`, one a width and slice."""
TIMEOUT_SECONDS: Final = 600.0
"""A week that was imported at one stroke is rolled up at one stroke, and that takes its time."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """The job for one width."""

    name: str

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run; late samples open their bucket again by themselves."""
        await store.limit_statements(cx, TIMEOUT_SECONDS)
        written = await store.aggregate_metrics(cx, WIDTHS[self.name])
        WRITTEN.inc(written, width=self.name)
        return f"{written} buckets"
