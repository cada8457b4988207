"""A server that takes samples as ours does, and misbehaves as a test wants it to."""

import gzip
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CUT = "cut the connection instead of answering"


@dataclass
class Reply:
    """What to answer; without a body, what the product would say of samples that it stored."""

    status: int = 202
    body: dict[str, Any] | str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hangs_up: bool = False
    """Afterwards, without a word: as a server does with a connection that it has not heard of."""


@dataclass
class Request:
    """What came, and when by the monotonic clock."""

    samples: list[dict[str, Any]]
    headers: dict[str, str]
    path: str
    at: float


Behave = Callable[[Request], Reply | str]


@dataclass
class Receiver:
    """`requests` are all that came; `stored` what was answered with 202, as a database shows it."""

    behave: Behave = lambda _: Reply()
    requests: list[Request] = field(default_factory=list)
    stored: dict[tuple[str, str, str, int], float] = field(default_factory=dict)
    url: str = ""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, request: Request) -> Reply | str:
        """Notes a request and gives the answer."""
        reply = self.behave(request)
        with self._changed:
            self.requests.append(request)
            if reply == CUT or (isinstance(reply, Reply) and reply.status == 202):
                for sample in request.samples:
                    self.stored[identity(sample)] = sample["value"]
            self._changed.notify_all()
        return reply

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Waits until a request makes it true."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), (len(self.requests), self.stored)

    def values(self, metric: str) -> list[float]:
        """What is stored of a metric, in the order of time."""
        with self._changed:
            found = [(key[3], value) for key, value in self.stored.items() if key[1] == metric]
        return [value for _, value in sorted(found)]


def identity(sample: dict[str, Any]) -> tuple[str, str, str, int]:
    """The same sample, as the product sees it."""
    tags = json.dumps(sample["tags"], sort_keys=True)
    return sample["service_name"], sample["metric_name"], tags, sample["timestamp"]


def handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            samples = [json.loads(line) for line in gzip.decompress(body).splitlines()]
            reply = receiver.take(Request(samples, dict(self.headers), self.path, time.monotonic()))
            if isinstance(reply, str):
                self.close_connection = True
                return
            content = reply.body
            if content is None:
                content = {"status": reply.status, "detail": "as the test wants it"}
                if reply.status == 202:
                    content = {"accepted": len(samples), "rejected": 0, "errors": []}
            text = content if isinstance(content, str) else json.dumps(content)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())
            self.close_connection = reply.hangs_up

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has given up is part of some tests."""


@contextmanager
def receiving(
    receiver: Receiver, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """The receiver at `url` for as long as the block runs."""
    with _Server(("127.0.0.1", port), handler(receiver)) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            receiver.url = f"https://localhost:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
