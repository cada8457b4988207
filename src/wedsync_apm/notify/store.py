"""The outbox in the database: claim, read, begin, record. Times come in as `at`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from wedsync_apm.checks.model import STALE_INTERVALS
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.incidents.works import Watched
from wedsync_apm.notify.model import Delivery, Drop, IncidentNow, Kind, Outcome
from wedsync_apm.notify.words import Facts
from wedsync_apm.organizations.secrets import Place, WrappedKey
from wedsync_apm.types import Channel, IncidentStatus

Q = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to send one message until a moment; void once the row's fence has moved on."""

    organization_id: UUID
    id: UUID
    owner: str
    fence: int

    def _key(self) -> dict[str, Any]:
        return {
            "organization_id": self.organization_id,
            "id": self.id,
            "lease_owner": self.owner,
            "fence": self.fence,
        }


@dataclass(frozen=True, slots=True)
class Leased:
    """A leased message: what decides about it, and all that is needed to write and send it."""

    delivery: Delivery
    lease: Lease
    row: Mapping[str, Any]

    @property
    def attempt(self) -> int:
        """Tries before this one."""
        return int(self.row["attempt"])

    @property
    def receiver(self) -> str:
        """Whom it goes to, by name."""
        return self.row["recipient"].get("name") or self.row["contact_name"] or "somebody"

    @property
    def address(self) -> str:
        """The address as it was when the message was decided, else the contact's of now."""
        return self.row["recipient"].get("address") or self.row["contact_address"] or ""

    @property
    def wrapped_key(self) -> WrappedKey | None:
        """The organization's data key; None if it has none."""
        if self.row["wrapped_key"] is None:
            return None
        return WrappedKey(bytes(self.row["wrapped_key"]), self.row["master_key_id"])

    @property
    def sealed_secret(self) -> tuple[Place, bytes] | None:
        """What is secret of the contact, and where it stands; None if nothing is."""
        contact_id = self.delivery.contact_method_id
        if contact_id is None or self.row["secret_ciphertext"] is None:
            return None
        return contact_secret_place(self.delivery.organization_id, contact_id), bytes(
            self.row["secret_ciphertext"]
        )

    def facts(self, at: datetime, base_url: str, acknowledge_url: str | None) -> Facts:
        """What is known about the incident at this moment, for the words."""
        row = self.row
        return Facts(
            kind=self.delivery.kind,
            reason=row["reason"],
            delivery_id=self.delivery.id,
            organization_id=self.delivery.organization_id,
            organization_name=row["organization_name"] or "",
            time_zone=row["time_zone"] or "UTC",
            receiver=self.receiver,
            at=at,
            base_url=base_url,
            incident_id=self.delivery.incident_id,
            number=row["number"],
            title=row["title"] or "",
            status=row["status"],
            severity=row["severity"],
            priority=row["priority"],
            detected_at=row["detected_at"],
            reopened_at=row["reopened_at"],
            lapsed_at=row["lapsed_at"],
            next_step_at=_moment(row["payload"].get("next_step_at")),
            resolved_at=row["resolved_at"],
            acknowledged_at=row["acknowledged_at"],
            acknowledged_by=row["acknowledged_by_name"],
            next_update_at=row["next_update_at"],
            metric_value=row["metric_value"],
            threshold_value=row["threshold_value"],
            was_wedding_day=bool(row["was_wedding_day"]),
            weddings=row["affected_weddings"] or (),
            vendor_text=row["vendor_text"],
            services=[_watched(one, at) for one in row["services"] or ()],
            metric_pattern=row["metric_pattern"],
            help_line=row["help_line"],
            acknowledge_url=acknowledge_url,
        )


def _watched(one: Mapping[str, Any], at: datetime) -> Watched:
    checked, seconds = _moment(one["checked_at"]), float(one["interval_seconds"])
    is_fresh = checked is not None and at - checked <= timedelta(seconds=seconds * STALE_INTERVALS)
    return Watched(
        one["name"], one["service"], one["metric"], is_fresh and one["status"] == "healthy"
    )


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def contact_secret_place(organization_id: UUID, contact_method_id: UUID) -> Place:
    """Where the secret of a contact stands; it opens nowhere else."""
    return Place(organization_id, "apm_contact_methods", "secret_ciphertext", contact_method_id)


async def release_lost_leases(cx: Connection, at: datetime) -> int:
    """Frees the messages of senders that are gone; returns how many."""
    cursor = await cx.execute(Q.release_lost_leases, {"at": at})
    row = await cursor.fetchone()
    return int(row["released_count"]) if row else 0


async def claim_due_deliveries(
    cx: Connection,
    at: datetime,
    *,
    lease_owner: str,
    lease_seconds: float,
    batch_size: int,
    per_organization: int,
) -> list[Lease]:
    """Leases up to `batch_size` due messages, `per_organization` at most under way for each."""
    cursor = await cx.execute(
        Q.claim_due_deliveries,
        {
            "at": at,
            "lease_owner": lease_owner,
            "lease_seconds": lease_seconds,
            "batch_size": batch_size,
            "per_organization": per_organization,
        },
    )
    return [
        Lease(row["organization_id"], row["id"], lease_owner, row["fence"]) async for row in cursor
    ]


async def read_leased_delivery(cx: Connection, lease: Lease) -> Leased | None:
    """The message under a lease, locked until the transaction ends; None if the lease is lost."""
    cursor = await cx.execute(Q.read_leased_delivery, lease._key())
    row = await cursor.fetchone()
    if row is None:
        return None
    incident = None
    if row["status"] is not None:
        incident = IncidentNow(
            IncidentStatus(row["status"]), row["incident_generation"], row["acknowledged_by_name"]
        )
    delivery = Delivery(
        id=row["id"],
        organization_id=row["organization_id"],
        incident_id=row["incident_id"],
        contact_method_id=row["contact_method_id"],
        channel=Channel(row["channel"]),
        kind=Kind(row["kind"]),
        generation=row["generation"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        incident=incident,
        was_told=row["was_told"],
        has_address=bool(row["recipient"].get("address")),
        is_reachable=row["is_reachable"],
        is_under_way=row["is_under_way"],
        may_have_arrived=row["may_have_arrived"],
    )
    return Leased(delivery, lease, row)


async def begin_attempt(
    cx: Connection, lease: Lease, at: datetime, *, subject: str, body: str, lease_seconds: float
) -> bool:
    """Marks the message as being sent and opens the attempt; False if the lease is lost."""
    cursor = await cx.execute(
        Q.begin_attempt,
        lease._key() | {"at": at, "subject": subject, "body": body, "lease_seconds": lease_seconds},
    )
    return await cursor.fetchone() is not None


async def store_acknowledge_link(
    cx: Connection,
    leased: Leased,
    *,
    token_hash: bytes,
    expires_at: datetime,
) -> None:
    """Keeps the hash of the one-tap link that goes out with this message."""
    await cx.execute(
        Q.store_acknowledge_link,
        {
            "token_hash": token_hash,
            "organization_id": leased.delivery.organization_id,
            "incident_id": leased.delivery.incident_id,
            "generation": leased.delivery.generation,
            "id": leased.delivery.id,
            "receiver": leased.receiver,
            "expires_at": expires_at,
        },
    )


async def settle_delivery(
    cx: Connection,
    lease: Lease,
    at: datetime,
    drop: Drop,
    *,
    message: str | None = None,
    subject: str | None = None,
    body: str | None = None,
) -> bool:
    """Ends a leased message unsent, or holds it back; False if the lease is lost.

    `message` is what the incident's timeline says about it; None says nothing there.
    """
    due_at = at + timedelta(seconds=drop.hold_seconds) if drop.hold_seconds is not None else None
    cursor = await cx.execute(
        Q.settle_delivery,
        lease._key()
        | {
            "at": at,
            "state": drop.state.value,
            "state_reason": drop.reason,
            "due_at": due_at,
            "subject": subject,
            "body": body,
            "message": message,
        },
    )
    row = await cursor.fetchone()
    return bool(row and row["settled_count"])


async def record_outcome(
    cx: Connection,
    lease: Lease,
    at: datetime,
    outcome: Outcome,
    *,
    due_at: datetime | None,
    message: str | None,
) -> bool:
    """Writes down how the attempt ended; False if the lease is lost, and then nothing changes."""
    cursor = await cx.execute(
        Q.record_outcome,
        lease._key()
        | {
            "at": at,
            "state": outcome.state.value,
            "state_reason": outcome.reason,
            "provider_id": outcome.provider_id,
            "provider_status": outcome.provider_status,
            "due_at": due_at,
            "attempt_outcome": "unknown" if outcome.may_have_arrived else outcome.result.value,
            "message": message,
        },
    )
    row = await cursor.fetchone()
    return bool(row and row["recorded_count"])


async def enqueue_test_delivery(
    cx: Connection,
    organization_id: UUID,
    contact_method_id: UUID,
    idempotency_key: str,
    at: datetime,
) -> UUID | None:
    """Puts a test message in line; None if the contact is unknown or the key was used before."""
    cursor = await cx.execute(
        Q.enqueue_test_delivery,
        {
            "organization_id": organization_id,
            "contact_method_id": contact_method_id,
            "idempotency_key": idempotency_key,
            "at": at,
        },
    )
    row = await cursor.fetchone()
    return row["id"] if row else None
