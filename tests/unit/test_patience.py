"""The last connections of a server that ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn

from wedsync_apm.api import patience
from wedsync_apm.api.ingest.receive import Answer, Receive, Scope, Send
from wedsync_apm.api.patience import PatientProtocol, Standing

REQUEST = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await Answer(200, b"{}").go(send)


@asynccontextmanager
async def connected(
    standing: Standing,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(answer, lifespan="off", log_config=None)
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: PatientProtocol(config, standing, {}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


async def test_a_connection_goes_on_while_the_server_does() -> None:
    async with connected(Standing()) as (reader, writer):
        for _ in range(2):
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"connection: close" not in head
            assert await reader.readexactly(2) == b"{}"


async def test_a_request_to_a_server_that_ends_is_the_last_of_its_connection() -> None:
    standing = Standing()
    standing.is_ending = True
    async with connected(standing) as (reader, writer):
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in head
        assert await asyncio.wait_for(reader.read(), 60) == b"{}"


async def test_a_server_that_ends_does_not_wait_for_a_first_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "ENDING_SECONDS", 0.01)
    standing = Standing()
    standing.is_ending = True
    async with connected(standing) as (reader, _):
        with suppress(ConnectionError):  # cut, as it is meant to be
            assert await asyncio.wait_for(reader.read(), 60) == b""
        assert not standing.connections
