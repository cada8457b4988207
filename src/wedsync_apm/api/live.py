"""The doors of what happens as it happens: `GET /api/v1/live`, a WebSocket, and `GET
/api/v1/events`, the same as Server-Sent Events.

Plain ASGI in front of the framework: ten thousand of these stand at once, and each frame of a
stack of calls is held for as long as its connection.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec

from wedsync_apm.api.authentication import cookie_in
from wedsync_apm.api.lines import LINE, TRANSPORT, LiveSocket, StreamLine
from wedsync_apm.api.problems import MEDIA_TYPE, headers_of, problem_of
from wedsync_apm.api.services import Services
from wedsync_apm.errors import (
    DatabaseAway,
    FieldError,
    Forbidden,
    NotFound,
    NotValid,
    RateLimited,
    Unauthorized,
    WedSyncError,
)
from wedsync_apm.live.client import Client
from wedsync_apm.live.hub import Hub
from wedsync_apm.live.model import TOPICS, End, fault_in_topics
from wedsync_apm.organizations.identity import credential_in
from wedsync_apm.organizations.model import Identity
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

SOCKET_PATH: Final = "/api/v1/live"
EVENTS_PATH: Final = "/api/v1/events"
FIRST_MESSAGE_SECONDS: Final = 10.0
MOST_STRANGERS: Final = 2_000
"""Connections of which nobody knows yet whose they are."""
MESSAGES_PER_MINUTE: Final = 60
LONGEST_PLACE: Final = 64

OPENED = Counter("wedsync_apm_live_opened_total", "Live connections opened", ("kind",))
REFUSED = Counter("wedsync_apm_live_refused_total", "Live connections refused", ("why",))

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


class Subscribe(msgspec.Struct, tag="subscribe", tag_field="type", forbid_unknown_fields=True):
    """The first message, and later ones for more topics or with a fresh token."""

    topics: list[str] = []
    token: str | None = None
    organization_id: UUID | None = None
    last_event_id: str | None = None


class Unsubscribe(msgspec.Struct, tag="unsubscribe", tag_field="type", forbid_unknown_fields=True):
    """These topics no more."""

    topics: list[str]


_read = msgspec.json.Decoder(Subscribe | Unsubscribe).decode

_AS_ERROR: Final[Mapping[End, Callable[[str], WedSyncError]]] = {
    End.SESSION: Unauthorized,
    End.FORBIDDEN: Forbidden,
    End.ORGANIZATION_FULL: lambda text: RateLimited(text, 30.0),
    End.PERSON_FULL: lambda text: RateLimited(text, 30.0),
}


class LiveApp:
    """Answers the two paths and every other WebSocket, and leaves all else to `inner`."""

    def __init__(self, inner: App, services: Services) -> None:
        self._inner, self._services = inner, services
        self._hub: Hub = services.hub
        self._strangers = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] == "websocket":
            await self._answer_socket(scope, receive, send)
        elif scope["type"] != "http" or scope["path"] not in (SOCKET_PATH, EVENTS_PATH):
            await self._inner(scope, receive, send)
        elif scope["path"] == EVENTS_PATH and scope["method"] == "GET":
            await self._answer_stream(scope, receive, send)
        else:
            error = NotFound("Here is a WebSocket, or with GET an event stream.")
            await _answer(send, "http.response", error)

    # WebSockets.

    async def _answer_socket(self, scope: Any, receive: Receive, send: Send) -> None:
        await receive()  # that it connects
        try:
            credential = self._greet(scope)
        except WedSyncError as exc:
            REFUSED.inc(why=type(exc).__name__)
            await _answer(send, "websocket.http.response", exc)
            return
        self._strangers += 1
        try:
            await send({"type": "websocket.accept"})
            line: LiveSocket = scope["extensions"][LINE]
            found = await self._meet(line, receive, credential)
        finally:
            self._strangers -= 1
        if found is not None:
            OPENED.inc(kind="websocket")
            await self._serve_socket(line, receive, *found)

    def _greet(self, scope: Any) -> str | None:
        """What the handshake shows of who comes. Raises our errors for whom is refused."""
        if scope["path"] != SOCKET_PATH:
            raise NotFound("There is no WebSocket at this address.")
        headers = _headers(scope)
        self._check_origin(headers)
        if self._hub.is_ending or self._strangers >= MOST_STRANGERS:
            raise DatabaseAway("Too many come at once. Try again in a moment.")
        credential = credential_in(headers)
        if credential is None and "origin" in headers:
            # A browser sends the cookie along whoever asks; of whom, only it can say.
            credential = cookie_in(headers)
        return credential

    async def _meet(
        self, line: LiveSocket, receive: Receive, credential: str | None
    ) -> tuple[Identity, Subscribe] | None:
        """The first message; None where the connection was ended."""
        try:
            async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
                said = _message(await receive())
                if said is None:
                    return None
                if not isinstance(said, Subscribe):
                    raise NotValid("The first message is a subscription.")
                identity = await self._identify(said.token or credential)
                _check(said)
                return identity, said
        except TimeoutError:
            self._refuse(line, End.SILENT)
        except Unauthorized:
            self._refuse(line, End.SESSION)
        except Forbidden:
            self._refuse(line, End.FORBIDDEN)
        except DatabaseAway:
            self._refuse(line, End.AWAY)
        except NotValid as exc:
            self._refuse(line, End.MALFORMED, exc)
        return None

    async def _serve_socket(
        self, line: LiveSocket, receive: Receive, identity: Identity, first: Subscribe
    ) -> None:
        with self._hub.join(line, identity, first.topics or TOPICS) as client:
            await self._hub.settle(client, first.last_event_id, first.organization_id)
            minute, messages = time.monotonic(), 0
            while (message := await receive())["type"] == "websocket.receive":
                if client.is_gone:
                    continue
                if time.monotonic() - minute > 60:
                    minute, messages = time.monotonic(), 0
                messages += 1
                if messages > MESSAGES_PER_MINUTE:
                    self._hub.dismiss(client, End.TALKATIVE)
                    continue
                try:
                    await self._take(client, message)
                except (Unauthorized, Forbidden):
                    self._hub.dismiss(client, End.SESSION)
                except DatabaseAway:
                    self._hub.dismiss(client, End.AWAY)
                except NotValid as exc:
                    log.info("%s", exc.detail, extra={"action": "live_message"})
                    self._hub.dismiss(client, End.MALFORMED)

    async def _take(self, client: Client, message: Message) -> None:
        """A later message: other topics, or a fresh token of the same person."""
        said = _message(message)
        if isinstance(said, Unsubscribe):
            self._hub.subscribe(client, client.topics - set(said.topics))
        elif said is not None:
            if said.token is not None:
                identity = await self._identify(said.token)
                if (identity.kind, identity.subject) != client.subject:
                    raise Forbidden("The token is somebody else's.")
                self._hub.renew(client, identity)
            wanted = client.topics | set(said.topics)
            _check(Subscribe(topics=list(wanted)))
            if wanted != client.topics:
                self._hub.subscribe(client, wanted)

    def _refuse(self, line: LiveSocket, end: End, error: WedSyncError | None = None) -> None:
        REFUSED.inc(why=end.name.lower())
        if error is not None:
            log.info("%s", _text(error), extra={"action": "live_refused"})
        line.end(end)

    # Server-Sent Events.

    async def _answer_stream(self, scope: Any, receive: Receive, send: Send) -> None:
        scope["path_template"] = scope["path"]
        line = StreamLine(scope["extensions"][TRANSPORT], asyncio.current_task())
        try:
            headers = _headers(scope)
            identity = await self._identify_reader(headers)
            wanted = _wanted(scope, headers)
            with self._hub.join(line, identity, wanted.topics or TOPICS) as client:
                await self._hub.settle(client, wanted.last_event_id, wanted.organization_id)
                if line.ended is not None:
                    make = _AS_ERROR.get(line.ended, DatabaseAway)
                    raise make(f"{line.ended.reason[0].upper()}{line.ended.reason[1:]}.")
                OPENED.inc(kind="events")
                await _start(send, line)
                await _hold(receive, send, line)
        except WedSyncError as exc:
            REFUSED.inc(why=line.ended.name.lower() if line.ended else type(exc).__name__)
            await _answer(send, "http.response", exc)

    async def _identify_reader(self, headers: Mapping[str, str]) -> Identity:
        self._check_origin(headers)
        credential = credential_in(headers)
        if credential is None:
            if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
                raise Forbidden("Another site's page asks.")
            credential = cookie_in(headers)
        return await self._identify(credential)

    # Both.

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Raises Forbidden where another site's page asks: a browser would lend it the cookie."""
        origin = headers.get("origin")
        if origin is None:
            return
        ours = {headers.get("host", "").lower()}
        if self._services.settings.public_url:
            ours.add(urlsplit(self._services.settings.public_url).netloc.lower())
        if urlsplit(origin).netloc.lower() not in ours - {""}:
            raise Forbidden("Another site's page asks.")

    async def _identify(self, credential: str | None) -> Identity:
        """Raises Unauthorized, Forbidden for a key that only sends, DatabaseAway."""
        if not credential:
            raise Unauthorized("Sign in, or send an API key.")
        # Whether a token was overtaken is asked together with what it may hear.
        identity = await self._services.authenticator.read(credential)
        if identity.only_sends_samples:
            raise Forbidden("This key may only send samples.")
        return identity


async def _start(send: Send, line: StreamLine) -> None:
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-accel-buffering", b"no"),  # a proxy that gathers an answer would gather for ever
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    line.open()


async def _hold(receive: Receive, send: Send, line: StreamLine) -> None:
    """Until the client goes, or is sent away."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if line.ended is None or task is None:
            raise  # it is the server that ends
        task.uncancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _wanted(scope: Any, headers: Mapping[str, str]) -> Subscribe:
    """What the address asks for. Raises NotValid."""
    query = {
        name: values[-1]
        for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()
    }
    topics = query.get("topics", "").split(",")
    place = headers.get("last-event-id") or query.get("last_event_id")
    try:
        owner = UUID(query["organization_id"]) if "organization_id" in query else None
    except ValueError as exc:
        raise NotValid(errors=[FieldError("organization_id", "is no UUID")]) from exc
    wanted = Subscribe(
        topics=[topic.strip() for topic in topics if topic.strip()],
        organization_id=owner,
        last_event_id=place,
    )
    _check(wanted)
    return wanted


def _check(said: Subscribe) -> None:
    fault = fault_in_topics(said.topics)
    if fault is not None:
        raise NotValid(errors=[FieldError("topics", fault)])
    if said.last_event_id and len(said.last_event_id) > LONGEST_PLACE:
        # What we have never given is no place; what is long is not even looked for.
        said.last_event_id = said.last_event_id[:LONGEST_PLACE]


def _message(message: Message) -> Subscribe | Unsubscribe | None:
    """What the client says; None when he is gone. Raises NotValid."""
    if message["type"] != "websocket.receive":
        return None
    try:
        said: Subscribe | Unsubscribe = _read(message.get("text") or b"")
    except msgspec.DecodeError as exc:
        raise NotValid(f"A message was not understood: {exc}") from exc
    return said


def _headers(scope: Any) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


def _text(error: WedSyncError) -> str:
    if isinstance(error, NotValid) and error.errors:
        return "; ".join(f"{one.field}: {one.reason}" for one in error.errors)
    return error.detail


async def _answer(send: Send, kind: str, error: WedSyncError) -> None:
    body = msgspec.json.encode(problem_of(error))
    headers = headers_of(error) | {"content-type": MEDIA_TYPE, "content-length": str(len(body))}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": f"{kind}.start", "status": error.status, "headers": pairs})
    await send({"type": f"{kind}.body", "body": body})
