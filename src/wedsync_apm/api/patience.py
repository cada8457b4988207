"""How long, and how much, the server listens to somebody who does not get to the point.

A connection costs a file and some memory for as long as it stands. uvicorn ends one that idles
after a request, but waits for ever for a request that comes a byte at a time.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wedsync_apm.telemetry import Counter

HEAD_SECONDS: Final = 20.0
"""From the connection, or the first byte of a further request, to the end of its headers."""
BODY_SECONDS: Final = 60.0
"""From the end of the headers to the end of the body: 32 MiB at 4.5 Mbit a second."""
MOST_HEAD_BYTES: Final = 64 * 1024

CUT = Counter(
    "wedsync_apm_http_connections_cut_total", "Connections that did not get to the point.", ("why",)
)


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on what a request may take until it is complete."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._wait(HEAD_SECONDS, "no request")

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

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._stop_waiting()
        super().on_message_complete()

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
