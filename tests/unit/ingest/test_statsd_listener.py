import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from wedsync_apm.annotations.model import Annotation
from wedsync_apm.config import StatsdAddress, load_settings
from wedsync_apm.errors import ConfigurationError, DatabaseAway, RateLimited, WedSyncError
from wedsync_apm.ingest.annotating import NotKept
from wedsync_apm.ingest.intake import Intake
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decode, Decoded, IngestGrant
from wedsync_apm.ingest.statsd import listener as module
from wedsync_apm.ingest.statsd.listener import StatsdListener, kernel_drops
from wedsync_apm.metrics.model import SeriesDirectory


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("127.0.0.1:8125=k", (StatsdAddress("127.0.0.1", 8125, "k"),)),
        ("[::1]:8125=k", (StatsdAddress("::1", 8125, "k"),)),
        (
            "statsd://127.0.0.1:1=a=, dogstatsd://127.0.0.1:2=b",
            (StatsdAddress("127.0.0.1", 1, "a="), StatsdAddress("127.0.0.1", 2, "b", True)),
        ),
    ],
)
def test_addresses_are_read(given: str, expected: tuple[StatsdAddress, ...]) -> None:
    settings = load_settings({"WEDSYNC_APM_STATSD": given})
    assert settings.statsd == expected
    assert "=k" not in repr(settings)


def test_the_keys_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "statsd"
    file.write_text("127.0.0.1:8125=k\n")
    settings = load_settings({"WEDSYNC_APM_STATSD_FILE": str(file)})
    assert settings.statsd == (StatsdAddress("127.0.0.1", 8125, "k"),)


@pytest.mark.parametrize(
    "given",
    [
        "8125=tell-nobody",
        "localhost:8125=tell-nobody",
        "127.0.0.1:0=tell-nobody",
        "127.0.0.1:65536=tell-nobody",
        "127.0.0.1:8125",
        "127.0.0.1:8125=",
        "1.2.3:8125=tell-nobody",
        "udp://127.0.0.1:8125=tell-nobody",
        "127.0.0.1:8125=tell-nobody,127.0.0.1:8125=tell-nobody",
    ],
)
def test_what_is_no_address_stops_the_start_without_showing_the_key(given: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        load_settings({"WEDSYNC_APM_STATSD": given})
    assert "nobody" not in str(told.value)


@pytest.mark.skipif(not Path("/proc/net/udp").exists(), reason="Linux tells by /proc")
def test_datagrams_that_the_kernel_drops_are_known() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        inode = os.fstat(receiver.fileno()).st_ino
        assert kernel_drops(inode) == 0
        for _ in range(100):
            sender.sendto(bytes(500), receiver.getsockname())
        received = 0
        while True:
            try:
                receiver.recv(1000)
            except BlockingIOError:
                break
            received += 1
        assert kernel_drops(inode) == 100 - received
    assert kernel_drops(0xFFFFFFFFFF) is None


ORGANIZATION = UUID(int=7)
START = 1_795_000_003_000
"""Three seconds into an interval of ten."""


class Store:
    """In place of an intake: keeps what comes, or fails as it is told to."""

    def __init__(self) -> None:
        self.limits = IngestLimits()
        self.failure: WedSyncError | Exception | None = None
        self.stored: list[tuple[str, int, float]] = []
        self.refused: dict[str, int] = {}
        self.now_ms = START

    async def take(self, decode: Decode, body: bytes, grant: IngestGrant) -> None:
        arrival = Arrival(grant, SeriesDirectory(), self.limits, self.now_ms)
        done: Decoded = await decode(body, arrival)
        if self.failure is not None:
            raise self.failure
        batch = done.batch
        self.stored += [
            (batch.directory.keys[handle].metric_name, at, value)
            for handle, at, value in zip(
                batch.series.tolist(),
                batch.timestamps_ms.tolist(),
                batch.values.tolist(),
                strict=True,
            )
        ]
        for (_, reason), refusal in done.rejections.by_reason.items():
            self.refused[reason] = self.refused.get(reason, 0) + refusal.count


class Listening:
    """A listener on a socket of its own, whose time passes when it is told to."""

    def __init__(self, store: Store) -> None:
        self.store = store
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        self.key_fails: WedSyncError | None = None
        self.listener = StatsdListener(
            StatsdAddress("127.0.0.1", self.port, "k"),
            cast(Intake, store),
            self.admit,
            self.annotate,
            flush_seconds=10,
            clock_ms=lambda: store.now_ms,
        )
        self.task: asyncio.Task[None] | None = None
        self.noted: list[str] = []

    async def admit(self, headers: Mapping[str, str]) -> IngestGrant:
        assert headers == {"authorization": "Bearer k"}
        if self.key_fails is not None:
            raise self.key_fails
        return IngestGrant(ORGANIZATION)

    async def annotate(self, source: str, found: Sequence[Annotation]) -> Mapping[UUID, NotKept]:
        self.noted += [one.title for one in found]
        return {}

    async def __aenter__(self) -> "Listening":
        self.task = asyncio.create_task(self.listener.run())
        while not is_bound(self.port):
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: Any) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.listener.close()

    async def send(self, *datagrams: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            for datagram in datagrams:
                one.sendto(datagram, ("127.0.0.1", self.port))
        await asyncio.sleep(0.05)  # the loop reads what the kernel has already

    async def flush(self, after_seconds: int) -> None:
        self.store.now_ms += after_seconds * 1000
        await self.listener.flush()


def is_bound(port: int) -> bool:
    table = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in table)


async def test_intervals_have_the_time_of_their_beginning() -> None:
    async with Listening(store := Store()) as one:
        await one.send(b"a:1|c")
        await one.flush(7)
        await one.send(b"a:2|c")
        await one.flush(10)
        await one.flush(10)
        await one.send(b"a:3|c")
    begun = START + 7_000
    assert store.stored == [("a", START, 1), ("a", begun, 2), ("a", begun + 20_000, 3)]


@pytest.mark.parametrize("failure", [DatabaseAway(), RateLimited("too many", 5)])
async def test_intervals_wait_while_they_cannot_be_stored(failure: WedSyncError) -> None:
    async with Listening(store := Store()) as one:
        store.failure = failure
        await one.send(b"a:1|c\n_e{1,1}:t|x")
        await one.flush(7)
        await one.send(b"a:2|c")
        await one.flush(10)
        assert store.stored == []
        store.failure = None
        await one.flush(10)
        assert store.stored == [("a", START, 1), ("a", START + 7_000, 2)]
        assert set(one.noted) == {"t"}


async def test_the_oldest_intervals_go_when_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 3_000)
    async with Listening(store := Store()) as one:
        store.failure = DatabaseAway()
        for nth in range(6):
            await one.send(b"a%d:1|c\nbad" % nth)
            await one.flush(10)
        store.failure = None
        await one.flush(10)
        await one.flush(10)
    names = [name for name, _, _ in store.stored]
    assert names == [f"a{nth}" for nth in range(6)][-len(names) :]
    assert 0 < len(names) < 6
    assert store.refused == {"dropped": 6 - len(names), "invalid": 6}


async def test_an_interval_that_fails_for_good_costs_only_itself() -> None:
    async with Listening(store := Store()) as one:
        store.failure = ValueError("nobody expects this")
        await one.send(b"a:1|c")
        await one.flush(10)
        store.failure = None
        await one.send(b"b:1|c")
        await one.flush(10)
    assert [name for name, _, _ in store.stored] == ["b"]
    assert store.refused == {"dropped": 1}


async def test_a_process_goes_on_with_its_key_while_nobody_can_say_whether_it_is_valid() -> None:
    async with Listening(store := Store()) as one:
        one.key_fails = DatabaseAway()
        await one.send(b"a:1|c")
        await one.flush(10)
    assert [name for name, _, _ in store.stored] == ["a"]


async def test_what_the_kernel_drops_is_counted_for_the_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RECEIVE_BUFFER_BYTES", 4_096)
    async with Listening(store := Store()) as one:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(200):  # in one go: nobody reads meanwhile
                sender.sendto(b"a:1|c", ("127.0.0.1", one.port))
        await asyncio.sleep(0.05)
        await one.flush(10)
    ((_, _, counted),) = store.stored
    assert 0 < counted < 200
    assert store.refused == {"dropped": 200 - counted}
