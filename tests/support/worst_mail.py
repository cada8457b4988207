"""A mail server that behaves as other people's servers do on their worst day."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class WorstMail:
    """Where it listens, what it does at which word, and what it was handed."""

    port: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    """The reply at a word (`connect`, EHLO, MAIL, RCPT, DATA, body); `reset` and `stall` act."""
    mails: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def worst_mail() -> AsyncIterator[WorstMail]:
    """The server for as long as the block runs; connections still open are cut at its end."""
    day = WorstMail()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, _EndedError):
                await _talk(day, reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    day.port = server.sockets[0].getsockname()[1]
    try:
        yield day
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _EndedError(Exception):
    pass


async def _talk(day: WorstMail, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def say(word: str, usual: str) -> None:
        reply = day.replies.get(word, usual)
        if reply == "reset":
            writer.transport.abort()
            raise _EndedError
        if reply == "stall":
            await asyncio.sleep(60)
        for line in reply.split("\n"):
            writer.write(f"{line}\r\n".encode())
        await writer.drain()

    await say("connect", "220 worst.example ready")
    while True:
        word = (await reader.readline()).decode("latin-1").split(" ")[0].strip().upper()
        if word in ("", "QUIT"):
            return
        await say(word, {"DATA": "354 go on"}.get(word, "250 2.0.0 fine"))
        if word == "DATA" and day.replies.get("DATA", "354").startswith("354"):
            day.mails.append(await reader.readuntil(b"\r\n.\r\n"))
            await say("body", "250 2.0.0 Ok: queued as 4Xz")
