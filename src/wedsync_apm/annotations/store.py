"""Annotations: noted for their organization, read by its members."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.annotations.model import Annotation
from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

KEPT_DAYS: Final = 400


async def note_annotations(
    cx: Connection, source: str, annotations: Sequence[Annotation]
) -> set[UUID]:
    """Keeps them, each once however often it comes; gives the organizations that exist.

    Those of any other organization are not kept.
    """
    entries = [
        {
            "id": str(one.id),
            "organization_id": str(one.organization_id),
            "occurred_at": one.occurred_at.isoformat(),
            "title": one.title,
            "text": one.text,
            "alert_type": one.alert_type,
            "priority": one.priority,
            "host": one.host,
            "aggregation_key": one.aggregation_key,
            "tags": dict(one.tags),
        }
        for one in annotations
    ]
    found = await cx.execute(
        Q.note_annotations,
        {"source": source, "entries": Jsonb(entries), "kept_days": KEPT_DAYS},
    )
    return {row["organization_id"] for row in await found.fetchall()}


async def list_annotations(
    cx: Connection,
    *,
    organization_ids: Sequence[UUID],
    start: datetime | None,
    end: datetime | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Those from `start` to before `end`, the latest first, as the caller may see them."""
    before_at, before_id = before or (None, None)
    found = await cx.execute(
        Q.list_annotations,
        {
            "organization_ids": list(organization_ids),
            "start": start,
            "end": end,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        },
    )
    return await found.fetchall()
