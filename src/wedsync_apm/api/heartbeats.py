"""Heartbeats: people keep them, and whoever knows the address pings them without signing in."""

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import Response, post
from litestar.params import JSONBody

from wedsync_apm.api.access import NO_STORE
from wedsync_apm.api.crud import Resource, Values, routes
from wedsync_apm.api.durations import Duration, read_duration
from wedsync_apm.api.requests import (
    ApiRequest,
    Id,
    Organization,
    earlier_answer,
    one_organization,
    remember_answer,
    shape,
)
from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import Pool, wrap_database_errors
from wedsync_apm.errors import WedSyncError
from wedsync_apm.heartbeats import store
from wedsync_apm.heartbeats.model import (
    PING_PATH,
    TOKEN_PREFIX,
    Signal,
    address,
    check_rhythm,
    make_token,
)
from wedsync_apm.telemetry import Counter, get_logger
from wedsync_apm.types import Severity

log = get_logger(__name__)

PATH: Final = PING_PATH
HEARD = Counter("wedsync_apm_heartbeats_heard_total", "Pings, by what they led to.", ("outcome",))

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class HeartbeatInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be heard of: every `period` after the last time, or at the times of `cron` in
    `time_zone`. It may be `grace` late, and a run that said `start` may take as long."""

    name: Name
    description: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    service_name: Name = "heartbeat"
    """What silences and inhibition rules know it by."""
    period: Duration | None = None
    cron: Annotated[str, msgspec.Meta(min_length=9, max_length=200)] | None = None
    time_zone: Zone | None = None
    grace: Duration = "5m"
    severity: Severity = Severity.CRITICAL
    is_active: bool = True


class Heartbeat(HeartbeatInput, kw_only=True, forbid_unknown_fields=False):
    """A heartbeat as it stands. `new` has not been heard of yet and misses nothing."""

    id: UUID
    organization_id: UUID
    state: Literal["new", "up", "started", "late", "down", "paused"]
    last_heard_at: datetime | None
    last_signal: Signal | None
    started_at: datetime | None
    last_duration: str | None
    """How long the last run took, where it said `start`."""
    due_at: datetime | None
    alarm_at: datetime | None
    """When it is missed, if it is not heard of before."""
    heard_count: int
    recent_at: list[datetime]
    """The last twenty pings, newest first."""
    recent_signals: list[Signal]
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class HeartbeatToken(msgspec.Struct, kw_only=True):
    """The address to ping. It is shown this once; a repeated request gives null."""

    token: str | None
    url: str | None


class CreatedHeartbeat(Heartbeat, kw_only=True):
    """A heartbeat just made, with the address to ping, which is shown this once."""

    token: str | None
    url: str | None


def to_values(data: HeartbeatInput) -> Values:
    """What is written. Raises NotValid for what is no rhythm."""
    check_rhythm(
        has_period=data.period is not None, cron=data.cron, time_zone=data.time_zone, at=utcnow()
    )
    values: Values = msgspec.to_builtins(data)
    for name in ("period", "grace"):
        if values[name] is not None:
            values[name] = f"{read_duration(name, values[name]).total_seconds()} seconds"
    return values


HEARTBEATS: Final = Resource(
    path=PATH,
    one="heartbeat",
    noun=store.HEARTBEATS,
    input=HeartbeatInput,
    output=Heartbeat,
    to_values=to_values,
)


@post(PATH, tags=["heartbeats"])
async def create_heartbeat(
    request: ApiRequest, data: JSONBody[HeartbeatInput], organization_id: Organization = None
) -> Response[CreatedHeartbeat]:
    """Make a heartbeat. Its address is shown in this answer and never again."""
    values = to_values(data)
    token = make_token()
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            made = msgspec.convert(earlier.body, CreatedHeartbeat)
            return Response(made, status_code=201, headers=NO_STORE)
        row = await store.HEARTBEATS.create_row(
            cx, organization_id=owner, created_by=request.identity.subject, values=values
        )
        await store.set_token(cx, row["id"], token)
        # What is remembered for a repeat must not hold the secret.
        made = shape(CreatedHeartbeat, {**row, "token": None, "url": None})
        await remember_answer(cx, request, owner, request_hash, made)
    made.token, made.url = token, address(request.services.settings.base_url, token)
    return Response(made, status_code=201, headers=NO_STORE)


@post(PATH + "/{id:uuid}/token", tags=["heartbeats"])
async def renew_heartbeat_token(request: ApiRequest, id: Id) -> Response[HeartbeatToken]:
    """Give a heartbeat a new address; the old one is good no more."""
    token = make_token()
    async with request.tenant() as cx:
        await store.set_token(cx, id, token)
    return Response(
        HeartbeatToken(token=token, url=address(request.services.settings.base_url, token)),
        status_code=201,
        headers=NO_STORE,
    )


_list, _, _read, _change, _delete = routes(HEARTBEATS)
HANDLERS: Final = (_list, create_heartbeat, _read, _change, _delete, renew_heartbeat_token)

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

_PING: Final = re.compile(
    PATH
    + r"/(?P<token>"
    + TOKEN_PREFIX
    + r"[A-Za-z0-9_-]{43})(?:/(?P<signal>start|fail|\d{1,3}))?",
    re.ASCII,
)
_ANY: Final = re.compile(PATH + "/[^/]+")
_METHODS: Final = frozenset({"GET", "HEAD", "POST"})


class PingApp:
    """Takes the pings, and leaves all else to `inner`. A ping's body is not read.

    Plain ASGI in front of the framework, which cannot tell a token from an id in the same place.
    """

    def __init__(self, inner: App, pool: Pool) -> None:
        self._inner = inner
        self._pool = pool

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        found = _PING.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            if (
                scope["type"] == "http"
                and scope["method"] == "POST"
                and _ANY.fullmatch(scope["path"])
            ):
                await _answer(scope, send, 404, "there is no such heartbeat")
            else:
                await self._inner(scope, receive, send)
            return
        scope["path_template"] = PATH + "/{token}"
        if scope["method"] not in _METHODS:
            await _answer(scope, send, 405, "only GET, HEAD and POST are possible here")
            return
        signal, words = read_signal(found["signal"])
        try:
            with wrap_database_errors():
                async with self._pool.connection() as cx, cx.transaction():
                    state = await store.hear(cx, found["token"], signal, words)
        except WedSyncError as exc:
            log.warning("A ping was not noted: %s", exc.detail, extra={"action": "hear"})
            HEARD.inc(outcome="failed")
            await _answer(scope, send, exc.status, "it could not be noted; try again")
            return
        HEARD.inc(outcome=state or "unknown")
        if state is None:
            await _answer(scope, send, 404, "there is no such heartbeat")
        else:
            await _answer(scope, send, 200, state)


def read_signal(text: str | None) -> tuple[Signal, str]:
    """The signal at the end of the address, and the words for a failure; a number is an exit code,
    of which 0 is a success."""
    if text is None or (text.isdecimal() and int(text) == 0):
        return Signal.SUCCESS, ""
    if text == "start":
        return Signal.START, ""
    if text == "fail":
        return Signal.FAIL, "reported a failure"
    return Signal.FAIL, f"ended with exit code {int(text)}"


async def _answer(scope: Any, send: Send, status: int, text: str) -> None:
    body = text.encode() + b"\n"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"2"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
