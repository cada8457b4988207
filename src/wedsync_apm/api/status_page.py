"""The vendor's status page: `/api/v1/status-page`."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import JSONBody

from wedsync_apm.api.requests import (
    ApiRequest,
    Organization,
    Page,
    earlier_answer,
    one_organization,
    remember_answer,
    shape,
)
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import Changed, FieldError, Forbidden, NotFound, NotValid
from wedsync_apm.status.members import store
from wedsync_apm.status.model import check_slug

PATH: Final = "/api/v1/status-page"

Slug = Annotated[str, msgspec.Meta(min_length=3, max_length=60)]
Checks = Annotated[list[UUID], msgspec.Meta(max_length=20)]


class StatusPageInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What everybody may see at `/status/{slug}`, once it is public. `check_ids` are checks with
    `vendor_facing` or `couple_facing`, in the order of the page."""

    slug: Slug
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    intro: Annotated[str, msgspec.Meta(max_length=500)] = ""
    is_public: bool = False
    is_indexed: bool = False
    """Whether search engines may list it."""
    check_ids: Checks = []


class StatusPage(StatusPageInput, kw_only=True, forbid_unknown_fields=False):
    """A status page as it is set up."""

    organization_id: UUID
    url: str
    subscribers: int
    """How many have confirmed that they want mail."""
    created_at: datetime
    updated_at: datetime


class StatusNoteInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is said to everybody, and by when there will be more."""

    body: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    next_update_at: datetime | None = None


class StatusNote(StatusNoteInput, kw_only=True, forbid_unknown_fields=False):
    """Something that was said."""

    id: UUID
    organization_id: UUID
    posted_at: datetime


class StatusSubscriber(msgspec.Struct, kw_only=True):
    """Somebody who asked for mail; without `confirmed_at` he gets none."""

    id: UUID
    organization_id: UUID
    address: str
    asked_at: datetime
    confirmed_at: datetime | None


async def _read(request: ApiRequest, cx: Connection, organization_id: UUID) -> StatusPage:
    row = await store.find_status_page(cx, organization_id)
    if row is None:
        raise NotFound("There is no status page yet.")
    url = f"{request.services.settings.base_url}/status/{row['slug']}"
    return shape(StatusPage, {**row, "url": url})


def _tag(updated_at: datetime) -> str:
    return f'"{updated_at.timestamp():.6f}"'


def _tagged(page: StatusPage) -> Response[StatusPage]:
    return Response(page, status_code=200, headers={"etag": _tag(page.updated_at)})


@get(PATH, tags=["status-page"])
async def read_status_page(
    request: ApiRequest, organization_id: Organization = None
) -> Response[StatusPage]:
    """Read how the status page is set up, and how many get its mail."""
    async with request.tenant() as cx:
        return _tagged(await _read(request, cx, await one_organization(cx, organization_id)))


@put(PATH, tags=["status-page"])
async def set_status_page(
    request: ApiRequest, data: JSONBody[StatusPageInput], organization_id: Organization = None
) -> Response[StatusPage]:
    """Set it up, for owners and admins. An address that another page has is a conflict (409). With
    the `ETag` of the last reading as `If-Match` it is saved only if nobody has changed it since;
    else the answer is 412."""
    check_slug(data.slug)
    if data.is_public and not data.check_ids:
        raise NotValid(errors=[FieldError("check_ids", "is empty: a public page shows something")])
    if len(set(data.check_ids)) != len(data.check_ids):
        raise NotValid(errors=[FieldError("check_ids", "names one twice")])
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        await store.lock_status_page(cx, owner)
        await _check_unchanged(request, cx, owner)
        await store.save_status_page(
            cx,
            owner,
            slug=data.slug,
            title=data.title,
            intro=data.intro,
            is_public=data.is_public,
            is_indexed=data.is_indexed,
            check_ids=data.check_ids,
        )
        return _tagged(await _read(request, cx, owner))


async def _check_unchanged(request: ApiRequest, cx: Connection, organization_id: UUID) -> None:
    """Raises Changed if `If-Match` names no state that it is in (RFC 9110, 13.1.1)."""
    wanted = request.headers.get("if-match")
    if wanted is None:
        return
    row = await store.find_status_page(cx, organization_id)
    tags = {one.strip() for one in wanted.split(",")}
    if row is None or not tags & {"*", _tag(row["updated_at"])}:
        raise Changed


@delete(PATH, tags=["status-page"])
async def close_status_page(request: ApiRequest, organization_id: Organization = None) -> None:
    """Turn it off: it answers as if it were not there, and no mail goes out. What was set up, and
    its subscribers, stay."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        if await store.find_status_page(cx, owner) is None:
            raise NotFound("There is no status page yet.")
        if not await store.close_status_page(cx, owner):
            raise Forbidden("Only an owner or admin may change the status page.")


@post(PATH + "/notes", tags=["status-page"])
async def post_status_note(
    request: ApiRequest, data: JSONBody[StatusNoteInput], organization_id: Organization = None
) -> StatusNote:
    """Say something on the page; its subscribers get it by mail within a minute."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            return msgspec.convert(earlier.body, StatusNote)
        row = await store.post_status_note(cx, owner, data.body, data.next_update_at)
        made = shape(StatusNote, row)
        await remember_answer(cx, request, owner, request_hash, made)
        return made


@get(PATH + "/notes", tags=["status-page"])
async def list_status_notes(
    request: ApiRequest, organization_id: Organization = None
) -> Page[StatusNote]:
    """List what was said, the latest hundred."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        rows = await store.list_status_notes(cx, owner)
        return Page([shape(StatusNote, row) for row in rows])


@get(PATH + "/subscribers", tags=["status-page"])
async def list_status_subscribers(
    request: ApiRequest, organization_id: Organization = None
) -> Page[StatusSubscriber]:
    """List who has asked for mail, the latest first; for owners and admins, nobody for others."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        rows = await store.list_status_subscribers(cx, owner)
        return Page([shape(StatusSubscriber, row) for row in rows])


HANDLERS: Final = (
    read_status_page,
    set_status_page,
    close_status_page,
    post_status_note,
    list_status_notes,
    list_status_subscribers,
)
