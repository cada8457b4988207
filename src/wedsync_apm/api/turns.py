"""Accepting in turn, where several processes share their listening sockets.

A process with more open connections than another one leaves the next to it. Its own count is
exact when it looks, and the others' only grow while nobody hangs up; so connections that stay
are spread with a difference of one at most, however few they are. The sockets are the same for
all, so a connection that comes while a process is away is taken by another.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from wedsync_apm.api.patience import PatientProtocol
from wedsync_apm.board import Seat
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

LOOK_AGAIN_SECONDS: Final = 0.01
"""Until a process that is ahead looks whether the other one has taken the connection."""
NO_FILES_SECONDS: Final = 1.0
_NO_FILES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Connections(set[Any]):
    """uvicorn's set of open connections, which tells the others its size."""

    def __init__(self, seat: Seat) -> None:
        super().__init__()
        self._seat = seat
        self._coming = 0
        self._tell()

    def expect(self, count: int) -> None:
        """One was accepted, or did not come about after all (-1)."""
        self._coming += count
        self._tell()

    def add(self, protocol: Any) -> None:
        """A connection is there, or speaks another protocol now."""
        super().add(protocol)
        # A WebSocket takes the place of a connection that was there already.
        self._coming -= isinstance(protocol, PatientProtocol)
        self._tell()

    def discard(self, protocol: Any) -> None:
        """It is gone."""
        super().discard(protocol)
        self._tell()

    def remove(self, protocol: Any) -> None:
        """It is gone."""
        super().remove(protocol)
        self._tell()

    def _tell(self) -> None:
        self._seat.own.connections = len(self) + self._coming


class Turns:
    """Accepts on shared sockets when it is this process' turn; closed as a server of asyncio is."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        seat: Seat,
        connections: Connections,
        make_protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._sockets, self._seat, self._connections = sockets, seat, connections
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._coming: set[asyncio.Task[None]] = set()
        seat.own.beat()
        self._listen()

    def close(self) -> None:
        """Accepts no more, and the others do not wait for this process."""
        self._pause()
        self._seat.own.leave()

    async def wait_closed(self) -> None:
        """Until those that were accepted have become connections."""
        if self._coming:
            await asyncio.wait(self._coming)

    def _listen(self) -> None:
        self._timer = None
        for one in self._sockets:
            self._loop.add_reader(one.fileno(), self._accept, one)

    def _pause(self, seconds: float | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for one in self._sockets:
            self._loop.remove_reader(one.fileno())
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._listen)

    def _accept(self, listening: socket.socket) -> None:
        """One at a time: whose turn the next is, shows after it."""
        if self._seat.is_ahead:
            self._pause(LOOK_AGAIN_SECONDS)
            return
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # another process was faster, or the client has given up
        except OSError as exc:
            if exc.errno not in _NO_FILES:
                raise
            log.error("No connection can be accepted: %s", exc, extra={"action": "accept_failed"})
            self._pause(NO_FILES_SECONDS)
            return
        connection.setblocking(False)
        self._connections.expect(1)
        task = self._loop.create_task(self._hand_over(connection))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def _hand_over(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except Exception as exc:
            self._connections.expect(-1)
            connection.close()
            log.warning("A connection failed: %s", exc, extra={"action": "connection_failed"})
