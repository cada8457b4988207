"""What single channels keep in the database beside the outbox. Times come in as `at`."""

from dataclasses import replace
from datetime import datetime

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.notify.model import Outcome, Result
from wedsync_apm.notify.store import Leased

Q = load_queries(__package__)


async def list_earlier_ids(cx: Connection, leased: Leased) -> tuple[str, ...]:
    """Under which ids the other side knows what this contact has of the incident, newest first."""
    delivery = leased.delivery
    cursor = await cx.execute(
        Q.list_earlier_ids,
        {
            "organization_id": delivery.organization_id,
            "incident_id": delivery.incident_id,
            "contact_method_id": delivery.contact_method_id,
            "id": delivery.id,
        },
    )
    return tuple([row["provider_id"] async for row in cursor])


async def list_taken_ids(cx: Connection, leased: Leased) -> frozenset[str]:
    """Which texts and calls to a message's telephone are known to be other messages, whosever they
    are, or earlier tries of this one."""
    delivery = leased.delivery
    cursor = await cx.execute(
        Q.list_taken_ids,
        {
            "organization_id": delivery.organization_id,
            "contact_method_id": delivery.contact_method_id,
            "id": delivery.id,
            "since": delivery.created_at,
        },
    )
    row = await cursor.fetchone()
    return frozenset(row["taken"] if row else ())


async def claim_provider_message(
    cx: Connection, leased: Leased, at: datetime, outcome: Outcome
) -> Outcome:
    """The outcome of an attempt, its text or call claimed for this message.

    What was only found, and is another message's by now, is none of this one: that is looked for
    again.
    """
    if outcome.provider_id is None:
        return outcome
    cursor = await cx.execute(
        Q.claim_provider_message,
        {
            "id": leased.delivery.id,
            "provider_id": outcome.provider_id,
            "is_presumed": outcome.is_presumed,
            "at": at,
        },
    )
    row = await cursor.fetchone()
    if row and row["is_claimed"]:
        return outcome
    if not outcome.is_presumed:
        return replace(outcome, provider_id=None)
    return Outcome(
        Result.RETRY,
        "what was found at the provider is another message",
        provider_status=outcome.provider_status,
        may_have_arrived=True,
    )


async def end_contact(cx: Connection, leased: Leased, at: datetime, reason: str) -> None:
    """Switches off a contact whose address is gone for good."""
    await cx.execute(
        Q.end_contact,
        {
            "organization_id": leased.delivery.organization_id,
            "contact_method_id": leased.delivery.contact_method_id,
            "at": at,
            "reason": reason,
        },
    )
