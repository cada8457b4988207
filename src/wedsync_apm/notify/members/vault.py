"""What is sealed of a contact, opened for the front door, which has made sure who asks."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from wedsync_apm.db.pool import Connection, Pool, wrap_database_errors
from wedsync_apm.db.queries import load_queries
from wedsync_apm.notify.channels import sender_for
from wedsync_apm.notify.channels.fields import Given
from wedsync_apm.notify.channels.webhook.config import OVERLAP
from wedsync_apm.notify.channels.webhook.config import configure as configure_webhook
from wedsync_apm.notify.store import contact_secret_place
from wedsync_apm.organizations.secrets import DataKey, Keyring, WrappedKey
from wedsync_apm.types import Channel

Q = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class OpenedContact:
    """A contact, its secret in the open: keep it no longer than the work at hand."""

    organization_id: UUID
    id: UUID
    channel: Channel
    name: str
    address: str
    secret: str
    is_off: bool
    key: DataKey


async def open_contact(
    cx: Connection, keyring: Keyring, contact_method_id: UUID
) -> OpenedContact | None:
    """The contact with its secret; None where there is none, or nothing is sealed of it.

    Over the API's own login, where row-level security does not watch. Raises SecretUnreadable
    without the right master key.
    """
    cursor = await cx.execute(Q.find_callback_contact, {"id": contact_method_id})
    row = await cursor.fetchone()
    if row is None:
        return None
    organization_id = row["organization_id"]
    key = keyring.open(organization_id, WrappedKey(bytes(row["wrapped_key"]), row["master_key_id"]))
    place = contact_secret_place(organization_id, contact_method_id)
    return OpenedContact(
        organization_id,
        contact_method_id,
        Channel(row["channel"]),
        row["name"],
        row["address"],
        key.unseal(place, bytes(row["secret_ciphertext"])),
        row["is_off"],
        key,
    )


async def opened_fields(
    pool: Pool, keyring: Keyring, contact_method_id: UUID, channel: Channel
) -> Given:
    """What is sealed of a contact, field by field; nothing where it is only replaced as a whole."""
    sender = sender_for(channel)
    if sender.fields_of is None:
        return {}
    with wrap_database_errors():
        async with pool.connection() as cx:
            opened = await open_contact(cx, keyring, contact_method_id)
    if opened is None:
        return {}
    return sender.fields_of(sender.configure(opened.address, opened.secret))


@dataclass(frozen=True, slots=True)
class Told:
    """What people see of keys that change over: the new one, this once, and how to tell them."""

    signing_key: str = field(repr=False)
    fingerprint: str
    previous_fingerprint: str
    previous_until: datetime


@dataclass(frozen=True, slots=True)
class Rotated:
    """A webhook's secret with a fresh key in it, sealed."""

    ciphertext: bytes
    secret_fingerprint: str
    told: Told


async def rotate_key(
    cx: Connection, keyring: Keyring, contact_method_id: UUID, at: datetime
) -> Rotated | None:
    """A fresh key for a webhook; the present one signs too for a day. None without such a contact.

    Nothing is stored by this. Whoever calls it has made sure who asks. Raises as `open_contact`.
    """
    opened = await open_contact(cx, keyring, contact_method_id)
    if opened is None or opened.channel is not Channel.WEBHOOK:
        return None
    before = configure_webhook(opened.address, opened.secret)
    target = before.rotated(at)
    place = contact_secret_place(opened.organization_id, contact_method_id)
    fingerprint = opened.key.fingerprint
    return Rotated(
        opened.key.seal(place, target.secret),
        fingerprint(target.secret),
        Told(
            target.key,
            fingerprint(target.key),
            fingerprint(before.key),
            at + OVERLAP,
        ),
    )
