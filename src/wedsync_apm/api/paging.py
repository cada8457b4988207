"""Whom to reach: contacts."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID, uuid4

import msgspec
from litestar import delete, get, patch, post
from litestar.params import JSONBody

from wedsync_apm.api.crud import Values
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
from wedsync_apm.api.secrets import seal
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import FieldError, Forbidden, NotFound, NotValid
from wedsync_apm.notify.channels import SENDERS
from wedsync_apm.notify.members import store
from wedsync_apm.notify.members.targets import Target, read_target
from wedsync_apm.notify.members.vault import opened_fields
from wedsync_apm.notify.store import contact_secret_place
from wedsync_apm.organizations.store import find_role
from wedsync_apm.types import Channel, Role

SEALED_FIELDS: Final = sorted({name for sender in SENDERS.values() for name in sender.fields})
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


Field = Annotated[str, msgspec.Meta(max_length=2000)]
Preference = Annotated[int, msgspec.Meta(ge=0, le=100_000)]


class ContactMethodInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How to reach somebody. E-mail takes an `address`; everything else what is sealed:

    - Slack the `url` of an incoming webhook, or the `bot_token` and `channel_id` of a bot; with the
      app's `signing_secret` its messages have a button that acknowledges.
    - A webhook a `url`; its `signing_key` (`whsec_…`) is made if none is given.
    - PagerDuty the `routing_key` of an Events API v2 integration, the `webhook_secret` of a V3
      webhook subscription (two with a space between while they change over), and a `url` if it is
      another service region's.
    - Apprise the `url` of a service, as its documentation has it.
    - A browser the `url` (its `endpoint`), `p256dh` and `auth` of its push subscription."""

    name: Name
    channel: Channel
    address: Annotated[str, msgspec.Meta(max_length=320)] = ""
    url: Field | None = None
    signing_key: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    bot_token: Field | None = None
    channel_id: Field | None = None
    signing_secret: Field | None = None
    routing_key: Field | None = None
    webhook_secret: Field | None = None
    p256dh: Field | None = None
    auth: Field | None = None
    user_id: UUID | None = None
    preference: Preference = 100
    """Of one person's contacts the lower is tried first."""
    is_disabled: bool = False


class ContactMethod(msgspec.Struct, kw_only=True):
    """A contact. What is secret of it shows as a fingerprint, and a telephone number in full to its
    owner and to admins only."""

    id: UUID
    organization_id: UUID
    user_id: UUID | None
    name: str
    channel: Channel
    address: str
    secret_fingerprint: str | None
    preference: int
    verified_at: datetime | None
    last_ok_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime


class CreatedContactMethod(ContactMethod, kw_only=True):
    """A contact just made. A webhook's `signing_key` is shown this once."""

    signing_key: str | None


class ContactMethodChanges(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What may change of a contact; its channel may not."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    address: Annotated[str, msgspec.Meta(max_length=320)] | msgspec.UnsetType = msgspec.UNSET
    url: Annotated[str, msgspec.Meta(max_length=2000)] | msgspec.UnsetType = msgspec.UNSET
    signing_key: Annotated[str, msgspec.Meta(max_length=200)] | msgspec.UnsetType = msgspec.UNSET
    bot_token: Field | msgspec.UnsetType = msgspec.UNSET
    channel_id: Field | msgspec.UnsetType = msgspec.UNSET
    signing_secret: Field | msgspec.UnsetType = msgspec.UNSET
    routing_key: Field | msgspec.UnsetType = msgspec.UNSET
    webhook_secret: Field | msgspec.UnsetType = msgspec.UNSET
    p256dh: Field | msgspec.UnsetType = msgspec.UNSET
    auth: Field | msgspec.UnsetType = msgspec.UNSET
    preference: Preference | msgspec.UnsetType = msgspec.UNSET
    is_disabled: bool | msgspec.UnsetType = msgspec.UNSET


@get("/api/v1/contact-methods", tags=["contact-methods"])
async def list_contact_methods(
    request: ApiRequest,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ContactMethod]:
    """List contacts, newest first."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        rows = await store.list_contact_methods(
            cx,
            organization_ids=await visible_organizations(cx, organization_id),
            before=(place.at, place.id) if place else None,
            limit=limit + 1,
        )
    return page_of(ContactMethod, rows, limit)


@post("/api/v1/contact-methods", tags=["contact-methods"])
async def create_contact_method(
    request: ApiRequest, data: JSONBody[ContactMethodInput], organization_id: Organization = None
) -> CreatedContactMethod:
    """Make a contact. A member makes his own."""
    target = read_target(data.channel, data.address, given_of(msgspec.to_builtins(data)))
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        user_id = await _whose(cx, request, owner, data.user_id)
    new_id = uuid4()
    sealed = await seal(request, contact_secret_place(owner, new_id), target.secret)
    async with request.tenant() as cx:
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            return msgspec.convert(earlier.body, CreatedContactMethod)
        row = await store.create_contact_method(
            cx,
            {
                "id": new_id,
                "organization_id": owner,
                "user_id": user_id,
                "name": data.name,
                "channel": data.channel.value,
                "address": target.address,
                "secret_ciphertext": sealed.ciphertext,
                "secret_fingerprint": sealed.fingerprint,
                "preference": data.preference,
            },
        )
        # What is remembered for a repeat must not hold the key.
        made = shape(CreatedContactMethod, {**row, "signing_key": None})
        await remember_answer(cx, request, owner, request_hash, made)
    made.signing_key = target.made_key
    return made


@get("/api/v1/contact-methods/{id:uuid}", tags=["contact-methods"])
async def read_contact_method(request: ApiRequest, id: Id) -> ContactMethod:
    """Read a contact."""
    return await _present(request, id)


@patch("/api/v1/contact-methods/{id:uuid}", tags=["contact-methods"])
async def change_contact_method(
    request: ApiRequest, id: Id, data: JSONBody[ContactMethodChanges]
) -> ContactMethod:
    """Change some of a contact. What is sealed of Slack and PagerDuty changes field by field; a new
    `url` of a webhook brings a new key unless one comes with it."""
    present = await _present(request, id)
    changes: Values = msgspec.to_builtins(data)
    async with request.tenant() as cx:
        await store.check_may_manage(cx, id)
    given = given_of(changes)
    if present.channel is Channel.WEBHOOK and "signing_key" in given and "url" not in given:
        raise NotValid(errors=[FieldError("url", "is needed along with a new signing_key")])
    target: Target | None = None
    if given or "address" in changes:
        services = request.services
        if given:
            kept = await opened_fields(services.pool, services.keyring, id, present.channel)
            given = {name: value for name, value in {**kept, **given}.items() if value}
        target = read_target(present.channel, changes.get("address", present.address), given)
    place = contact_secret_place(present.organization_id, id)
    sealed = await seal(request, place, target.secret if target else None)
    async with request.tenant() as cx:
        row = await store.update_contact_method(
            cx,
            {
                "id": id,
                "name": changes.get("name", present.name),
                "address": target.address if target else None,
                "secret_ciphertext": sealed.ciphertext,
                "secret_fingerprint": sealed.fingerprint,
                "preference": changes.get("preference", present.preference),
                "is_disabled": changes.get("is_disabled", present.disabled_at is not None),
            },
        )
    if row is None:
        raise NotFound("There is no such contact.")
    return shape(ContactMethod, row)


@delete("/api/v1/contact-methods/{id:uuid}", tags=["contact-methods"])
async def delete_contact_method(request: ApiRequest, id: Id) -> None:
    """Delete a contact; every ladder goes on without it."""
    async with request.tenant() as cx:
        if not await store.delete_contact_method(cx, id):
            if await store.find_contact_method(cx, id) is None:
                raise NotFound("There is no such contact.")
            raise Forbidden("Only an owner or admin may change this.")


def given_of(values: Values) -> dict[str, str]:
    """What was given beside the address; an empty field takes away."""
    return {
        name: values[name] for name in SEALED_FIELDS if name in values and values[name] is not None
    }


async def _whose(
    cx: Connection, request: ApiRequest, organization_id: UUID, user_id: UUID | None
) -> UUID | None:
    """Whose contact is made. Raises Forbidden for another's, unless an admin makes it.

    What is secret of it is sealed outside of the caller's transaction, where row-level security
    does not watch.
    """
    role = await find_role(cx, organization_id)
    if role in (Role.OWNER, Role.ADMIN):
        return user_id
    asks = request.identity
    if role is not Role.MEMBER or asks.kind == "key" or user_id not in (None, asks.subject):
        raise Forbidden("Only an owner or admin keeps contacts of others.")
    return asks.subject


async def _present(request: ApiRequest, contact_method_id: UUID) -> ContactMethod:
    async with request.tenant() as cx:
        row = await store.find_contact_method(cx, contact_method_id)
    if row is None:
        raise NotFound("There is no such contact.")
    return shape(ContactMethod, row)


HANDLERS: Final = (
    list_contact_methods,
    create_contact_method,
    read_contact_method,
    change_contact_method,
    delete_contact_method,
)
