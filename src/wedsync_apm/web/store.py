"""What the pages ask that belongs to no room: the frame, the engine's pulse, the one-tap link."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

LOCKS: Final = {
    "rule": Q.lock_rule,
    "check": Q.lock_health_check,
    "heartbeat": Q.lock_heartbeat,
    "work": Q.lock_planned_work,
    "wedding": Q.lock_wedding,
    "rota": Q.lock_rota,
    "ladder": Q.lock_ladder,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """The moment of a page, by the database's clock, and what its frame shows."""

    at: datetime
    operator_role: str | None
    live_incidents: int
    is_wedding: bool
    is_watched: bool


async def read_frame(cx: Connection, organization_id: UUID) -> Frame:
    """For the caller of this transaction at one of his organizations."""
    row = await (await cx.execute(Q.read_frame, {"organization_id": organization_id})).fetchone()
    assert row is not None  # noqa: S101 a select without a table always gives a row
    return Frame(**row)


async def find_engine_silence(cx: Connection) -> float | None:
    """Seconds since the engine last got through a job; None if it never did."""
    row = await (await cx.execute(Q.find_engine_silence)).fetchone()
    return row["seconds"] if row else None


async def look_up_acknowledge_link(cx: Connection, token_hash: bytes) -> dict[str, Any] | None:
    """What a one-tap link is about; None for no link of ours."""
    values = {"token_hash": token_hash}
    return await (await cx.execute(Q.look_up_acknowledge_link, values)).fetchone()


async def use_acknowledge_link(cx: Connection, token_hash: bytes) -> str:
    """Takes the incident in hand. `acknowledged`, or why not: used, expired, unknown, a status."""
    row = await (await cx.execute(Q.use_acknowledge_link, {"token_hash": token_hash})).fetchone()
    return str(row["outcome"]) if row else "unknown"


async def lock(cx: Connection, noun: str, row_id: UUID) -> None:
    """Keeps one row of LOCKS still until the transaction ends; one that the caller may not change,
    or that is not there, is left alone."""
    await cx.execute(LOCKS[noun], {"id": row_id})
