"""Contacts and messages as the caller may see and change them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)


async def list_contact_methods(
    cx: Connection,
    *,
    organization_ids: Sequence[UUID],
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """The contacts after `before`, newest first."""
    before_at, before_id = before or (None, None)
    cursor = await cx.execute(
        Q.list_contact_methods,
        {
            "organization_ids": list(organization_ids),
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        },
    )
    return await cursor.fetchall()


async def find_contact_method(cx: Connection, contact_method_id: UUID) -> Row | None:
    """One contact."""
    return await (await cx.execute(Q.find_contact_method, {"id": contact_method_id})).fetchone()


async def create_contact_method(cx: Connection, values: Mapping[str, Any]) -> Row:
    """A new contact. Raises what the database refuses."""
    row = await (await cx.execute(Q.create_contact_method, values)).fetchone()
    assert row is not None  # noqa: S101 an insert that did not raise gives its row back
    return row


async def update_contact_method(cx: Connection, values: Mapping[str, Any]) -> Row | None:
    """As `values` say; None where the caller may not, or there is none. The secret stays unless a
    new one is among them."""
    if values["secret_ciphertext"] is not None:
        await cx.execute(Q.replace_contact_secret, values)
    return await (await cx.execute(Q.update_contact_method, values)).fetchone()


async def delete_contact_method(cx: Connection, contact_method_id: UUID) -> bool:
    """Whether it is gone by this; False where the caller may not, or there is none."""
    return (await cx.execute(Q.delete_contact_method, {"id": contact_method_id})).rowcount == 1


async def list_deliveries(
    cx: Connection,
    *,
    organization_ids: Sequence[UUID],
    incident_id: UUID | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """The messages after `before`, newest first; of one incident where it is given."""
    before_at, before_id = before or (None, None)
    cursor = await cx.execute(
        Q.list_deliveries,
        {
            "organization_ids": list(organization_ids),
            "incident_id": incident_id,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        },
    )
    return await cursor.fetchall()


async def find_delivery(cx: Connection, delivery_id: UUID) -> Row | None:
    """One message."""
    return await (await cx.execute(Q.find_delivery, {"id": delivery_id})).fetchone()
