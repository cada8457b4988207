"""A vendor's status page, as his own people set it up: run as the caller inside `tenant_tx`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

Row = dict[str, Any]


async def find_status_page(cx: Connection, organization_id: UUID) -> Row | None:
    """The page as it is set up; None where nobody has."""
    cursor = await cx.execute(Q.find_status_page, {"organization_id": organization_id})
    return await cursor.fetchone()


async def lock_status_page(cx: Connection, organization_id: UUID) -> None:
    """Keeps the page as it is set up, or that there is none, until the transaction ends."""
    await cx.execute(Q.lock_status_page, {"organization_id": organization_id})


async def save_status_page(
    cx: Connection,
    organization_id: UUID,
    *,
    slug: str,
    title: str,
    intro: str,
    is_public: bool,
    is_indexed: bool,
    check_ids: Sequence[UUID],
) -> None:
    """Makes or changes it. Raises Conflict for a slug that is taken, NotValid for a check that may
    not be shown, Forbidden for whoever may not."""
    await cx.execute(
        Q.save_status_page,
        {
            "organization_id": organization_id,
            "slug": slug,
            "title": title,
            "intro": intro,
            "is_public": is_public,
            "is_indexed": is_indexed,
            "check_ids": list(check_ids),
        },
    )


async def close_status_page(cx: Connection, organization_id: UUID) -> bool:
    """Turns it off; False where there is none that the caller may change."""
    cursor = await cx.execute(Q.close_status_page, {"organization_id": organization_id})
    return await cursor.fetchone() is not None


async def preview_status_page(cx: Connection, organization_id: UUID) -> Mapping[str, Any] | None:
    """What it shows now, public or not."""
    cursor = await cx.execute(Q.preview_status_page, {"organization_id": organization_id})
    row = await cursor.fetchone()
    return row["content"] if row else None


async def list_status_choices(cx: Connection, organization_id: UUID) -> list[Row]:
    """The checks that the page may show, those of couples first."""
    cursor = await cx.execute(Q.list_status_choices, {"organization_id": organization_id})
    return await cursor.fetchall()


async def post_status_note(
    cx: Connection, organization_id: UUID, body: str, next_update_at: datetime | None
) -> Row:
    """Says something on the page. Raises Forbidden for whoever may not."""
    cursor = await cx.execute(
        Q.post_status_note,
        {"organization_id": organization_id, "body": body, "next_update_at": next_update_at},
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 an insert either returns its row or raises
    return row


async def list_status_notes(cx: Connection, organization_id: UUID) -> list[Row]:
    """What was said, the latest first."""
    cursor = await cx.execute(Q.list_status_notes, {"organization_id": organization_id})
    return await cursor.fetchall()


async def list_status_subscribers(cx: Connection, organization_id: UUID) -> list[Row]:
    """Who has asked for mail; nobody for whoever is no owner or admin."""
    cursor = await cx.execute(Q.list_status_subscribers, {"organization_id": organization_id})
    return await cursor.fetchall()
