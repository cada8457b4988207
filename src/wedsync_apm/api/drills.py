"""Drills: everybody is called as in earnest, and how fast they answer is kept."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import JSONBody

from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Organization,
    Page,
    earlier_answer,
    one_organization,
    page_of,
    read_cursor,
    remember_answer,
    shape,
    visible_organizations,
)
from wedsync_apm.drills import store
from wedsync_apm.drills.model import Every, Person, Result

Clock = Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class DrillInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why it is held, and for which wedding, where it is for one."""

    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    wedding_id: UUID | None = None


class Drill(msgspec.Struct, kw_only=True):
    """A drill. The last three are known when it has ended: people called, those who answered, and
    those who did so within two minutes."""

    id: UUID
    organization_id: UUID
    cause: Literal["asked", "schedule"]
    reason: str
    wedding_id: UUID | None
    planned_at: datetime
    started_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    started_by: UUID | None
    started_by_name: str
    called: int | None
    answered: int | None
    in_time: int | None


class DrillPerson(msgspec.Struct, kw_only=True):
    """How it went with one person, in seconds from the drill's start."""

    name: str
    user_id: UUID | None
    channels: list[str]
    result: Result
    sent_seconds: float | None
    received_seconds: float | None
    answered_seconds: float | None
    how: str | None
    reason: str


class DrillResult(Drill, kw_only=True):
    """A drill with its people, who answered first at the top; names are for members and above."""

    people: list[DrillPerson]


class ScheduleInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Each week, or on the first such weekday of each month, by the clock on the wall; 1 is
    Monday."""

    every: Every
    weekday: Annotated[int, msgspec.Meta(ge=1, le=7)]
    local_time: Clock
    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class DrillSchedule(msgspec.Struct, kw_only=True):
    """When drills are held by themselves; null: never. `held_by` is what puts the next one off."""

    organization_id: UUID
    every: Every | None = None
    weekday: int | None = None
    local_time: str | None = None
    time_zone: str | None = None
    planned_at: datetime | None = None
    next_at: datetime | None = None
    held_by: Literal["wedding", "quiet_hours", "running", "nobody"] | None = None


def person_of(one: Person) -> DrillPerson:
    """A person as the API shows one."""
    return DrillPerson(
        name=one.name,
        user_id=one.user_id,
        channels=list(one.channels),
        result=one.result,
        sent_seconds=one.sent_seconds,
        received_seconds=one.received_seconds,
        answered_seconds=one.answered_seconds,
        how=one.how,
        reason=one.reason,
    )


@get("/api/v1/drills", tags=["drills"])
async def list_drills(
    request: ApiRequest,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Drill]:
    """List drills, newest first."""
    keyset = read_cursor(cursor)
    async with request.tenant() as cx:
        rows = await store.list_drills(
            cx,
            await visible_organizations(cx, organization_id),
            limit=limit + 1,
            before=(keyset.at, keyset.id) if keyset else None,
        )
    return page_of(Drill, rows, limit, at="started_at")


@post("/api/v1/drills", tags=["drills"])
async def start_drill(
    request: ApiRequest, data: JSONBody[DrillInput], organization_id: Organization = None
) -> Response[Drill]:
    """Call everybody whom the default ladder would reach, now. Owners and admins, once an hour."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            return Response(msgspec.convert(earlier.body, Drill), status_code=201)
        made_id = await store.start_drill(cx, owner, reason=data.reason, wedding_id=data.wedding_id)
        made = shape(Drill, (await store.find_drill(cx, made_id)).row)
        await remember_answer(cx, request, owner, request_hash, made)
    return Response(made, status_code=201)


@get("/api/v1/drills/{id:uuid}", tags=["drills"])
async def read_drill(request: ApiRequest, id: Id) -> DrillResult:
    """Read a drill with its people."""
    async with request.tenant() as cx:
        drill = await store.find_drill(cx, id)
    row: dict[str, Any] = {**drill.row, "people": [person_of(one) for one in drill.people]}
    return shape(DrillResult, row)


@get("/api/v1/drills/schedule", tags=["drills"])
async def read_drill_schedule(
    request: ApiRequest, organization_id: Organization = None
) -> DrillSchedule:
    """Read when drills are held by themselves."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        row = await store.find_schedule(cx, owner)
    return shape(DrillSchedule, row) if row else DrillSchedule(organization_id=owner)


@put("/api/v1/drills/schedule", tags=["drills"])
async def set_drill_schedule(
    request: ApiRequest, data: JSONBody[ScheduleInput], organization_id: Organization = None
) -> DrillSchedule:
    """Set when: owners and admins."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        row = await store.set_schedule(
            cx,
            owner,
            every=data.every,
            weekday=data.weekday,
            local_time=data.local_time,
            time_zone=data.time_zone,
        )
    return shape(DrillSchedule, row)


@delete("/api/v1/drills/schedule", tags=["drills"])
async def clear_drill_schedule(request: ApiRequest, organization_id: Organization = None) -> None:
    """Hold none by themselves any more."""
    async with request.tenant() as cx:
        await store.clear_schedule(cx, await one_organization(cx, organization_id))


HANDLERS: Final = (
    list_drills,
    start_drill,
    read_drill,
    read_drill_schedule,
    set_drill_schedule,
    clear_drill_schedule,
)
