"""On-call schedules: rotations, overrides and temporary schedules, as people keep them."""

from datetime import date, datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec

from wedsync_apm.api.crud import Resource, Values, routes
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.escalation.schedules import store
from wedsync_apm.escalation.schedules.model import zone_of

PATH: Final = "/api/v1/on-call"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Reason = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*$")]
WallTime = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Weekday = Annotated[int, msgspec.Meta(ge=1, le=7)]


class OnCallLayer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A rotation. The first of `participants` begins on `starts_on` at `handover_time`, and
    `shift_days` later the next one follows: 1 is daily, 7 weekly. It counts in its hours only:
    from `from_time` until `until_time` (not later: on the next day; both the same: the whole day),
    beginning on its `weekdays` (1 is Monday). All times are the schedule's clock."""

    participants: Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=100)]
    starts_on: date
    handover_time: WallTime = "09:00"
    shift_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 7
    weekdays: Annotated[list[Weekday], msgspec.Meta(min_length=1, max_length=7)] = msgspec.field(
        default_factory=lambda: [1, 2, 3, 4, 5, 6, 7]
    )
    from_time: WallTime = "00:00"
    until_time: WallTime = "00:00"


class OnCallScheduleInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who is on call. Of several layers the first one that has somebody answers."""

    name: Name
    time_zone: Zone
    """IANA: whose clock hands over."""
    layers: Annotated[list[OnCallLayer], msgspec.Meta(max_length=50)] = []


class OnCallSchedule(OnCallScheduleInput, kw_only=True, forbid_unknown_fields=False):
    """A schedule as it is kept."""

    id: UUID
    organization_id: UUID
    created_at: datetime
    updated_at: datetime


class OnCallOverrideInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One person instead of all else that the schedule says, for a while."""

    schedule_id: UUID
    user_id: UUID
    starts_at: Moment
    ends_at: Moment
    reason: Reason = ""


class OnCallOverride(OnCallOverrideInput, kw_only=True, forbid_unknown_fields=False):
    """An override as it is kept."""

    id: UUID
    organization_id: UUID
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class TemporaryShift(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Somebody's part of a temporary schedule; it lies within it."""

    user_id: UUID
    starts_at: Moment
    ends_at: Moment


class TemporaryScheduleInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Puts the rotations aside for a while: its shifts count, and what they leave open has
    nobody. An override still comes before it."""

    schedule_id: UUID
    starts_at: Moment
    ends_at: Moment
    shifts: Annotated[list[TemporaryShift], msgspec.Meta(min_length=1, max_length=200)]
    reason: Reason = ""


class TemporarySchedule(TemporaryScheduleInput, kw_only=True, forbid_unknown_fields=False):
    """A temporary schedule as it is kept."""

    id: UUID
    organization_id: UUID
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


def check_zone(name: str) -> None:
    """Raises NotValid for a name that the time zone database does not have."""
    if zone_of(name).key != name:
        raise NotValid(errors=[FieldError("time_zone", "is no IANA time zone")])


def _schedule_values(data: OnCallScheduleInput) -> Values:
    check_zone(data.time_zone)
    return _values(data)


def _values(data: msgspec.Struct) -> Values:
    values: Values = msgspec.to_builtins(data)
    return values


def _temporary_values(data: TemporaryScheduleInput) -> Values:
    values = _values(data)
    return values | {
        "shift_user_ids": [one["user_id"] for one in values["shifts"]],
        "shift_starts": [one["starts_at"] for one in values["shifts"]],
        "shift_ends": [one["ends_at"] for one in values["shifts"]],
    }


SCHEDULES: Final = Resource(
    path=f"{PATH}/schedules",
    one="schedule",
    noun=store.SCHEDULES,
    input=OnCallScheduleInput,
    output=OnCallSchedule,
    to_values=_schedule_values,
)
OVERRIDES: Final = Resource(
    path=f"{PATH}/overrides",
    one="schedule override",
    noun=store.OVERRIDES,
    input=OnCallOverrideInput,
    output=OnCallOverride,
)
TEMPORARY: Final = Resource(
    path=f"{PATH}/temporary-schedules",
    one="temporary schedule",
    noun=store.TEMPORARY_SCHEDULES,
    input=TemporaryScheduleInput,
    output=TemporarySchedule,
    to_values=_temporary_values,
)


HANDLERS: Final = (*routes(SCHEDULES), *routes(OVERRIDES), *routes(TEMPORARY))
