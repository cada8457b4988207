"""Whether a contact reaches anybody: a code that comes back, and a test message."""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import Conflict, FieldError, NotFound, NotValid, RateLimited
from wedsync_apm.notify.channels import sender_for
from wedsync_apm.notify.members import store
from wedsync_apm.organizations.secrets import Keyring
from wedsync_apm.types import Channel

PURPOSE: Final = "contact code"


async def send_code(
    cx: Connection, keyring: Keyring, contact_method_id: UUID
) -> tuple[UUID, datetime]:
    """A code of six digits on its way; the one before is void. Its delivery, and until when it is
    good. Raises NotFound, NotValid for a channel that cannot be sent to, else as the store."""
    delivery_id = uuid4()
    code_hash = keyring.code_hash(PURPOSE, contact_method_id, keyring.code(PURPOSE, delivery_id))
    await _check_sendable(cx, contact_method_id)
    expires_at = await store.start_verification(cx, contact_method_id, delivery_id, code_hash)
    return delivery_id, expires_at


async def give_code(cx: Connection, keyring: Keyring, contact_method_id: UUID, code: str) -> str:
    """What the database says to a code that came back. Commit, so that a wrong one has been
    counted, and let `check_said` refuse it afterwards."""
    code_hash = keyring.code_hash(PURPOSE, contact_method_id, code)
    return await store.verify_contact(cx, contact_method_id, code_hash)


def check_said(said: str) -> None:
    """Raises NotValid for a wrong code, RateLimited after five, Conflict for an old one or none."""
    match said:
        case "wrong":
            raise NotValid(errors=[FieldError("code", "is not the one that was sent last")])
        case "used_up":
            raise RateLimited("Five codes were wrong: have a new one sent.", 60.0)
        case "expired":
            raise Conflict("This code is too old: have a new one sent.")
        case "none":
            raise Conflict("No code was sent to this address.")


async def send_test(cx: Connection, contact_method_id: UUID) -> UUID:
    """A test message on its way; its delivery. Raises as `send_code`."""
    await _check_sendable(cx, contact_method_id)
    return await store.send_test(cx, contact_method_id)


async def _check_sendable(cx: Connection, contact_method_id: UUID) -> None:
    row = await store.find_contact_method(cx, contact_method_id)
    if row is None:
        raise NotFound("There is no such contact.")
    sender_for(Channel(row["channel"]))
