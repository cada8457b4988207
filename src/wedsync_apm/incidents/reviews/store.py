"""Looking back in the database, as the person whom `tenant_tx` lets in.

What a person may not see raises NotFound; what he may see but not do raises Forbidden.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import NotFound
from wedsync_apm.incidents.model import Incident, read_vendor_text
from wedsync_apm.incidents.reviews.model import ActionItem, Postmortem, Spell, read_actions
from wedsync_apm.types import Priority, Severity

Q = load_queries(__package__)


async def list_spells(
    cx: Connection,
    *,
    at: datetime,
    start: datetime,
    end: datetime,
    organization_id: UUID | None = None,
    incident_id: UUID | None = None,
    overlapping: bool = False,
) -> list[Spell]:
    """The stretches of trouble that began in [start, end), by the timeline alone; `overlapping`
    adds those that began before and lasted into it. At most 10,000."""
    rows = await cx.execute(
        Q.list_spells,
        {
            "at": at,
            "from": start,
            "to": end,
            "organization_id": organization_id,
            "incident_id": incident_id,
            "overlapping": overlapping,
        },
    )
    return [
        Spell(
            **{
                **row,
                "severity": Severity(row["severity"]),
                "priority": Priority(row["priority"]),
                "vendor_text": read_vendor_text(row["vendor_text"]),
                "is_merged": bool(row["is_merged"]),
            }
        )
        for row in await rows.fetchall()
    ]


async def find_postmortem(cx: Connection, incident: Incident) -> Postmortem | None:
    """What was written about the incident; None if nobody has."""
    row = await (await cx.execute(Q.find_postmortem, _key(incident))).fetchone()
    if row is None:
        return None
    return _postmortem(row, await list_actions(cx, incident_id=incident.id))


async def store_postmortem(
    cx: Connection, incident: Incident, written: Postmortem, *, is_approved: bool
) -> Postmortem:
    """Writes it down, in place of what stood there. Raises Forbidden for a viewer, and for whoever
    approves without being an owner or admin."""
    is_first = await find_postmortem(cx, incident) is None
    await cx.execute(
        Q.store_postmortem,
        {
            **_key(incident),
            "summary": written.summary,
            "root_cause": written.root_cause,
            "contributing_factors": list(written.contributing_factors),
            "went_well": list(written.went_well),
            "went_wrong": list(written.went_wrong),
            "preventive_measures": list(written.preventive_measures),
            "customers_affected": written.customers_affected,
            "data_loss": written.data_loss,
            "financial_impact_pounds": written.financial_impact_pounds,
            "is_false_positive": written.is_false_positive,
            "is_approved": is_approved,
        },
    )
    await cx.execute(
        Q.store_actions,
        {
            **_key(incident),
            "actions": Jsonb(
                [
                    {
                        "id": str(action.id) if action.id else None,
                        "title": action.title,
                        "owner": action.owner,
                        "due_on": action.due_on.isoformat(),
                        "is_done": action.is_done,
                    }
                    for action in written.actions
                ]
            ),
        },
    )
    if is_first:
        await cx.execute(Q.note_postmortem, {**_key(incident), "message": "Wrote the post-mortem"})
    stored = await find_postmortem(cx, incident)
    assert stored is not None  # noqa: S101 -- it was written in this transaction
    return stored


async def list_actions(
    cx: Connection,
    *,
    organization_id: UUID | None = None,
    incident_id: UUID | None = None,
    only_open: bool = False,
) -> tuple[ActionItem, ...]:
    """What was decided, the most overdue first; at most 1,000."""
    rows = await cx.execute(
        Q.list_actions,
        {
            "organization_id": organization_id,
            "incident_id": incident_id,
            "only_open": only_open,
        },
    )
    return read_actions(await rows.fetchall())


async def finish_action(cx: Connection, action_id: UUID, *, is_done: bool) -> UUID:
    """Marks an action as done, or not done after all; its incident. Raises NotFound."""
    rows = await cx.execute(Q.finish_action, {"action_id": action_id, "is_done": is_done})
    row = await rows.fetchone()
    if row is None:
        raise NotFound("There is no such action that you may change.")
    incident_id: UUID = row["incident_id"]
    return incident_id


def _postmortem(row: Mapping[str, Any], actions: Sequence[ActionItem]) -> Postmortem:
    pounds = row["financial_impact_pounds"]
    return Postmortem(
        summary=row["summary"],
        root_cause=row["root_cause"],
        contributing_factors=tuple(row["contributing_factors"]),
        went_well=tuple(row["went_well"]),
        went_wrong=tuple(row["went_wrong"]),
        preventive_measures=tuple(row["preventive_measures"]),
        customers_affected=row["customers_affected"],
        data_loss=row["data_loss"],
        financial_impact_pounds=None if pounds is None else float(pounds),
        is_false_positive=row["is_false_positive"],
        approved_by_name=row["approved_by_name"],
        approved_at=row["approved_at"],
        actions=tuple(actions),
        is_draft=False,
        updated_at=row["updated_at"],
    )


def _key(incident: Incident) -> dict[str, UUID]:
    return {"organization_id": incident.organization_id, "incident_id": incident.id}
