"""Many people with their phones, in a process of their own: `python -m benchmarks.users_crowd`.

The first line of standard input says who they are, as JSON (`Crowd`). Each further line,
`run THINK SECONDS PATH`, lets all of them use the product for so long, each waiting `THINK`
seconds on average between two pages, and writes what they saw (`Seen`) to a file.
"""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from benchmarks.live_clients import make_room

PATIENCE_SECONDS: Final = 60.0
VISITS: Final = {"today": 45, "incidents": 20, "incident": 15, "dashboard": 15, "acknowledge": 5}
"""Of a hundred, what people open. A dashboard is its page and then its data."""


class Person(msgspec.Struct):
    """Who is signed in, and what is theirs."""

    token: str
    board: str
    incidents: list[str]


class Crowd(msgspec.Struct):
    """Everybody, and where the product is. `source` is the address they connect from."""

    host: str
    port: int
    source: str
    people: list[Person]


class Seen(msgspec.Struct):
    """What happened in one run: seconds by kind of request, and everything but a good answer."""

    seconds: dict[str, list[float]]
    bytes_received: int
    faults: dict[str, int]


class Phone:
    """One person's connection, opened again when the server has ended it."""

    def __init__(self, crowd: Crowd, person: Person, chance: random.Random) -> None:
        self._crowd, self._person, self._chance = crowd, person, chance
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._left = list(person.incidents)
        self.is_waiting = False

    async def use(self, think: float, until: float, seen: Seen) -> None:
        """Pages and thoughts, until it is over."""
        await asyncio.sleep(self._chance.uniform(0, think))
        while time.monotonic() < until:
            (kind,) = self._chance.choices(list(VISITS), VISITS.values())  # type: ignore[arg-type]
            if kind == "acknowledge" and not self._left:
                kind = "incidents"
            for name, method, path in self._requests(kind):
                await self._ask(name, method, path, seen)
            if time.monotonic() > until:
                return
            await asyncio.sleep(self._chance.expovariate(1 / think))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _requests(self, kind: str) -> list[tuple[str, str, str]]:
        board = f"/dashboards/{self._person.board}"
        if kind == "dashboard":
            return [("dashboard", "GET", board), ("dashboard data", "GET", f"{board}/feed")]
        if kind == "acknowledge":
            return [(kind, "POST", f"/api/v1/incidents/{self._left.pop()}/acknowledge")]
        path = {
            "today": "/",
            "incidents": "/incidents",
            "incident": f"/incidents/{self._chance.choice(self._person.incidents)}",
        }[kind]
        return [(kind, "GET", path)]

    async def _ask(self, name: str, method: str, path: str, seen: Seen) -> None:
        started, self.is_waiting = time.monotonic(), True
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                status, size = await self._answer(method, path)
        except (OSError, EOFError, TimeoutError, ValueError) as exc:
            self.close()
            fault = f"{name}: {type(exc).__name__}"
            seen.faults[fault] = seen.faults.get(fault, 0) + 1
            return
        finally:
            self.is_waiting = False
        seen.bytes_received += size
        if status != 200:
            fault = f"{name}: {status}"
            seen.faults[fault] = seen.faults.get(fault, 0) + 1
            return
        seen.seconds.setdefault(name, []).append(time.monotonic() - started)

    async def _answer(self, method: str, path: str) -> tuple[int, int]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self._crowd.host, self._crowd.port, local_addr=(self._crowd.source, 0)
            )
        reader, writer = self._streams
        token = self._person.token
        who = (
            f"Authorization: Bearer {token}"
            if method == "POST"
            else f"Cookie: wedsync_session={token}"
        )
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {self._crowd.host}:{self._crowd.port}\r\n{who}\r\n"
            "Accept: text/html,application/json\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
            f"{'Content-Length: 0' + chr(13) + chr(10) if method == 'POST' else ''}\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = await _read_body(reader, head)
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), len(head) + size


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> int:
    _, found, rest = head.partition(b"content-length:")
    if found:
        size = int(rest.partition(b"\r\n")[0])
        await reader.readexactly(size)
        return size
    size = 0
    while length := int(await reader.readline(), 16):
        await reader.readexactly(length + 2)
        size += length
    await reader.readline()
    return size


async def _run(phones: Sequence[Phone], think: float, seconds: float) -> Seen:
    seen = Seen({}, 0, {})
    until = time.monotonic() + seconds
    tasks = [asyncio.create_task(phone.use(think, until, seen)) for phone in phones]
    await asyncio.sleep(seconds)
    # Who thinks is sent home; who waits for an answer gets it.
    deadline = time.monotonic() + PATIENCE_SECONDS
    for task, phone in zip(tasks, phones, strict=True):
        if not phone.is_waiting:
            task.cancel()
    await asyncio.wait(tasks, timeout=max(deadline - time.monotonic(), 1))
    for task in tasks:
        task.cancel()
    return seen


async def _work() -> int:
    lines = asyncio.StreamReader(limit=2**28)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    crowd = msgspec.json.decode(await lines.readline(), type=Crowd)
    make_room(len(crowd.people))
    chance = random.Random(crowd.source)  # noqa: S311 - what people open next
    phones = [Phone(crowd, person, chance) for person in crowd.people]
    while line := (await lines.readline()).decode().split():
        _, think, seconds, path = line
        seen = await _run(phones, float(think), float(seconds))
        _write(Path(path), seen)
        sys.stdout.write("{}\n")
        sys.stdout.flush()
    return 0


def _write(path: Path, seen: Seen) -> None:
    path.write_bytes(msgspec.json.encode(seen))


def main(arguments: Sequence[str] | None = None) -> int:
    """Until standard input ends."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work())


if __name__ == "__main__":
    raise SystemExit(main())
