"""Handing one message to many without holding up the others.

A send costs the kernel some 10 microseconds: ten thousand in a row would be a tenth of a second in
which nothing else happens. So what many are to hear goes out in pieces, between which the loop
turns; and whoever gets something newer meanwhile gets what he waits for before it: no client ever
sees two messages in another order than they came.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from wedsync_apm.live.client import Client
from wedsync_apm.live.model import Frame
from wedsync_apm.telemetry import Counter

AT_ONCE: Final = 50

SENT = Counter("wedsync_apm_live_messages_total", "Messages handed to live connections")


@dataclass(slots=True, eq=False)
class _Spread:
    frame: Frame
    waiting: dict[Client, None]


class Fanout:
    """What is on its way to the clients of a process. `slow` is told who cannot keep up."""

    def __init__(self, slow: Callable[[Client], None]) -> None:
        self._slow = slow
        self._spreads: deque[_Spread] = deque()
        self._work = asyncio.Event()

    def give(self, frame: Frame, clients: Iterable[Client]) -> None:
        """At once to a few, in pieces to many."""
        hearers = list(clients)
        if len(hearers) <= AT_ONCE:
            for client in hearers:
                self._push(client, frame)
        else:
            self._spreads.append(_Spread(frame, dict.fromkeys(hearers)))
            self._work.set()

    def withdraw(self, client: Client) -> int | None:
        """What waits for him is not given. Returns the number of the first of that which is kept
        for those who come back."""
        numbers = []
        for spread in self._spreads:
            if client in spread.waiting:
                del spread.waiting[client]
                if spread.frame.number:
                    numbers.append(spread.frame.number)
        return min(numbers, default=None)

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._spreads:
                spread = self._spreads[0]
                for client in [one for one, _ in zip(spread.waiting, range(AT_ONCE), strict=False)]:
                    if client in spread.waiting:
                        self._deliver(spread, client)
                if not spread.waiting:
                    self._spreads.popleft()
                await asyncio.sleep(0)

    def _push(self, client: Client, frame: Frame) -> None:
        for spread in self._spreads:
            if client in spread.waiting:
                self._deliver(spread, client)
        self._hand_over(client, frame)

    def _deliver(self, spread: _Spread, client: Client) -> None:
        del spread.waiting[client]
        self._hand_over(client, spread.frame)

    def _hand_over(self, client: Client, frame: Frame) -> None:
        if client.is_gone:
            return
        SENT.inc()
        if not client.line.push(frame):
            self._slow(client)
