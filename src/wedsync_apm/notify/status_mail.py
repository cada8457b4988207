"""Mails to subscribers of a status page: each with links that are its receiver's alone."""

import re
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.notify.message import Rendered
from wedsync_apm.notify.store import Leased
from wedsync_apm.organizations.secrets import Keyring
from wedsync_apm.status import store
from wedsync_apm.status.mail import MailFacts, write_mail

CONFIRM_LIFETIME: Final = timedelta(days=2)
_LINK: Final = re.compile(r"(/status/[a-z0-9-]+/(?:confirm|leave)/)[A-Za-z0-9_-]+")


async def write(
    cx: Connection, leased: Leased, at: datetime, keyring: Keyring, base_url: str
) -> Rendered:
    """The words, the same at each try; the hashes of their links are kept."""
    subscriber_id: UUID = leased.row["status_subscriber_id"]
    organization_id, slug = leased.delivery.organization_id, leased.row["status_slug"]
    leave = keyring.token("status leave", subscriber_id)
    await store.store_status_link(
        cx, leave, organization_id=organization_id, subscriber_id=subscriber_id, purpose="leave"
    )
    confirm_url = None
    if leased.row["payload"].get("word") == "status_confirm":
        token = keyring.token("status confirm", leased.delivery.id)
        await store.store_status_link(
            cx,
            token,
            organization_id=organization_id,
            subscriber_id=subscriber_id,
            purpose="confirm",
            expires_at=at + CONFIRM_LIFETIME,
        )
        confirm_url = f"{base_url}/status/{slug}/confirm/{token}"
    subject, body = write_mail(
        MailFacts(
            payload=leased.row["payload"],
            title=leased.row["status_title"] or leased.row["organization_name"] or "",
            time_zone=leased.row["time_zone"] or "UTC",
            at=at,
            page_url=f"{base_url}/status/{slug}",
            leave_url=f"{base_url}/status/{slug}/leave/{leave}",
            confirm_url=confirm_url,
        )
    )
    return Rendered(subject, body)


def leave_url(leased: Leased, keyring: Keyring, base_url: str) -> str | None:
    """Where the receiver ends such mails; None for a message that is not to a subscriber."""
    subscriber_id = leased.row["status_subscriber_id"]
    if subscriber_id is None:
        return None
    token = keyring.token("status leave", subscriber_id)
    return f"{base_url}/status/{leased.row['status_slug']}/leave/{token}"


def mask_links(body: str) -> str:
    """The words as they are kept: a link is for its receiver alone."""
    return _LINK.sub(r"\1(a link)", body)
