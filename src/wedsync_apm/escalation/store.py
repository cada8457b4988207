"""Ladders in the database: kept by people inside `tenant_tx`, climbed by the engine."""

from datetime import datetime, timedelta
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import NotValid
from wedsync_apm.escalation.model import (
    LAST_WAIT,
    Climb,
    Policy,
    PolicyDraft,
    Step,
    find_faults,
)
from wedsync_apm.types import EscalationLevel

Q = load_queries(__package__)

CLAIMED_AT_ONCE = 200


async def climb_due_steps(
    cx: Connection, at: datetime, *, limit: int = CLAIMED_AT_ONCE, last_wait: timedelta = LAST_WAIT
) -> list[Climb]:
    """Climbs every ladder whose next rung is due at `at`, in one statement.

    Wedding speed is asked for at every rung: a wedding that begins meanwhile quickens the rest.
    """
    rows = await cx.execute(Q.climb_due_steps, {"at": at, "limit": limit, "last_wait": last_wait})
    return [Climb(**row) for row in await rows.fetchall()]


async def resolve_answered_ladders(cx: Connection, at: datetime) -> int:
    """Ends the platform's incidents about calls that somebody has answered; returns how many."""
    await cx.execute(Q.set_acting, {"at": at})
    return len(await (await cx.execute(Q.resolve_answered_ladders)).fetchall())


async def list_policies(cx: Connection, organization_id: UUID) -> list[Policy]:
    """The organization's ladders, the default first."""
    rows = await cx.execute(Q.list_policies, {"organization_id": organization_id})
    return [
        Policy(
            id=row["id"],
            organization_id=row["organization_id"],
            name=row["name"],
            is_default=row["is_default"],
            repeat_count=row["repeat_count"],
            steps=tuple(
                Step(
                    position=step["position"],
                    level=EscalationLevel(step["level"]),
                    delay=timedelta(seconds=step["delay_seconds"]),
                    wedding_delay=timedelta(seconds=step["wedding_delay_seconds"]),
                    contact_method_ids=tuple(UUID(one) for one in step["contact_method_ids"]),
                )
                for step in row["steps"]
            ),
        )
        for row in await rows.fetchall()
    ]


async def create_policy(cx: Connection, organization_id: UUID, draft: PolicyDraft) -> UUID:
    """A new ladder with its rungs. Raises NotValid, Conflict for a name or a second default."""
    if faults := find_faults(draft):
        raise NotValid("The ladder cannot be kept like this.", faults)
    rows = await cx.execute(
        Q.create_policy,
        {
            "organization_id": organization_id,
            "name": draft.name.strip(),
            "is_default": draft.is_default,
            "repeat_count": draft.repeat_count,
        },
    )
    row = await rows.fetchone()
    assert row is not None  # noqa: S101 -- an INSERT … RETURNING returns its row or raises
    policy_id: UUID = row["id"]
    for position, step in enumerate(draft.steps, start=1):
        await cx.execute(
            Q.create_step,
            {
                "organization_id": organization_id,
                "policy_id": policy_id,
                "position": position,
                "level": step.level.value,
                "delay": step.delay,
                "wedding_delay": step.wedding_delay,
                "contact_method_ids": list(step.contact_method_ids),
            },
        )
    return policy_id
