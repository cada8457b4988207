"""A connection to the database that is made when needed, and never waited for without end."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import psycopg

from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import DatabaseAway
from wedsync_apm.ingest import store

TIMEOUT_SECONDS: Final = 12.0
"""More than the role's statement_timeout: a server that lives has ended the statement by then."""
CUT_GRACE_SECONDS: Final = 2.0
"""After a cut connection the driver has failed by then, or is cancelled."""


class Line:
    """One connection of the role `apm_writer`, for one user at a time."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._cx: store.Connection | None = None
        self.connected_at = 0.0
        """By the monotonic clock. What was known before may be another database's."""
        self.is_prepared = False
        """Whether the server keeps the plan of what this connection does most."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[store.Connection]:
        """The connection, made if there is none, and cut when the block takes too long.

        Raises DatabaseAway for a database that is away or too slow, and what
        `wrap_database_errors` makes of the others. A connection that failed, or in whose use
        somebody was cancelled, is not used again.
        """
        try:
            async with self._time_limit():
                with wrap_database_errors():
                    yield await self._connection()
        except TimeoutError as exc:
            await self.close()
            raise DatabaseAway("The database took too long to answer.") from exc
        except BaseException as exc:
            if self._cx is not None and (self._cx.broken or not isinstance(exc, Exception)):
                await self.close()
            raise

    async def close(self) -> None:
        """Ends the connection at the socket, so that nobody waits for the server any more."""
        cx, self._cx = self._cx, None
        if cx is not None:
            _cut(cx)
            with suppress(Exception):
                await cx.close()

    async def _connection(self) -> store.Connection:
        if self._cx is None or self._cx.closed:
            self._cx = await store.connect(self._conninfo)
            self.connected_at = time.monotonic()
            self.is_prepared = await store.prepare(self._cx)
        return self._cx

    @asynccontextmanager
    async def _time_limit(self) -> AsyncIterator[None]:
        """Raises TimeoutError when the time is over.

        The connection is cut before anything is cancelled: a cancelled driver first asks the server
        to stop and waits for its answer, and a server that hangs has none.
        """
        is_over = False

        def end() -> None:
            nonlocal is_over
            is_over = True
            if self._cx is not None:
                _cut(self._cx)

        timer = asyncio.get_running_loop().call_later(TIMEOUT_SECONDS, end)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS + CUT_GRACE_SECONDS):
                yield
        except DatabaseAway as exc:
            if is_over:
                raise TimeoutError from exc
            raise
        finally:
            timer.cancel()


def _cut(cx: store.Connection) -> None:
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(cx.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
