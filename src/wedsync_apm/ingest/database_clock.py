"""The database's clock, as a process that takes samples in keeps it.

A sample without a time of its own gets that of its arrival, and rules judge it by the database's
clock. So that is the clock it has to be of, whatever the host's shows.
"""

import asyncio
import time
from typing import Final

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import Pool, wrap_database_errors
from wedsync_apm.errors import WedSyncError
from wedsync_apm.ingest.store import Q
from wedsync_apm.telemetry import Gauge

EVERY_SECONDS: Final = 10.0
"""Between two questions: as long as two machines' quartz needs for a millisecond."""
SLOW_SECONDS: Final = 1.0
"""An answer that took longer tells less than the last one that did not."""
FIRST_SECONDS: Final = 2.0
"""So long is the first answer waited for."""

AHEAD = Gauge(
    "wedsync_apm_ingest_clock_ahead_seconds",
    "How far the clock of this machine is ahead of the database's",
)


class DatabaseClock:
    """What the database's clock shows: its last answer, and the time that has passed since by the
    monotonic clock, which nobody can set. The host's clock until there is an answer."""

    def __init__(self) -> None:
        self._ahead: float | None = None
        """Seconds by which the database's clock is ahead of the monotonic one."""

    def now_ms(self) -> int:
        """Whole milliseconds since 1970."""
        if self._ahead is None:
            return int(utcnow().timestamp() * 1000)
        return int((time.monotonic() + self._ahead) * 1000)

    async def ask(self, pool: Pool) -> None:
        """Sets it. Raises DatabaseAway."""
        found: list[tuple[float, float]] = []
        with wrap_database_errors():
            async with pool.connection() as cx:
                # The first question may bring along the beginning of a transaction.
                for _ in range(2):
                    asked = time.monotonic()
                    row = await (await cx.execute(Q.read_clock)).fetchone()
                    answered = time.monotonic()
                    if row is not None:
                        middle = (asked + answered) / 2
                        found.append((answered - asked, row["seconds"] - middle))
        took, ahead = min(found)
        if self._ahead is None or took < SLOW_SECONDS:
            self._ahead = ahead
            AHEAD.set(utcnow().timestamp() - (time.monotonic() + ahead))

    async def begin(self, pool: Pool) -> None:
        """Sets it before the first sample comes, if the database answers by then."""
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await self.ask(pool)
        except (WedSyncError, TimeoutError):
            return  # nothing can be stored before it answers, and then `follow` sets it

    async def follow(self, pool: Pool) -> None:
        """Keeps it set until it is cancelled; while the database is away it goes on as it was."""
        while True:
            try:
                await self.ask(pool)
            except WedSyncError:
                await asyncio.sleep(1)
            else:
                await asyncio.sleep(EVERY_SECONDS)
