"""Providers that take our messages and fail on demand: a mail server, a receiver of webhooks and a
telephone company of Twilio's kind. Each notes what it took, when, and for whom; a mail or a hook is
taken when its last answer has been written, a text when it is listed.
"""

import base64
import hmac
import json
import random
import re
import socketserver
import threading
import time
import urllib.parse
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

MAIL, HOOKS, PHONE = "mail", "hooks", "phone"
KINDS: Final = (MAIL, HOOKS, PHONE)
REFUSE, ERROR, SLOW = "refuse", "error", "slow"
FAULTS: Final = (REFUSE, ERROR, SLOW)
SLOW_SECONDS: Final = 12.0
"""Longer than a sender waits."""
TOKEN: Final = "soak-7d8f0a2b4c6e"  # noqa: S105 - of a provider that does not exist
ACCOUNT: Final = "AC0000000000000000000000000000soak"


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that a provider has accepted."""

    at: float
    """Seconds of the epoch."""
    provider: str
    address: str
    text: str
    key: str
    """What is the same for a repeat of the same message, where the protocol has such a thing."""


@dataclass(slots=True)
class Outage:
    """A provider out of order."""

    provider: str
    fault: str
    began: float
    ended: float = float("inf")


@dataclass(slots=True)
class Book:
    """What was taken, and what was out of order when."""

    taken: list[Taken] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, provider: str) -> str | None:
        """How a provider fails at this moment; None when it works."""
        with self._lock:
            return next(
                (
                    one.fault
                    for one in self.outages
                    if one.provider == provider and one.ended == float("inf")
                ),
                None,
            )

    def begin(self, provider: str, fault: str) -> None:
        """Out of order from now on."""
        with self._lock:
            self.outages.append(Outage(provider, fault, time.time()))

    def end(self, provider: str) -> None:
        """In order again."""
        with self._lock:
            for one in self.outages:
                if one.provider == provider:
                    one.ended = min(one.ended, time.time())

    def take(self, provider: str, address: str, text: str, key: str) -> None:
        """Accepted now."""
        with self._lock:
            self.taken.append(Taken(time.time(), provider, address, text, key))


class Providers:
    """All three, on loopback, for as long as the block runs."""

    def __init__(self) -> None:
        self.book = Book()
        self._mail = _MailServer(("127.0.0.1", 0), _Mail)
        self._mail.book = self.book
        self._web = _WebServer(("127.0.0.1", 0), _Web)
        self._web.book, self._web.texts = self.book, []
        self.mail_port: int = self._mail.server_address[1]
        self.web_port: int = self._web.server_address[1]

    def __enter__(self) -> Self:
        for server in (self._mail, self._web):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in (self._mail, self._web):
            server.shutdown()
            server.server_close()

    def settings(self, public_url: str) -> dict[str, str]:
        """Of the product that sends through them."""
        return {
            "WEDSYNC_APM_SMTP_URL": f"smtp://127.0.0.1:{self.mail_port}",
            "WEDSYNC_APM_EGRESS_ALLOW": f"127.0.0.1:{self.web_port}",
            "WEDSYNC_APM_PUBLIC_URL": public_url,
            "WEDSYNC_APM_TWILIO_ACCOUNT_SID": ACCOUNT,
            "WEDSYNC_APM_TWILIO_AUTH_TOKEN": TOKEN,
            "WEDSYNC_APM_TWILIO_FROM": "+447700900999",
            "WEDSYNC_APM_TWILIO_BASE_URL": f"http://127.0.0.1:{self.web_port}",
        }


class _MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    book: Book


class _Mail(socketserver.StreamRequestHandler):
    server: _MailServer

    def handle(self) -> None:
        with suppress(OSError):
            self._talk()

    def _talk(self) -> None:
        fault = self.server.book.fault(MAIL)
        if fault == REFUSE:
            return
        if fault == SLOW:
            time.sleep(SLOW_SECONDS)
        self._say("421 out of order" if fault == ERROR else "220 mail.soak.example ready")
        receivers: list[str] = []
        while line := self.rfile.readline(4096):
            word = line.split()[0].upper() if line.split() else b""
            if word == b"QUIT":
                self._say("221 bye")
                return
            if word == b"RCPT":
                found = re.search(rb"<([^>]*)>", line)
                receivers.append(found[1].decode() if found else "")
            if word == b"DATA":
                self._say("354 go on")
                body = self._read_body()
                for one in receivers:
                    self._keep(one, body)
                receivers = []
            self._say("250 fine")

    def _read_body(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines)

    def _keep(self, receiver: str, body: bytes) -> None:
        mail = message_from_bytes(body, policy=policy.default)
        part = mail.get_body(("plain",))
        text = part.get_content() if part is not None else ""
        self.server.book.take(MAIL, receiver, f"{mail['Subject']}\n{text}", str(mail["Message-ID"]))

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _WebServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    book: Book
    texts: list[dict[str, object]]


class _Web(BaseHTTPRequestHandler):
    """`/hook/<address>` are receivers of webhooks; `/2010-04-01/…` is the telephone company."""

    server: _WebServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        provider = HOOKS if self.path.startswith("/hook/") else PHONE
        fault = self.server.book.fault(provider)
        if fault == REFUSE:
            self.close_connection = True
            self.connection.close()
            return
        if fault == SLOW:
            time.sleep(SLOW_SECONDS)
        if fault is not None:
            self._answer(503, b"out of order")
        elif provider == HOOKS:
            address = self.path.removeprefix("/hook/")
            key = self.headers.get("webhook-id", "")
            self.server.book.take(HOOKS, address, body.decode(), key)
            self._answer(200, b"")
        else:
            self._take_text(dict(urllib.parse.parse_qsl(body.decode())))

    def do_GET(self) -> None:
        if self.server.book.fault(PHONE) is not None:
            self._answer(503, b"out of order")
            return
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        found = [one for one in reversed(self.server.texts) if one["to"] == query.get("To")]
        self._answer(200, json.dumps({"messages": found[:50], "page": 0}).encode())

    def _take_text(self, form: dict[str, str]) -> None:
        one: dict[str, object] = {
            "sid": "SM" + uuid4().hex,
            "account_sid": ACCOUNT,
            "to": form["To"],
            "from": form.get("From"),
            "body": form.get("Body", ""),
            "status": "queued",
            "error_code": None,
            "direction": "outbound-api",
            "date_created": time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime()),
        }
        self.server.texts.append(one)
        key = form.get("StatusCallback", "")
        self.server.book.take(PHONE, form["To"], form.get("Body", ""), key)
        self._answer(201, json.dumps(one).encode())
        if "StatusCallback" in form:
            told = _Callbacks(form["StatusCallback"], str(one["sid"]), form["To"])
            threading.Thread(target=told, daemon=True).start()

    def _answer(self, status: int, body: bytes) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: standard error is for people."""


class _Callbacks:
    """What a telephone company tells of a text: in any order, one of them twice, and each again
    while nobody takes it."""

    def __init__(self, url: str, sid: str, to: str) -> None:
        self._url, self._sid, self._to = url, sid, to

    def __call__(self) -> None:
        told = ["sent", "delivered", "sent"]
        random.shuffle(told)
        for status in told:
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - as networks are
            for _ in range(30):
                if self._tell(status):
                    break
                time.sleep(1.0)

    def _tell(self, status: str) -> bool:
        form = {
            "MessageSid": self._sid,
            "MessageStatus": status,
            "AccountSid": ACCOUNT,
            "To": self._to,
        }
        text = self._url + "".join(name + form[name] for name in sorted(form))
        signature = hmac.new(TOKEN.encode(), text.encode(), "sha1").digest()
        request = urllib.request.Request(  # noqa: S310 - our own server
            self._url,
            urllib.parse.urlencode(form).encode(),
            {
                "X-Twilio-Signature": base64.b64encode(signature).decode(),
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own
                return bool(answer.status < 300)
        except OSError:
            return False
