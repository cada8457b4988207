"""Guard modes, the freeze and approvals as the caller may see and change them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import NotFound
from wedsync_apm.weddings.guard.model import (
    Approval,
    Calendar,
    Decision,
    Emergency,
    GuardMode,
    Near,
    Verdict,
    decide,
    unreadable,
)

Q = load_queries(__package__)

MOST_APPROVALS: Final = 1000
"""That hold at one instant; more than that nobody gives in eight hours."""


async def find_guard_mode(
    cx: Connection, at: datetime | None = None, region: str | None = None
) -> Row:
    """How closely is watched at `at` (None: now), and the season of the region (None: ours).

    Raises NotFound for a region that the season table does not have.
    """
    row = await (await cx.execute(Q.find_guard_mode, {"at": at, "region": region})).fetchone()
    if row is None or row["season_region"] is None:
        raise NotFound("The season table has no such region.")
    return row


async def list_guard_spans(cx: Connection, earliest: datetime, latest: datetime) -> list[Row]:
    """`freeze`, `enhanced` and `maximum` over a range of at most a year, for everybody."""
    values = {"earliest": earliest, "latest": latest}
    return await (await cx.execute(Q.list_guard_spans, values)).fetchall()


async def list_overrides(cx: Connection, before: datetime | None, limit: int) -> list[Row]:
    """What operators ordered, the newest first; nothing for others."""
    values = {"before_at": before, "limit": limit, "id": None}
    return await (await cx.execute(Q.list_overrides, values)).fetchall()


async def find_override(cx: Connection, override_id: UUID) -> Row:
    """One order. Raises NotFound, for everybody but operators always."""
    values = {"before_at": None, "limit": 1, "id": override_id}
    row = await (await cx.execute(Q.list_overrides, values)).fetchone()
    if row is None:
        raise NotFound("There is no such override.")
    return row


async def create_override(
    cx: Connection,
    *,
    mode: GuardMode,
    reason: str,
    length: timedelta,
    emergency: Emergency | None,
    rollback_plan: str | None,
) -> UUID:
    """An order from now. Raises Forbidden for anybody but an acting operator, and NotValid for
    more than eight hours, or for lowering the mode without an emergency."""
    values = {
        "mode": mode,
        "reason": reason,
        "length": length,
        "emergency": emergency,
        "rollback_plan": rollback_plan,
    }
    return await _made(cx, Q.create_override, values)


async def end_override(
    cx: Connection, override_id: UUID, reason: str, emergency: Emergency | None
) -> None:
    """Ends an order. Raises as `create_override`, NotFound, and Conflict where it is over."""
    await cx.execute(Q.end_override, {"id": override_id, "reason": reason, "emergency": emergency})


async def read_settings(cx: Connection) -> Row:
    """The settings, moments as the time since Monday."""
    row = await (await cx.execute(Q.read_settings)).fetchone()
    if row is None:
        raise NotFound("The settings are not there.")
    return row


async def change_settings(cx: Connection, changes: Mapping[str, Any]) -> None:
    """Sets what is named. Raises Forbidden for anybody but an acting operator, and NotValid."""
    await cx.execute(Q.change_settings, {"changes": Jsonb(dict(changes))})


class FreezeAnswer(NamedTuple):
    """The verdict, its instant, and the organization whose weddings alone count."""

    verdict: Verdict
    at: datetime
    organization_name: str | None


async def ask_freeze(
    cx: Connection, service: str, at: datetime | None, organization_id: UUID | None
) -> FreezeAnswer:
    """Whether the service may be changed at `at` (None: now). Raises NotFound for an organization
    that the caller cannot see: of no weddings "allow" would be the answer.

    Members are answered by their own weddings, and by all who see the whole platform. A calendar
    that cannot be read answers "blocked".
    """
    asked = {"at": at, "organization_id": organization_id}
    row = await (await cx.execute(Q.find_freeze_calendar, asked)).fetchone()
    assert row is not None  # noqa: S101 -- one row, whatever is broken
    moment: datetime = row.pop("at")
    name: str | None = row.pop("organization_name")
    if organization_id is not None and name is None:
        raise NotFound(f"There is no organization {organization_id} that you can see.")
    calendar = Calendar(
        **row
        | {
            "weekly_freeze": Decision(row["weekly_freeze"]),
            "mode": GuardMode(row["mode"] or GuardMode.MAXIMUM),
        }
    )
    asked["at"] = moment
    try:
        # A savepoint: the answer goes on after an entry that no calculation bears.
        async with cx.transaction():
            found = await (await cx.execute(Q.list_freeze_weddings, asked)).fetchall()
    except psycopg.DataError:
        return FreezeAnswer(unreadable("The wedding calendar"), moment, name)
    approvals = await list_approvals(
        cx, at=moment, organization_id=organization_id, limit=MOST_APPROVALS
    )
    verdict = decide(
        service,
        moment,
        calendar,
        [Near(**wedding) for wedding in found],
        [
            Approval(
                one["id"],
                one["organization_id"],
                one["service"],
                one["reason"],
                Emergency(one["emergency"]) if one["emergency"] else None,
                one["created_by_name"],
                one["ends_at"],
            )
            for one in approvals
        ],
    )
    return FreezeAnswer(verdict, moment, name)


async def list_approvals(
    cx: Connection,
    *,
    limit: int,
    at: datetime | None = None,
    organization_id: UUID | None = None,
    before: datetime | None = None,
) -> list[Row]:
    """The platform's approvals and those of the caller's organizations, the newest first."""
    values = {
        "at": at,
        "organization_id": organization_id,
        "before_at": before,
        "limit": limit,
        "id": None,
    }
    return await (await cx.execute(Q.list_approvals, values)).fetchall()


async def find_approval(cx: Connection, approval_id: UUID) -> Row:
    """One approval that the caller may know of. Raises NotFound."""
    values = {
        "at": None,
        "organization_id": None,
        "before_at": None,
        "limit": 1,
        "id": approval_id,
    }
    row = await (await cx.execute(Q.list_approvals, values)).fetchone()
    if row is None:
        raise NotFound("There is no such approval.")
    return row


async def create_approval(
    cx: Connection,
    *,
    organization_id: UUID | None,
    service: str | None,
    reason: str,
    length: timedelta,
    emergency: Emergency | None,
    rollback_plan: str | None,
) -> UUID:
    """Agrees to changes from now: without an organization an operator, else its owner or admin.

    Raises Forbidden, NotFound, and NotValid for more than eight hours.
    """
    values = {
        "organization_id": organization_id,
        "service": service,
        "reason": reason,
        "length": length,
        "emergency": emergency,
        "rollback_plan": rollback_plan,
    }
    return await _made(cx, Q.create_approval, values)


async def withdraw_approval(cx: Connection, approval_id: UUID) -> None:
    """Takes it back. Raises NotFound, Forbidden, and Conflict where it is over."""
    await cx.execute(Q.withdraw_approval, {"id": approval_id})


async def _made(cx: Connection, statement: str, values: Mapping[str, Any]) -> UUID:
    row = await (await cx.execute(statement, values)).fetchone()
    assert row is not None  # noqa: S101 -- the function returns an id or raises
    made: UUID = row["id"]
    return made
