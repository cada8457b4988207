"""Connected systems. Their secrets go in and never come out: a fingerprint and a date do."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import msgspec
from litestar import delete, get, patch, post
from litestar.params import JSONBody

from wedsync_apm.api.crud import merge, partial_of
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Organization,
    Page,
    body_of,
    earlier_answer,
    one_organization,
    page_of,
    read_cursor,
    remember_answer,
    shape,
    visible_organizations,
)
from wedsync_apm.api.secrets import require_admin, seal
from wedsync_apm.errors import FieldError, Forbidden, NotFound, NotValid
from wedsync_apm.integrations import store
from wedsync_apm.types import Provider, ServiceStatus

Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
_SECRET_NAMES: Final = frozenset(
    {"api_key", "app_key", "license_key", "password", "secret", "token", "routing_key"}
)


class ConfigurationInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A system to connect. `secrets` (`{"api_key": "…"}`) are sealed and never shown again."""

    provider: Provider
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    secrets: dict[str, Secret] | None = None
    wedding_day_alerts_enabled: bool = True
    emergency_contact_override: dict[str, Any] | None = None
    is_active: bool = True


class Configuration(msgspec.Struct, kw_only=True):
    """A connected system."""

    id: UUID
    organization_id: UUID
    provider: Provider
    name: str
    config: dict[str, Any]
    secret_fingerprint: str | None
    secret_set_at: datetime | None
    wedding_day_alerts_enabled: bool
    emergency_contact_override: dict[str, Any] | None
    is_active: bool
    last_health_check: datetime | None
    health_check_status: ServiceStatus
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


ConfigurationChanges = partial_of(ConfigurationInput)


def check_plain(data: ConfigurationInput) -> None:
    """Raises NotValid for a secret in the part that everybody can read."""
    for name in data.config:
        if name in _SECRET_NAMES:
            reason = "is a secret; put it into secrets"
            raise NotValid(errors=[FieldError(f"config.{name}", reason)])


def _secret_text(data: ConfigurationInput) -> str | None:
    # Always in the same order, so that the same secrets have the same fingerprint.
    if not data.secrets:
        return None
    return msgspec.json.encode(data.secrets, order="sorted").decode()


async def _values(
    request: ApiRequest, data: ConfigurationInput, organization_id: UUID, row_id: UUID
) -> dict[str, Any]:
    place = store.secret_place(organization_id, row_id)
    sealed = await seal(request, place, _secret_text(data))
    return {
        **msgspec.to_builtins(data),
        "id": row_id,
        "organization_id": organization_id,
        "secret_ciphertext": sealed.ciphertext,
        "secret_fingerprint": sealed.fingerprint,
        "created_by": request.identity.subject,
    }


@get("/api/v1/configurations", tags=["configurations"])
async def list_configurations(
    request: ApiRequest,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Configuration]:
    """List the connected systems, newest first."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        rows = await store.list_configurations(
            cx,
            organization_ids=await visible_organizations(cx, organization_id),
            before=(place.at, place.id) if place else None,
            limit=limit + 1,
        )
    return page_of(Configuration, rows, limit)


@post("/api/v1/configurations", tags=["configurations"])
async def create_configuration(
    request: ApiRequest, data: JSONBody[ConfigurationInput], organization_id: Organization = None
) -> Configuration:
    """Connect a system."""
    check_plain(data)
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        await require_admin(cx, owner)
    values = await _values(request, data, owner, uuid4())
    async with request.tenant() as cx:
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            return msgspec.convert(earlier.body, Configuration)
        made = shape(Configuration, await store.create_configuration(cx, values))
        await remember_answer(cx, request, owner, request_hash, made)
    return made


@get("/api/v1/configurations/{id:uuid}", tags=["configurations"])
async def read_configuration(request: ApiRequest, id: Id) -> Configuration:
    """Read a connected system; of its secret only the fingerprint."""
    async with request.tenant() as cx:
        row = await store.find_configuration(cx, id)
    if row is None:
        raise NotFound("There is no such configuration.")
    return shape(Configuration, row)


async def change_configuration(request: ApiRequest, id: Id, data: Any) -> Configuration:
    """Change some of a connected system; new `secrets` replace all old ones."""
    present = await _present(request, id)
    async with request.tenant() as cx:
        await require_admin(cx, present.organization_id)
    whole, changed = merge(ConfigurationInput, present, data)
    if "provider" in changed and whole.provider is not present.provider:
        reason = "cannot change; connect the other system instead"
        raise NotValid(errors=[FieldError("provider", reason)])
    check_plain(whole)
    values = await _values(request, whole, present.organization_id, id)
    async with request.tenant() as cx:
        row = await store.update_configuration(cx, values)
    if row is None:
        raise NotFound("There is no such configuration.")
    return shape(Configuration, row)


change_configuration.__annotations__["data"] = body_of(ConfigurationChanges)


@delete("/api/v1/configurations/{id:uuid}", tags=["configurations"])
async def delete_configuration(request: ApiRequest, id: Id) -> None:
    """Disconnect a system and forget its secret."""
    async with request.tenant() as cx:
        if not await store.delete_configuration(cx, id):
            if await store.find_configuration(cx, id) is None:
                raise NotFound("There is no such configuration.")
            raise Forbidden("Only an owner or admin may change this.")


async def _present(request: ApiRequest, configuration_id: UUID) -> Configuration:
    async with request.tenant() as cx:
        row = await store.find_configuration(cx, configuration_id)
    if row is None:
        raise NotFound("There is no such configuration.")
    return shape(Configuration, row)


HANDLERS: Final = (
    list_configurations,
    create_configuration,
    read_configuration,
    patch("/api/v1/configurations/{id:uuid}", tags=["configurations"])(change_configuration),
    delete_configuration,
)
