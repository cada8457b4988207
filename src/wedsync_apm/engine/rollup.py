"""Fills the rollups of one width from the samples that have come since."""

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine.pace import Pace
from wedsync_apm.metrics.ranges import WIDTHS as WIDTHS
from wedsync_apm.metrics.rollups.store import SLICES, cursor_name, fill_slice
from wedsync_apm.telemetry import Counter

WRITTEN = Counter("wedsync_apm_rollup_buckets_total", "Rollup buckets written.", ("width",))

READERS: Final = tuple(
    cursor_name(width, number) for width in WIDTHS.values() for number in range(SLICES)
)
"""The readers of the flushes: a cursor for each width and slice of the organizations."""
TIMEOUT_SECONDS: Final = 3600.0
"""A week that was imported at one stroke takes its time; what is done by then stays done."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """The job for one width, and for the narrower ones that it is built from."""

    name: str
    pace: Pace = field(default_factory=lambda: Pace(1.0))

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run; late samples open their buckets again by themselves.

        Slices that another engine has at that moment are left to it, and each run begins with
        another slice, so that several engines share the work.
        """
        written = busy = 0
        for number in random.sample(range(SLICES), SLICES):
            async with self.pace.turn():
                filled = await fill_slice(cx, number, WIDTHS[self.name])
            written += filled or 0
            busy += filled is None
        WRITTEN.inc(written, width=self.name)
        return f"{written} buckets" + (f", {busy} slices were busy" if busy else "")
