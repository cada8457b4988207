"""Samples in over HTTP: our own JSON, and Prometheus remote write.

Plain ASGI, in front of the framework: a body of five hundred samples costs as much in a framework
as it costs to decode.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import msgspec

from wedsync_apm.errors import (
    DatabaseAway,
    FieldError,
    NotValid,
    RateLimited,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
    WedSyncError,
)
from wedsync_apm.ingest.compression import unpack, unpack_snappy_block
from wedsync_apm.ingest.intake import LARGE_BODY_BYTES, Intake, Receipt
from wedsync_apm.ingest.model import IngestGrant
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Authenticate = Callable[[Scope], Awaitable[IngestGrant]]
"""Raises Unauthorized without valid credentials and Forbidden for a key of another scope."""

METRICS_PATH: Final = "/api/v1/metrics"
REMOTE_WRITE_PATH: Final = "/prometheus/api/v1/write"

MOST_BYTES_IN_FLIGHT: Final = 256 * 1024 * 1024
"""Of bodies, compressed and not, that one process holds at a time."""

_encode = msgspec.json.Encoder().encode


class IngestApp:
    """Takes the two paths above when they are POSTed to, and leaves all else to `inner`."""

    def __init__(self, inner: App, authenticate: Authenticate, intake: Intake) -> None:
        self._inner = inner
        self._routes = {
            METRICS_PATH: metrics_endpoint(authenticate, intake),
            REMOTE_WRITE_PATH: remote_write_endpoint(authenticate, intake),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._inner
        if scope["type"] == "http" and scope["method"] == "POST":
            app = self._routes.get(scope["path"].rstrip("/"), app)
        await app(scope, receive, send)


def metrics_endpoint(authenticate: Authenticate, intake: Intake) -> App:
    """`POST /api/v1/metrics`: 202 if at least one sample was stored, 422 if none was, both with
    the list of what was not."""

    bodies = _Bodies(intake.limits.body_bytes)

    async def take(scope: Scope, receive: Receive) -> _Answer:
        grant = await authenticate(scope)
        headers = _headers(scope)
        encoding = headers.get("content-encoding", "")
        async with bodies.unpacked(headers, receive, partial(unpack, encoding)) as body:
            return _json_answer(await intake.take_json(body, _media_type(headers), grant))

    return _endpoint(take, _problem)


def remote_write_endpoint(authenticate: Authenticate, intake: Intake) -> App:
    """`POST /prometheus/api/v1/write`: 204 if all was stored. If anything in it is not valid, 400
    with the reasons as text, though the valid samples are stored: a sender drops what got 400."""

    bodies = _Bodies(intake.limits.body_bytes)

    async def take(scope: Scope, receive: Receive) -> _Answer:
        grant = await authenticate(scope)
        headers = _headers(scope)
        _check_remote_write(headers)
        async with bodies.unpacked(headers, receive, unpack_snappy_block) as body:
            return _remote_write_answer(await intake.take_remote_write(body, grant))

    return _endpoint(take, _text_error)


class _Answer(msgspec.Struct):
    status: int
    body: bytes = b""
    media_type: str = "application/json"
    headers: dict[str, str] = {}


class _Gone(Exception):
    """The client went away while it was sending."""


def _endpoint(
    take: Callable[[Scope, Receive], Awaitable[_Answer]],
    refuse: Callable[[WedSyncError], _Answer],
) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await take(scope, receive)
        except WedSyncError as exc:
            answer = refuse(exc)
        except _Gone:
            return
        except Exception:
            log.exception("Samples could not be taken", extra={"action": "ingest_failed"})
            answer = refuse(WedSyncError())
        await _send(answer, send)

    return app


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _media_type(headers: dict[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_remote_write(headers: dict[str, str]) -> None:
    content_type, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
    media_type, _, parameters = content_type.partition(";")
    message = parameters.strip().removeprefix("proto=").strip('"') or "prometheus.WriteRequest"
    if media_type.strip().lower() != "application/x-protobuf":
        raise UnsupportedMedia("Content-Type must be application/x-protobuf.")
    if message != "prometheus.WriteRequest":
        raise UnsupportedMedia("Only remote write 1.0 is taken: prometheus.WriteRequest.")
    if encoding.strip().lower() != "snappy":
        raise UnsupportedMedia("Content-Encoding must be snappy (the block format).")


class _Bodies:
    """Reads and unpacks bodies, and knows how many bytes of them the process holds."""

    def __init__(self, most_bytes: int, most_in_flight: int = MOST_BYTES_IN_FLIGHT) -> None:
        self._most_bytes, self._most_in_flight = most_bytes, most_in_flight
        self._in_flight = 0

    @asynccontextmanager
    async def unpacked(
        self, headers: dict[str, str], receive: Receive, unpack: Callable[[bytes, int], bytes]
    ) -> AsyncIterator[bytes]:
        """The body of a request for as long as the block runs."""
        held = 0
        try:
            declared = headers.get("content-length", "")
            if declared.isdecimal() and int(declared) > self._most_bytes:
                raise TooLarge(f"The body is larger than {self._most_bytes} bytes.")
            chunks: list[bytes] = []
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                chunk, more = message.get("body", b""), message.get("more_body", False)
                held += len(chunk)
                self._hold(len(chunk))
                if held > self._most_bytes:
                    raise TooLarge(f"The body is larger than {self._most_bytes} bytes.")
                chunks.append(chunk)
            packed = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if len(packed) < LARGE_BODY_BYTES:
                body = unpack(packed, self._most_bytes)
            else:
                body = await asyncio.to_thread(unpack, packed, self._most_bytes)
            if body is not packed:
                held += len(body)
                self._hold(len(body))
            yield body
        finally:
            self._in_flight -= held

    def _hold(self, count: int) -> None:
        self._in_flight += count
        if self._in_flight > self._most_in_flight:
            raise DatabaseAway(
                "Too many requests are waiting; nothing of this one was stored.", retry_after=1.0
            )


def _json_answer(receipt: Receipt) -> _Answer:
    rejections = receipt.rejections
    counts = {"accepted": receipt.accepted, "rejected": rejections.count}
    if receipt.accepted:
        return _Answer(202, _encode(counts | {"errors": _listed(rejections.listed)}))
    errors = rejections.listed or [FieldError("samples", "there are none")]
    return _problem(NotValid("No sample was stored.", errors), **counts)


def _remote_write_answer(receipt: Receipt) -> _Answer:
    rejections = receipt.rejections
    headers = {
        "X-Prometheus-Remote-Write-Samples-Written": str(receipt.accepted),
        "X-Prometheus-Remote-Write-Histograms-Written": "0",
        "X-Prometheus-Remote-Write-Exemplars-Written": "0",
    }
    if not rejections.count:
        return _Answer(204, headers=headers)
    lines = [f"{receipt.accepted} samples were stored, {rejections.count} were not:"]
    for error in rejections.listed:
        series = "" if error.index is None else f"series {error.index}: "
        lines.append(f"{series}{error.field} {error.reason}")
    text = "\n".join(lines) + "\n"
    return _Answer(400, text.encode(), "text/plain; charset=utf-8", headers)


def _problem(exc: WedSyncError, **extra: int) -> _Answer:
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": exc.title,
        "status": exc.status,
        "detail": exc.detail,
        **extra,
    }
    if isinstance(exc, NotValid):
        problem["errors"] = _listed(exc.errors)
    return _Answer(exc.status, _encode(problem), "application/problem+json", _hints(exc))


def _text_error(exc: WedSyncError) -> _Answer:
    text = f"{exc.title}: {exc.detail}\n"
    return _Answer(exc.status, text.encode(), "text/plain; charset=utf-8", _hints(exc))


def _listed(errors: Iterable[FieldError]) -> list[dict[str, Any]]:
    return [
        {"field": error.field, "reason": error.reason}
        | ({} if error.index is None else {"index": error.index})
        for error in errors
    ]


def _hints(exc: WedSyncError) -> dict[str, str]:
    if isinstance(exc, RateLimited | DatabaseAway):
        return {"Retry-After": str(math.ceil(exc.retry_after))}
    if isinstance(exc, Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    return {}


async def _send(answer: _Answer, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    if answer.status != 204:
        headers += [
            (b"content-type", answer.media_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
        ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
