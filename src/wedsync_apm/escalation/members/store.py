"""The ladders, as the caller may see and change them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.nouns import Noun, Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.types import Severity

ANY_TIME: Final[Mapping[str, Any]] = {
    "level": "none",
    "wedding_delay_seconds": None,
    "contact_method_ids": [],
    "schedule_ids": [],
    "user_ids": [],
    "weddings": "any",
    "severity_min": None,
}
"""What a step says where nobody says anything."""

Q = load_queries(__package__)


class _Policies(Noun):
    """A ladder and its steps are one thing to whoever writes it."""

    async def create_row(
        self, cx: Connection, *, organization_id: UUID, created_by: UUID, values: Mapping[str, Any]
    ) -> Row:
        row = await Noun.create_row(
            self, cx, organization_id=organization_id, created_by=created_by, values=values
        )
        await _replace_steps(cx, organization_id, row["id"], values["steps"])
        return await self._whole(cx, row["id"])

    async def update_row(
        self, cx: Connection, row_id: UUID, values: Mapping[str, Any]
    ) -> Row | None:
        row = await Noun.update_row(self, cx, row_id, values)
        if row is None:
            return None
        if "steps" in values:
            await _replace_steps(cx, row["organization_id"], row_id, values["steps"])
        return await self._whole(cx, row_id)

    async def _whole(self, cx: Connection, policy_id: UUID) -> Row:
        row = await self.find_row(cx, policy_id)
        assert row is not None  # noqa: S101 written in this transaction, by one who can see it
        return row


ESCALATION_POLICIES: Final = _Policies(
    list_sql=Q.list_escalation_policies,
    find_sql=Q.find_escalation_policy,
    create_sql=Q.create_escalation_policy,
    update_sql=Q.update_escalation_policy,
    delete_sql=Q.delete_escalation_policy,
)


async def _replace_steps(
    cx: Connection, organization_id: UUID, policy_id: UUID, steps: Sequence[Mapping[str, Any]]
) -> None:
    values = {"organization_id": organization_id, "policy_id": policy_id}
    await cx.execute(Q.clear_escalation_steps, values)
    for position, step in enumerate(steps, start=1):
        hours = step.get("hours")
        named = {**step, "hours": Jsonb(hours) if hours else None}
        await cx.execute(
            Q.add_escalation_step, {**ANY_TIME, **values, **named, "position": position}
        )


async def preview_ladder(
    cx: Connection,
    organization_id: UUID,
    *,
    policy_id: UUID | None,
    severity: Severity,
    at: datetime,
) -> list[Row]:
    """Whom a ladder would call were something wrong at `at`, one row for each receiver of each
    step; without a `policy_id` the one that would be chosen. No rows for a business of others."""
    values = {
        "organization_id": organization_id,
        "policy_id": policy_id,
        "severity": severity.value,
        "at": at,
    }
    return await (await cx.execute(Q.preview_ladder, values)).fetchall()


async def preview_incident(cx: Connection, incident_id: UUID, at: datetime) -> list[Row]:
    """Whom an incident's own climb calls from `at` on; nobody where none is climbed."""
    values = {"incident_id": incident_id, "at": at}
    return await (await cx.execute(Q.preview_incident, values)).fetchall()


async def list_ladder_faults(
    cx: Connection, organization_ids: Sequence[UUID], at: datetime, days: int
) -> list[Row]:
    """What the steps of the ladders in use leave open in each wedding of the next days."""
    values = {"organization_ids": [*organization_ids], "at": at, "days": days}
    return await (await cx.execute(Q.list_ladder_faults, values)).fetchall()
