"""Sign-in, who I am, members, API keys, and the audit log."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.params import JSONBody

from wedsync_apm.api.authentication import PUBLIC
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Organization,
    Page,
    earlier_answer,
    one_organization,
    page_of,
    read_cursor,
    remember_answer,
    shape,
    visible_organizations,
)
from wedsync_apm.clock import utcnow
from wedsync_apm.errors import FieldError, NotFound, NotValid
from wedsync_apm.organizations import store
from wedsync_apm.organizations.keys import make_key
from wedsync_apm.types import KeyScope

NO_STORE: Final = {"cache-control": "no-store"}


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """An account and its password."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=320)]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Token(msgspec.Struct):
    """A token for `Authorization: Bearer`."""

    access_token: str
    expires_in: int
    """Seconds."""
    token_type: str = "bearer"  # noqa: S105 what kind of token, not the token


class MyOrganization(msgspec.Struct):
    """One of the caller's organizations."""

    organization_id: UUID
    name: str
    time_zone: str
    vendor_type: str
    role: str
    help_line: str | None = None


class Me(msgspec.Struct):
    """Who the credential stands for."""

    id: UUID
    kind: str
    name: str
    email: str
    organizations: list[MyOrganization]
    operator_role: str | None = None
    scope: str | None = None
    expires_at: datetime | None = None


class Member(msgspec.Struct):
    """Somebody who belongs to an organization."""

    user_id: UUID
    organization_id: UUID
    role: str
    since: datetime
    name: str | None = None


class ApiKeyInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a new key is for. Without `expires_at` it is good until it is revoked."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    scope: KeyScope
    expires_at: datetime | None = None


class ApiKey(msgspec.Struct, kw_only=True):
    """A key as lists show it."""

    id: UUID
    organization_id: UUID
    name: str
    scope: KeyScope
    prefix: str
    created_by: UUID | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class CreatedApiKey(ApiKey, kw_only=True):
    """A key just made. `key` is shown this once; a repeated request gives it as null."""

    key: str | None


class AuditEntry(msgspec.Struct, kw_only=True):
    """One change: who did what to which row, and how it looked before and after."""

    id: int
    organization_id: UUID | None
    at: datetime
    actor_id: UUID | None
    actor: str
    action: str
    object_type: str
    object_id: str | None
    old_values: dict[str, Any] | None
    new_values: dict[str, Any] | None


@post("/api/v1/auth/login", status_code=200, opt={PUBLIC: True}, tags=["sign-in"])
async def sign_in(request: ApiRequest, data: JSONBody[SignIn]) -> Response[Token]:
    """Sign in with an e-mail address and a password (standalone mode)."""
    done = await request.services.authenticator.sign_in(
        email=data.email, password=data.password, address=request.address
    )
    return Response(Token(done.token, done.expires_in), headers=NO_STORE)


@get("/api/v1/me", tags=["sign-in"])
async def read_me(request: ApiRequest) -> Response[Me]:
    """Who the credential stands for, and which organizations it opens."""
    identity = request.identity
    async with request.tenant(for_samples=True) as cx:
        standing = await store.find_standing(cx)
        mine = await store.list_my_organizations(cx)
    me = Me(
        id=identity.subject,
        kind=identity.kind,
        name=identity.name,
        email=identity.email,
        organizations=[
            MyOrganization(
                one.organization_id,
                one.name,
                one.time_zone,
                one.vendor_type,
                one.role,
                one.help_line,
            )
            for one in mine
        ],
        operator_role=standing.operator_role,
        scope=identity.scope,
        expires_at=identity.expires_at,
    )
    return Response(me, headers=NO_STORE)


@get("/api/v1/members", tags=["members"])
async def list_members(
    request: ApiRequest,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Member]:
    """Who belongs to your organizations."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        rows = await store.list_members(
            cx,
            organization_ids=await visible_organizations(cx, organization_id),
            before=(place.at, place.id) if place else None,
            limit=limit + 1,
        )
    return page_of(Member, rows, limit, at="since", key="user_id")


@get("/api/v1/api-keys", tags=["api-keys"])
async def list_api_keys(
    request: ApiRequest,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ApiKey]:
    """Your organizations' keys, for owners and admins; never the keys themselves."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        rows = await store.list_api_keys(
            cx,
            organization_ids=await visible_organizations(cx, organization_id),
            before=(place.at, place.id) if place else None,
            limit=limit + 1,
        )
    return page_of(ApiKey, rows, limit)


@post("/api/v1/api-keys", tags=["api-keys"])
async def create_api_key(
    request: ApiRequest, data: JSONBody[ApiKeyInput], organization_id: Organization = None
) -> Response[CreatedApiKey]:
    """Make a key. It is shown in this answer and never again."""
    if data.expires_at is not None and (
        data.expires_at.tzinfo is None or data.expires_at <= utcnow()
    ):
        reason = "must be a time in the future, with its offset"
        raise NotValid(errors=[FieldError("expires_at", reason)])
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            made = msgspec.convert(earlier.body, CreatedApiKey)
            return Response(made, status_code=201, headers=NO_STORE)
        minted = make_key(data.scope)
        row = await store.create_api_key(
            cx,
            organization_id=owner,
            name=data.name,
            scope=data.scope,
            minted=minted,
            created_by=request.identity.subject,
            expires_at=data.expires_at,
        )
        # What is remembered for a repeat must not hold the secret.
        made = shape(CreatedApiKey, {**row, "key": None})
        await remember_answer(cx, request, owner, request_hash, made)
    made.key = minted.secret
    return Response(made, status_code=201, headers=NO_STORE)


@get("/api/v1/api-keys/{id:uuid}", tags=["api-keys"])
async def read_api_key(request: ApiRequest, id: Id) -> ApiKey:
    """Read a key's name, scope and dates."""
    async with request.tenant() as cx:
        row = await store.find_api_key_by_id(cx, id)
    if row is None:
        raise NotFound("There is no such API key.")
    return shape(ApiKey, row)


@delete("/api/v1/api-keys/{id:uuid}", tags=["api-keys"])
async def revoke_api_key(request: ApiRequest, id: Id) -> None:
    """Revoke a key. It opens nothing from then on; the list goes on showing it."""
    async with request.tenant() as cx:
        if await store.revoke_api_key(cx, id) is None:
            raise NotFound("There is no such API key.")
    request.services.authenticator.forget()


@get("/api/v1/audit-log", tags=["platform"])
async def list_audit_log(
    request: ApiRequest,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AuditEntry]:
    """Who changed what in your organizations, newest first; for owners and admins."""
    before = None
    if cursor is not None:
        if not cursor.isdecimal() or len(cursor) > 18:
            raise NotValid(errors=[FieldError("cursor", "is none that we gave")])
        before = int(cursor)
    async with request.tenant() as cx:
        rows = await store.list_audit_log(
            cx,
            organization_ids=await visible_organizations(cx, organization_id),
            before_number=before,
            limit=limit + 1,
        )
    shown = [shape(AuditEntry, row) for row in rows[:limit]]
    return Page(shown, str(shown[-1].id) if len(rows) > limit else None)


HANDLERS: Final = (
    sign_in,
    read_me,
    list_members,
    list_api_keys,
    create_api_key,
    read_api_key,
    revoke_api_key,
    list_audit_log,
)
