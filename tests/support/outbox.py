"""Organizations with incidents, contacts and calls, for tests of the outbox."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from tests.support.postgres import Database
from wedsync_apm.clock import RunningClock
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.notify import outbox as outboxes
from wedsync_apm.notify.mail_server import MailServer
from wedsync_apm.notify.message import Tools
from wedsync_apm.notify.outbox import Outbox
from wedsync_apm.notify.store import contact_secret_place
from wedsync_apm.notify.telephone.accounts import Telephone
from wedsync_apm.notify.vapid import Vapid
from wedsync_apm.organizations.secrets import Keyring, WrappedKey
from wedsync_apm.types import Channel

AT = datetime(2026, 6, 20, 13, 10, tzinfo=UTC)
KEYRING = Keyring(b"t" * 32)
WEBHOOK_KEY = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="
BASE_URL = "http://apm.example"


@dataclass(frozen=True, slots=True)
class World:
    """A database as its owner, and the making of what the outbox needs there."""

    owner: Pool

    async def run(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """One statement as the owner; its rows, if it gives any."""
        async with self.owner.connection() as cx:
            cursor = await cx.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def organization(self, name: str = "Fern & Field") -> UUID:
        """An organization with a data key."""
        organization_id = uuid4()
        await self.run(
            "insert into public.organizations (id, name) values (%(id)s, %(name)s)",
            id=organization_id,
            name=name,
        )
        wrapped = KEYRING.new_key(organization_id)
        await self.run(
            "select apm_private.store_organization_key(%(id)s, %(key)s, %(key_id)s)",
            id=organization_id,
            key=wrapped.wrapped_key,
            key_id=wrapped.key_id,
        )
        return organization_id

    async def contact(
        self, organization_id: UUID, channel: Channel, url: str = "", name: str = "Priya"
    ) -> UUID:
        """A proven contact; the address of a webhook, Slack or Apprise is sealed as in the
        product."""
        contact_id = uuid4()
        rows = await self.run(
            "select * from apm_private.find_organization_key(%(id)s)", id=organization_id
        )
        sealed = None
        if channel is not Channel.EMAIL:
            secret = json.dumps({"url": url, "key": WEBHOOK_KEY})
            is_bare = channel in (Channel.SLACK, Channel.APPRISE)
            sealed = self._seal(organization_id, contact_id, url if is_bare else secret, rows[0])
        await self.run(
            "insert into public.apm_contact_methods (id, organization_id, name, channel, address, "
            "secret_ciphertext, verified_at) values (%(id)s, %(organization_id)s, %(name)s, "
            "%(channel)s, %(address)s, %(sealed)s, now())",
            id=contact_id,
            organization_id=organization_id,
            name=name,
            channel=str(channel),
            address="priya@fern.example" if channel is Channel.EMAIL else "127.0.0.1",
            sealed=sealed,
        )
        return contact_id

    @staticmethod
    def _seal(organization_id: UUID, contact_id: UUID, secret: str, key: dict[str, Any]) -> bytes:
        wrapped = WrappedKey(bytes(key["wrapped_key"]), key["master_key_id"])
        data_key = KEYRING.open(organization_id, wrapped)
        return data_key.seal(contact_secret_place(organization_id, contact_id), secret)

    async def incident(self, organization_id: UUID, at: datetime = AT) -> UUID:
        """An open incident that began five minutes before `at`."""
        incident_id = uuid4()
        await self.run(
            "insert into public.apm_incidents (id, organization_id, title, severity, priority, "
            "dedup_key, detected_at, last_seen_at, vendor_text) values (%(id)s, "
            "%(organization_id)s, 'forms.p95 too high', 'critical', 'high', %(key)s, %(at)s, "
            "%(at)s, %(words)s)",
            id=incident_id,
            organization_id=organization_id,
            key=f"test:{incident_id}",
            at=at - timedelta(minutes=5),
            words=Jsonb({"subject": "Your order form", "problem": "is slow"}),
        )
        return incident_id

    async def call(
        self,
        organization_id: UUID,
        incident_id: UUID | None,
        contact_id: UUID | None,
        channel: Channel,
        *,
        kind: str = "page",
        at: datetime = AT,
        priority: int = 10,
        recipient: dict[str, str] | None = None,
    ) -> UUID:
        """One message in line, as the ladder writes it."""
        delivery_id = uuid4()
        await self.run(
            "insert into public.apm_deliveries (id, organization_id, incident_id, "
            "contact_method_id, channel, kind, reason, recipient, idempotency_key, priority, "
            "due_at, created_at, generation) values (%(id)s, %(organization_id)s, "
            "%(incident_id)s, %(contact_id)s, %(channel)s, %(kind)s, 'first', %(recipient)s, "
            "%(key)s, %(priority)s, %(at)s, %(at)s, 1)",
            id=delivery_id,
            organization_id=organization_id,
            incident_id=incident_id,
            contact_id=contact_id,
            channel=str(channel),
            kind=kind,
            recipient=Jsonb(recipient or {"name": "Priya"}),
            key=str(delivery_id),
            priority=priority,
            at=at,
        )
        return delivery_id

    async def set_status(self, incident_id: UUID, status: str, at: datetime = AT) -> None:
        """Changes an incident's status as a person or a rule does."""
        async with self.owner.connection() as cx:
            await cx.execute(
                "select set_config('apm.at', %s, true), set_config('apm.actor', 'Mo', true)",
                (at.isoformat(),),
            )
            await cx.execute(
                "update public.apm_incidents set status = %s::public.incident_status where id = %s",
                (status, incident_id),
            )

    async def delivery(self, delivery_id: UUID) -> dict[str, Any]:
        """One message as it stands."""
        [row] = await self.run(
            "select * from public.apm_deliveries where id = %(id)s", id=delivery_id
        )
        return row

    async def states(self, incident_id: UUID) -> dict[str, list[str]]:
        """The states of an incident's messages by kind."""
        found: dict[str, list[str]] = {}
        for row in await self.run(
            "select kind, state from public.apm_deliveries where incident_id = %(id)s "
            "order by created_at",
            id=incident_id,
        ):
            found.setdefault(row["kind"], []).append(row["state"])
        return found

    async def attempts(self, delivery_id: UUID) -> list[str | None]:
        """How each attempt of a message ended; None while it is open."""
        return [
            row["outcome"]
            for row in await self.run(
                "select outcome from public.apm_delivery_attempts where delivery_id = %(id)s "
                "order by attempt",
                id=delivery_id,
            )
        ]


@asynccontextmanager
async def world_of(database: Database) -> AsyncIterator[World]:
    """The world of one test's database."""
    pool = await open_pool(database.owner, name="owner", min_size=1, max_size=4, wait=True)
    async with pool:
        yield World(pool)


@dataclass(frozen=True, slots=True)
class Sender:
    """An outbox and the pool whose connections the engine's cycle would hand it."""

    outbox: Outbox
    pool: Pool

    async def run_once(self, at: datetime) -> int:
        """One cycle, as the engine runs it."""
        async with self.pool.connection() as cx:
            return await self.outbox.run_once(cx, at)

    async def drain(self) -> None:
        """Waits for what is on its way."""
        await self.outbox.drain()


class StandingClock(RunningClock):
    """What is due at a moment does not depend on how busy this machine is."""

    def now(self) -> datetime:
        return self._at


@asynccontextmanager
async def outbox_of(
    database: Database,
    *,
    mail_port: int | None = None,
    second_mail_port: int | None = None,
    telephone: Telephone | None = None,
    vapid: Vapid | None = None,
    keyring: Keyring = KEYRING,
    owner: str = "sender",
    call_seconds: float = 30.0,
    clock: type[RunningClock] = StandingClock,
    **options: Any,
) -> AsyncIterator[Sender]:
    """A sender that may reach this machine; everything it began is recorded at the end."""
    pool = await open_pool(database.engine, name="engine", min_size=1, max_size=6, wait=True)
    client = EgressClient(EgressPolicy.parse(["127.0.0.1"]), total_seconds=call_seconds)
    mail, second = (
        MailServer("127.0.0.1", port, "if offered", "APM <apm@wedsync.example>") if port else None
        for port in (mail_port, second_mail_port)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outboxes, "RunningClock", clock)
        async with pool, aclosing(client):
            outbox = Outbox(
                pool,
                Tools(client, mail, second, telephone, vapid),
                keyring,
                base_url=BASE_URL,
                lease_owner=owner,
                **options,
            )
            yield Sender(outbox, pool)
            await outbox.drain()
