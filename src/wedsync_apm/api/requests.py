"""A request as the handlers see it: who asks, for which organizations, with which body."""

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, FromPath, QueryParameter

from wedsync_apm.api.durations import write_duration
from wedsync_apm.api.problems import decode_body, unsupported
from wedsync_apm.api.services import Services
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.errors import FieldError, Forbidden, NotFound, NotValid, Unauthorized
from wedsync_apm.organizations import store
from wedsync_apm.organizations.identity import actor_of
from wedsync_apm.organizations.model import Identity
from wedsync_apm.organizations.store import Answer, Standing

DEFAULT_LIMIT: Final = 100
MOST_ROWS: Final = 1000
LONGEST_IDEMPOTENCY_KEY: Final = 200

Id = FromPath[UUID]
Limit = Annotated[
    int, QueryParameter(ge=1, le=MOST_ROWS, description="Most rows of one answer", required=False)
]
Cursor = Annotated[
    str | None, QueryParameter(description="`next_cursor` of the page before", required=False)
]
Organization = Annotated[
    UUID | None,
    QueryParameter(
        name="organization_id",
        required=False,
        description="One of your organizations; needed for writing if you have several",
    ),
]

T = TypeVar("T")
Row = dict[str, Any]


class Page(msgspec.Struct, Generic[T]):
    """A part of a list. Without `next_cursor` it is the last."""

    items: list[T]
    next_cursor: str | None = None


class ApiRequest(Request[Identity, Any, State]):
    """Litestar's request, with our strict body and our way into the database."""

    async def json(self) -> Any:
        """The body as the handler's own type. Raises as `decode_body`, and UnsupportedMedia."""
        content_type = self.headers.get("content-type", "")
        kind = content_type.partition(";")[0].strip().lower()
        if kind != "application/json" and not (
            kind.startswith("application/") and kind.endswith("+json")
        ):
            raise unsupported(content_type)
        field = self.route_handler.parsed_data_field
        return decode_body(await self.body(), Any if field is None else field.annotation)

    @property
    def services(self) -> Services:
        """What the process has."""
        found: Services = self.app.state.services
        return found

    @property
    def identity(self) -> Identity:
        """Who asks. Raises Unauthorized where the door let nobody in particular through."""
        found = self.scope.get("user")
        if not isinstance(found, Identity):
            raise Unauthorized("Sign in, or send an API key.")
        return found

    @property
    def credential(self) -> str:
        """What he showed for it, to be looked at again while a stream is open."""
        return str(self.scope.get("auth") or "")

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return self.client.host if self.client else "unknown"

    @asynccontextmanager
    async def tenant(self, *, for_samples: bool = False) -> AsyncIterator[Connection]:
        """One transaction as the caller. Raises Forbidden for a key that only sends samples,
        unless `for_samples` lets it in."""
        if self.identity.only_sends_samples and not for_samples:
            raise Forbidden("This key may only send samples.")
        async with tenant_tx(self.services.pool, actor_of(self.identity)) as cx:
            yield cx


@dataclass(frozen=True, slots=True)
class Keyset:
    """Where a page begins: after the row made at that time, of that id."""

    at: datetime
    id: UUID


def body_of(kind: Any) -> Any:
    """The annotation of a body whose type was made at run time."""
    return Annotated[kind, BodyKwarg(media_type=RequestEncodingType.JSON)]


def read_cursor(cursor: str | None) -> Keyset | None:
    """The place that a cursor of ours names. Raises NotValid for any other text."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, _, row = text.partition(" ")
        return Keyset(datetime.fromisoformat(at), UUID(row))
    except (binascii.Error, ValueError) as exc:
        raise NotValid(errors=[FieldError("cursor", "is none that we gave")]) from exc


def write_cursor(at: datetime, row: UUID) -> str:
    """The cursor that continues after this row."""
    return base64.urlsafe_b64encode(f"{at.isoformat()} {row}".encode()).decode().rstrip("=")


def page_of(
    kind: type[T], rows: Sequence[Row], limit: int, *, at: str = "created_at", key: str = "id"
) -> Page[T]:
    """One page of rows that were asked for with a limit of one more than `limit`."""
    shown = rows[:limit]
    following = None
    if len(rows) > limit:
        following = write_cursor(shown[-1][at], shown[-1][key])
    return Page([shape(kind, row) for row in shown], following)


def shape(kind: type[T], row: Row) -> T:
    """A row as the answer's type; columns that it does not name stay out."""
    words = {k: write_duration(v) if isinstance(v, timedelta) else v for k, v in row.items()}
    return msgspec.convert(words, kind)


async def visible_organizations(cx: Connection, wanted: UUID | None) -> list[UUID]:
    """The organizations that a list is about: the wanted one, or all of the caller's.

    Raises NotFound for one that is not his; an operator of the platform may name any.
    """
    standing = await store.find_standing(cx)
    if wanted is None:
        return list(standing.organization_ids)
    if wanted not in standing.organization_ids and standing.operator_role is None:
        raise NotFound("There is no such organization that you can see.")
    return [wanted]


async def one_organization(cx: Connection, wanted: UUID | None) -> UUID:
    """The one organization that a request is about. Raises NotFound, or NotValid if the caller
    has several and named none."""
    standing = await store.find_standing(cx)
    return choose(standing, wanted)


def choose(standing: Standing, wanted: UUID | None) -> UUID:
    """The same, of a standing that is known."""
    if wanted is not None:
        if wanted not in standing.organization_ids:
            raise NotFound("There is no such organization that you can see.")
        return wanted
    if not standing.organization_ids:
        raise Forbidden("You belong to no organization yet.")
    if len(standing.organization_ids) > 1:
        reason = "you belong to several organizations; say which one is meant"
        raise NotValid(errors=[FieldError("organization_id", reason)])
    return standing.organization_ids[0]


async def earlier_answer(
    cx: Connection, request: ApiRequest, organization_id: UUID
) -> tuple[Answer | None, bytes]:
    """What a request with the same Idempotency-Key was answered, and the hash of this one.

    Raises NotValid for the key of another request: a repeat must be the same request.
    """
    key = request.headers.get("idempotency-key")
    content = f"{request.method} {request.url.path}\n".encode() + await request.body()
    request_hash = hashlib.sha256(content).digest()
    if key is None:
        return None, request_hash
    if not 1 <= len(key) <= LONGEST_IDEMPOTENCY_KEY:
        reason = f"has {len(key)} characters; 1 to {LONGEST_IDEMPOTENCY_KEY} are possible"
        raise NotValid(errors=[FieldError("Idempotency-Key", reason)])
    found = await store.find_answer(
        cx, organization_id=organization_id, subject=request.identity.subject, key=key
    )
    if found is not None and found.request_hash != request_hash:
        reason = "was used for another request"
        raise NotValid(errors=[FieldError("Idempotency-Key", reason)])
    return found, request_hash


async def remember_answer(
    cx: Connection, request: ApiRequest, organization_id: UUID, request_hash: bytes, body: Any
) -> None:
    """Keeps the answer for a repeat, if the request has an Idempotency-Key."""
    key = request.headers.get("idempotency-key")
    if key is not None:
        await store.record_answer(
            cx,
            organization_id=organization_id,
            subject=request.identity.subject,
            key=key,
            answer=Answer(request_hash, 201, msgspec.to_builtins(body)),
        )
