"""Self-watch over a real connection: what is not taken is sent again, what is refused is not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wedsync_apm.selfwatch import watcher
from wedsync_apm.selfwatch.watcher import SelfWatch


class Receiver(ThreadingHTTPServer):
    """Answers with what the test wants and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 202
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: set[str | None] = set()
        self.changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def await_bodies(self, count: int) -> list[dict[str, Any]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.bodies) >= count, timeout=60)
            return list(self.bodies)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_GET(self) -> None:
        self._answer(200, b"# TYPE seen_total counter\nseen_total 3\n")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.authorizations.add(self.headers["Authorization"])
        status = self.server.status
        with self.server.changed:
            self.server.bodies.append(json.loads(body))
            self.server.changed.notify_all()
        self._answer(status, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def watch(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SelfWatch]:
    monkeypatch.setattr(watcher, "EVERY_SECONDS", 0.05)
    nobody = "host=127.0.0.1 port=1 connect_timeout=1"
    started = SelfWatch(
        url=receiver.url, key="secret", conninfo=nobody, data_dir=tmp_path, pids=dict
    )
    started.start()
    yield started
    started.stop()


@pytest.mark.usefixtures("watch")
def test_figures_come_with_the_key_also_while_the_database_is_away(receiver: Receiver) -> None:
    [first, *_] = receiver.await_bodies(1)
    names = {(one["service_name"], one["metric_name"]) for one in first["samples"]}
    assert {("host", "memory_percent"), ("wedsync_apm", "seen_total")} <= names
    assert "postgresql" not in {service for service, _ in names}
    assert receiver.authorizations == {"Bearer secret"}


@pytest.mark.parametrize(("status", "is_kept"), [(503, True), (429, True), (400, False)])
def test_what_may_be_sent_again_is(
    receiver: Receiver, watch: SelfWatch, status: int, is_kept: bool
) -> None:
    receiver.status = status
    before = len(receiver.await_bodies(1))
    bodies = receiver.await_bodies(before + 2)
    first, second = bodies[-2]["samples"], bodies[-1]["samples"]
    assert (second[: len(first)] == first) is is_kept
    receiver.status = 202
    before = len(receiver.bodies)
    last = receiver.await_bodies(before + 3)[-1]["samples"]
    assert len({one["timestamp"] for one in last}) == 1
