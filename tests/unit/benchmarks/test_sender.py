"""The benchmarks' sender counts what was acknowledged, whatever a server does."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from benchmarks import sender
from benchmarks.answers import NotHTTP, read_answer
from benchmarks.sender import send
from benchmarks.workload import Body
from hypothesis import given
from hypothesis import strategies as st

FINE = b"HTTP/1.1 204 No Content\r\n\r\n"
SLOW_DOWN = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nslow"


@dataclass
class Plain:
    """A server that reads whole requests; `answer` gives the bytes for a body, or None to close."""

    answer: Callable[[bytes], bytes | None]
    bodies: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    under_way: int = 0
    most_under_way: int = 0
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def serving(self) -> Iterator["Plain"]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/write?db=apm"
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield self
            listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(ConnectionError), connection, connection.makefile("rb") as stream:
            while head := stream.readline():
                length = 0
                while (line := stream.readline()) not in {b"\r\n", b""}:
                    head += line
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                body = stream.read(length)
                with self._lock:
                    self.heads.append(head)
                    self.bodies.append(body)
                    self.under_way += 1
                    self.most_under_way = max(self.most_under_way, self.under_way)
                answer = self.answer(body)
                with self._lock:
                    self.under_way -= 1
                if answer is None:
                    return
                connection.sendall(answer)


def made(lanes: int, each: int) -> list[Body]:
    return [
        Body(lane, samples=10, data=f"{lane}/{number}".encode(), newest_ms=number)
        for number in range(each)
        for lane in range(lanes)
    ]


def test_all_is_acknowledged_once_over_as_many_connections_as_asked_for() -> None:
    with Plain(lambda body: FINE).serving() as server:
        bodies = made(lanes=20, each=30)
        sent = send(server.url, bodies, {"X-Key": "secret"}, connections=4)
    assert sorted(server.bodies) == sorted(body.data for body in bodies)
    assert server.connections == 4
    assert server.heads[0].startswith(b"POST /write?db=apm HTTP/1.1\r\n")
    assert b"X-Key: secret\r\n" in server.heads[0]
    assert (sent.acknowledged, sent.statuses, sent.samples_by_status) == (
        6000,
        {204: 600},
        {204: 6000},
    )
    assert len(sent.latencies) == 600
    assert 0 < max(sent.latencies) <= sent.seconds
    assert sent.cpu_seconds > 0
    assert not sent.faults
    assert not sent.is_cut_short


def test_a_lane_goes_out_in_order_and_never_twice_at_once() -> None:
    def answer(body: bytes) -> bytes:
        time.sleep(0.001)  # long enough for another connection to overtake
        return FINE

    with Plain(answer).serving() as server:
        send(server.url, made(lanes=3, each=40), {}, connections=8)
    assert server.connections == 3
    assert server.most_under_way <= 3
    for lane in range(3):
        own = [body for body in server.bodies if body.startswith(b"%d/" % lane)]
        assert own == [b"%d/%d" % (lane, number) for number in range(40)]


def test_what_is_refused_is_counted_and_not_acknowledged() -> None:
    with Plain(lambda body: SLOW_DOWN if body == b"1/2" else FINE).serving() as server:
        sent = send(server.url, made(lanes=4, each=5), {}, connections=2)
    assert sent.acknowledged == 190
    assert sent.statuses == {204: 19, 429: 1}
    assert sent.samples_by_status == {204: 190, 429: 10}
    assert sent.first_refusal == "429 b'slow'"
    assert server.connections == 2


def test_a_connection_that_is_closed_instead_of_an_answer_costs_its_body_alone() -> None:
    with Plain(lambda body: None if body == b"0/1" else FINE).serving() as server:
        sent = send(server.url, made(lanes=2, each=10), {}, connections=2)
    assert sent.acknowledged == 190
    assert sent.faults == {"closed": 1}
    assert not sent.is_cut_short


def test_an_answer_that_announces_the_end_is_counted_and_followed_by_a_new_connection() -> None:
    last = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with Plain(lambda body: last).serving() as server:
        sent = send(server.url, made(lanes=1, each=3), {}, connections=1)
    assert sent.acknowledged == 30
    assert not sent.faults
    assert server.connections >= 3


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() -> None:
    with Plain(lambda body: FINE + FINE if body == b"0/0" else FINE).serving() as server:
        sent = send(server.url, made(lanes=1, each=5), {}, connections=1)
    assert sent.statuses == {204: 5}
    assert sent.acknowledged == 50
    assert sent.faults == {"stray bytes": 1}


def test_bytes_that_are_no_answer_are_a_fault() -> None:
    with Plain(lambda body: b"SSH-2.0-x\r\n\r\n" if body == b"0/0" else FINE).serving() as server:
        sent = send(server.url, made(lanes=1, each=3), {}, connections=1)
    assert sent.acknowledged == 20
    assert sent.faults == {"NotHTTP": 1}


def test_it_gives_up_on_a_server_that_refuses_everything() -> None:
    with Plain(lambda body: SLOW_DOWN).serving() as server:
        sent = send(server.url, made(lanes=8, each=200), {}, connections=8)
    assert sent.acknowledged == 0
    assert sent.is_cut_short
    assert sender.MOST_FAILURES < sent.statuses[429] <= sender.MOST_FAILURES + 8


def test_it_ends_when_the_server_is_gone() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

    def take_one_and_go() -> None:
        connection, _ = listener.accept()
        listener.close()
        connection.recv(65536)
        connection.close()

    thread = threading.Thread(target=take_one_and_go)
    thread.start()
    sent = send(url, made(lanes=1, each=5), {}, connections=1)
    thread.join()
    assert sent.acknowledged == 0
    assert sent.is_cut_short
    assert sent.faults["not reached"] == 1


def test_it_ends_when_it_is_told_to_and_tells_of_each_acknowledgement() -> None:
    stop, seen = threading.Event(), []

    def hear(count: int) -> None:
        seen.append(count)
        if count == 7:
            stop.set()

    with Plain(lambda body: FINE).serving() as server:
        sent = send(
            server.url, made(lanes=2, each=500), {}, connections=2, stop=stop, on_answer=hear
        )
    assert sent.is_cut_short
    assert seen == list(range(1, len(sent.answers) + 1))
    assert 7 <= len(seen) <= 9


def test_a_body_larger_than_the_sockets_take_at_once_arrives_whole() -> None:
    large = Body(0, samples=1, data=bytes(range(256)) * 100_000)
    with Plain(lambda body: FINE).serving() as server:
        sent = send(server.url, [large], {}, connections=1)
    assert server.bodies == [large.data]
    assert sent.acknowledged == 1


def test_silence_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "SILENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        sent = send(url, made(lanes=1, each=1), {}, connections=1)
    assert sent.faults == {"silence": 1}
    assert sent.is_cut_short


CHUNKED = b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (FINE, 204),
        (SLOW_DOWN, 429),
        (CHUNKED, 400),
        (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 500),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200),
    ],
)
def test_an_answer_is_read_when_its_last_byte_is_there(received: bytes, status: int) -> None:
    assert all(read_answer(received[:end]) is None for end in range(len(received)))
    for more in (b"", b"HTTP/1.1 204"):
        answer = read_answer(received + more)
        assert answer is not None
        assert (answer.status, answer.size) == (status, len(received))


@given(st.binary())
def test_any_bytes_are_an_answer_or_none_yet_or_refused_by_name(received: bytes) -> None:
    try:
        answer = read_answer(b"HTTP/1.1 " + received)
    except NotHTTP:
        return
    assert answer is None or 0 <= answer.size <= len(received) + 9
