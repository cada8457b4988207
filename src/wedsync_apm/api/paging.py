"""Whom to reach and when: contacts, ladders, notification rules, and the messages themselves."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromQuery, JSONBody

from wedsync_apm.api.crud import Resource, Values, routes
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
from wedsync_apm.api.secrets import require_admin, seal
from wedsync_apm.errors import FieldError, Forbidden, NotFound, NotValid
from wedsync_apm.escalation.members.store import ESCALATION_POLICIES, NOTIFICATION_RULES
from wedsync_apm.notify.channels import sender_for
from wedsync_apm.notify.channels.slack.config import new_target as new_slack_target
from wedsync_apm.notify.channels.webhook.config import new_target as new_webhook_target
from wedsync_apm.notify.members import store
from wedsync_apm.notify.model import mask_links
from wedsync_apm.notify.store import contact_secret_place
from wedsync_apm.types import Channel, EscalationLevel, Severity

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class EscalationStep(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A rung: after how long whom to tell. `delay_seconds` counts from the rung before."""

    delay_seconds: Seconds
    wedding_delay_seconds: Seconds | None = None
    """In a wedding window; a quarter of the delay if none."""
    level: EscalationLevel = EscalationLevel.NONE
    contact_method_ids: Annotated[list[UUID], msgspec.Meta(max_length=100)] = []


class EscalationPolicyInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A ladder. `repeat_count` says how often it is climbed again when nobody answers."""

    name: Name
    steps: Annotated[list[EscalationStep], msgspec.Meta(min_length=1, max_length=50)]
    is_default: bool = False
    repeat_count: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0


class EscalationPolicy(EscalationPolicyInput, kw_only=True, forbid_unknown_fields=False):
    """A ladder as it is kept."""

    id: UUID
    organization_id: UUID
    created_at: datetime
    updated_at: datetime


class QuietHours(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When delivery waits; evaluation never does."""

    start: Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    end: Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class NotificationRuleInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which ladder is climbed for which severity; the lowest position wins."""

    name: Name
    severity_min: Severity = Severity.WARNING
    channels: Annotated[list[Channel], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: [Channel.EMAIL]
    )
    recipients: list[Any] = msgspec.field(default_factory=list)
    quiet_hours: QuietHours | None = None
    escalation_policy_id: UUID | None = None
    wedding_day_override: bool = True
    is_active: bool = True
    position: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 100


class NotificationRule(NotificationRuleInput, kw_only=True, forbid_unknown_fields=False):
    """A notification rule as it is kept."""

    id: UUID
    organization_id: UUID
    created_at: datetime
    updated_at: datetime


POLICIES: Final = Resource(
    path="/api/v1/escalation-policies",
    one="escalation policy",
    noun=ESCALATION_POLICIES,
    input=EscalationPolicyInput,
    output=EscalationPolicy,
)
RULES: Final = Resource(
    path="/api/v1/notification-rules",
    one="notification rule",
    noun=NOTIFICATION_RULES,
    input=NotificationRuleInput,
    output=NotificationRule,
)


class ContactMethodInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How to reach somebody. E-mail takes an `address`; Slack and webhooks a `url`, which is
    sealed; a webhook's `signing_key` (`whsec_…`) is made if none is given."""

    name: Name
    channel: Channel
    address: Annotated[str, msgspec.Meta(max_length=320)] = ""
    url: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    signing_key: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    user_id: UUID | None = None
    is_disabled: bool = False


class ContactMethod(msgspec.Struct, kw_only=True):
    """A contact. What is secret of it shows as a fingerprint."""

    id: UUID
    organization_id: UUID
    user_id: UUID | None
    name: str
    channel: Channel
    address: str
    secret_fingerprint: str | None
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
    is_disabled: bool | msgspec.UnsetType = msgspec.UNSET


class Delivery(msgspec.Struct, kw_only=True):
    """One message to one receiver, as it was sent, and what became of it. In the `body` the secret
    part of a one-tap link reads `(masked)`: it is its receiver's alone."""

    id: UUID
    organization_id: UUID
    incident_id: UUID | None
    contact_method_id: UUID | None
    channel: Channel
    kind: str
    reason: str
    recipient: dict[str, Any]
    subject: str | None
    body: str | None
    state: str
    state_reason: str
    due_at: datetime
    attempt: int
    provider_id: str | None
    provider_status: str | None
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None


class Target(msgspec.Struct):
    """Where a contact is: what to show, what to seal, and a key that was made for it."""

    address: str
    secret: str | None = None
    made_key: str | None = None


def read_target(channel: Channel, address: str, url: str | None, signing_key: str | None) -> Target:
    """What was sent of a contact, checked by its channel. Raises NotValid with the field."""
    if channel in (Channel.SLACK, Channel.WEBHOOK) and not url:
        raise NotValid(errors=[FieldError("url", f"is needed for {channel.value}")])
    if channel is Channel.SLACK:
        host, place = new_slack_target(url or "")
        return Target(host, place.secret)
    if channel is Channel.WEBHOOK:
        host, signed = new_webhook_target(url or "", signing_key)
        return Target(host, signed.secret, None if signing_key else signed.key)
    sender_for(channel).configure(address, None)
    return Target(address)


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
    """Make a contact."""
    target = read_target(data.channel, data.address, data.url, data.signing_key)
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        await require_admin(cx, owner)
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
                "user_id": data.user_id,
                "name": data.name,
                "channel": data.channel.value,
                "address": target.address,
                "secret_ciphertext": sealed.ciphertext,
                "secret_fingerprint": sealed.fingerprint,
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
    """Change some of a contact; a new `url` replaces the sealed one, with a new key unless one
    comes with it."""
    present = await _present(request, id)
    changes: Values = msgspec.to_builtins(data)
    async with request.tenant() as cx:
        await require_admin(cx, present.organization_id)
    if "signing_key" in changes and "url" not in changes:
        raise NotValid(errors=[FieldError("url", "is needed along with a new signing_key")])
    target = Target(present.address)
    if changes.keys() & {"address", "url"}:
        target = read_target(
            present.channel,
            changes.get("address", present.address),
            changes.get("url"),
            changes.get("signing_key"),
        )
    place = contact_secret_place(present.organization_id, id)
    sealed = await seal(request, place, target.secret)
    async with request.tenant() as cx:
        row = await store.update_contact_method(
            cx,
            {
                "id": id,
                "name": changes.get("name", present.name),
                "address": target.address,
                "secret_ciphertext": sealed.ciphertext,
                "secret_fingerprint": sealed.fingerprint,
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


async def _present(request: ApiRequest, contact_method_id: UUID) -> ContactMethod:
    async with request.tenant() as cx:
        row = await store.find_contact_method(cx, contact_method_id)
    if row is None:
        raise NotFound("There is no such contact.")
    return shape(ContactMethod, row)


@get("/api/v1/deliveries", tags=["deliveries"])
async def list_deliveries(
    request: ApiRequest,
    *,
    organization_id: Organization = None,
    incident_id: FromQuery[UUID | None] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Delivery]:
    """List the messages, newest first."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        rows = await store.list_deliveries(
            cx,
            organization_ids=await visible_organizations(cx, organization_id),
            incident_id=incident_id,
            before=(place.at, place.id) if place else None,
            limit=limit + 1,
        )
    return page_of(Delivery, [_without_links(row) for row in rows], limit)


@get("/api/v1/deliveries/{id:uuid}", tags=["deliveries"])
async def read_delivery(request: ApiRequest, id: Id) -> Delivery:
    """Read one message as it was sent, its one-tap link masked."""
    async with request.tenant() as cx:
        row = await store.find_delivery(cx, id)
    if row is None:
        raise NotFound("There is no such delivery.")
    return shape(Delivery, _without_links(row))


def _without_links(row: Values) -> Values:
    body = row["body"]
    return {**row, "body": body and mask_links(body, "(masked)")}


HANDLERS: Final = (
    *routes(POLICIES),
    *routes(RULES),
    list_contact_methods,
    create_contact_method,
    read_contact_method,
    change_contact_method,
    delete_contact_method,
    list_deliveries,
    read_delivery,
)
