"""Contacts and messages as the caller may see and change them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import Forbidden, NotFound

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
    await cx.execute(Q.create_contact_method, values)
    row = await find_contact_method(cx, values["id"])
    assert row is not None  # noqa: S101 an insert that did not raise has made it
    return row


async def update_contact_method(cx: Connection, values: Mapping[str, Any]) -> Row | None:
    """As `values` say; None where the caller may not, or there is none. The address and the secret
    stay unless new ones are among them."""
    if values["secret_ciphertext"] is not None:
        await cx.execute(Q.replace_contact_secret, values)
    if values["address"] is not None:
        await cx.execute(Q.move_contact_method, values)
    if (await cx.execute(Q.update_contact_method, values)).rowcount != 1:
        return None
    return await find_contact_method(cx, values["id"])


async def list_contacts_beside(cx: Connection, contact_method_id: UUID) -> list[Row]:
    """All ways to reach the person of a contact, it among them, in the order in which they are
    tried; contacts of nobody's account belong together by their name."""
    return await (await cx.execute(Q.list_contacts_beside, {"id": contact_method_id})).fetchall()


async def order_contacts(cx: Connection, contact_method_ids: Sequence[UUID]) -> None:
    """Tries them in this order from now on; those of others stay as they are."""
    await cx.execute(Q.order_contacts, {"ids": list(contact_method_ids)})


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


async def list_contact_proofs(
    cx: Connection, organization_id: UUID, contact_method_id: UUID, limit: int
) -> list[Row]:
    """The newest codes and test messages of one contact."""
    values = {
        "organization_id": organization_id,
        "contact_method_id": contact_method_id,
        "limit": limit,
    }
    return await (await cx.execute(Q.list_contact_proofs, values)).fetchall()


async def find_delivery(cx: Connection, delivery_id: UUID) -> Row | None:
    """One message."""
    return await (await cx.execute(Q.find_delivery, {"id": delivery_id})).fetchone()


async def check_may_manage(cx: Connection, contact_method_id: UUID) -> None:
    """Raises NotFound for a contact that the caller cannot see, Forbidden for one that is neither
    his own nor his to administer."""
    row = await (
        await cx.execute(Q.may_manage_contact, {"contact_method_id": contact_method_id})
    ).fetchone()
    if row is None:
        raise NotFound("There is no such contact.")
    if not row["may_manage"]:
        raise Forbidden("Only an owner or admin, or whose contact it is, may change this.")


async def find_quiet_hours(cx: Connection, contact_method_id: UUID) -> Row:
    """A contact's quiet hours; `start` is None where there are none. Raises NotFound."""
    row = await (
        await cx.execute(Q.find_quiet_hours, {"contact_method_id": contact_method_id})
    ).fetchone()
    if row is None:
        raise NotFound("There is no such contact.")
    return row


async def set_quiet_hours(
    cx: Connection,
    contact_method_id: UUID,
    *,
    start: str,
    end: str,
    time_zone: str,
    weekdays: Sequence[int],
) -> Row:
    """Puts these in the place of those that were there. Raises NotFound and Forbidden."""
    await check_may_manage(cx, contact_method_id)
    await cx.execute(
        Q.set_quiet_hours,
        {
            "contact_method_id": contact_method_id,
            "start": start,
            "end": end,
            "time_zone": time_zone,
            "weekdays": list(weekdays),
        },
    )
    return await find_quiet_hours(cx, contact_method_id)


async def clear_quiet_hours(cx: Connection, contact_method_id: UUID) -> None:
    """None any more. Raises NotFound and Forbidden; where there are none, nothing happens."""
    await check_may_manage(cx, contact_method_id)
    await cx.execute(Q.clear_quiet_hours, {"contact_method_id": contact_method_id})


async def start_verification(
    cx: Connection, contact_method_id: UUID, delivery_id: UUID, code_hash: bytes
) -> datetime:
    """Puts a message with a code in line; until when that is good. Raises NotFound, Forbidden,
    Conflict for a contact that is off, RateLimited."""
    values = {
        "contact_method_id": contact_method_id,
        "delivery_id": delivery_id,
        "code_hash": code_hash,
    }
    row = await (await cx.execute(Q.start_verification, values)).fetchone()
    assert row is not None  # noqa: S101 a function that did not raise has answered
    expires_at: datetime = row["expires_at"]
    return expires_at


async def verify_contact(cx: Connection, contact_method_id: UUID, code_hash: bytes) -> str:
    """verified, wrong, expired, used_up or none. A wrong one counts: commit. Raises as above."""
    values = {"contact_method_id": contact_method_id, "code_hash": code_hash}
    row = await (await cx.execute(Q.verify_contact, values)).fetchone()
    assert row is not None  # noqa: S101 a function that did not raise has answered
    return str(row["said"])


async def send_test(cx: Connection, contact_method_id: UUID) -> UUID:
    """Puts a test message in line; its id among the deliveries. Raises as above."""
    row = await (await cx.execute(Q.send_test, {"contact_method_id": contact_method_id})).fetchone()
    assert row is not None  # noqa: S101 a function that did not raise has answered
    delivery_id: UUID = row["delivery_id"]
    return delivery_id


async def rotate_contact_secret(
    cx: Connection, contact_method_id: UUID, ciphertext: bytes, fingerprint: str
) -> None:
    """A secret with a fresh key in place of the old one. Raises NotFound, Forbidden, Conflict."""
    values = {
        "contact_method_id": contact_method_id,
        "secret_ciphertext": ciphertext,
        "secret_fingerprint": fingerprint,
    }
    await cx.execute(Q.rotate_contact_secret, values)
