"""Telephones in the database, and an engine that reaches the worst of providers."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from tests.support.outbox import AT, KEYRING, World
from tests.support.worst_phone import AUTH_TOKEN, WorstPhone
from tests.support.worst_phone import OURS as OURS
from tests.support.worst_phone import PRIYA as PRIYA
from wedsync_apm.notify.telephone.accounts import Account, Telephone
from wedsync_apm.organizations.secrets import Keyring

PUBLIC_URL = "https://apm.example.com"


def account_of(phone: WorstPhone, name: str = "Twilio") -> Account:
    """The account that the fake provider knows."""
    return Account(name, phone.account_sid, AUTH_TOKEN, OURS, None, phone.url)


def telephone_of(
    *phones: WorstPhone, keyring: Keyring = KEYRING, public_url: str | None = PUBLIC_URL
) -> Telephone:
    """One account with each, in this order."""
    names = ("Twilio", "the second account")
    accounts = tuple(account_of(one, name) for one, name in zip(phones, names, strict=False))
    return Telephone(accounts, public_url, keyring)


async def add_phone(
    world: World,
    organization_id: UUID,
    *,
    channel: str = "sms",
    number: str = PRIYA,
    name: str = "Priya",
    user_id: UUID | None = None,
) -> UUID:
    """A proven telephone."""
    contact_id = uuid4()
    await world.run(
        "insert into public.apm_contact_methods (id, organization_id, user_id, name, channel, "
        "address, verified_at) values (%(id)s, %(o)s, %(user_id)s, %(name)s, "
        "%(channel)s::public.notification_channel, %(number)s, now())",
        id=contact_id,
        o=organization_id,
        user_id=user_id,
        name=name,
        channel=channel,
        number=number,
    )
    return contact_id


async def page(
    world: World,
    organization_id: UUID,
    incident_id: UUID | None,
    contact_id: UUID,
    *,
    channel: str = "sms",
    kind: str = "page",
    at: datetime = AT,
    name: str = "Priya",
) -> UUID:
    """One message in line, as the ladder writes it."""
    delivery_id = uuid4()
    await world.run(
        "insert into public.apm_deliveries (id, organization_id, incident_id, contact_method_id, "
        "channel, kind, reason, recipient, idempotency_key, priority, due_at, created_at, "
        "generation) values (%(id)s, %(o)s, %(incident_id)s, %(contact_id)s, "
        "%(channel)s::public.notification_channel, %(kind)s, 'first', %(recipient)s, %(key)s, 10, "
        "%(at)s, %(at)s, 1)",
        id=delivery_id,
        o=organization_id,
        incident_id=incident_id,
        contact_id=contact_id,
        channel=channel,
        kind=kind,
        recipient=Jsonb({"name": name}),
        key=str(delivery_id),
        at=at,
    )
    return delivery_id


async def receipt(
    world: World, delivery_id: UUID, said: str, sid: str | None, at: datetime = AT
) -> Any:
    """What the database says to a receipt."""
    [row] = await world.run(
        "select apm_private.record_receipt(%(id)s, %(said)s, %(sid)s, 'x', %(at)s) as came",
        id=delivery_id,
        said=said,
        sid=sid,
        at=at,
    )
    return row["came"]
