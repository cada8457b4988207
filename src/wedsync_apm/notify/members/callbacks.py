"""What other systems tell us by their callbacks, heard and done."""

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import NotFound, NotValid, Unauthorized
from wedsync_apm.notify.channels import sender_for
from wedsync_apm.notify.channels.pagerduty import inbound as pagerduty
from wedsync_apm.notify.channels.slack import inbound as slack
from wedsync_apm.notify.inbound import FORGED, UNREADABLE, Heard
from wedsync_apm.notify.members.vault import OpenedContact, open_contact
from wedsync_apm.organizations.secrets import DataKey, Keyring
from wedsync_apm.telemetry import Counter, get_logger
from wedsync_apm.types import Channel

log = get_logger(__name__)
Q = load_queries(__package__)

Hear = Callable[[bytes, Mapping[str, str], Any, datetime], Heard]
HEARERS: Final[Mapping[Channel, Hear]] = {
    Channel.SLACK: slack.hear,
    Channel.PAGERDUTY: pagerduty.hear,
}
HEARD: Final = Counter(
    "wedsync_apm_channel_answers_total",
    "Answers that came from Slack and PagerDuty, by what came of them.",
    ("channel", "outcome"),
)


def callback_token(key: DataKey, contact_method_id: UUID) -> str:
    """The last part of a contact's callback address; a rotated master key does not change it."""
    return key.token("callback", contact_method_id)


async def callback_address(
    cx: Connection, keyring: Keyring, base_url: str, contact_method_id: UUID
) -> str:
    """Where the system behind a contact tells us what people do there; whoever calls this has made
    sure who asks. Raises NotFound."""
    opened = await open_contact(cx, keyring, contact_method_id)
    if opened is None:
        raise NotFound("There is no such contact.")
    token = callback_token(opened.key, contact_method_id)
    return f"{base_url}/api/v1/webhooks/{contact_method_id}/{token}"


async def hear_callback(
    cx: Connection,
    keyring: Keyring,
    contact_method_id: UUID,
    *,
    token: str,
    body: bytes,
    headers: Mapping[str, str],
    at: datetime,
) -> None:
    """Does what a callback asks for; once, however often it comes. `headers` by their names in
    lower case; `cx` is of the API's own login, outside a transaction.

    Raises NotFound for an address that is none of ours, Unauthorized for what is not signed as it
    should be, NotValid for what cannot be read in spite of it.
    """
    contact = await open_contact(cx, keyring, contact_method_id)
    if contact is None or contact.is_off or contact.channel not in HEARERS:
        raise NotFound
    ours = callback_token(contact.key, contact_method_id)
    if not hmac.compare_digest(ours.encode(), token.encode("utf-8", "replace")):
        raise NotFound
    target = sender_for(contact.channel).configure(contact.address, contact.secret)
    heard = HEARERS[contact.channel](body, headers, target, at)
    if heard == FORGED:
        raise Unauthorized
    if heard == UNREADABLE:
        raise NotValid("This callback cannot be read.")
    for one in heard.acknowledged:
        outcome = await _ask(
            cx,
            Q.hear_acknowledgement,
            {
                "contact_method_id": contact_method_id,
                "incident_id": one.incident_id,
                "generation": one.generation,
                "receiver": one.receiver,
                "event_id": one.event_id,
                "happened_at": one.at,
            },
        )
        _tell(contact, outcome, incident_id=one.incident_id)
    for delivery_id in heard.drills:
        values = {"contact_method_id": contact_method_id, "delivery_id": delivery_id}
        _tell(contact, await _ask(cx, Q.hear_drill, values), delivery_id=delivery_id)


async def _ask(cx: Connection, query: str, values: Mapping[str, Any]) -> str:
    async with cx.transaction():
        row = await (await cx.execute(query, values)).fetchone()
    return str(row["outcome"]) if row else "unknown"


def _tell(contact: OpenedContact, outcome: str, **what: UUID) -> None:
    HEARD.inc(1, channel=contact.channel.value, outcome=outcome)
    log.info(
        "somebody answered in another system: %s",
        outcome,
        extra={
            "action": "hear_callback",
            "organization_id": str(contact.organization_id),
            "channel": contact.channel.value,
            **{name: str(value) for name, value in what.items()},
        },
    )
