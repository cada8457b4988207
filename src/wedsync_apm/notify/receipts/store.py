"""Receipts and answers in the database; the moment is the database's."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Call:
    """What a message says, and how its incident stands now; without one, None."""

    incident_id: UUID | None
    generation: int | None
    kind: str
    channel: str
    body: str
    receiver: str
    status: str | None
    incident_generation: int | None
    acknowledged_by_name: str | None

    @property
    def is_needed(self) -> bool:
        """Whether somebody still has to take it in hand."""
        return self.status == "open" and self.generation == self.incident_generation


@dataclass(frozen=True, slots=True)
class Open:
    """An incident that somebody was called for and nobody has in hand."""

    incident_id: UUID
    number: int
    generation: int
    title: str
    vendor_text: dict[str, Any]
    receiver: str


async def record_receipt(
    cx: Connection,
    delivery_id: UUID,
    receipt: str,
    *,
    provider_id: str | None,
    provider_status: str | None,
) -> str:
    """What came of a receipt: recorded, known, late or unknown."""
    values = {
        "delivery_id": delivery_id,
        "receipt": receipt,
        "provider_id": provider_id,
        "provider_status": provider_status,
    }
    row = await (await cx.execute(Q.record_receipt, values)).fetchone()
    return str(row["came"]) if row else "unknown"


async def verify_by_receipt(cx: Connection, delivery_id: UUID) -> bool:
    """Whether a push message that has arrived verified the contact that its code was for."""
    row = await (await cx.execute(Q.verify_by_receipt, {"delivery_id": delivery_id})).fetchone()
    return bool(row and row["is_verified"])


async def stop_contact_of(cx: Connection, delivery_id: UUID, reason: str) -> None:
    """Switches the contact of a message off, and keeps why."""
    await cx.execute(Q.stop_contact_of, {"delivery_id": delivery_id, "reason": reason})


async def acknowledge_from_channel(
    cx: Connection,
    incident_id: UUID,
    *,
    generation: int | None,
    receiver: str,
    channel: str,
    source_event_id: str,
) -> str:
    """acknowledged, expired, unknown, or the status that stood in the way. The same event again
    gets the same answer. Without a generation it is for the incident as it stands."""
    values = {
        "incident_id": incident_id,
        "generation": generation,
        "receiver": receiver,
        "channel": channel,
        "source_event_id": source_event_id,
    }
    row = await (await cx.execute(Q.acknowledge_from_channel, values)).fetchone()
    return str(row["outcome"]) if row else "unknown"


async def hear_number(cx: Connection, phone: str, source_event_id: str) -> tuple[bool, bool]:
    """Whether anybody is reached at a number, and whether this text of his is new."""
    values = {"phone": phone, "source_event_id": source_event_id}
    row = await (await cx.execute(Q.hear_number, values)).fetchone()
    return (bool(row["is_known"]), bool(row["is_new"])) if row else (False, False)


async def list_calls_of_number(cx: Connection, phone: str) -> list[Open]:
    """What the owner of a number was called for and nobody has in hand, the latest first."""
    cursor = await cx.execute(Q.list_calls_of_number, {"phone": phone})
    return [Open(**row) async for row in cursor]


async def stop_number(cx: Connection, phone: str, reason: str) -> int:
    """Sends no more texts to a number; to how many contacts that applied."""
    row = await (await cx.execute(Q.stop_number, {"phone": phone, "reason": reason})).fetchone()
    return int(row["count"]) if row else 0


async def start_number(cx: Connection, phone: str, reason: str) -> int:
    """Sends texts again to contacts that were off for this reason; to how many."""
    row = await (await cx.execute(Q.start_number, {"phone": phone, "reason": reason})).fetchone()
    return int(row["count"]) if row else 0


async def read_call(cx: Connection, delivery_id: UUID) -> Call | None:
    """What a message says; None if there is none of that id."""
    row = await (await cx.execute(Q.read_call, {"delivery_id": delivery_id})).fetchone()
    return Call(**{**row, "body": row["body"] or ""}) if row else None
