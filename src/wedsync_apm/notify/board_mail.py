"""Mails with a dashboard: what is attached, and where their receiver ends them."""

import re
from typing import Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.notify import store
from wedsync_apm.notify.message import Attachment
from wedsync_apm.notify.store import Leased
from wedsync_apm.organizations.secrets import Keyring

PURPOSE: Final = "dashboard mail leave"
"""Of the token in a link."""
_LINK: Final = re.compile(r"(/dashboards/leave/[0-9a-f-]{36}/)[A-Za-z0-9_-]+")


def leave_url(leased: Leased, keyring: Keyring, base_url: str) -> str | None:
    """Where its receiver gets no more of them; None for a message that is no such mail."""
    mail_id = leased.row["payload"].get("mail_id")
    if mail_id is None:
        return None
    return f"{base_url}/dashboards/leave/{mail_id}/{keyring.token(PURPOSE, UUID(mail_id))}"


async def read_attachment(cx: Connection, leased: Leased) -> Attachment | None:
    """What was drawn for it; None for a message without, and for one that is gone."""
    paper_id = leased.row["payload"].get("paper_id")
    if paper_id is None:
        return None
    return await store.read_paper(cx, leased.delivery.organization_id, UUID(paper_id))


def mask_links(body: str) -> str:
    """The words as they are kept: a link is for its receiver alone."""
    return _LINK.sub(r"\1(a link)", body)
