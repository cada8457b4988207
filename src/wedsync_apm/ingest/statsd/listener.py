"""A UDP socket that belongs to one organization, and what comes through it.

UDP tells nobody anything: what arrives while this process is not there is lost, and so is what the
kernel has no room for. What is lost here, or can be told to be lost, is counted: for the operator
in the telemetry, for the organization among its refusals.
"""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from wedsync_apm.config import StatsdAddress
from wedsync_apm.errors import DatabaseAway, Forbidden, RateLimited, StorageFull, Unauthorized
from wedsync_apm.ingest.annotating import Annotate
from wedsync_apm.ingest.intake import Intake
from wedsync_apm.ingest.model import IngestGrant
from wedsync_apm.ingest.statsd.flushing import flush_decoder
from wedsync_apm.ingest.statsd.gathering import (
    DROPPED,
    MOST_BYTES,
    Gathered,
    Gatherer,
    parts_of,
)
from wedsync_apm.ingest.statsd.lines import read_datagram
from wedsync_apm.telemetry import Counter, Gauge, get_logger

log = get_logger(__name__)

LONGEST_DATAGRAM: Final = 65_535
READ_AT_ONCE: Final = 50
"""Datagrams between which others get their turn, if they have no more lines than the next."""
LINES_AT_ONCE: Final = 500
"""Each takes about 6 us."""
RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024
MOST_CELLS_AT_ONCE: Final = 5_000
"""Of a part of an interval; the figures of so many are below what a request may carry."""
OPEN_AGAIN_SECONDS: Final = 5.0
LAST_READS: Final = 200
"""More than a full buffer of datagrams of the usual size."""
LAST_FLUSH_SECONDS: Final = 5.0

DATAGRAMS = Counter(
    "wedsync_apm_statsd_datagrams_total",
    "Datagrams read; refused: the listener's key is not valid",
    ("listener", "outcome"),
)
LINES = Counter("wedsync_apm_statsd_lines_total", "Lines read", ("listener", "outcome"))
KERNEL_DROPS = Counter(
    "wedsync_apm_statsd_kernel_drops_total",
    "Datagrams that the kernel had no room for",
    ("listener",),
)
LOST = Counter(
    "wedsync_apm_statsd_lost_total",
    "Series of an interval that could not be stored in time",
    ("listener",),
)
IS_TAKING = Gauge(
    "wedsync_apm_statsd_is_taking",
    "1 while the socket is open and its key valid",
    ("listener",),
)

Admit = Callable[[Mapping[str, str]], Awaitable[IngestGrant]]


def _host_ms() -> int:
    return time.time_ns() // 1_000_000


class StatsdListener:
    """Use `listening`."""

    def __init__(
        self,
        address: StatsdAddress,
        intake: Intake,
        admit: Admit,
        annotate: Annotate,
        *,
        flush_seconds: float,
        clock_ms: Callable[[], int] = _host_ms,
    ) -> None:
        self._address, self._intake, self._admit, self._annotate = address, intake, admit, annotate
        self._interval_ms = max(int(flush_seconds * 1000), 1)
        self._clock_ms = clock_ms
        self._gatherer = Gatherer(clock_ms(), intake.limits.series)
        self._pending: deque[Gathered] = deque()
        self._pending_bytes = 0
        self._grant: IngestGrant | None = None
        self._is_refused = False
        self._socket: socket.socket | None = None
        self._drops = 0
        self._told = ""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._check_key()
                await self._listen()
                await self._check_key()
                await self.flush()
            except Exception:
                # Whatever it is: what comes next must go on being taken.
                log.exception("StatsD stumbled", extra={"action": "statsd_failed"})
                await asyncio.sleep(1)

    async def _listen(self) -> None:
        """Until the interval ends, whatever happens to the clock meanwhile."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + (self._interval_ms - self._clock_ms() % self._interval_ms) / 1000
        while (left := ends - loop.time()) > 0:
            self._open()
            await asyncio.sleep(min(left, OPEN_AGAIN_SECONDS) if self._socket is None else left)

    async def close(self) -> None:
        """Reads what has arrived, stores it, and gives the socket back."""
        if self._socket is not None:
            for _ in range(LAST_READS):  # and not for as long as somebody sends
                if not self._read_some():
                    break
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_FLUSH_SECONDS):
                await self.flush()
        self._shut()
        while self._pending:
            self._lose(self._take_pending(), "the database did not answer at the end")

    async def flush(self) -> None:
        """Ends the interval and stores all that waits, the oldest first."""
        self._count_drops()
        now = self._clock_ms()
        gathered = self._gatherer.finish(max(now // self._interval_ms * self._interval_ms, 1))
        if self._is_refused:
            LOST.inc(len(gathered), listener=self._address.name)  # it is nobody's any more
            return
        for part in parts_of(gathered, MOST_CELLS_AT_ONCE):
            if part or part.refused:
                self._pending.append(part)
                self._pending_bytes += part.size
        while self._pending_bytes > MOST_BYTES and len(self._pending) > 1:
            self._lose(self._take_pending(), "waited too long for the database")
        while self._pending and self._grant is not None:
            if not await self._store(self._pending[0], self._grant):
                return
            self._take_pending()

    async def _store(self, part: Gathered, grant: IngestGrant) -> bool:
        """Whether the part is done with, stored or not."""
        try:
            await self._intake.take(flush_decoder(part, self._annotate), b"", grant)
        except (DatabaseAway, StorageFull, RateLimited) as exc:
            self._tell("statsd_waits", f"waits: {exc.detail}")
            return False
        except Exception:
            log.exception(
                "An interval could not be stored", extra={"action": "statsd_flush_failed"}
            )
            self._lose(part, "could not be stored")
        else:
            self._told = ""
        return True

    def _take_pending(self) -> Gathered:
        done = self._pending.popleft()
        self._pending_bytes -= done.size
        return done

    def _lose(self, part: Gathered, why: str) -> None:
        """Gives a part up, but not what it has to say about lines that were not taken."""
        LOST.inc(len(part), listener=self._address.name)
        self._gatherer.refuse(DROPPED, why, len(part))
        for one in part.refused:
            self._gatherer.refuse(one.code, one.reason, one.count)
        self._tell("statsd_lost", f"lost {len(part)} series of an interval: {why}", always=True)

    async def _check_key(self) -> None:
        """Whether the key still lets anybody send; while that cannot be known, as before."""
        try:
            grant = await self._admit({"authorization": f"Bearer {self._address.key}"})
            if grant.organization_id is None:
                raise Forbidden("A platform key belongs to no organization.")
        except (Unauthorized, Forbidden) as exc:
            if not self._is_refused:
                self._tell("statsd_key_refused", f"takes nothing: {exc.detail}", always=True)
            self._grant, self._is_refused = None, True
            LOST.inc(sum(map(len, self._pending)), listener=self._address.name)
            self._pending.clear()
            self._pending_bytes = 0
        except DatabaseAway as exc:
            self._tell("statsd_waits", f"waits: {exc.detail}")
        else:
            self._grant, self._is_refused = grant, False
        taking = self._socket is not None and not self._is_refused
        IS_TAKING.set(float(taking), listener=self._address.name)

    def _open(self) -> None:
        """Opens the socket if it is not; another process that has the port may be gone by now."""
        if self._socket is not None:
            return
        host, port = self._address.host, self._address.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            opened.bind((host, port))
        except OSError as exc:
            opened.close()
            self._tell("statsd_not_open", f"cannot be opened, tries again: {exc.strerror}")
            return
        self._socket, self._drops = opened, 0
        # The kernel gives what it allows (net.core.rmem_max), and Linux tells the double of that.
        room = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        log.info(
            "StatsD on %s",
            self._address.name,
            extra={"action": "statsd_open", "receive_buffer_bytes": room},
        )
        IS_TAKING.set(float(not self._is_refused), listener=self._address.name)
        asyncio.get_running_loop().add_reader(opened.fileno(), self._read_some)

    def _shut(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        IS_TAKING.set(0, listener=self._address.name)

    def _read_some(self) -> bool:
        """Reads some datagrams; whether there may be more."""
        assert self._socket is not None  # noqa: S101 - the loop calls this for an open socket
        now = self._clock_ms()
        datagrams = taken = refused = 0
        is_empty = False
        while datagrams < READ_AT_ONCE and taken + refused < LINES_AT_ONCE and not is_empty:
            try:
                datagram = self._socket.recv(LONGEST_DATAGRAM)
            except OSError:
                is_empty = True
                continue
            datagrams += 1
            if self._is_refused:
                continue
            for line in read_datagram(datagram, is_dogstatsd=self._address.is_dogstatsd):
                if self._gatherer.take(line, now):
                    taken += 1
                else:
                    refused += 1
        name = self._address.name
        outcome = "refused" if self._is_refused else "taken"
        DATAGRAMS.inc(datagrams, listener=name, outcome=outcome)
        if taken:
            LINES.inc(taken, listener=name, outcome="taken")
        if refused:
            LINES.inc(refused, listener=name, outcome="refused")
        return not is_empty

    def _count_drops(self) -> None:
        if self._socket is None:
            return
        drops = kernel_drops(os.fstat(self._socket.fileno()).st_ino)
        if drops is not None and drops > self._drops:
            KERNEL_DROPS.inc(drops - self._drops, listener=self._address.name)
            reason = "is a datagram that the kernel had no room for"
            self._gatherer.refuse(DROPPED, reason, drops - self._drops)
            self._drops = drops

    def _tell(self, action: str, text: str, *, always: bool = False) -> None:
        """Logs a trouble once for as long as it is the same."""
        if always or text != self._told:
            log.warning("StatsD on %s %s", self._address.name, text, extra={"action": action})
        self._told = text


def kernel_drops(inode: int, tables: Iterable[Path] | None = None) -> int | None:
    """How many datagrams Linux has dropped for a socket; None where nobody tells."""
    for table in tables or (Path("/proc/net/udp"), Path("/proc/net/udp6")):
        with suppress(OSError, ValueError, IndexError):
            for line in table.read_text().splitlines()[1:]:
                columns = line.split()
                if int(columns[9]) == inode:
                    return int(columns[12])
    return None


@asynccontextmanager
async def listening(
    addresses: Iterable[StatsdAddress],
    intake: Intake,
    admit: Admit,
    annotate: Annotate,
    flush_seconds: float,
    *,
    clock_ms: Callable[[], int] = _host_ms,
) -> AsyncIterator[None]:
    """Listens for as long as the block runs; what has arrived by then is stored."""
    async with AsyncExitStack() as stack:
        for address in addresses:
            listener = StatsdListener(
                address, intake, admit, annotate, flush_seconds=flush_seconds, clock_ms=clock_ms
            )
            stack.push_async_callback(listener.close)
            task = asyncio.create_task(listener.run(), name=f"StatsD on {address.name}")
            stack.push_async_callback(_end, task)
        yield


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
