"""Silences, maintenance windows and inhibition rules: what keeps people from being told."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from wedsync_apm.api.crud import Resource, Values, routes
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
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.silences import store
from wedsync_apm.silences.model import MOST_WEEKS, check_plan, check_span
from wedsync_apm.types import Severity

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
WallTime = Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9](:00)?$")]
State = Literal["needs_approval", "scheduled", "active", "ended"]
# `state` as the name of an argument is the framework's own.
Wanted = Annotated[State | None, QueryParameter(name="state", required=False)]


class Matcher(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """As Alertmanager's. `label` is `service`, `metric`, `rule`, `severity` or `tag.<name>`; one
    that is not there is the empty text. The expression of `=~` and `!~` fits the whole value and
    has literals, `.`, classes, groups, `|`, `*`, `+` and `?`."""

    label: Annotated[str, msgspec.Meta(min_length=1, max_length=132)]
    operator: Literal["=", "!=", "=~", "!~"] = "="
    value: Annotated[str, msgspec.Meta(max_length=1024)]


Matchers = Annotated[list[Matcher], msgspec.Meta(min_length=1, max_length=20)]


class SilenceInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be silent, until when, and why; at most 90 days. `owner` answers for it: the
    caller, if nobody is named. From now on, if there is no start."""

    matchers: Matchers
    ends_at: datetime
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    starts_at: datetime | None = None
    owner: Name | None = None


class WeddingInTheWay(msgspec.Struct, kw_only=True):
    """A wedding that it lies over, from the wedding's first window to the end of its last. To
    whoever is no member its date, times and initials are not told."""

    wedding_id: UUID
    wedding_date: date | None
    initials: str
    starts_at: datetime | None
    ends_at: datetime | None
    is_approved: bool


class Silence(msgspec.Struct, kw_only=True):
    """A silence as it stands. `works_until` is its end, early or not, or the beginning of the first
    wedding that nobody approved it for; null while it waits for approval."""

    id: UUID
    organization_id: UUID
    state: State
    matchers: list[Matcher]
    starts_at: datetime
    ends_at: datetime
    works_until: datetime | None
    reason: str
    owner: str
    needs_approval: bool
    weddings: list[WeddingInTheWay]
    approved_at: datetime | None
    approved_by: UUID | None
    approved_by_name: str | None
    expired_at: datetime | None
    expired_by: UUID | None
    expired_by_name: str | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class MaintenanceWindowInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Planned work. Either once, from `starts_at` to `ends_at`, or on `weekdays` (1 is Monday) from
    `starts_time` to `ends_time` by the clock on the wall of `time_zone`, every so many weeks; an
    end that is not later than the start is the next day's. Without matchers it is about
    everything."""

    name: Name
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    matchers: Annotated[list[Matcher], msgspec.Meta(max_length=20)] = []
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    weekdays: (
        Annotated[
            list[Annotated[int, msgspec.Meta(ge=1, le=7)]],
            msgspec.Meta(min_length=1, max_length=7),
        ]
        | None
    ) = None
    starts_time: WallTime | None = None
    ends_time: WallTime | None = None
    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    first_day: date | None = None
    last_day: date | None = None
    every_weeks: Annotated[int, msgspec.Meta(ge=1, le=MOST_WEEKS)] = 1
    """2 is every second week, counted from that of `first_day`."""
    is_active: bool = True


class Span(msgspec.Struct, kw_only=True):
    """A time at which it is open."""

    starts_at: datetime
    ends_at: datetime


class WeddingOfWork(WeddingInTheWay, kw_only=True):
    """A wedding that planned work meets; `is_refused` where a second person said no."""

    is_refused: bool


class Refusal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why not; whoever planned it reads it."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class MaintenanceWindow(MaintenanceWindowInput, kw_only=True, forbid_unknown_fields=False):
    """A maintenance window as it is kept, with the next times at which it is open, and the weddings
    that it meets within 90 days. During one that no second person approved it holds nothing back:
    `needs_approval`."""

    id: UUID
    organization_id: UUID
    state: Literal["off", "scheduled", "open", "ended"]
    next_spans: list[Span]
    needs_approval: bool
    weddings: list[WeddingOfWork]
    planned_by: UUID | None
    planned_by_name: str
    approved_at: datetime | None
    approved_by: UUID | None
    approved_by_name: str | None
    refused_at: datetime | None
    refused_by: UUID | None
    refused_by_name: str | None
    refused_reason: str | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class InhibitionRuleInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """While an incident that the source matchers match is live, those that the target matchers
    match are not told, if the labels of `equal` are alike; as Alertmanager's. Rules of the platform
    may be for everybody: their sources are the platform's own incidents, and `words` are what the
    others read."""

    name: Name
    source_matchers: Matchers
    target_matchers: Matchers
    equal: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=132)]],
        msgspec.Meta(max_length=20),
    ] = []
    is_platform_wide: bool = False
    words: Annotated[str, msgspec.Meta(max_length=300)] = ""
    told_at_weddings: Severity | None = None
    """While a wedding is under way, what is as bad as this or worse is told all the same. Null
    is `critical`."""
    is_active: bool = True


class InhibitionRule(InhibitionRuleInput, kw_only=True, forbid_unknown_fields=False):
    """An inhibition rule as it is kept."""

    id: UUID
    organization_id: UUID
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


def window_values(data: MaintenanceWindowInput) -> Values:
    """What is written. Raises NotValid for what is neither once nor recurring."""
    check_plan(msgspec.structs.asdict(data))
    values: Values = msgspec.to_builtins(data)
    return values


def rule_values(data: InhibitionRuleInput) -> Values:
    """What is written. Raises NotValid where others would read nothing."""
    if data.is_platform_wide and not data.words.strip():
        raise NotValid(
            errors=[FieldError("words", "is what everybody else reads: needs some text")]
        )
    values: Values = msgspec.to_builtins(data)
    return values


MAINTENANCE: Final = Resource(
    path="/api/v1/maintenance-windows",
    one="maintenance window",
    noun=store.MAINTENANCE_WINDOWS,
    input=MaintenanceWindowInput,
    output=MaintenanceWindow,
    to_values=window_values,
)
INHIBITION: Final = Resource(
    path="/api/v1/inhibition-rules",
    one="inhibition rule",
    noun=store.INHIBITION_RULES,
    input=InhibitionRuleInput,
    output=InhibitionRule,
    to_values=rule_values,
)


def _out(row: dict[str, Any]) -> Silence:
    return shape(Silence, row)


@get("/api/v1/silences", tags=["silences"])
async def list_silences(
    request: ApiRequest,
    *,
    organization_id: Organization = None,
    wanted: Wanted = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Silence]:
    """List silences, newest first; `state` asks for those that are active, say."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        rows = await store.list_silences(
            cx,
            organization_ids=await visible_organizations(cx, organization_id),
            state=wanted,
            before=(place.at, place.id) if place else None,
            limit=limit + 1,
        )
    return page_of(Silence, rows, limit)


@post("/api/v1/silences", tags=["silences"])
async def create_silence(
    request: ApiRequest, data: JSONBody[SilenceInput], organization_id: Organization = None
) -> Silence:
    """Silence incidents for a while. Over a wedding it waits until a second person approves it."""
    check_span(data.starts_at, data.ends_at)
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            return msgspec.convert(earlier.body, Silence)
        made = _out(
            await store.create_silence(
                cx,
                owner,
                matchers=msgspec.to_builtins(data.matchers),
                starts_at=data.starts_at,
                ends_at=data.ends_at,
                reason=data.reason,
                owner=data.owner,
            )
        )
        await remember_answer(cx, request, owner, request_hash, made)
    return made


@get("/api/v1/silences/{id:uuid}", tags=["silences"])
async def read_silence(request: ApiRequest, id: Id) -> Silence:
    """Read a silence as it stands, with the weddings that it lies over."""
    async with request.tenant() as cx:
        return _out(await store.find_silence(cx, id))


@post("/api/v1/silences/{id:uuid}/approve", status_code=200, tags=["silences"])
async def approve_silence(request: ApiRequest, id: Id) -> Silence:
    """Say yes to a silence over a wedding, as a second person."""
    async with request.tenant() as cx:
        return _out(await store.approve_silence(cx, id))


@post("/api/v1/silences/{id:uuid}/expire", status_code=200, tags=["silences"])
async def expire_silence(request: ApiRequest, id: Id) -> Silence:
    """End a silence now; what it held back is told if it still goes on."""
    async with request.tenant() as cx:
        return _out(await store.expire_silence(cx, id))


@post(
    "/api/v1/maintenance-windows/{id:uuid}/approve", status_code=200, tags=["maintenance-windows"]
)
async def approve_maintenance_window(request: ApiRequest, id: Id) -> MaintenanceWindow:
    """Say yes to planned work over the weddings that it meets, as a second person."""
    async with request.tenant() as cx:
        return shape(MaintenanceWindow, await store.approve_maintenance_window(cx, id))


@post("/api/v1/maintenance-windows/{id:uuid}/refuse", status_code=200, tags=["maintenance-windows"])
async def refuse_maintenance_window(
    request: ApiRequest, id: Id, data: JSONBody[Refusal]
) -> MaintenanceWindow:
    """Say no to planned work over the weddings that it meets, as a second person, and why. During
    those people are told as always; at other times it is as planned."""
    async with request.tenant() as cx:
        row = await store.refuse_maintenance_window(cx, id, data.reason)
        return shape(MaintenanceWindow, row)


HANDLERS: Final = (
    list_silences,
    create_silence,
    read_silence,
    approve_silence,
    expire_silence,
    *routes(MAINTENANCE),
    approve_maintenance_window,
    refuse_maintenance_window,
    *routes(INHIBITION),
)
