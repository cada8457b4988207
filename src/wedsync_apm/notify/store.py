"""The outbox in the database: claim, read, begin, record. Times come in as `at`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wedsync_apm.checks.model import STALE_INTERVALS
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.incidents.works import Watched
from wedsync_apm.notify.message import Attachment
from wedsync_apm.notify.model import URGENT, Delivery, Drop, IncidentNow, Kind, Outcome, Quiet
from wedsync_apm.notify.words import Facts
from wedsync_apm.organizations.secrets import Place, WrappedKey
from wedsync_apm.types import Channel, IncidentStatus, Severity

Q = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to send one message until a moment; void once the row's fence has moved on."""

    organization_id: UUID
    id: UUID
    owner: str
    fence: int

    def key(self) -> dict[str, Any]:
        """What every statement of its holder asks for."""
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
        """Where its contact is now; of a message to nobody's contact, as it was decided."""
        return self.row["contact_address"] or self.row["recipient"].get("address") or ""

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

    def facts(
        self,
        at: datetime,
        base_url: str,
        acknowledge_url: str | None,
        code: str | None = None,
        more: Sequence[Mapping[str, Any]] = (),
    ) -> Facts:
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
            engineer_text=row["engineer_text"] or "",
            metric_value=row["metric_value"],
            threshold_value=row["threshold_value"],
            was_wedding_day=bool(row["was_wedding_day"]),
            weddings=row["affected_weddings"] or (),
            vendor_text=row["vendor_text"],
            services=[_watched(one, at) for one in row["services"] or ()],
            metric_pattern=row["metric_pattern"],
            help_line=row["help_line"],
            acknowledge_url=acknowledge_url,
            code=code,
            more=more,
            payload=row["payload"],
            ended_in_quiet=self.delivery.ended_in_quiet and not self.delivery.was_told,
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


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was leased, and whether more is due that a limit keeps back."""

    leases: tuple[Lease, ...]
    is_more: bool


async def claim_due_deliveries(
    cx: Connection,
    at: datetime,
    *,
    lease_owner: str,
    lease_seconds: float,
    batch_size: int,
    ordinary_size: int,
    per_organization: int,
    per_channel: int,
) -> Claimed:
    """Leases up to `batch_size` due messages, at most `ordinary_size` of them not urgent; what is
    under way over all processes stays within `per_organization` and `per_channel`."""
    cursor = await cx.execute(
        Q.claim_due_deliveries,
        {
            "at": at,
            "lease_owner": lease_owner,
            "lease_seconds": lease_seconds,
            "batch_size": batch_size,
            "ordinary_size": ordinary_size,
            "per_organization": per_organization,
            "per_channel": per_channel,
        },
    )
    rows = await cursor.fetchall()
    return Claimed(
        tuple(
            Lease(row["organization_id"], row["id"], lease_owner, row["fence"])
            for row in rows
            if row["id"] is not None
        ),
        any(row["is_more"] for row in rows),
    )


async def fail_over_deliveries(cx: Connection, at: datetime, sendable: Sequence[str]) -> int:
    """Calls people on their next channel where nothing says that an urgent call has arrived;
    returns how many. `sendable` are the channels that this installation can send on."""
    cursor = await cx.execute(Q.fail_over_deliveries, {"at": at, "sendable": list(sendable)})
    row = await cursor.fetchone()
    return int(row["called_count"]) if row else 0


async def tick_groups(cx: Connection, at: datetime) -> int:
    """Ticks the groups that are due; returns how many messages they have put in line."""
    row = await (await cx.execute(Q.tick_groups, {"at": at})).fetchone()
    return int(row["told"]) if row else 0


async def read_leased_delivery(cx: Connection, lease: Lease, at: datetime) -> Leased | None:
    """The message under a lease, locked until the transaction ends; None if the lease is lost.

    Whether its receiver is in his quiet hours is asked for `at`.
    """
    cursor = await cx.execute(Q.read_leased_delivery, lease.key() | {"at": at})
    row = await cursor.fetchone()
    if row is None:
        return None
    incident = None
    if row["status"] is not None:
        incident = IncidentNow(
            IncidentStatus(row["status"]),
            row["incident_generation"],
            row["acknowledged_by_name"],
            Severity(row["severity"]),
            is_at_wedding=bool(row["was_wedding_day"] or row["is_wedding_now"]),
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
        # the end of an incident is also for whoever heard of one that was merged into it
        was_told=bool(row["was_told"] or row["payload"].get("is_of_merged")),
        has_address=bool(
            row["recipient"].get("address")
            or (row["status_subscriber_id"] is not None and row["contact_address"])
        ),
        is_reachable=row["is_reachable"],
        is_under_way=row["is_under_way"],
        has_left=row["has_left"],
        may_have_arrived=row["may_have_arrived"],
        quiet=_quiet(row),
        is_pressed=bool(row["payload"].get("is_pressed")),
        called_at=row["called_at"],
        held_until=row["held_until"],
        ended_in_quiet=row["ended_in_quiet"],
        silenced=row["held_back"],
        is_urgent=row["delivery_priority"] >= URGENT,
    )
    return Leased(delivery, lease, row)


def _quiet(row: Mapping[str, Any]) -> Quiet | None:
    if row["quiet_until"] is None:
        return None
    try:
        zone = ZoneInfo(row["quiet_zone"])
    except (ValueError, ZoneInfoNotFoundError):
        zone = ZoneInfo("UTC")  # the database knows it; only the words suffer
    name = row["recipient"].get("name") or row["contact_name"] or "somebody"
    return Quiet(row["quiet_since"], row["quiet_until"], zone, name)


async def begin_attempt(
    cx: Connection, lease: Lease, at: datetime, *, subject: str, body: str, lease_seconds: float
) -> bool:
    """Marks the message as being sent and opens the attempt; False if the lease is lost."""
    cursor = await cx.execute(
        Q.begin_attempt,
        lease.key() | {"at": at, "subject": subject, "body": body, "lease_seconds": lease_seconds},
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
    stage: str,
    message: str | None = None,
    subject: str | None = None,
    body: str | None = None,
) -> bool:
    """Ends a leased message unsent, or holds it back; False if the lease is lost. `stage` is what
    dropped it.

    `message` is what the incident's timeline says about it; None says nothing there.
    """
    due_at = at + timedelta(seconds=drop.hold_seconds) if drop.hold_seconds is not None else None
    cursor = await cx.execute(
        Q.settle_delivery,
        lease.key()
        | {
            "at": at,
            "state": drop.state.value,
            "stage": stage,
            "state_reason": drop.reason,
            "due_at": due_at,
            "held_until": drop.held_until,
            "expires_at": drop.expires_at,
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
        lease.key()
        | {
            "at": at,
            "state": outcome.state.value,
            "state_reason": outcome.reason,
            "provider_id": outcome.provider_id,
            "is_presumed": outcome.is_presumed,
            "provider_status": outcome.provider_status,
            "due_at": due_at,
            "attempt_outcome": "unknown" if outcome.may_have_arrived else outcome.result.value,
            "message": message,
        },
    )
    row = await cursor.fetchone()
    return bool(row and row["recorded_count"])


async def read_paper(cx: Connection, organization_id: UUID, paper_id: UUID) -> Attachment | None:
    """What goes with a mail; None where it is gone."""
    values = {"organization_id": organization_id, "id": paper_id}
    row = await (await cx.execute(Q.read_paper, values)).fetchone()
    return None if row is None else Attachment(row["name"], bytes(row["content"]))
