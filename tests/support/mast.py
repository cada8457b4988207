"""What stands between a phone and us, and may fail."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

_REQUEST = re.compile(rb"(?m)^(?:GET|POST) (\S+) HTTP/1\.1\r$")
Signal = Literal["good", "none", "stuck"]


@dataclass(slots=True)
class Mast:
    """A TCP relay on a port of its own. `none` refuses; `stuck` takes and never answers."""

    server_port: int
    port: int = 0
    signal: Signal = "good"
    asked: Counter[str] = field(default_factory=Counter)
    """How often each path was asked for through it."""
    carried: Counter[str] = field(default_factory=Counter)
    """The bytes that have come back for each, headers too."""
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _back: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """The origin as the phone knows it."""
        return f"http://127.0.0.1:{self.port}"

    def set(self, signal: Signal) -> None:
        """As it is from now on, for what is under way too."""
        self.signal = signal
        if signal == "good":
            self._back.set()
            return
        self._back.clear()
        if signal == "none":
            for writer in list(self._open):
                writer.transport.abort()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.signal == "none":
            writer.transport.abort()
            return
        there, out = await asyncio.open_connection("127.0.0.1", self.server_port)
        self._open |= {writer, out}
        last = [""]
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(
                    self._pass(reader, out, last), self._pass(there, writer, last, is_back=True)
                )
        finally:
            self._open -= {writer, out}
            writer.close()
            out.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        last: list[str],
        *,
        is_back: bool = False,
    ) -> None:
        while data := await reader.read(65536):
            if self.signal == "stuck":
                await self._back.wait()
            if is_back:
                self.carried[last[0]] += len(data)
            else:
                for one in _REQUEST.findall(data):
                    last[0] = one.decode().partition("?")[0]
                    self.asked[last[0]] += 1
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


@asynccontextmanager
async def open_mast(server_port: int) -> AsyncIterator[Mast]:
    """A mast with a good signal."""
    mast = Mast(server_port)
    server = await asyncio.start_server(mast.relay, "127.0.0.1", 0)
    mast.port = server.sockets[0].getsockname()[1]
    try:
        yield mast
    finally:
        server.close()
        mast.set("none")
