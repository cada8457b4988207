"""The wedding calendar: weddings with their phases, who shares them, and what day it is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post
from litestar.params import JSONBody, QueryParameter

from wedsync_apm.api import wedding_imports
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
from wedsync_apm.errors import FieldError, NotFound, NotValid
from wedsync_apm.weddings import store
from wedsync_apm.weddings.model import Audience, Phase, WeddingDraft, WeddingStatus, Window

LONGEST_CALENDAR: Final = timedelta(days=400)
MOST_PHASES: Final = 2000
From = Annotated[date | None, QueryParameter(name="from", required=False)]
To = Annotated[date | None, QueryParameter(name="to", required=False)]


Local = Annotated[datetime, msgspec.Meta(tz=False)]


class PhaseWindow(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When a phase begins and ends: by the venue's clock (`starts_local` and `ends_local`, without
    offset), or as instants (`starts_at` and `ends_at`, with their offset); never both.

    The venue's clock is what is kept. Answers name all four.
    """

    phase: Phase
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    starts_local: Local | None = None
    ends_local: Local | None = None


class Contact(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Somebody to ring on the day."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    role: Annotated[str, msgspec.Meta(max_length=200)] = ""
    phone: Annotated[str, msgspec.Meta(max_length=50)] = ""


class WeddingInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A wedding. Without `time_zone` the organization's counts; without `windows` the usual
    phases of a day do. `visible_to` is the weakest role that may know names and contacts."""

    wedding_date: date
    couple_names: Annotated[str, msgspec.Meta(min_length=1, max_length=400)] | None = None
    venue_name: Annotated[str, msgspec.Meta(max_length=300)] | None = None
    time_zone: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    status: WeddingStatus = WeddingStatus.BOOKED
    client_id: UUID | None = None
    contacts: Annotated[list[Contact], msgspec.Meta(max_length=50)] | None = None
    windows: Annotated[list[PhaseWindow], msgspec.Meta(max_length=4)] = []
    visible_to: Audience | None = None


class Wedding(WeddingInput, kw_only=True, forbid_unknown_fields=False):
    """A wedding as it is kept. Viewers see initials; `couple_names` and `contacts` are null.

    One that stands only in the host's clients has `source` "client", the client's id, the phases
    that count for it, and neither `created_at` nor `updated_at`. Of a wedding that several vendors
    share each sees his own part; `other_vendors` is how many there are beside him.
    """

    id: UUID
    organization_id: UUID
    couple_initials: str
    source: str
    created_by: UUID | None
    created_at: datetime | None
    updated_at: datetime | None
    moved_from: date | None = None
    """The day before its last move."""
    is_shared: bool = False
    other_vendors: int | None = None
    is_date_agreed: bool | None = None


class WeddingDetails(msgspec.Struct, kw_only=True):
    """Who marries and whom to ring, as an operator with a reason reads it."""

    organization_id: UUID
    id: UUID
    wedding_date: date
    venue_name: str | None
    status: WeddingStatus
    couple_names: str | None
    contacts: list[Contact]


class ShareCode(msgspec.Struct, kw_only=True):
    """Good once, for another vendor of the same wedding. It is shown this once."""

    code: str
    expires_at: datetime


class JoinInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The code that another vendor of the same wedding gave away."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class WeddingPhase(msgspec.Struct, kw_only=True):
    """A phase of a wedding, or how near it is: `days_before`, `evening_before`, `after`."""

    wedding_id: UUID
    wedding_date: date
    time_zone: str
    phase: str
    starts_at: datetime
    ends_at: datetime
    precedence: int


class WeddingPhases(msgspec.Struct, kw_only=True):
    """The phases that overlap a range, by their beginning."""

    items: list[WeddingPhase]


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
    """The calendar's own words. Raises NotValid for a phase that is told twice or by half."""
    faults = [fault for i, one in enumerate(data.windows) for fault in _faults_of(i, one)]
    if faults:
        raise NotValid("The wedding cannot be kept like this.", faults)
    return WeddingDraft(
        wedding_date=data.wedding_date,
        couple_names=data.couple_names,
        venue_name=data.venue_name,
        time_zone=data.time_zone,
        status=data.status,
        client_id=data.client_id,
        contacts=msgspec.to_builtins(data.contacts or []),
        windows=[
            Window(one.phase, starts, ends)
            for one in data.windows
            if (starts := one.starts_local or one.starts_at) is not None
            and (ends := one.ends_local or one.ends_at) is not None
        ],
        visible_to=data.visible_to or Audience.MEMBER,
    )


def _faults_of(index: int, one: PhaseWindow) -> Iterator[FieldError]:
    field = f"windows[{index}]"
    instants, local = (one.starts_at, one.ends_at), (one.starts_local, one.ends_local)
    if any(instants) and any(local):
        yield FieldError(f"{field}.starts_local", "and starts_at cannot both be given")
    elif not all(instants) and not all(local):
        words = (
            "is missing" if not any(local) else "is no instant; give starts_local and ends_local"
        )
        yield FieldError(f"{field}.{'ends_at' if one.starts_at else 'starts_at'}", words)
    for name, instant in zip(("starts_at", "ends_at"), instants, strict=True):
        if instant is not None and instant.tzinfo is None:
            words = "needs its offset, like +01:00; the venue's clock goes into starts_local"
            yield FieldError(f"{field}.{name}", words)


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
    """Change some of a wedding. New `windows` replace all old ones; without them the phases move
    along with the date and stay what the venue's clock shows, in another zone too."""
    async with request.tenant() as cx:
        row = await store.find_to_change(cx, id)
        whole, changed = merge(WeddingInput, shape(Wedding, row), data)
        if "windows" in changed:
            draft = draft_of(whole)
        else:
            moved = store.draft_of(row).moved_to(whole.wedding_date)
            draft = draft_of(msgspec.structs.replace(whole, windows=[]))
            draft = replace(draft, windows=moved.windows)
        return shape(Wedding, await store.update_wedding(cx, id, draft))


change_wedding.__annotations__["data"] = body_of(WeddingChanges)


@delete("/api/v1/weddings/{id:uuid}", tags=["weddings"])
async def delete_wedding(request: ApiRequest, id: Id) -> None:
    """Delete a wedding with its people and phases."""
    async with request.tenant() as cx:
        await store.delete_wedding(cx, id)


@get("/api/v1/weddings/{id:uuid}/details", tags=["weddings"])
async def reveal_wedding(
    request: ApiRequest,
    id: Id,
    reason: Annotated[
        str, QueryParameter(min_length=1, max_length=500, description="Why you need to know")
    ],
) -> WeddingDetails:
    """Read names and contacts as an operator of the platform; the reason goes into the
    organization's audit log."""
    async with request.tenant() as cx:
        return shape(WeddingDetails, await store.reveal_wedding(cx, id, reason))


@post("/api/v1/weddings/{id:uuid}/share", tags=["weddings"], status_code=200)
async def share_wedding(request: ApiRequest, id: Id) -> ShareCode:
    """Get a code with which another vendor links his own wedding to this one."""
    async with request.tenant() as cx:
        code = await store.share_wedding(cx, id)
    return ShareCode(code=code.text, expires_at=code.expires_at)


@post("/api/v1/weddings/{id:uuid}/join", tags=["weddings"], status_code=200)
async def join_wedding(request: ApiRequest, id: Id, data: JSONBody[JoinInput]) -> Wedding:
    """Link your wedding to the one that another vendor's code is for."""
    async with request.tenant() as cx:
        return shape(Wedding, await store.join_wedding(cx, id, data.code))


@delete("/api/v1/weddings/{id:uuid}/share", tags=["weddings"])
async def leave_wedding(request: ApiRequest, id: Id) -> None:
    """Take your wedding out of the shared one; your codes are good no longer."""
    async with request.tenant() as cx:
        await store.leave_wedding(cx, id)


@get("/api/v1/wedding-phases", tags=["weddings"])
async def list_wedding_phases(
    request: ApiRequest,
    *,
    starts: Annotated[datetime, QueryParameter(name="from")],
    ends: Annotated[datetime, QueryParameter(name="to")],
    organization_id: Organization = None,
) -> WeddingPhases:
    """List the phases that overlap a range, and how near each wedding is."""
    for name, at in (("from", starts), ("to", ends)):
        if at.tzinfo is None:
            raise NotValid(errors=[FieldError(name, "needs its offset, like +01:00")])
    if not starts <= ends or ends - starts > LONGEST_CALENDAR:
        reason = f"is not within {LONGEST_CALENDAR.days} days after from"
        raise NotValid(errors=[FieldError("to", reason)])
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        rows = await store.list_phases_between(cx, owner, starts, ends, MOST_PHASES + 1)
    if len(rows) > MOST_PHASES:
        reason = f"holds more than {MOST_PHASES} phases; ask for less at a time"
        raise NotValid(errors=[FieldError("to", reason)])
    return WeddingPhases(items=[shape(WeddingPhase, row) for row in rows])


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
    reveal_wedding,
    share_wedding,
    join_wedding,
    leave_wedding,
    list_wedding_phases,
    read_wedding_day,
    *wedding_imports.HANDLERS,
)
