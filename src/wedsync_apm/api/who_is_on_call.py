"""Who is on call, by which schedule, and what is left open: now, over a range, at each wedding."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from wedsync_apm.api.on_call import PATH, Moment, OnCallLayer, Zone, check_zone
from wedsync_apm.api.requests import ApiRequest, Id, Organization, shape, visible_organizations
from wedsync_apm.api.samples_out import read_time
from wedsync_apm.clock import utcnow
from wedsync_apm.errors import FieldError, NotFound, NotValid
from wedsync_apm.escalation.members.store import list_ladder_faults
from wedsync_apm.escalation.schedules import store
from wedsync_apm.escalation.schedules.model import (
    LONGEST_RANGE,
    Fault,
    Layer,
    Source,
    find_present,
    find_shifts,
    find_warnings,
    zone_of,
)

AHEAD: Final = timedelta(days=35)
"""How far who-is-on-call-now looks for the next hand-over."""
SHOWN: Final = timedelta(days=28)
"""How much of a schedule is shown where nobody says how much."""

Start = Annotated[
    str | None, QueryParameter(name="start", required=False, description="From when; now")
]
End = Annotated[
    str | None, QueryParameter(name="end", required=False, description="Until when; 28 days later")
]


class OnCallShift(msgspec.Struct, kw_only=True):
    """Somebody on call. `contacts` are the ways to tell him that are switched on, `verified` those
    of them that are proven. `layer` counts from 1. Names are for members and above."""

    user_id: UUID
    name: str | None
    starts_at: datetime
    ends_at: datetime
    source: Source
    layer: int | None
    contacts: int
    verified: int


class OnCallNow(msgspec.Struct, kw_only=True):
    """Who is on call by one schedule; nobody, where the list is empty. `until` is when that
    changes, and `next` who follows; null where nothing changes within 35 days."""

    schedule_id: UUID
    organization_id: UUID
    schedule_name: str
    time_zone: str
    on_call: list[OnCallShift]
    until: datetime | None
    next: list[OnCallShift]


class WhoNow(msgspec.Struct, kw_only=True):
    """All schedules at one instant."""

    at: datetime
    schedules: list[OnCallNow]


class OnCallWarning(msgspec.Struct, kw_only=True):
    """What may keep a call from being heard: `nobody` is on call; whoever is has
    `no_verified_contact`, or only `one_contact`."""

    fault: Fault
    starts_at: datetime
    ends_at: datetime
    user_id: UUID | None


class Coverage(msgspec.Struct, kw_only=True):
    """The shifts of a range, and what may go unheard in it."""

    schedule_id: UUID
    time_zone: str
    starts_at: datetime
    ends_at: datetime
    shifts: list[OnCallShift]
    warnings: list[OnCallWarning]


class Gap(msgspec.Struct, kw_only=True):
    """Nobody is on call."""

    starts_at: datetime
    ends_at: datetime


class ScheduleCover(msgspec.Struct, kw_only=True):
    """What one schedule leaves open in a wedding; of its `people` so many have no verified
    contact (`unreachable`), or only one (`thin`). `is_used`: a ladder in use names it."""

    schedule_id: UUID
    schedule_name: str
    is_used: bool
    gaps: list[Gap]
    people: int
    unreachable: int
    thin: int


class LadderFault(msgspec.Struct, kw_only=True):
    """What a step of a ladder in use leaves open in a wedding: when it would reach nobody of its
    own (at no time, where it `is_empty`), and how many of the people whom it names have no
    verified contact. `step` counts from 1."""

    policy_id: UUID
    policy_name: str
    step: int
    is_empty: bool
    gaps: list[Gap]
    unreachable: int


class WeddingCover(msgspec.Struct, kw_only=True):
    """A wedding, and what each schedule leaves open between its first phase and its last, and
    each ladder."""

    organization_id: UUID
    wedding_id: UUID
    wedding_date: date
    time_zone: str
    starts_at: datetime
    ends_at: datetime
    schedules: list[ScheduleCover]
    ladders: list[LadderFault]


class OnCallPreviewInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A schedule that is not kept yet."""

    time_zone: Zone
    layers: Annotated[list[OnCallLayer], msgspec.Meta(max_length=50)]
    start: Moment
    end: Moment


class PreviewedShift(msgspec.Struct, kw_only=True):
    """Who would be on call."""

    user_id: UUID
    starts_at: datetime
    ends_at: datetime
    layer: int | None


class OnCallPreview(msgspec.Struct, kw_only=True):
    """What the schedule would come to."""

    shifts: list[PreviewedShift]
    gaps: list[Gap]


@get(PATH, tags=["on-call"])
async def read_on_call(
    request: ApiRequest, organization_id: Organization = None, at: FromQuery[str | None] = None
) -> WhoNow:
    """Who is on call at `at` (now), by each schedule, until when, and who follows."""
    instant = read_time("at", at) or utcnow()
    async with request.tenant() as cx:
        rows = await store.list_on_call(
            cx, await visible_organizations(cx, organization_id), instant, instant + AHEAD
        )
    schedules = [
        _now(list(group), instant) for _, group in groupby(rows, key=lambda row: row["schedule_id"])
    ]
    return WhoNow(at=instant, schedules=schedules)


def _now(rows: list[dict[str, Any]], at: datetime) -> OnCallNow:
    shifts = [shape(OnCallShift, row) for row in rows if row["user_id"] is not None]
    present = find_present(shifts, at, at + AHEAD)
    return OnCallNow(
        schedule_id=rows[0]["schedule_id"],
        organization_id=rows[0]["organization_id"],
        schedule_name=rows[0]["schedule_name"],
        time_zone=rows[0]["time_zone"],
        on_call=present.on_call,
        until=present.until,
        next=present.following,
    )


@get(PATH + "/schedules/{id:uuid}/coverage", tags=["on-call"])
async def read_coverage(
    request: ApiRequest, id: Id, start: Start = None, end: End = None
) -> Coverage:
    """The shifts of a schedule, and what may go unheard, over 100 days at most."""
    begin = read_time("start", start) or utcnow()
    finish = read_time("end", end) or begin + SHOWN
    async with request.tenant() as cx:
        schedule = await store.SCHEDULES.find_row(cx, id)
        if schedule is None:
            raise NotFound("There is no such schedule.")
        rows = await store.list_shifts(cx, id, begin, finish)
    warnings = find_warnings(
        [(row["user_id"], row["starts_at"], row["ends_at"], row["verified"]) for row in rows],
        begin,
        finish,
    )
    return Coverage(
        schedule_id=id,
        time_zone=schedule["time_zone"],
        starts_at=begin,
        ends_at=finish,
        shifts=[shape(OnCallShift, row) for row in rows],
        warnings=[
            OnCallWarning(
                fault=one.fault,
                starts_at=one.starts_at,
                ends_at=one.ends_at,
                user_id=one.user_id,
            )
            for one in warnings
        ],
    )


@get(PATH + "/weddings", tags=["on-call"])
async def list_wedding_coverage(
    request: ApiRequest,
    organization_id: Organization = None,
    days: Annotated[int, QueryParameter(ge=1, le=90, required=False)] = 30,
) -> list[WeddingCover]:
    """Each wedding of the next days with what the schedules and ladders leave open in it."""
    at = utcnow()
    async with request.tenant() as cx:
        organizations = await visible_organizations(cx, organization_id)
        rows = await store.list_wedding_cover(cx, organizations, at, days)
        faults = await list_ladder_faults(cx, organizations, at, days)
    return [
        shape(
            WeddingCover,
            first
            | {
                "time_zone": first["wedding_zone"],
                "schedules": [row for row in (first, *rest) if row["schedule_id"] is not None],
                "ladders": [row for row in faults if row["wedding_id"] == first["wedding_id"]],
            },
        )
        for _, (first, *rest) in groupby(rows, key=lambda row: row["wedding_id"])
    ]


@post(PATH + "/preview", status_code=200, tags=["on-call"])
async def preview_schedule(
    request: ApiRequest, data: JSONBody[OnCallPreviewInput]
) -> OnCallPreview:
    """What a schedule would come to; nothing is kept."""
    _ = request.identity
    check_zone(data.time_zone)
    begin, finish = data.start.astimezone(UTC), data.end.astimezone(UTC)
    if not timedelta() < finish - begin <= LONGEST_RANGE:
        reason = "is not later than the beginning, or more than 100 days after it"
        raise NotValid(errors=[FieldError("end", reason)])
    layers = [
        Layer(
            participants=layer.participants,
            starts_on=layer.starts_on,
            handover_time=time.fromisoformat(layer.handover_time),
            shift_days=layer.shift_days,
            weekdays=set(layer.weekdays),
            from_time=time.fromisoformat(layer.from_time),
            until_time=time.fromisoformat(layer.until_time),
        )
        for layer in data.layers
    ]
    shifts = find_shifts(layers, zone_of(data.time_zone), begin, finish)
    spans = [(one.user_id, one.starts_at, one.ends_at, 2) for one in shifts]
    return OnCallPreview(
        shifts=[
            PreviewedShift(
                user_id=one.user_id,
                starts_at=one.starts_at,
                ends_at=one.ends_at,
                layer=one.position,
            )
            for one in shifts
        ],
        gaps=[
            Gap(starts_at=one.starts_at, ends_at=one.ends_at)
            for one in find_warnings(spans, begin, finish)
        ],
    )


HANDLERS: Final = (read_on_call, read_coverage, list_wedding_coverage, preview_schedule)
