"""The demo's business behind the whole server: pages, API and live events."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from tests.browser.stage import Stage
from tests.support.postgres import Database
from tests.support.serving import settings_for
from wedsync_apm import bootstrap
from wedsync_apm.api.lines import MOST_MESSAGE_BYTES, LiveSocket
from wedsync_apm.app import compose
from wedsync_apm.config import Settings
from wedsync_apm.simulate import demo

ALLOWED = ("127.0.0.0/8",)
"""Where the tests' own push service listens."""


def settings_of(database: Database, data_dir: Path) -> Settings:
    """Those of the server, and of a sender beside it."""
    return settings_for(database, data_dir, egress_allow=",".join(ALLOWED))


@contextlib.contextmanager
def open_whole(database: Database, data_dir: Path) -> Iterator[Stage]:
    """The server on a loopback port, in a thread of its own, until the end of the block."""
    bootstrap.prepare_platform(database.owner, data_dir, "http://127.0.0.1:1")
    demo.prepare(database.owner, data_dir)
    settings = settings_of(database, data_dir)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        listening.listen()
        servers: list[uvicorn.Server] = []

        async def serve() -> None:
            async with compose(settings) as composed:
                config = uvicorn.Config(
                    composed.application,
                    lifespan="off",
                    log_config=None,
                    ws=LiveSocket,
                    ws_max_size=MOST_MESSAGE_BYTES,
                    timeout_graceful_shutdown=1,
                )
                servers.append(uvicorn.Server(config))
                await servers[0].serve(sockets=[listening])

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        yield Stage(f"http://127.0.0.1:{port}", database.owner, data_dir)
        for server in servers:
            server.should_exit = True
        thread.join(60)
