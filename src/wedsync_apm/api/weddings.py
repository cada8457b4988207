"""The wedding calendar: weddings with their phases, and what day it is."""

from datetime import date, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post
from litestar.params import JSONBody, QueryParameter

from wedsync_apm.api.crud import merge, partial_of
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Organization,
    Page,
    body_of,
    earlier_answer,
    one_organization,
    page_of,
    read_cursor,
    remember_answer,
    shape,
    visible_organizations,
)
from wedsync_apm.errors import NotFound
from wedsync_apm.weddings import store
from wedsync_apm.weddings.model import Phase, WeddingDraft, WeddingStatus, Window

From = Annotated[date | None, QueryParameter(name="from", required=False)]
To = Annotated[date | None, QueryParameter(name="to", required=False)]


class PhaseWindow(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When a phase begins and ends, each with its offset."""

    phase: Phase
    starts_at: datetime
    ends_at: datetime


class Contact(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Somebody to ring on the day."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    role: Annotated[str, msgspec.Meta(max_length=200)] = ""
    phone: Annotated[str, msgspec.Meta(max_length=50)] = ""


class WeddingInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A wedding. Without `time_zone` the organization's counts; without `windows` the usual
    phases of a day do."""

    wedding_date: date
    couple_names: Annotated[str, msgspec.Meta(min_length=1, max_length=400)] | None = None
    venue_name: Annotated[str, msgspec.Meta(max_length=300)] | None = None
    time_zone: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    status: WeddingStatus = WeddingStatus.BOOKED
    client_id: UUID | None = None
    contacts: Annotated[list[Contact], msgspec.Meta(max_length=50)] | None = None
    windows: Annotated[list[PhaseWindow], msgspec.Meta(max_length=4)] = []


class Wedding(WeddingInput, kw_only=True, forbid_unknown_fields=False):
    """A wedding as it is kept. Viewers see initials; `couple_names` and `contacts` are null.

    One that stands only in the host's clients has `source` "client", the client's id, the phases
    that count for it, and neither `created_at` nor `updated_at`.
    """

    id: UUID
    organization_id: UUID
    couple_initials: str
    source: str
    created_by: UUID | None
    created_at: datetime | None
    updated_at: datetime | None


class CurrentWedding(msgspec.Struct, kw_only=True):
    """A wedding that is under way, its present phase, and how long until the next milestone."""

    wedding_id: UUID
    phase: str
    starts_at: datetime
    ends_at: datetime
    time_zone: str
    minutes_to_next_milestone: int | None


class WeddingDay(msgspec.Struct, kw_only=True):
    """Whether the date is a wedding day, and which weddings are under way at this moment."""

    organization_id: UUID
    date: date | None
    is_wedding_day: bool
    at: datetime
    under_way: list[CurrentWedding]


WeddingChanges = partial_of(WeddingInput)


def draft_of(data: WeddingInput) -> WeddingDraft:
    """The calendar's own words."""
    return WeddingDraft(
        wedding_date=data.wedding_date,
        couple_names=data.couple_names,
        venue_name=data.venue_name,
        time_zone=data.time_zone,
        status=data.status,
        client_id=data.client_id,
        contacts=msgspec.to_builtins(data.contacts or []),
        windows=[Window(w.phase, w.starts_at, w.ends_at) for w in data.windows],
    )


@get("/api/v1/weddings", tags=["weddings"])
async def list_weddings(
    request: ApiRequest,
    *,
    organization_id: Organization = None,
    earliest: From = None,
    latest: To = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Wedding]:
    """List weddings, the newest entry first; `from` and `to` narrow their dates."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        rows = await store.list_weddings(
            cx,
            organization_ids=await visible_organizations(cx, organization_id),
            earliest=earliest,
            latest=latest,
            before=(place.at, place.id) if place else None,
            limit=limit + 1,
        )
    return page_of(Wedding, rows, limit, at="listed_at")


@post("/api/v1/weddings", tags=["weddings"])
async def create_wedding(
    request: ApiRequest, data: JSONBody[WeddingInput], organization_id: Organization = None
) -> Wedding:
    """Enter a wedding."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            return msgspec.convert(earlier.body, Wedding)
        made = shape(Wedding, await store.create_wedding(cx, owner, draft_of(data)))
        await remember_answer(cx, request, owner, request_hash, made)
    return made


@get("/api/v1/weddings/{id:uuid}", tags=["weddings"])
async def read_wedding(request: ApiRequest, id: Id) -> Wedding:
    """Read a wedding with its phases."""
    async with request.tenant() as cx:
        return shape(Wedding, await store.find_wedding(cx, id))


async def change_wedding(request: ApiRequest, id: Id, data: Any) -> Wedding:
    """Change some of a wedding; new `windows` replace all old ones."""
    async with request.tenant() as cx:
        present = shape(Wedding, await store.find_wedding(cx, id))
        whole, _ = merge(WeddingInput, present, data)
        return shape(Wedding, await store.update_wedding(cx, id, draft_of(whole)))


change_wedding.__annotations__["data"] = body_of(WeddingChanges)


@delete("/api/v1/weddings/{id:uuid}", tags=["weddings"])
async def delete_wedding(request: ApiRequest, id: Id) -> None:
    """Delete a wedding with its people and phases."""
    async with request.tenant() as cx:
        await store.delete_wedding(cx, id)


@get("/api/v1/wedding-day", tags=["weddings"])
async def read_wedding_day(
    request: ApiRequest,
    day: Annotated[date | None, QueryParameter(name="date", required=False)] = None,
    organization_id: Organization = None,
) -> WeddingDay:
    """Ask whether a date, or today at the venue, is a wedding day."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        answer = await store.answer_wedding_day(cx, owner, day)
        if answer is None:
            raise NotFound("There is no such organization that you can see.")
        rows = await store.list_windows_at(cx, owner, answer.at)
    return WeddingDay(
        organization_id=owner,
        date=day,
        is_wedding_day=answer.is_wedding_day,
        at=answer.at,
        under_way=[shape(CurrentWedding, row) for row in rows],
    )


HANDLERS: Final = (
    list_weddings,
    create_wedding,
    read_wedding,
    patch("/api/v1/weddings/{id:uuid}", tags=["weddings"])(change_wedding),
    delete_wedding,
    read_wedding_day,
)
