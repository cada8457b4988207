"""An HTTP server that behaves as other people's servers do on their worst day.

The path says how: /status/503, /status/429/7 (with Retry-After: 7), /ok, /says/403/<words>, /huge,
/held, /slow-head, /slow-body, /drip, /reset, /close, /half, /garbage, /long-head, /redirect/3,
/to?<address>. Paths may go on after that, so that a test can hide a secret in them. Every request
that was read stands in `requests`. What is held has no answer: its connection ends when the test
says so.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came over the wire; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class WorstDay:
    """Where the server listens, and what it has seen."""

    port: int = 0
    scheme: str = "http"
    host: str = "127.0.0.1"
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    held: list[asyncio.Event] = field(default_factory=list)
    """For each request to /held, the oldest first: set, it ends."""
    holds: bool = True

    async def hang_up(self) -> None:
        """Cuts the connections that are open."""
        cut = list(self.serving)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)

    def release(self) -> None:
        """Ends what is held; what comes from now on is taken."""
        self.holds = False
        for one in self.held:
            one.set()

    def url(self, path: str) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{path}"


@asynccontextmanager
async def worst_day(
    tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1"
) -> AsyncIterator[WorstDay]:
    """The server for as long as the block runs; connections still open are cut at its end."""
    day = WorstDay(scheme="https" if tls else "http", host=host)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        day.connections += 1
        task = asyncio.current_task()
        assert task is not None
        day.serving.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                seen = await _read(reader)
                day.requests.append(seen)
                await _behave(day, seen, writer)
        except asyncio.CancelledError:
            pass
        finally:
            day.serving.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    day.port = server.sockets[0].getsockname()[1]
    try:
        yield day
    finally:
        server.close()
        await day.hang_up()


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (li.partition(":") for li in lines if li)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)


async def _behave(  # noqa: PLR0912
    day: WorstDay, seen: Seen, writer: asyncio.StreamWriter
) -> None:
    match seen.path.partition("?")[0].split("/")[1:]:
        case ["status", status, *rest]:
            extra = f"Retry-After: {unquote(rest[0])}\r\n" if rest else ""
            text = "" if status in ("204", "304") else "an answer"
            _head(writer, int(status), f"{extra}Content-Length: {len(text)}\r\n")
            writer.write(text.encode())
        case ["ok", *_]:
            _head(writer, 200, "Content-Length: 2\r\n")
            writer.write(b"ok")
        case ["says", status, words, *_]:
            body = unquote(words).encode()
            _head(writer, int(status), f"Content-Length: {len(body)}\r\n")
            writer.write(body)
        case ["huge", *_]:
            _head(writer, 200, "Content-Length: 104857600\r\n")
            for _ in range(1600):
                writer.write(b"x" * 65536)
                await writer.drain()
        case ["held", *_]:
            if day.holds:
                day.held.append(asyncio.Event())
                await day.held[-1].wait()
            else:
                _head(writer, 200, "Content-Length: 2\r\n")
                writer.write(b"ok")
        case ["slow-head", *_]:
            await asyncio.sleep(60)
        case ["slow-body", *_]:
            _head(writer, 200, "Content-Length: 2\r\n")
            await writer.drain()
            await asyncio.sleep(60)
        case ["drip", *_]:
            _head(writer, 200, "Content-Length: 1000\r\n")
            for _ in range(1000):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        case ["reset", *_]:
            writer.transport.abort()
        case ["close", *_]:
            pass
        case ["half", *_]:
            _head(writer, 200, "Content-Length: 1000\r\n")
            writer.write(b"half of it")
        case ["garbage", *_]:
            writer.write(b"\x16\x03\x01 I am not HTTP\r\n\r\n")
        case ["long-head", *_]:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(4000):
                writer.write(f"X-Filler-{number}: {'x' * 64}\r\n".encode())
            writer.write(b"\r\n")
        case ["redirect", "0", *_]:
            _head(writer, 200, "Content-Length: 4\r\n")
            writer.write(b"here")
        case ["redirect", left, *_]:
            _head(writer, 302, f"Location: /redirect/{int(left) - 1}\r\nContent-Length: 0\r\n")
        case ["to", *_]:
            target = unquote(seen.path.partition("?")[2])
            _head(writer, 307, f"Location: {target}\r\nContent-Length: 0\r\n")
        case _:
            _head(writer, 404, "Content-Length: 0\r\n")
    with suppress(ConnectionError):
        await writer.drain()


def _head(writer: asyncio.StreamWriter, status: int, headers: str) -> None:
    writer.write(f"HTTP/1.1 {status} Whatever\r\n{headers}Connection: close\r\n\r\n".encode())
