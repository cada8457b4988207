"""Ladders in the database, as the engine climbs them."""

from datetime import datetime

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.escalation.model import LOOK_AGAIN, Climb

Q = load_queries(__package__)

CLAIMED_AT_ONCE = 200


async def climb_due_steps(
    cx: Connection, at: datetime, *, limit: int = CLAIMED_AT_ONCE
) -> list[Climb]:
    """Climbs every ladder whose next rung is due at `at` and that nothing holds back, by one rung
    and in one statement.

    Wedding speed is asked for at every rung, and the timer that is set knows of the weddings that
    begin before it runs out.
    """
    await cx.execute(Q.set_acting, {"at": at, "note": ""})
    rows = await cx.execute(Q.climb_due_steps, {"at": at, "limit": limit, "look_again": LOOK_AGAIN})
    return [Climb(**row) for row in await rows.fetchall()]


async def resolve_answered_ladders(cx: Connection, at: datetime) -> int:
    """Ends the platform's incidents about calls that somebody has answered; returns how many."""
    await cx.execute(Q.set_acting, {"at": at, "note": "it waits for nobody any more"})
    return len(await (await cx.execute(Q.resolve_answered_ladders)).fetchall())
