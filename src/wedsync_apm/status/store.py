"""Status pages in the database, as strangers and the engine meet them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

Purpose = Literal["confirm", "leave"]
Asked = Literal["asked", "wait", "unknown"]


@dataclass(frozen=True, slots=True)
class Link:
    """What a link of a mail is about; never whose it is."""

    title: str
    slug: str
    is_public: bool
    is_confirmed: bool


def hash_token(token: str) -> bytes:
    """What is kept of a link's token."""
    return hashlib.sha256(token.encode()).digest()


async def show_status_page(cx: Connection, slug: str) -> Mapping[str, Any] | None:
    """All that a public page shows; None for any other address."""
    row = await (await cx.execute(Q.show_status_page, {"slug": slug})).fetchone()
    return row["content"] if row else None


async def ask_for_status_mail(cx: Connection, slug: str, address: str, caller: str) -> Asked:
    """Puts a mail in line that lets the address confirm. `caller` counts against a limit."""
    caller_hash = hashlib.sha256(caller.encode()).digest()
    values = {"slug": slug, "address": address, "caller_hash": caller_hash}
    row = await (await cx.execute(Q.ask_for_status_mail, values)).fetchone()
    outcome: Asked = row["outcome"] if row else "unknown"
    return outcome


async def look_up_status_link(cx: Connection, token: str, purpose: Purpose) -> Link | None:
    """What a link is about; None for one that is none, or no more."""
    values = {"token_hash": hash_token(token), "purpose": purpose}
    row = await (await cx.execute(Q.look_up_status_link, values)).fetchone()
    return Link(**row) if row else None


async def use_status_link(cx: Connection, token: str, purpose: Purpose) -> bool:
    """Confirms or ends a subscription; False for a link that is none."""
    values = {"token_hash": hash_token(token), "purpose": purpose}
    row = await (await cx.execute(Q.use_status_link, values)).fetchone()
    return bool(row and row["is_done"])


async def follow_status_pages(cx: Connection, at: datetime) -> int:
    """Follows what public pages show; how many messages to subscribers that made."""
    row = await (await cx.execute(Q.follow_status_pages, {"at": at})).fetchone()
    return int(row["told"]) if row else 0


async def forget_status_asks(cx: Connection, at: datetime) -> None:
    """Clears away addresses that nobody confirmed, and what is too old."""
    await cx.execute(Q.forget_status_asks, {"at": at})


async def store_status_link(
    cx: Connection,
    token: str,
    *,
    organization_id: UUID,
    subscriber_id: UUID,
    purpose: Purpose,
    expires_at: datetime | None = None,
) -> None:
    """Keeps the hash of a link that is about to be sent; without an end it lasts as long as the
    subscription."""
    await cx.execute(
        Q.store_status_link,
        {
            "token_hash": hash_token(token),
            "organization_id": organization_id,
            "subscriber_id": subscriber_id,
            "purpose": purpose,
            "expires_at": expires_at,
        },
    )
