"""How fast the work goes that nobody waits for."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine.cycle import Job


class Pace:
    """Turns that together take no more than a share of the time.

    Rolling up and compacting a flood of samples would take the cores from those who take the flood
    in. So one piece of such work is done at a time, and after it everybody rests for as long as
    keeps to the share. What is not rolled up yet is read from the samples themselves, so a delay
    costs a reader time and never an answer.
    """

    def __init__(self, share: float) -> None:
        """`share` is of one core: 0.25 rests three seconds after one of work."""
        if not 0 < share <= 1:
            raise ValueError(f"a share of the time lies above 0 and is at most 1, not {share}")
        self._rest = 1 / share - 1
        self._turn = asyncio.Lock()
        self._free_at = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A piece of work of a second or so, when its turn has come."""
        async with self._turn:
            await asyncio.sleep(self._free_at - time.monotonic())
            started = time.monotonic()
            try:
                yield
            finally:
                ended = time.monotonic()
                self._free_at = ended + (ended - started) * self._rest


class Rota:
    """Jobs of one kind side by side, of which one asks for work while there is none.

    They would all be told the same within the same second. As soon as one has found something, all
    ask again.
    """

    FRESH_SECONDS: Final = 0.9
    """For so long an answer that there is nothing to do is believed."""

    def __init__(self) -> None:
        self._idle_at: float | None = None

    def is_needed(self) -> bool:
        """Whether nobody has lately been told that there is nothing to do."""
        return self._idle_at is None or time.monotonic() - self._idle_at >= self.FRESH_SECONDS

    def taking(self, job: Job) -> Job:
        """The job, whose answers the others hear."""

        async def run_once(cx: Connection, at: datetime) -> str:
            said = await job(cx, at)
            self._idle_at = None if said else time.monotonic()
            return said

        return run_once
