"""One connection that listens, and comes back when it is cut."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import psycopg
from psycopg import sql

from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
# A network that drops a connection silently is found after this long without a word.
KEEPALIVE_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 5.0
BURST: Final = 10
"""So many readings in quick succession are not yet a stream."""


async def listen(
    conninfo: str,
    channels: Sequence[str],
    on_notify: Callable[[str, str], Awaitable[None] | None],
    *,
    on_gap: Callable[[], Awaitable[None] | None] | None = None,
    on_state: Callable[[bool], None] | None = None,
    apart: float = 0.0,
) -> None:
    """Calls `on_notify(channel, payload)` for each notification until the task is cancelled.

    1. Connects (never through a transaction-mode pooler: LISTEN belongs to a session).
    2. After each connect but the first, calls `on_gap()`: what was said meanwhile is lost, and
       whoever follows must read the state anew.
    3. When the connection ends, waits 0.2 s, doubling up to 5 s, and starts again.
    4. `on_state(True)` is called as soon as nothing that is said can be missed, the first time
       too, and `on_state(False)` when that is over.

    While notifications stream in, they are read together every `apart` seconds: each reading costs
    more than what it reads. The first ones after a quiet while are read as they come.
    """
    pause, connected_before = FIRST_PAUSE_SECONDS, False
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                conninfo, autocommit=True, connect_timeout=5, prepare_threshold=None
            ) as cx:
                for channel in channels:
                    await cx.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                pause = FIRST_PAUSE_SECONDS
                if connected_before and on_gap is not None:
                    await _settle(on_gap())
                connected_before = True
                if on_state is not None:
                    on_state(True)
                await _follow(cx, on_notify, apart)
        except (psycopg.Error, TimeoutError) as exc:
            log.warning(
                "The listening connection was cut; trying again in %.1f s",
                pause,
                extra={"action": "listen_reconnect", "reason": type(exc).__name__},
            )
        if on_state is not None:
            on_state(False)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def _follow(
    cx: psycopg.AsyncConnection[tuple[object, ...]],
    on_notify: Callable[[str, str], Awaitable[None] | None],
    apart: float,
) -> None:
    credit, read_at = float(BURST), time.monotonic()
    while True:
        is_silent = True
        async for note in cx.notifies(timeout=KEEPALIVE_SECONDS, stop_after=1):
            is_silent = False
            await _settle(on_notify(note.channel, note.payload))
        if is_silent:
            async with asyncio.timeout(ANSWER_SECONDS):
                await cx.execute("select")
        elif apart > 0:
            now = time.monotonic()
            credit = min(credit + (now - read_at) / apart, BURST) - 1
            read_at = now
            if credit < 0:
                await asyncio.sleep(apart)


async def _settle(result: Awaitable[None] | None) -> None:
    if result is not None:
        await result
