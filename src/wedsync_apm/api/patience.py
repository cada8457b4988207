"""How long, and how much, the server listens to somebody who does not get to the point.

A connection costs a file and some memory for as long as it stands. uvicorn ends one that idles
after a request, but waits for ever for a request that comes a byte at a time. And it tells the
connections that stand that the server ends, but not those that come to be in that moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from wedsync_apm.api.lines import TRANSPORT
from wedsync_apm.api.problems import MEDIA_TYPE, headers_of, problem_of
from wedsync_apm.errors import DatabaseAway
from wedsync_apm.telemetry import Counter

HEAD_SECONDS: Final = 20.0
"""From the connection, or the first byte of a further request, to the end of its headers."""
BODY_SECONDS: Final = 60.0
"""From the end of the headers to the end of the body: 32 MiB at 4.5 Mbit a second."""
ENDING_SECONDS: Final = 1.0
"""For the first request of a connection that was accepted as the server began to end."""
MOST_HEAD_BYTES: Final = 64 * 1024

CUT = Counter(
    "wedsync_apm_http_connections_cut_total", "Connections that did not get to the point.", ("why",)
)


class Standing(ServerState):
    """What the connections of a server have in common."""

    is_ending: bool = False
    """Every request that begins now is the last of its connection."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on what a request may take until it is complete."""

    server_state: Standing
    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        is_late = self.server_state.is_ending
        self._wait(ENDING_SECONDS if is_late else HEAD_SECONDS, "no request")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request."""
        if self._is_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_head and self._head_bytes > MOST_HEAD_BYTES:
            self._cut("endless headers")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._is_head, self._head_bytes = True, 0
        self._wait(HEAD_SECONDS, "slow headers")
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its body comes next."""
        self._is_head, self._head_bytes = False, 0
        self._wait(BODY_SECONDS, "slow body")
        super().on_headers_complete()
        cast(Any, self.scope)["extensions"] = {TRANSPORT: self.transport}
        if self.server_state.is_ending and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._stop_waiting()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """It goes on in another way, with limits of its own."""
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def _wait(self, seconds: float, why: str) -> None:
        self._stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._cut, why)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self, why: str) -> None:
        CUT.inc(why=why)
        self._stop_waiting()
        # Not close(): that would wait until the client has taken what it does not read.
        transport: Any = self.transport
        transport.abort()


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class UntilTheEnd:
    """Says to whoever waits longer than the server that it may send the same again.

    uvicorn cancels what is not done in its time of grace, and would answer 500: a defect, which
    some senders take as the end of the matter.
    """

    def __init__(
        self, inner: Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
    ) -> None:
        self._inner = inner

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        is_begun = scope["type"] != "http"

        async def noted(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await self._inner(scope, receive, noted)
        except asyncio.CancelledError:
            if is_begun:
                raise
            error = DatabaseAway(
                "This process has ended before the answer was there. Send the same again.",
                retry_after=1.0,
            )
            body = msgspec.json.encode(problem_of(error))
            headers = headers_of(error) | {
                "content-type": MEDIA_TYPE,
                "content-length": str(len(body)),
                "connection": "close",
            }
            await send(
                {
                    "type": "http.response.start",
                    "status": error.status,
                    "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
                }
            )
            await send({"type": "http.response.body", "body": body})
