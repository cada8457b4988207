"""What the database calls the series that this process has met.

Asked on connections of its own, before a batch waits for its flush: new series cost the database
a hundred times what a sample costs, and whoever brings thousands of them must not hold up the
samples of the others. While statements run, what further batches need gathers; the next statement
takes some of each. There are two connections, so that the database has work while this process
makes the next statement.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wedsync_apm.errors import DatabaseAway, StorageFull
from wedsync_apm.ingest import store
from wedsync_apm.ingest.line import Line
from wedsync_apm.metrics.model import Ints, SeriesDirectory

try:
    from wedsync_apm.ingest.samples import are_known
except ImportError:  # no compiler was there when the product was installed
    from wedsync_apm.ingest.plain_samples import are_known

MOST_SERIES_AT_ONCE: Final = 1_000
"""Resolved by one statement: some 20 ms if all are new."""
MOST_SERIES_EACH: Final = 500
"""Of one batch in one statement, while others wait."""
RESOLVE_AGAIN_SECONDS: Final = 900.0
"""A series' id is asked for again after this long: it, or its organization, may be gone."""
ASK_AGAIN_SECONDS: Final = 10.0
"""A refused series is asked for again after this long: there may be room."""


@dataclass(slots=True, eq=False)
class _Wish:
    directory: SeriesDirectory
    handles: Ints
    done: asyncio.Future[None]
    is_suspect: bool = False
    """Something in one of several was not to the database's liking: each is asked for alone."""


class Resolver:
    """One per process; `run` must be running."""

    def __init__(self, lines: Sequence[Line], series_limit: int) -> None:
        self._lines, self._series_limit = lines, series_limit
        self._wishes: deque[_Wish] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    async def resolve(
        self, directory: SeriesDirectory, handles: Ints, *, older_than: float = 0.0
    ) -> None:
        """Returns when the directory knows all of these series, and none of them only from before
        `older_than` (monotonic seconds). Raises what `Line.open` raises."""
        now = time.monotonic()
        connected_at = max(line.connected_at for line in self._lines)
        # Another database may answer after a reconnect, one restored from a backup for example.
        older_than = max(now - RESOLVE_AGAIN_SECONDS, connected_at, older_than)
        if are_known(handles, directory.series_id_column, directory.resolved_at_column, older_than):
            return
        unknown = directory.unresolved(
            handles, older_than=older_than, refused_before=now - ASK_AGAIN_SECONDS
        )
        if not len(unknown):
            return
        if self._closed:
            raise _stopping()
        wish = _Wish(directory, unknown, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._wake.set()
        await wish.done

    async def run(self) -> None:
        """Asks until cancelled; then whoever waits is told so."""
        try:
            async with asyncio.TaskGroup() as asking:
                for line in self._lines:
                    asking.create_task(self._ask_on(line))
        finally:
            self._closed = True
            for wish in self._wishes:
                _fail(wish, _stopping())
            for line in self._lines:
                await line.close()

    async def _ask_on(self, line: Line) -> None:
        while True:
            while not self._wishes:
                self._wake.clear()
                await self._wake.wait()
            await self._ask(line)

    async def _ask(self, line: Line) -> None:
        """One statement for the first wishes, some series of each."""
        directory, parts = self._take()
        if not parts:
            return
        handles = np.unique(np.concatenate([part for _, part in parts]))
        try:
            async with line.open() as cx:
                # Before the answer: a crash after it may take back what was made, and whoever is
                # connected since then asks again.
                asked_at = time.monotonic()
                keys = [directory.keys[handle] for handle in handles.tolist()]
                ids = await store.resolve_series(
                    cx, keys, self._series_limit, prepared=line.is_prepared
                )
        except BaseException as exc:
            self._settle_failure(parts, exc)
            if not isinstance(exc, Exception):
                raise
            return
        directory.resolve(handles, ids, asked_at)
        for wish, _ in parts:
            if len(wish.handles):
                self._wishes.append(wish)
                self._wake.set()
            elif not wish.done.done():
                wish.done.set_result(None)

    def _take(self) -> tuple[SeriesDirectory, list[tuple[_Wish, Ints]]]:
        directory = self._wishes[0].directory
        each = MOST_SERIES_EACH if len(self._wishes) > 1 else MOST_SERIES_AT_ONCE
        parts: list[tuple[_Wish, Ints]] = []
        room = MOST_SERIES_AT_ONCE
        for _ in range(len(self._wishes)):
            wish = self._wishes.popleft()
            if wish.done.done():  # its sender has gone
                continue
            if not room or wish.directory is not directory or (wish.is_suspect and parts):
                self._wishes.append(wish)
                continue
            part, wish.handles = np.split(wish.handles, [min(room, each)])
            parts.append((wish, part))
            room = 0 if wish.is_suspect else room - len(part)
        return directory, parts

    def _settle_failure(self, parts: list[tuple[_Wish, Ints]], exc: BaseException) -> None:
        is_ours = isinstance(exc, DatabaseAway | StorageFull) or not isinstance(exc, Exception)
        for wish, part in parts:
            if is_ours or len(parts) == 1:
                _fail(wish, exc if isinstance(exc, Exception) else _stopping())
            else:
                wish.is_suspect, wish.handles = True, np.concatenate([part, wish.handles])
                self._wishes.append(wish)
                self._wake.set()


def _fail(wish: _Wish, exc: Exception) -> None:
    if not wish.done.done():
        wish.done.set_exception(exc)


def _stopping() -> DatabaseAway:
    return DatabaseAway("This process is stopping; nothing was stored.", retry_after=1.0)
