"""PagerDuty, Slack and a push service on one port, each with its own rules and on its worst day.

They keep what they took as the real ones do (incidents by key, messages by time-stamp, what waits
for a browser by topic) and refuse what is over their limits. `faults` are taken one by one, by the
next calls: `429:7` (Retry-After: 7), `500`, `cut` (taken, and no answer), `reset` (not taken),
`slow` (taken, and answered too late), `portal` (somebody's page with a 200), `error:<word>` (a 200
or 202 that says no).
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.support.worst_day import Seen, _read
from wedsync_apm.notify.vapid import decode, encode, point_of

ROUTING_KEY = "R0123456789ABCDEFGHIJKLMNOPQRSTU"
BOT_TOKEN = "xoxb-1234567890-abcdefghij"
CHANNEL_ID = "C024BE91L"


@dataclass(slots=True)
class Browser:
    """A subscription, and what was shown by it: one notification a tag."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    auth: bytes = b"sixteen bytes ok"
    shown: list[dict[str, Any]] = field(default_factory=list)
    is_gone: bool = False

    @property
    def p256dh(self) -> str:
        return encode(point_of(self.key.public_key()))

    def read(self, body: bytes) -> dict[str, Any]:
        """Decrypts as RFC 8291 and RFC 8188 say, without any code of ours."""
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        assert size >= len(sealed) > 18
        other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        mine = point_of(self.key.public_key())
        secret = _hkdf(
            self.key.exchange(ec.ECDH(), other), self.auth, b"WebPush: info\0" + mine + sender, 32
        )
        plain = AESGCM(_hkdf(secret, salt, b"Content-Encoding: aes128gcm\0", 16)).decrypt(
            _hkdf(secret, salt, b"Content-Encoding: nonce\0", 12), sealed, None
        )
        assert plain.rstrip(b"\0").endswith(b"\x02")
        read: dict[str, Any] = json.loads(plain.rstrip(b"\0")[:-1])
        return read


def _hkdf(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(secret)


@dataclass(slots=True)
class PagedIncident:
    """An incident at PagerDuty, and how often a person was rung for it."""

    key: str
    status: str
    payload: dict[str, Any]
    rung: int = 1


@dataclass(slots=True)
class Providers:
    """Where they listen, and what each of them has."""

    port: int = 0
    requests: list[Seen] = field(default_factory=list)
    faults: deque[str] = field(default_factory=deque)
    incidents: list[PagedIncident] = field(default_factory=list)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    posts: int = 0
    """Messages that came in as new ones."""
    hooks: list[dict[str, Any]] = field(default_factory=list)
    browsers: dict[str, Browser] = field(default_factory=dict)
    waiting: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """What a push service keeps for a browser that is away, by browser and topic."""
    webhooks: list[Seen] = field(default_factory=list)
    slow_seconds: float = 30.0

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def taken(self, seen: Seen) -> tuple[int, Any]:  # noqa: PLR0911
        """What a provider does with a call that reached it, and answers."""
        match seen.path.split("/")[1:]:
            case ["v2", "enqueue"]:
                return self._enqueue(json.loads(seen.body))
            case ["api", "chat.postMessage"]:
                return 200, self._post(seen)
            case ["api", "chat.update"]:
                return 200, self._update(seen)
            case ["services", *_]:
                said = json.loads(seen.body)
                if (word := blocks_fault(said)) is not None:
                    return 400, word
                self.hooks.append(said)
                return 200, "ok"
            case ["push", name]:
                return self._push(name, seen)
            case ["hook", *_]:
                self.webhooks.append(seen)
                return 200, ""
        return 404, ""

    def _enqueue(self, event: dict[str, Any]) -> tuple[int, Any]:
        key, action = event.get("dedup_key"), event.get("event_action")
        payload = event.get("payload") or {}
        errors = []
        if event.get("routing_key") != ROUTING_KEY:
            errors.append("Invalid routing key")
        if action not in ("trigger", "acknowledge", "resolve") or not 0 < len(key or "") <= 255:
            errors.append("Invalid action or key")
        if action == "trigger":
            if not 0 < len(payload.get("summary", "")) <= 1024 or not payload.get("source"):
                errors.append("'payload.summary' or 'payload.source' is invalid")
            if payload.get("severity") not in ("critical", "error", "warning", "info"):
                errors.append("'payload.severity' is invalid")
        if len(json.dumps(event, ensure_ascii=False).encode()) > 512_000:
            return 413, ""
        strange = event.keys() - {
            "routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links",
        }  # fmt: skip
        if errors or strange:
            message = {"status": "invalid event", "message": "Event object is invalid"}
            return 400, message | {"errors": errors or sorted(strange)}
        live = next((i for i in self.incidents if i.key == key and i.status != "resolved"), None)
        if action == "trigger" and live is None:
            self.incidents.append(PagedIncident(str(key), "triggered", payload))
        elif action == "acknowledge" and live is not None:
            live.status = "acknowledged"
        elif action == "resolve" and live is not None:
            live.status = "resolved"
        return 202, {"status": "success", "message": "Event processed", "dedup_key": key}

    def _post(self, seen: Seen) -> dict[str, Any]:
        said = json.loads(seen.body)
        if (word := self._slack_fault(seen, said)) is not None:
            return {"ok": False, "error": word}
        self.posts += 1
        stamp = f"1700000000.{self.posts:06d}"
        self.messages[stamp] = said
        # as Slack does, with the whole message in it
        return {"ok": True, "channel": said["channel"], "ts": stamp, "message": said}

    def _update(self, seen: Seen) -> dict[str, Any]:
        said = json.loads(seen.body)
        if (word := self._slack_fault(seen, said)) is not None:
            return {"ok": False, "error": word}
        if said.get("ts") not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        self.messages[said["ts"]] |= said
        return {"ok": True, "channel": said["channel"], "ts": said["ts"], "text": said["text"]}

    def _slack_fault(self, seen: Seen, said: dict[str, Any]) -> str | None:
        if seen.headers.get("authorization") != f"Bearer {BOT_TOKEN}":
            return "invalid_auth"
        if said.get("channel") != CHANNEL_ID:
            return "channel_not_found"
        return blocks_fault(said)

    def _push(self, name: str, seen: Seen) -> tuple[int, Any]:
        browser = self.browsers.get(name)
        if browser is None or browser.is_gone:
            return 410, ""
        scheme, _, rest = seen.headers["authorization"].partition(" ")
        given = dict(part.strip().split("=", 1) for part in rest.split(","))
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(given["k"]))
        try:
            claims = jwt.decode(
                given["t"], public, algorithms=["ES256"], audience=self.url(), leeway=10
            )
        except jwt.InvalidTokenError:
            return 403, ""
        is_proper = scheme == "vapid" and str(claims["sub"]).startswith(("mailto:", "https:"))
        if not is_proper or not seen.headers["ttl"].isdigit():
            return 400, ""
        if len(seen.body) > 4096:
            return 413, ""
        shown = browser.read(seen.body)
        browser.shown.append(shown)
        self.waiting[name, seen.headers.get("topic", str(len(browser.shown)))] = shown
        return 201, ""


def blocks_fault(said: dict[str, Any]) -> str | None:  # noqa: PLR0911
    """What Slack refuses of a message; None for one that it takes."""
    blocks = said.get("blocks") or []
    if not said.get("text") and not blocks:
        return "no_text"
    if len(blocks) > 50:
        return "invalid_blocks"
    for block in blocks:
        match block["type"]:
            case "header":
                if not 0 < len(block["text"]["text"]) <= 150:
                    return "invalid_blocks"
            case "section":
                if not 0 < len(block["text"]["text"]) <= 3000:
                    return "invalid_blocks"
            case "actions":
                if not 0 < len(block["elements"]) <= 25:
                    return "invalid_blocks"
                for one in block["elements"]:
                    if len(one["value"]) > 2000 or not 0 < len(one["text"]["text"]) <= 75:
                        return "invalid_blocks"
            case _:
                return "invalid_blocks"
    return None


@asynccontextmanager
async def providers() -> AsyncIterator[Providers]:
    """They listen for as long as the block runs; calls still open are cut at its end."""
    world = Providers()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                seen = await _read(reader)
                world.requests.append(seen)
                await _answer(world, seen, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**22)
    world.port = server.sockets[0].getsockname()[1]
    try:
        yield world
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(world: Providers, seen: Seen, writer: asyncio.StreamWriter) -> None:
    fault, _, detail = (world.faults.popleft() if world.faults else "").partition(":")
    extra = ""
    status: int
    said: Any
    match fault:
        case "reset":
            writer.transport.abort()
            return
        case "cut":
            world.taken(seen)
            writer.transport.abort()
            return
        case "slow":
            status, said = world.taken(seen)
            await asyncio.sleep(world.slow_seconds)
        case "portal":
            status, said = 200, "<html>Welcome to the venue's network</html>"
        case "error":
            status, said = (202 if "enqueue" in seen.path else 200), {"ok": False, "error": detail}
        case "429":
            status, said, extra = 429, "", f"Retry-After: {detail}\r\n"
        case "500":
            status, said = 500, "Oops"
        case _:
            status, said = world.taken(seen)
    text = said if isinstance(said, str) else json.dumps(said, separators=(",", ":"))
    raw = text.encode()
    writer.write(
        f"HTTP/1.1 {status} Whatever\r\n{extra}Content-Length: {len(raw)}\r\n"
        "Connection: close\r\n\r\n".encode()
        + raw
    )
    await writer.drain()
