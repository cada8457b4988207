"""Many live connections in a process of their own: `python -m benchmarks.live_clients`.

The first line of standard input says what to open, as JSON (`Wanted`); when all have subscribed, a
line says so. Each further line is a command: `report PATH` writes what came and when, by the
machine's monotonic clock, which all of its processes share; `end` ends.

A connection is a protocol of asyncio that knows just enough of WebSockets (RFC 6455): what is
measured is the server, and a library would use more of the other core than it does.
"""

import asyncio
import base64
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import uvloop

CONNECT_SECONDS: Final = 120.0
AT_ONCE: Final = 200
SPARE_FILES: Final = 64


class Wanted(msgspec.Struct):
    """What to open. `tokens` has one connection each."""

    host: str
    port: int
    source: str
    """The address to connect from: each has some 28,000 ports."""
    topics: list[str]
    tokens: list[str]


class Report(msgspec.Struct):
    """What came. An arrival is the number of the connection, the name of the event (the id of its
    row, or its own), the organization, and the monotonic time in seconds."""

    arrivals: list[tuple[int, str, str | None, float]]
    subscribed: int
    heartbeats: int
    resyncs: int
    closed: dict[int, int]
    """Connections that the server ended, by code."""


class _Message(msgspec.Struct):
    type: str
    event_id: str | None = None
    id: str | None = None
    organization_id: str | None = None


_read = msgspec.json.Decoder(_Message).decode


class LimitTooLow(Exception):
    """So many connections need more open files than the machine allows."""


def make_room(files: int) -> None:
    """Raises the limit on open files as far as needed. Raises LimitTooLow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = files + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise LimitTooLow(
            f"{files} connections need {needed} open files, and the hard limit is {hard}."
            f" Raise it (ulimit -Hn {needed}, as an administrator), or ask for fewer."
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class Crowd:
    """All connections of the process, and what came to them."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.report = Report([], 0, 0, 0, {})
        self.ready = asyncio.Event()

    async def open(self) -> None:
        """Returns when all have subscribed. Raises OSError, TimeoutError."""
        loop = asyncio.get_running_loop()
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, token: str) -> None:
            async with gate:
                connection = Connection(self, number, token)
                await loop.create_connection(
                    lambda: connection,
                    self.wanted.host,
                    self.wanted.port,
                    local_addr=(self.wanted.source, 0),
                )
                await connection.begun

        async with asyncio.timeout(CONNECT_SECONDS), asyncio.TaskGroup() as tasks:
            for number, token in enumerate(self.wanted.tokens):
                tasks.create_task(one(number, token))


class Connection(asyncio.Protocol):
    """One WebSocket."""

    __slots__ = ("_crowd", "_head", "_number", "_rest", "_token", "_transport", "begun")

    def __init__(self, crowd: Crowd, number: int, token: str) -> None:
        self._crowd, self._number, self._token = crowd, number, token
        self._rest, self._head = b"", True
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        wanted = self._crowd.wanted
        self._transport.write(
            f"GET /api/v1/live HTTP/1.1\r\nHost: {wanted.host}:{wanted.port}\r\nUpgrade: websocket"
            f"\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13"
            "\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if self._head:
            head, ending, data = data.partition(b"\r\n\r\n")
            if not ending:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._fail(head.partition(b"\r\n")[0].decode())
                return
            self._head = False
            said = {"type": "subscribe", "topics": self._crowd.wanted.topics, "token": self._token}
            self._transport.write(masked_text(json.dumps(said).encode()))
        while (end := _frame_end(data)) is not None:
            start, stop = end
            if data[0] == 0x81:
                self._take(_read(data[start:stop]))
            elif data[0] == 0x88:
                code = int.from_bytes(data[start : start + 2], "big")
                closed = self._crowd.report.closed
                closed[code] = closed.get(code, 0) + 1
                self._fail(f"closed with {code}")
                return
            data = data[stop:]
        self._rest = data

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection is gone")

    def _take(self, message: _Message) -> None:
        report = self._crowd.report
        if message.type == "event":
            name = message.id or message.event_id or ""
            arrived = self._number, name, message.organization_id, time.monotonic()
            report.arrivals.append(arrived)
        elif message.type == "heartbeat":
            report.heartbeats += 1
        elif message.type == "resync":
            report.resyncs += 1
        elif message.type == "hello" and not self.begun.done():
            report.subscribed += 1
            self.begun.set_result(None)

    def _fail(self, why: str) -> None:
        self._transport.close()
        if not self.begun.done():
            self.begun.set_exception(ConnectionError(f"connection {self._number}: {why}"))


def masked_text(text: bytes) -> bytes:
    """A client's text frame; the mask is zeros, which is allowed and saves the work."""
    size = len(text)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


def _frame_end(data: bytes) -> tuple[int, int] | None:
    if len(data) < 2:
        return None
    start, size = 2, data[1] & 0x7F
    if size == 126:
        start, size = 4, int.from_bytes(data[2:4], "big")
    elif size == 127:
        start, size = 10, int.from_bytes(data[2:10], "big")
    return (start, start + size) if len(data) >= max(start + size, start) else None


async def _work() -> int:
    lines = asyncio.StreamReader(limit=2**26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    wanted = msgspec.json.decode(await lines.readline(), type=Wanted)
    crowd = Crowd(wanted)
    started = time.monotonic()
    failed: list[BaseException] = []
    try:
        make_room(len(wanted.tokens))
        await crowd.open()
    except* (LimitTooLow, OSError, TimeoutError) as group:
        failed += group.exceptions
    if failed:
        _say({"error": f"{type(failed[0]).__name__}: {failed[0]}"})
        return 1
    _say({"subscribed": crowd.report.subscribed, "seconds": time.monotonic() - started})
    while line := (await lines.readline()).decode().split():
        if line[0] == "report":
            _write(Path(line[1]), crowd.report)
            crowd.report.arrivals = []
            _say({"written": line[1]})
        else:
            break
    return 0


def _write(path: Path, report: Report) -> None:
    path.write_bytes(msgspec.json.encode(report))


def _say(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Until it is told to end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work())


if __name__ == "__main__":
    raise SystemExit(main())
