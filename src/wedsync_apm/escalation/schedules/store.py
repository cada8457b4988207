"""On-call schedules, as the caller may see and change them, and who is on call by them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from wedsync_apm.db.nouns import Noun, Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)


class _Schedules(Noun):
    """A schedule and its rotations are one thing to whoever writes it."""

    async def create_row(
        self, cx: Connection, *, organization_id: UUID, created_by: UUID, values: Mapping[str, Any]
    ) -> Row:
        row = await Noun.create_row(
            self, cx, organization_id=organization_id, created_by=created_by, values=values
        )
        await _replace_layers(cx, organization_id, row["id"], values["layers"])
        return await self._whole(cx, row["id"])

    async def update_row(
        self, cx: Connection, row_id: UUID, values: Mapping[str, Any]
    ) -> Row | None:
        row = await Noun.update_row(self, cx, row_id, values)
        if row is None:
            return None
        if "layers" in values:
            await _replace_layers(cx, row["organization_id"], row_id, values["layers"])
        return await self._whole(cx, row_id)

    async def _whole(self, cx: Connection, schedule_id: UUID) -> Row:
        row = await self.find_row(cx, schedule_id)
        assert row is not None  # noqa: S101 written in this transaction, by one who can see it
        return row


SCHEDULES: Final = _Schedules(
    list_sql=Q.list_schedules,
    find_sql=Q.find_schedule,
    create_sql=Q.create_schedule,
    update_sql=Q.update_schedule,
    delete_sql=Q.delete_schedule,
)
OVERRIDES: Final = Noun(
    list_sql=Q.list_overrides,
    find_sql=Q.find_override,
    create_sql=Q.create_override,
    update_sql=Q.update_override,
    delete_sql=Q.delete_override,
)
TEMPORARY_SCHEDULES: Final = Noun(
    list_sql=Q.list_temporary_schedules,
    find_sql=Q.find_temporary_schedule,
    create_sql=Q.create_temporary_schedule,
    update_sql=Q.update_temporary_schedule,
    delete_sql=Q.delete_temporary_schedule,
)


async def _replace_layers(
    cx: Connection, organization_id: UUID, schedule_id: UUID, layers: Sequence[Mapping[str, Any]]
) -> None:
    values = {"organization_id": organization_id, "schedule_id": schedule_id}
    await cx.execute(Q.clear_layers, values)
    for position, layer in enumerate(layers, start=1):
        await cx.execute(Q.add_layer, {**values, **layer, "position": position})


async def list_on_call(
    cx: Connection, organization_ids: Sequence[UUID], earliest: datetime, latest: datetime
) -> list[Row]:
    """Every schedule with its shifts in the range; one without any has a row with no user.

    Raises NotValid for a range that is longer than 100 days, or none.
    """
    values = {"organization_ids": [*organization_ids], "earliest": earliest, "latest": latest}
    return await (await cx.execute(Q.list_on_call, values)).fetchall()


async def list_shifts(
    cx: Connection, schedule_id: UUID, earliest: datetime, latest: datetime
) -> list[Row]:
    """Who is on call by one schedule. Raises as `list_on_call`."""
    values = {"id": schedule_id, "earliest": earliest, "latest": latest}
    return await (await cx.execute(Q.list_shifts, values)).fetchall()


async def list_wedding_cover(
    cx: Connection, organization_ids: Sequence[UUID], at: datetime, days: int
) -> list[Row]:
    """What each schedule leaves open in each wedding of the next days, that under way included;
    a wedding where there is no schedule has a row without one."""
    values = {"organization_ids": [*organization_ids], "at": at, "days": days}
    return await (await cx.execute(Q.list_wedding_cover, values)).fetchall()
