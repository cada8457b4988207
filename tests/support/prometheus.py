"""The real Prometheus, as a judge: a server to ask the same of, and its `promtool`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmarks.peers import PeerMissing, find_peer, in_ci

from tests.support.ports import free_port


def find_program(name: str) -> Path:
    """`prometheus` or `promtool`; without them an error in CI, and "not measured" elsewhere."""
    try:
        return find_peer("prometheus").with_name(name)
    except PeerMissing as missing:
        if in_ci():
            raise
        pytest.skip(f"not measured: {missing}")


@asynccontextmanager
async def prometheus_server(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a fresh server that takes remote writes."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            find_program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            await _until_ready(client)
            yield client
    finally:
        process.terminate()
        await process.wait()


async def _until_ready(client: httpx.AsyncClient) -> None:
    for _ in range(1200):
        try:
            if (await client.get("/-/ready")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("Prometheus did not come up in 60 s")


@asynccontextmanager
async def with_key(url: str, key: str) -> AsyncIterator[str]:
    """The same server under another address, which adds the key: this promtool cannot send one."""
    host, _, port = url.removeprefix("http://").partition(":")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        back.write(await reader.readline() + f"Authorization: Bearer {key}\r\n".encode())
        back.write(b"Connection: close\r\n")
        requesting = asyncio.create_task(_pass_on(reader, back))
        await _pass_on(there, writer)
        requesting.cancel()
        back.close()
        writer.close()

    proxy = await asyncio.start_server(carry, "127.0.0.1", 0)
    async with proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def promtool(*arguments: str) -> tuple[int, str]:
    """Its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        find_program("promtool"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode()


def series_of(answer: Any) -> dict[str, list[tuple[float, float]]]:
    """The lines of a vector or matrix by their labels, with numbers for the texts."""
    return {
        json.dumps(line["metric"], sort_keys=True): [
            (at, float(value)) for at, value in line.get("values") or [line["value"]]
        ]
        for line in answer["data"]["result"]
    }
