"""The ways to a live client: a WebSocket, or an answer that does not end.

Messages go straight to the transport, framed already: a coroutine for each would cost more than
the send itself (14 against 10 microseconds, and 48 with a queue and a task for each client). What
is not sent yet waits in the transport, and is bounded there. A client that does not read is told
so behind what he has not read, and cut when he does not go.
"""

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame as WebSocketFrame
from websockets.http11 import Request
from websockets.protocol import State

from wedsync_apm.live.model import End, Frame, as_chunk

LINE: Final = "wedsync_apm.line"
"""The extension of a WebSocket's scope in which its line is."""
TRANSPORT: Final = "wedsync_apm.transport"
"""The extension of an HTTP request's scope with its transport."""
MOST_WAITING_BYTES: Final = 64 * 1024
"""On top of what the kernel holds."""
KERNEL_BYTES: Final = 32 * 1024
"""The kernel doubles it. Left to itself it would hold megabytes for whoever does not read."""
SILENT_SECONDS: Final = 30
"""After so long without an answer to what was sent, the client's machine is gone."""
GOING_SECONDS: Final = 5.0
MOST_MESSAGE_BYTES: Final = 16 * 1024

# It would say each connection in a line.
_quiet = logging.getLogger("uvicorn.live")
_quiet.setLevel(logging.WARNING)


class LiveSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which takes messages without a coroutine and waits for no reader."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _quiet

    def handle_connect(self, event: Request) -> None:
        """The handshake has come."""
        super().handle_connect(event)
        if not self.close_sent:
            cast(Any, self.scope)["extensions"][LINE] = self
            bound(self.transport)

    def handle_close(self, event: WebSocketFrame) -> None:
        """The client ends, or agrees to end. What he did not read is not waited for."""
        super().handle_close(event)
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.loop.call_later(GOING_SECONDS, self.transport.abort)

    def push(self, frame: Frame) -> bool:
        """Hands a message to the network; False when too much waits there already."""
        if self.close_sent or self.transport.is_closing():
            return True
        self.transport.write(frame.websocket)
        return self.transport.get_write_buffer_size() <= MOST_WAITING_BYTES

    def end(self, end: End, retry_ms: int | None = None) -> None:
        """Says why, closes, and cuts the connection when the client does not close his side."""
        if self.close_sent or self.transport.is_closing() or self.conn.state is not State.OPEN:
            return
        self.push(bye(end, retry_ms))
        self.conn.send_close(end.code, end.reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": end.code})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(GOING_SECONDS, self.transport.abort)


class StreamLine:
    """Server-Sent Events. Until it is opened nothing is sent, so that an error can be an answer."""

    def __init__(self, transport: asyncio.Transport, task: "asyncio.Task[Any] | None") -> None:
        self._transport, self._task = transport, task
        self._held: list[bytes] | None = []
        self.ended: End | None = None

    def open(self) -> None:
        """The head of the answer is out; what was held follows."""
        bound(self._transport)
        held, self._held = self._held, None
        for chunk in held or ():
            self._transport.write(chunk)

    def push(self, frame: Frame) -> bool:
        """Hands a message to the network; False when too much waits there already."""
        if self._held is not None:
            self._held.append(frame.chunk)
            return True
        if self.ended is not None or self._transport.is_closing():
            return True
        self._transport.write(frame.chunk)
        return self._transport.get_write_buffer_size() <= MOST_WAITING_BYTES

    def end(self, end: End, retry_ms: int | None = None) -> None:
        """Says why and wakes whoever holds the request, to end the answer."""
        if self.ended is not None:
            return
        if self._held is None and not self._transport.is_closing():
            if retry_ms is not None:
                self._transport.write(as_chunk(b"retry: %d\n\n" % retry_ms))
            self.push(bye(end, retry_ms))
            asyncio.get_running_loop().call_later(GOING_SECONDS, self._cut)
            if self._task is not None:
                self._task.cancel()
        self.ended = end

    def _cut(self) -> None:
        # The connection may serve another request by now, if its client has read to the end.
        if self._transport.get_write_buffer_size():
            self._transport.abort()


def bye(end: End, retry_ms: int | None) -> Frame:
    """The last message: why, and after which pause to come again."""
    said: dict[str, Any] = {"code": end.code, "reason": end.reason}
    if retry_ms is not None:
        said["retry_ms"] = retry_ms
    return Frame("bye", None, said)


def bound(transport: asyncio.BaseTransport) -> None:
    """Bounds what the kernel holds for a client, and for how long it believes in him."""
    opened = transport.get_extra_info("socket")
    if opened is None:
        return
    with suppress(OSError, AttributeError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)
        if user_timeout is not None:
            opened.setsockopt(socket.IPPROTO_TCP, user_timeout, SILENT_SECONDS * 1000)
