"""Sends bodies made beforehand over keep-alive connections, and waits for each answer before the
next: what a server acknowledges is what is counted.

One thread and epoll, no HTTP library: on a machine that sender and server share, each microsecond
spent here would be missing there. What it does cost is measured and told. Bodies of one lane go
out in order and never two at once, as a shard of Prometheus sends.
"""

import gc
import selectors
import socket
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from benchmarks.answers import Answer, NotHTTP, read_answer
from benchmarks.workload import Body

MOST_FAILURES: Final = 100
"""Refused and unanswered requests before it gives up."""
SILENCE_SECONDS: Final = 120.0
"""Without any answer from any connection, before it gives up."""
_TICK_SECONDS: Final = 0.05


class Acknowledged(NamedTuple):
    """A body that was answered with 2xx: when, in seconds from the start, and after how many."""

    at: float
    latency: float
    body: Body


@dataclass(slots=True)
class Sent:
    """What was acknowledged, how long it took, and what else happened."""

    answers: list[Acknowledged] = field(default_factory=list)
    started: float = 0.0
    """By time.perf_counter."""
    seconds: float = 0.0
    """From the first request to the last acknowledgement."""
    cpu_seconds: float = 0.0
    """Of this thread."""
    statuses: Counter[int] = field(default_factory=Counter)
    samples_by_status: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    """Requests without a proper answer; nobody knows whether their samples are stored."""
    first_refusal: str = ""
    is_cut_short: bool = False
    """Not everything was sent: too many failures, nobody listening, or asked to stop."""

    @property
    def acknowledged(self) -> int:
        """Samples in bodies that were answered with 2xx."""
        return sum(answer.body.samples for answer in self.answers)

    @property
    def latencies(self) -> list[float]:
        """Of acknowledged requests, in seconds, in order of their answers."""
        return [answer.latency for answer in self.answers]


def send(
    url: str,
    bodies: Sequence[Body],
    headers: Mapping[str, str],
    connections: int = 8,
    *,
    stop: Event | None = None,
    on_answer: Callable[[int], None] | None = None,
) -> Sent:
    """Sends everything once. What is refused or unanswered is counted, never sent again.

    `on_answer` is told after each acknowledgement how many there have been.
    """
    sender = _Sender(url, bodies, headers)
    return sender.run(connections, stop or Event(), on_answer or (lambda count: None))


class _Connection:
    """At most one request is under way on it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.socket.setblocking(False)
        self.body: Body | None = None
        self.asked_at = 0.0
        self.received = b""
        self.unsent = memoryview(b"")

    def ask(self, body: Body, head: bytes) -> None:
        self.body, self.received, self.asked_at = body, b"", time.perf_counter()
        try:
            sent = self.socket.sendmsg((head, body.data))
        except BlockingIOError:
            sent = 0
        if sent < len(head) + len(body.data):
            self.unsent = memoryview(head + body.data)[sent:]

    def flush(self) -> None:
        self.unsent = self.unsent[self.socket.send(self.unsent) :]


class _Sender:
    def __init__(self, url: str, bodies: Sequence[Body], headers: Mapping[str, str]) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port or 80)
        path = f"{address.path}?{address.query}" if address.query else address.path
        first = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        fixed = first + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._heads = {
            length: f"{fixed}Content-Length: {length}\r\n\r\n".encode()
            for length in {len(body.data) for body in bodies}
        }
        self._waiting = deque(bodies)
        self._held: defaultdict[int, deque[Body]] = defaultdict(deque)
        """Bodies whose lane was under way when their turn came."""
        self._busy: set[int] = set()
        self._lanes = len({body.lane for body in bodies})
        self._sent, self._started = Sent(), 0.0
        self._selector = selectors.DefaultSelector()

    def run(self, connections: int, stop: Event, on_answer: Callable[[int], None]) -> Sent:
        sent = self._sent
        self._on_answer = on_answer
        with self._selector, _without_collector():
            opened = [self._open() for _ in range(min(connections, self._lanes))]
            cpu = time.thread_time()
            self._started = sent.started = time.perf_counter()
            for connection in opened:
                self._go_on(connection, freed=None)
            heard_at = self._started
            while self._busy and not sent.is_cut_short:
                events = self._selector.select(_TICK_SECONDS)
                if events:
                    heard_at = time.perf_counter()
                elif time.perf_counter() - heard_at > SILENCE_SECONDS:
                    self._fail("silence", f"no answer for {SILENCE_SECONDS:.0f} s")
                    break
                for key, mask in events:
                    self._handle(key.data, mask)
                if stop.is_set():
                    sent.is_cut_short = True
            for key in list(self._selector.get_map().values()):
                key.data.socket.close()
            sent.cpu_seconds = time.thread_time() - cpu
            sent.seconds = max((answer.at for answer in sent.answers), default=0.0)
            sent.is_cut_short |= bool(self._busy or self._waiting or any(self._held.values()))
        return sent

    def _next(self, freed: int | None) -> Body | None:
        if freed is not None and self._held[freed]:
            return self._held[freed].popleft()
        while self._waiting:
            body = self._waiting.popleft()
            if body.lane not in self._busy:
                return body
            self._held[body.lane].append(body)
        return None

    def _open(self) -> _Connection:
        connection = _Connection(self._address)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def _close(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _go_on(self, connection: _Connection, freed: int | None) -> None:
        """Sends the next body; without one the connection has done its part."""
        body = None if self._sent.is_cut_short else self._next(freed)
        if body is None:
            self._close(connection)
            return
        self._busy.add(body.lane)
        try:
            connection.ask(body, self._heads[len(body.data)])
        except OSError as exc:
            self._start_anew(connection, type(exc).__name__, str(exc))
            return
        if connection.unsent:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(connection.socket, both, connection)

    def _handle(self, connection: _Connection, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                connection.flush()
                if not connection.unsent:
                    self._selector.modify(connection.socket, selectors.EVENT_READ, connection)
            if not mask & selectors.EVENT_READ:
                return
            received = connection.socket.recv(65536)
            if not received:
                self._start_anew(connection, "closed", "closed instead of an answer")
                return
            connection.received += received
            answer = read_answer(connection.received)
        except BlockingIOError:
            return
        except (OSError, NotHTTP) as exc:
            self._start_anew(connection, type(exc).__name__, str(exc))
            return
        if answer is not None:
            self._take(connection, answer)

    def _take(self, connection: _Connection, answer: Answer) -> None:
        now, body = time.perf_counter(), connection.body
        assert body is not None  # noqa: S101 - an idle connection is closed at once
        self._sent.statuses[answer.status] += 1
        self._sent.samples_by_status[answer.status] += body.samples
        if 200 <= answer.status < 300:
            self._sent.answers.append(
                Acknowledged(now - self._started, now - connection.asked_at, body)
            )
            self._on_answer(len(self._sent.answers))
        else:
            self._refused(f"{answer.status} {answer.text[:300]!r}")
        if connection.unsent:  # answered before it had read everything: not a place to go on at
            self._start_anew(connection, "early answer", "answered before the body was sent")
        elif answer.size != len(connection.received):
            self._start_anew(connection, "stray bytes", "more bytes than one answer")
        elif answer.is_last:
            self._start_anew(connection, None, "")
        else:
            self._busy.discard(body.lane)
            self._go_on(connection, freed=body.lane)

    def _start_anew(self, connection: _Connection, fault: str | None, text: str) -> None:
        """Over a new connection; the body under way, if any, is given up."""
        if fault is not None:
            self._fail(fault, text)
        freed = connection.body.lane if connection.body is not None else None
        self._close(connection)
        if freed is not None:
            self._busy.discard(freed)
        if self._sent.is_cut_short:
            return
        try:
            new = self._open()
        except OSError as exc:
            self._fail("not reached", str(exc))
            self._sent.is_cut_short = True
            return
        self._go_on(new, freed)

    def _fail(self, fault: str, text: str) -> None:
        self._sent.faults[fault] += 1
        self._refused(f"{fault}: {text}")

    def _refused(self, text: str) -> None:
        self._sent.first_refusal = self._sent.first_refusal or text
        refused = sum(n for status, n in self._sent.statuses.items() if not 200 <= status < 300)
        if refused + self._sent.faults.total() > MOST_FAILURES:
            self._sent.is_cut_short = True


@contextmanager
def _without_collector() -> Iterator[None]:
    """Hundred thousands of bodies are in memory, and none becomes garbage meanwhile."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
