"""Serves the preview pages and the real static files, with the real headers."""

import base64
import hashlib
import json
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.browser import preview
from wedsync_apm.web import assets
from wedsync_apm.web.headers import ACK_HEADERS, PAGE_HEADERS
from wedsync_apm.web.views.shell import THEMES, Theme


class Handler(BaseHTTPRequestHandler):
    """`/p/<page>?theme=…`, `/charts/series`, `/static/…`; everything else is 404."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        name = url.path.removeprefix("/p/")
        asset = assets.load().by_url.get(url.path)
        if asset is not None:
            self._answer(200, asset.media_type, asset.body, {"cache-control": "immutable"})
        elif name in preview.PAGES:
            theme = cast("Theme", query["theme"]) if query.get("theme") in THEMES else "system"
            headers = ACK_HEADERS if name.startswith("ack") else PAGE_HEADERS
            self._answer(200, "text/html; charset=utf-8", preview.PAGES[name](theme), headers)
        elif url.path == "/charts/series":
            body = msgspec.json.encode(preview.chart_data(query.get("metric", "")))
            self._answer(200, "application/json", body, {})
        elif url.path == "/api/v1/live":
            self._keep_line()
        elif url.path == "/api/v1/events":
            self._answer(
                200, "text/event-stream", b"retry: 60000\n\nevent: hello\ndata: {}\n\n", {}
            )
        else:
            self._answer(404, "application/json", json.dumps({"path": url.path}).encode(), {})

    def _keep_line(self) -> None:
        """Takes a page's WebSocket, says hello, and nothing more until it is closed (RFC 6455)."""
        asked = self.headers.get("sec-websocket-key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        proof = hashlib.sha1(asked.encode(), usedforsecurity=False).digest()
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(proof).decode())
        self.end_headers()
        hello = b'{"type": "hello"}'
        self.close_connection = True
        with suppress(OSError):
            self.wfile.write(bytes([0x81, len(hello)]) + hello)
            while (heard := self.connection.recv(4096)) and heard[0] != 0x88:
                pass

    def _answer(self, status: int, kind: str, body: bytes, headers: Any) -> None:
        self.send_response(status)
        for key, value in {**headers, "content-type": kind, "content-length": len(body)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        # The browser may have gone on to the next page.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def start() -> ThreadingHTTPServer:
    """A server on a free loopback port; the caller runs `serve_forever` and shuts it down."""
    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)
