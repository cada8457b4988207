"""How fast the work goes that nobody waits for."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


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
