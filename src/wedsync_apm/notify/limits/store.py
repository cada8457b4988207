"""The buckets of contacts and the holds of providers. Times come in as `at`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.notify.store import Lease, Leased

Q = load_queries(__package__)


async def take_token(cx: Connection, leased: Leased, at: datetime) -> datetime | None:
    """Counts one message for its contact: None, or from when on the contact takes one more."""
    delivery = leased.delivery
    cursor = await cx.execute(
        Q.take_token,
        {
            "organization_id": delivery.organization_id,
            "contact_method_id": delivery.contact_method_id,
            "channel": delivery.channel.value,
            "is_urgent": delivery.is_urgent,
            "at": at,
        },
    )
    row = await cursor.fetchone()
    return row["free_at"] if row else None


async def throttle_delivery(
    cx: Connection, lease: Lease, at: datetime, free_at: datetime, reason: str
) -> bool:
    """Puts a leased message back until `free_at`, or behind one that waits for the same contact
    already; False if the lease is lost."""
    cursor = await cx.execute(
        Q.throttle_delivery, lease.key() | {"at": at, "free_at": free_at, "reason": reason}
    )
    return await cursor.fetchone() is not None


async def bundle_deliveries(cx: Connection, leased: Leased) -> list[Mapping[str, Any]]:
    """Takes what waits for the same contact into this message; of all that is in it the kind, and
    the number and title of its incident."""
    delivery = leased.delivery
    cursor = await cx.execute(
        Q.bundle_deliveries,
        {
            "organization_id": delivery.organization_id,
            "contact_method_id": delivery.contact_method_id,
            "id": delivery.id,
            "is_throttled": leased.row["throttled_at"] is not None,
        },
    )
    return list(await cursor.fetchall())


async def hold_provider(
    cx: Connection, lease: Lease, at: datetime, seconds: float, reason: str
) -> None:
    """Remembers that whoever takes this message has asked us to wait."""
    await cx.execute(
        Q.hold_provider, lease.key() | {"at": at, "seconds": seconds, "reason": reason}
    )
