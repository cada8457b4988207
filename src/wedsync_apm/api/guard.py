"""How closely the platform watches: read by everybody, ordered and set by its operators."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import get, patch, post
from litestar.params import FromQuery, JSONBody

from wedsync_apm.api.crud import partial_of
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Page,
    body_of,
    earlier_answer,
    page_of,
    read_cursor,
    remember_answer,
    shape,
)
from wedsync_apm.api.samples_out import read_time
from wedsync_apm.errors import FieldError, Forbidden, NotValid
from wedsync_apm.organizations.store import find_standing
from wedsync_apm.weddings.guard import store
from wedsync_apm.weddings.guard.model import (
    LONGEST_PLAN,
    LONGEST_REASON,
    MOST_MINUTES,
    SHORTEST_REASON,
    Emergency,
    GuardMode,
    find_order_faults,
    place_span,
    read_moment,
    write_moment,
)

SPANS: Final = ("freeze", "enhanced", "maximum")

_SOMETHING: Final = r"^[^\x00]*\S[^\x00]*$"
Why = Annotated[
    str,
    msgspec.Meta(min_length=SHORTEST_REASON, max_length=LONGEST_REASON, pattern=_SOMETHING),
]
Plan = Annotated[
    str, msgspec.Meta(min_length=SHORTEST_REASON, max_length=LONGEST_PLAN, pattern=_SOMETHING)
]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=MOST_MINUTES)]
Moment = Annotated[str, msgspec.Meta(pattern=r"^(mon|tue|wed|thu|fri|sat|sun) \d\d:\d\d$")]
Factor = Annotated[float, msgspec.Meta(ge=1, le=10)]


class Season(msgspec.Struct, kw_only=True):
    """Loosens limits of capacity by `capacity_factor`, and has no say in how closely is watched."""

    region: str
    is_season: bool
    capacity_factor: float
    until: datetime | None


class CalendarMode(msgspec.Struct, kw_only=True):
    """What the week's calendar says by itself."""

    mode: GuardMode
    why: str


class CurrentGuardMode(msgspec.Struct, kw_only=True):
    """The mode with who, why and until. `until` is when it changes, as far as is known now."""

    at: datetime
    mode: GuardMode
    source: Literal["calendar", "override"]
    who: str
    why: str
    until: datetime | None
    override_id: UUID | None
    calendar: CalendarMode
    season: Season


class GuardOverrideInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A mode from now, for eight hours at most. Lowering it needs an emergency and a way back."""

    mode: GuardMode
    reason: Why
    minutes: Minutes
    emergency: Emergency | None = None
    rollback_plan: Plan | None = None


class GuardOverride(msgspec.Struct, kw_only=True):
    """What an operator ordered, and who ended it before its time, if anybody did."""

    id: UUID
    mode: GuardMode
    reason: str
    emergency: Emergency | None
    rollback_plan: str | None
    starts_at: datetime
    ends_at: datetime
    created_by: UUID | None
    created_by_name: str
    ended_at: datetime | None
    ended_by: UUID | None
    ended_by_name: str | None
    end_reason: str | None


class GuardOverrideEnd(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why it ends now; with the emergency where that lowers the mode."""

    reason: Why
    emergency: Emergency | None = None


class GuardSettingsInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The week on the platform's clock ("fri 18:00"), the season, and the days around weddings."""

    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    freeze_from: Moment
    freeze_until: Moment
    enhanced_from: Moment
    enhanced_until: Moment
    maximum_from: Moment
    maximum_until: Moment
    weekly_freeze: Literal["blocked", "needs_approval"]
    wedding_days_before: Annotated[int, msgspec.Meta(ge=0, le=14)]
    watch_days: Annotated[int, msgspec.Meta(ge=0, le=60)]
    platform_watch_days: Annotated[int, msgspec.Meta(ge=0, le=60)]
    blocking_weddings: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    season_region: str
    seasons: dict[str, dict[str, Factor]]
    readiness_time: Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class GuardSettings(GuardSettingsInput, kw_only=True, forbid_unknown_fields=False):
    """The settings as they stand."""

    updated_at: datetime


GuardSettingsChanges = partial_of(GuardSettingsInput)


@get("/api/v1/guard-mode", tags=["guard mode"])
async def read_guard_mode(
    request: ApiRequest, at: FromQuery[str | None] = None, region: FromQuery[str | None] = None
) -> CurrentGuardMode:
    """How closely the platform watches at `at` (now), and the season of `region` (ours)."""
    async with request.tenant() as cx:
        row = await store.find_guard_mode(cx, read_time("at", at), region)
    return CurrentGuardMode(
        at=row["at"],
        mode=GuardMode(row["mode"]),
        source=row["source"],
        who=row["who"],
        why=row["why"],
        until=row["until"],
        override_id=row["override_id"],
        calendar=CalendarMode(mode=GuardMode(row["calendar_mode"]), why=row["calendar_why"]),
        season=Season(
            region=row["season_region"],
            is_season=row["is_season"],
            capacity_factor=row["capacity_factor"],
            until=row["season_until"],
        ),
    )


@get("/api/v1/guard-mode/overrides", tags=["guard mode"])
async def list_overrides(
    request: ApiRequest, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[GuardOverride]:
    """What operators ordered, the newest first; for operators."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        if (await find_standing(cx)).operator_role is None:
            raise Forbidden("Only an operator of the platform may see this.")
        rows = await store.list_overrides(cx, place.at if place else None, limit + 1)
    return page_of(GuardOverride, rows, limit, at="starts_at")


@post("/api/v1/guard-mode/overrides", tags=["guard mode"])
async def create_override(request: ApiRequest, data: JSONBody[GuardOverrideInput]) -> GuardOverride:
    """Order a mode from now, as an operator. It ends by itself."""
    faults = find_order_faults(data.reason, data.minutes, data.emergency, data.rollback_plan)
    if faults:
        raise NotValid(errors=faults)
    async with request.tenant() as cx:
        # Where a repeat is remembered: an order has no organization of its own.
        owner = next(iter((await find_standing(cx)).organization_ids), None)
        if owner is not None:
            earlier, request_hash = await earlier_answer(cx, request, owner)
            if earlier is not None:
                return msgspec.convert(earlier.body, GuardOverride)
        made = await store.create_override(
            cx,
            mode=data.mode,
            reason=data.reason,
            length=timedelta(minutes=data.minutes),
            emergency=data.emergency,
            rollback_plan=data.rollback_plan,
        )
        shown = shape(GuardOverride, await store.find_override(cx, made))
        if owner is not None:
            await remember_answer(cx, request, owner, request_hash, shown)
    return shown


@post("/api/v1/guard-mode/overrides/{id:uuid}/end", status_code=200, tags=["guard mode"])
async def end_override(
    request: ApiRequest, id: Id, data: JSONBody[GuardOverrideEnd]
) -> GuardOverride:
    """End an order before its time."""
    async with request.tenant() as cx:
        await store.end_override(cx, id, data.reason, data.emergency)
        return shape(GuardOverride, await store.find_override(cx, id))


@get("/api/v1/guard-mode/settings", tags=["guard mode"])
async def read_settings(request: ApiRequest) -> GuardSettings:
    """Read the settings."""
    async with request.tenant() as cx:
        return _shown(await store.read_settings(cx))


async def change_settings(request: ApiRequest, data: Any) -> GuardSettings:
    """Change what is named, as an operator."""
    changes: dict[str, Any] = msgspec.to_builtins(data)
    async with request.tenant() as cx:
        present = msgspec.to_builtins(_shown(await store.read_settings(cx)))
        await store.change_settings(cx, changes | _placed(present | changes, changes))
        return _shown(await store.read_settings(cx))


change_settings.__annotations__["data"] = body_of(GuardSettingsChanges)


def _placed(whole: dict[str, Any], changes: dict[str, Any]) -> dict[str, str]:
    """The spans of which a moment changes, as the database keeps them."""
    placed: dict[str, str] = {}
    for span in SPANS:
        names = f"{span}_from", f"{span}_until"
        if not changes.keys() & set(names):
            continue
        moments = [read_moment(whole[name]) for name in names]
        faults = [
            FieldError(name, "is no moment of a week, such as fri 18:00")
            for name, moment in zip(names, moments, strict=True)
            if moment is None
        ]
        begins, ends = moments
        if begins is None or ends is None:
            raise NotValid(errors=faults)
        for name, at in zip(names, place_span(begins, ends), strict=True):
            placed[name] = f"{int(at.total_seconds())} seconds"
    return placed


def _shown(row: dict[str, Any]) -> GuardSettings:
    moments = {
        name: write_moment(row[name])
        for span in SPANS
        for name in (f"{span}_from", f"{span}_until")
    }
    return msgspec.convert(row | moments, GuardSettings)


HANDLERS: Final = (
    read_guard_mode,
    list_overrides,
    create_override,
    end_override,
    read_settings,
    patch("/api/v1/guard-mode/settings", tags=["guard mode"])(change_settings),
)
