"""What all ways in share: who sends, how a body is read and unpacked, how an answer goes out.

Plain ASGI, in front of the framework: a body of five hundred samples costs as much in a framework
as it costs to decode.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

import msgspec

from wedsync_apm.annotations.model import Annotation
from wedsync_apm.errors import (
    DatabaseAway,
    FieldError,
    NotValid,
    RateLimited,
    TooLarge,
    Unauthorized,
    WedSyncError,
)
from wedsync_apm.ingest.annotating import Annotate, NotKept
from wedsync_apm.ingest.compression import unpack
from wedsync_apm.ingest.intake import Intake, Receipt
from wedsync_apm.ingest.json_samples import LARGE_BODY_BYTES
from wedsync_apm.ingest.model import Decode, IngestGrant
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Routes = Mapping[tuple[str, str], App]
"""By method and path, which has no slash at its end."""
Authenticate = Callable[[Mapping[str, str]], Awaitable[IngestGrant]]
"""Knows a sender by its headers (names in lower case). Raises Unauthorized without valid
credentials and Forbidden for a key of another scope."""
Unpack = Callable[[bytes, int], bytes]
"""The body behind its encoding, at most so many bytes of it; raises TooLarge."""

MOST_BYTES_IN_FLIGHT: Final = 256 * 1024 * 1024
"""Of bodies, compressed and not, that one process holds at a time."""

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    async def go(self, send: Send) -> None:
        """Sends it."""
        headers = self._encoded
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    @cached_property
    def _encoded(self) -> list[tuple[bytes, bytes]]:
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        if self.status != 204:
            headers += [
                (b"content-type", self.media_type.encode()),
                (b"content-length", str(len(self.body)).encode()),
            ]
        return headers


class Incoming:
    """A request whose body is still to be read."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive

    @cached_property
    def headers(self) -> dict[str, str]:
        """Names in lower case."""
        return {
            name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]
        }

    @cached_property
    def query(self) -> dict[str, str]:
        """The parameters of the address; of one that is there twice the first counts."""
        text = self.scope["query_string"].decode("latin-1")
        return {name: values[0] for name, values in parse_qs(text).items()}

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class _Gone(Exception):
    """The client went away while it was sending."""


class Door:
    """What the endpoints of a protocol need: to know the sender, and to hand a body over."""

    def __init__(
        self,
        authenticate: Authenticate,
        intake: Intake,
        most_in_flight: int = MOST_BYTES_IN_FLIGHT,
        *,
        annotate: Annotate | None = None,
    ) -> None:
        self.intake = intake
        self.annotate = annotate or _no_annotations
        self._authenticate = authenticate
        self._most_bytes, self._most_in_flight = intake.limits.body_bytes, most_in_flight
        self._in_flight = 0

    async def admit(self, request: Incoming, key: str | None = None) -> IngestGrant:
        """Who sends: by the usual headers, or by a key that the protocol carries elsewhere."""
        if key is None:
            return await self._authenticate(request.headers)
        return await self._authenticate(request.headers | {"authorization": f"Bearer {key}"})

    async def take(
        self,
        request: Incoming,
        grant: IngestGrant,
        decode: Decode,
        unpack: Unpack | None = None,
    ) -> Receipt:
        """Reads, unpacks (by Content-Encoding unless told otherwise), decodes and stores."""
        held = 0
        try:
            packed = await self._read(request)
            held = len(packed)
            unpacking = unpack or _by_encoding(request.headers)
            if held < LARGE_BODY_BYTES:
                body = unpacking(packed, self._most_bytes)
            else:
                body = await asyncio.to_thread(unpacking, packed, self._most_bytes)
            if body is not packed:
                held += len(body)
                self._hold(len(body))
            return await self.intake.take(decode, body, grant)
        finally:
            self._in_flight -= held

    async def _read(self, request: Incoming) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._most_bytes:
            raise TooLarge(f"The body is larger than {self._most_bytes} bytes.")
        chunks: list[bytes] = []
        held, more = 0, True
        try:
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                chunk, more = message.get("body", b""), message.get("more_body", False)
                held += len(chunk)
                self._hold(len(chunk))
                if held > self._most_bytes:
                    raise TooLarge(f"The body is larger than {self._most_bytes} bytes.")
                chunks.append(chunk)
        except BaseException:
            self._in_flight -= held
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _hold(self, count: int) -> None:
        self._in_flight += count
        if self._in_flight > self._most_in_flight:
            raise DatabaseAway(
                "Too many requests are waiting; nothing of this one was stored.", retry_after=1.0
            )


def endpoint(
    take: Callable[[Incoming], Awaitable[Answer]],
    refuse: Callable[[WedSyncError], Answer],
) -> App:
    """An endpoint that answers what `take` gives, and by `refuse` what it raises."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await take(Incoming(scope, receive))
        except WedSyncError as exc:
            answer = with_hints(refuse(exc), exc)
        except _Gone:
            return
        except Exception:
            log.exception("Samples could not be taken", extra={"action": "ingest_failed"})
            answer = refuse(WedSyncError())
        await answer.go(send)

    return app


def problem(exc: WedSyncError, **extra: int) -> Answer:
    """A refusal as RFC 9457 has it."""
    told: dict[str, Any] = {
        "type": "about:blank",
        "title": exc.title,
        "status": exc.status,
        "detail": exc.detail,
        **extra,
    }
    if isinstance(exc, NotValid):
        told["errors"] = listed(exc.errors)
    return Answer(exc.status, encode(told), "application/problem+json")


def text_error(exc: WedSyncError) -> Answer:
    """A refusal as a line of text."""
    text = f"{exc.title}: {exc.detail}\n"
    return Answer(exc.status, text.encode(), "text/plain; charset=utf-8")


def listed(errors: Iterable[FieldError]) -> list[dict[str, Any]]:
    """What was wrong, for a JSON answer."""
    return [
        {"field": error.field, "reason": error.reason}
        | ({} if error.index is None else {"index": error.index})
        for error in errors
    ]


def with_hints(answer: Answer, exc: WedSyncError) -> Answer:
    """The answer with the headers that say what to do about the refusal."""
    hints: dict[str, str] = {}
    if isinstance(exc, RateLimited | DatabaseAway):
        hints = {"Retry-After": str(math.ceil(exc.retry_after))}
    if isinstance(exc, Unauthorized):
        hints = {"WWW-Authenticate": "Bearer"}
    return replace(answer, headers={**answer.headers, **hints})


async def _no_annotations(source: str, found: Sequence[Annotation]) -> Mapping[UUID, NotKept]:
    raise DatabaseAway("Events are not kept by this process.")


def _by_encoding(headers: Mapping[str, str]) -> Unpack:
    return partial(unpack, headers.get("content-encoding", ""))
