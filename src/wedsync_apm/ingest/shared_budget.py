"""The budget of samples per organization for several processes: token buckets in shared memory.

An open-addressing hash table that is made before the processes are forked. Nothing is locked: two
processes that look at the same bucket in the same microsecond may forget one request's samples,
or give a new organization one full bucket too many; no organization is ever charged for another.
"""

import mmap
import struct
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

ENTRIES: Final = 1 << 17
"""4 MiB, of which only what is used takes memory."""
_PROBES: Final = 32
_ENTRY: Final = struct.Struct("=QQdd")
_NOBODY: Final = (0, 0)


class SharedBudget:
    """As `SampleBudget`, over all processes that are forked after it was made."""

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = time.monotonic,
        entries: int = ENTRIES,
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._entries = entries
        self._table = mmap.mmap(-1, entries * _ENTRY.size)

    def take(self, organization_id: UUID, samples: int) -> float:
        """Seconds to wait before anything is taken; 0 means that the samples are taken now."""
        now = self._clock()
        number = organization_id.int
        key = number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF
        place, level = self._find(key, now)
        wait = 0.0
        if level <= 0:
            wait = max(-level / self._rate, 1 / self._rate)
        else:
            level -= samples
        if place is not None:
            _ENTRY.pack_into(self._table, place, *key, level, now)
        return wait

    def _find(self, key: tuple[int, int], now: float) -> tuple[int | None, float]:
        """Where the organization's bucket is, or may be, and how full it is.

        A bucket that is full again says no more than none at all, so its place may be taken. Where
        all around are in use (a table of organizations all of which have just sent), nobody is
        held to a budget that is not kept.
        """
        free: int | None = None
        start = hash(key)
        for probe in range(_PROBES):
            place = (start + probe) % self._entries * _ENTRY.size
            high, low, level, since = _ENTRY.unpack_from(self._table, place)
            level = min(self._burst, level + (now - since) * self._rate)
            if (high, low) == key:
                return place, level
            if (high, low) == _NOBODY:
                return (place if free is None else free), self._burst
            if free is None and level >= self._burst:
                free = place
        return free, self._burst
