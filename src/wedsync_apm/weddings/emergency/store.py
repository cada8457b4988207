"""Emergency contacts of weddings in the database, as the person whom `tenant_tx` lets in."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import FieldError, Forbidden, NotValid
from wedsync_apm.weddings.store import find_wedding

Q = load_queries(__package__)

Row = dict[str, Any]


async def list_contacts(cx: Connection, wedding_id: UUID) -> list[Row]:
    """A wedding's emergency contacts in their order; none for a viewer. Raises NotFound."""
    wedding = await find_wedding(cx, wedding_id)
    return await (await cx.execute(Q.list_emergency_contacts, _key(wedding))).fetchall()


async def set_contacts(
    cx: Connection, wedding_id: UUID, contact_method_ids: Sequence[UUID]
) -> list[Row]:
    """Makes these the wedding's emergency contacts, in this order.

    Raises NotFound, Forbidden for less than an admin, NotValid for contacts of somebody else.
    """
    wedding = await find_wedding(cx, wedding_id)
    where = {"organization_id": wedding["organization_id"]}
    row = await (await cx.execute(Q.may_change_emergency_contacts, where)).fetchone()
    if row is None or not row["may_change"]:
        # Nothing would be changed, and nobody would know.
        raise Forbidden("Only an owner or admin may say who is called at a wedding.")
    await cx.execute(Q.clear_emergency_contacts, _key(wedding))
    added = await cx.execute(
        Q.add_emergency_contacts, {**_key(wedding), "contact_method_ids": list(contact_method_ids)}
    )
    if added.rowcount < len(set(contact_method_ids)):
        reason = "names a contact that is not there"
        raise NotValid(errors=[FieldError("contact_method_ids", reason)])
    return await (await cx.execute(Q.list_emergency_contacts, _key(wedding))).fetchall()


def _key(wedding: Row) -> dict[str, UUID]:
    return {"organization_id": wedding["organization_id"], "wedding_id": wedding["id"]}
