"""When a contact is not to be disturbed: `/api/v1/contact-methods/{id}/quiet-hours`."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import delete, get, put
from litestar.params import JSONBody

from wedsync_apm.api.requests import ApiRequest, Id, shape
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.members import store

Clock = Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Weekday = Annotated[int, msgspec.Meta(ge=1, le=7)]


class QuietHoursInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """By the clock on the wall of a zone. An `end` that is earlier than `start` is the next day's;
    `weekdays` (1 is Monday) are those on which they begin."""

    start: Clock
    end: Clock
    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    weekdays: Annotated[list[Weekday], msgspec.Meta(min_length=1, max_length=7)] = msgspec.field(
        default_factory=lambda: [1, 2, 3, 4, 5, 6, 7]
    )


class QuietSpan(msgspec.Struct):
    """From when to when."""

    starts_at: datetime
    ends_at: datetime


class ContactQuietHours(msgspec.Struct, kw_only=True):
    """A contact's quiet hours, null where it has none, and the next times that they come."""

    contact_method_id: UUID
    quiet_hours: QuietHoursInput | None
    next_spans: list[QuietSpan]
    updated_at: datetime | None


def _out(row: dict[str, Any]) -> ContactQuietHours:
    hours = {name: row[name] for name in ("start", "end", "time_zone", "weekdays")}
    return shape(ContactQuietHours, {**row, "quiet_hours": None if row["start"] is None else hours})


@get("/api/v1/contact-methods/{id:uuid}/quiet-hours", tags=["contact-methods"])
async def read_quiet_hours(request: ApiRequest, id: Id) -> ContactQuietHours:
    """Read when a contact is not to be disturbed."""
    async with request.tenant() as cx:
        return _out(await store.find_quiet_hours(cx, id))


@put("/api/v1/contact-methods/{id:uuid}/quiet-hours", tags=["contact-methods"])
async def set_quiet_hours(
    request: ApiRequest, id: Id, data: JSONBody[QuietHoursInput]
) -> ContactQuietHours:
    """Set them: each member for contacts of his own, owners and admins for all."""
    if data.start == data.end:
        raise NotValid(
            errors=[FieldError("end", "must differ from start; switch the contact off instead")]
        )
    async with request.tenant() as cx:
        return _out(
            await store.set_quiet_hours(
                cx,
                id,
                start=data.start,
                end=data.end,
                time_zone=data.time_zone,
                weekdays=sorted(set(data.weekdays)),
            )
        )


@delete("/api/v1/contact-methods/{id:uuid}/quiet-hours", tags=["contact-methods"])
async def clear_quiet_hours(request: ApiRequest, id: Id) -> None:
    """Have none any more; what they hold back goes out at once."""
    async with request.tenant() as cx:
        await store.clear_quiet_hours(cx, id)


HANDLERS: Final = (read_quiet_hours, set_quiet_hours, clear_quiet_hours)
