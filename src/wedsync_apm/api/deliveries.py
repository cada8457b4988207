"""Every message as it was sent, and what became of it."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import FromQuery

from wedsync_apm.api.crud import Values
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Organization,
    Page,
    page_of,
    read_cursor,
    shape,
    visible_organizations,
)
from wedsync_apm.errors import NotFound
from wedsync_apm.notify.members import store
from wedsync_apm.notify.model import mask_links
from wedsync_apm.types import Channel


class Attempt(msgspec.Struct, kw_only=True):
    """One try to send it; `outcome` is null while it is under way, `unknown` where nobody can tell
    whether it arrived."""

    attempt: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    provider_status: str | None
    error: str | None


class Delivery(msgspec.Struct, kw_only=True):
    """One message to one receiver, as it was sent, and what became of it. In the `body` the secret
    part of a one-tap link reads `(masked)`: it is its receiver's alone.

    `stage` is what dropped it or holds it back, `state_reason` why. One in another message's words
    names that in `bundled_into`; one that goes beside a call that has not arrived names the call in
    `stands_in_for`."""

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
    stage: str | None
    bundled_into: UUID | None
    stands_in_for: UUID | None
    due_at: datetime
    attempt: int
    provider_id: str | None
    provider_status: str | None
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    attempts: list[Attempt]


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


HANDLERS: Final = (list_deliveries, read_delivery)
