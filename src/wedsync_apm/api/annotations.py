"""What happened, as other systems told it: read by members, beside the charts."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import FromQuery

from wedsync_apm.annotations import store
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Limit,
    Organization,
    Page,
    page_of,
    read_cursor,
    visible_organizations,
)
from wedsync_apm.api.samples_out import read_time


class Annotation(msgspec.Struct):
    """An event; `source` is the protocol that it came by."""

    id: UUID
    organization_id: UUID
    occurred_at: datetime
    title: str
    text: str
    alert_type: str
    priority: str
    host: str
    aggregation_key: str
    tags: dict[str, str]
    source: str


@get("/api/v1/annotations", tags=["annotations"])
async def list_annotations(
    request: ApiRequest,
    *,
    start: FromQuery[str | None] = None,
    end: FromQuery[str | None] = None,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Annotation]:
    """List what happened from `start` to before `end`, the latest first."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        rows = await store.list_annotations(
            cx,
            organization_ids=await visible_organizations(cx, organization_id),
            start=read_time("start", start),
            end=read_time("end", end),
            before=(place.at, place.id) if place else None,
            limit=limit + 1,
        )
    return page_of(Annotation, rows, limit, at="occurred_at")


HANDLERS = (list_annotations,)
