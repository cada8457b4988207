"""A mail server that behaves as other people's servers do on their worst day."""

import asyncio
import base64
import ssl
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
    logins: list[str] = field(default_factory=list)
    """What came with AUTH PLAIN, which is offered over TLS only."""


@asynccontextmanager
async def worst_mail(
    tls: ssl.SSLContext | None = None, *, is_wrapped: bool = False
) -> AsyncIterator[WorstMail]:
    """The server for as long as the block runs; connections still open are cut at its end.

    With `tls` it offers STARTTLS, or, when wrapped, TLS from the start.
    """
    day = WorstMail()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, _EndedError):
                await _talk(day, reader, writer, None if is_wrapped else tls)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(
        serve, "127.0.0.1", 0, limit=2**20, ssl=tls if is_wrapped else None
    )
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


async def _talk(
    day: WorstMail,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    offered: ssl.SSLContext | None,
) -> None:
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
        word, _, rest = (await reader.readline()).decode("latin-1").strip().partition(" ")
        word = word.upper()
        if word in ("", "QUIT"):
            return
        is_private = writer.get_extra_info("ssl_object") is not None
        usual = {"DATA": "354 go on", "STARTTLS": "220 go on", "AUTH": "235 2.7.0 come in"}
        if word == "AUTH" and is_private and word not in day.replies:
            day.logins.append(base64.b64decode(rest.removeprefix("PLAIN ")).decode())
        if word == "EHLO" and offered is not None and not is_private:
            usual["EHLO"] = "250-worst.example\n250 STARTTLS"
        elif word == "EHLO" and is_private:
            usual["EHLO"] = "250-worst.example\n250 AUTH PLAIN"
        await say(word, usual.get(word, "250 2.0.0 fine"))
        if word == "STARTTLS" and offered is not None:
            await writer.start_tls(offered)
        if word == "DATA" and day.replies.get("DATA", "354").startswith("354"):
            day.mails.append(await reader.readuntil(b"\r\n.\r\n"))
            await say("body", "250 2.0.0 Ok: queued as 4Xz")
