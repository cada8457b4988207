"""Silences, maintenance windows and inhibition rules, as the caller may see and change them.

What they do is decided by `apm_private.held_back_by`, which ladders ask.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.nouns import Noun, Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import NotFound

Q = load_queries(__package__)


class _Windows(Noun):
    """A maintenance window is given back with the times at which it is open."""

    async def create_row(
        self, cx: Connection, *, organization_id: UUID, created_by: UUID, values: Mapping[str, Any]
    ) -> Row:
        row = await Noun.create_row(
            self, cx, organization_id=organization_id, created_by=created_by, values=values
        )
        return await self.find_row(cx, row["id"]) or row

    async def update_row(
        self, cx: Connection, row_id: UUID, values: Mapping[str, Any]
    ) -> Row | None:
        row = await Noun.update_row(self, cx, row_id, values)
        return row and await self.find_row(cx, row_id)


MAINTENANCE_WINDOWS: Final = _Windows(
    list_sql=Q.list_maintenance_windows,
    find_sql=Q.find_maintenance_window,
    create_sql=Q.create_maintenance_window,
    update_sql=Q.update_maintenance_window,
    delete_sql=Q.delete_maintenance_window,
)
INHIBITION_RULES: Final = Noun(
    list_sql=Q.list_inhibition_rules,
    find_sql=Q.find_inhibition_rule,
    create_sql=Q.create_inhibition_rule,
    update_sql=Q.update_inhibition_rule,
    delete_sql=Q.delete_inhibition_rule,
)


async def approve_maintenance_window(cx: Connection, window_id: UUID) -> Row:
    """The caller says yes to planned work over the weddings that it meets.

    Raises NotFound, Forbidden for whoever planned it, for viewers and keys, Conflict where none is
    waited for.
    """
    await cx.execute(Q.approve_maintenance_window, {"id": window_id})
    return await _find_window(cx, window_id)


async def refuse_maintenance_window(cx: Connection, window_id: UUID, reason: str) -> Row:
    """The caller says no to planned work over the weddings that it meets, and why.

    Raises as `approve_maintenance_window`, and NotValid for no reason or too long a one.
    """
    await cx.execute(Q.refuse_maintenance_window, {"id": window_id, "reason": reason})
    return await _find_window(cx, window_id)


async def _find_window(cx: Connection, window_id: UUID) -> Row:
    row = await MAINTENANCE_WINDOWS.find_row(cx, window_id)
    if row is None:
        raise NotFound("There is no such maintenance window.")
    return row


async def list_matched(
    cx: Connection, organization_id: UUID, matchers: Sequence[Mapping[str, str]]
) -> list[Row]:
    """The live incidents that matchers match, and the rules that they are about: kind, id, title,
    and whether all that they ask for is known. Raises NotValid for what is no matcher."""
    values = {
        "organization_id": organization_id,
        "matchers": Jsonb([dict(one) for one in matchers]),
    }
    return await (await cx.execute(Q.list_matched, values)).fetchall()


async def list_weddings_in_the_way(
    cx: Connection, organization_id: UUID, starts_at: datetime, ends_at: datetime
) -> list[Row]:
    """The weddings that a time lies over, the first first."""
    values = {"organization_id": organization_id, "starts_at": starts_at, "ends_at": ends_at}
    return await (await cx.execute(Q.list_weddings_in_the_way, values)).fetchall()


async def preview_maintenance(
    cx: Connection, organization_id: UUID, values: Mapping[str, Any]
) -> Row:
    """`spans` and `weddings` of planned work that is not saved. Raises NotValid."""
    rows = await cx.execute(
        Q.preview_maintenance,
        {"organization_id": organization_id, "values": Jsonb(dict(values))},
    )
    return await rows.fetchone() or {"spans": [], "weddings": []}


async def list_waiting(
    cx: Connection, organization_ids: Sequence[UUID], *, everywhere: bool = False
) -> list[Row]:
    """What waits for a second person: kind, id, organization, whether the caller asked for it, and
    when it was asked; `everywhere` is for operators, who see all."""
    values = {"organization_ids": [*organization_ids], "everywhere": everywhere}
    return await (await cx.execute(Q.list_waiting, values)).fetchall()


async def list_silences(
    cx: Connection,
    *,
    organization_ids: Sequence[UUID],
    state: str | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Silences as they stand at this moment, newest first."""
    before_at, before_id = before or (None, None)
    rows = await cx.execute(
        Q.list_silences,
        {
            "organization_ids": [*organization_ids],
            "state": state,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        },
    )
    return await rows.fetchall()


async def find_silence(cx: Connection, silence_id: UUID) -> Row:
    """One silence as it stands. Raises NotFound."""
    row = await (await cx.execute(Q.find_silence, {"id": silence_id})).fetchone()
    if row is None:
        raise NotFound("There is no such silence.")
    return row


async def create_silence(
    cx: Connection,
    organization_id: UUID,
    *,
    matchers: Sequence[Mapping[str, str]],
    starts_at: datetime | None,
    ends_at: datetime,
    reason: str,
    owner: str | None,
) -> Row:
    """A new silence, from now on if no start is given. Raises what the database refuses."""
    rows = await cx.execute(
        Q.create_silence,
        {
            "organization_id": organization_id,
            "matchers": Jsonb([dict(one) for one in matchers]),
            "starts_at": starts_at,
            "ends_at": ends_at,
            "reason": reason,
            "owner": owner,
        },
    )
    row = await rows.fetchone()
    assert row is not None  # noqa: S101 an insert that did not raise gives its row back
    return await find_silence(cx, row["id"])


async def approve_silence(cx: Connection, silence_id: UUID) -> Row:
    """The caller says yes to a silence over a wedding.

    Raises NotFound, Forbidden for whoever made it, for viewers and keys, Conflict where none is
    waited for.
    """
    await cx.execute(Q.approve_silence, {"id": silence_id})
    return await find_silence(cx, silence_id)


async def expire_silence(cx: Connection, silence_id: UUID) -> Row:
    """Ends a silence now. Raises NotFound, Forbidden for viewers, Conflict for one that is over."""
    await cx.execute(Q.expire_silence, {"id": silence_id})
    return await find_silence(cx, silence_id)
