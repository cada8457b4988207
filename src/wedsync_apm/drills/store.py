"""Drills in the database. Times of the engine come in as `at`; people's are the database's own."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.drills.model import IN_TIME, LAST, Person, people_of
from wedsync_apm.errors import Forbidden, NotFound

Q = load_queries(__package__)

AT_ONCE: Final = 100
LONGEST_TOKEN: Final = 200


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill with its people; none for a viewer."""

    row: Row
    people: tuple[Person, ...]


async def list_drills(
    cx: Connection,
    organization_ids: Sequence[UUID],
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[Row]:
    """The organizations' drills, newest first."""
    values = {
        "organization_ids": list(organization_ids),
        "limit": limit,
        "before_at": before[0] if before else None,
        "before_id": before[1] if before else None,
    }
    return await (await cx.execute(Q.list_drills, values)).fetchall()


async def find_drill(cx: Connection, drill_id: UUID) -> Drill:
    """One drill. Raises NotFound."""
    row = await (await cx.execute(Q.find_drill, {"id": drill_id})).fetchone()
    if row is None:
        raise NotFound("There is no such drill.")
    (drill,) = await with_people(cx, row["organization_id"], [row])
    return drill


async def with_people(cx: Connection, organization_id: UUID, rows: Sequence[Row]) -> list[Drill]:
    """Drills of one organization with their people."""
    values = {"organization_id": organization_id, "drill_ids": [row["id"] for row in rows]}
    calls: dict[UUID, list[Row]] = {}
    for call in await (await cx.execute(Q.list_calls, values)).fetchall():
        calls.setdefault(call["drill_id"], []).append(call)
    return [
        Drill(
            row,
            people_of(
                row["started_at"], calls.get(row["id"], ()), is_over=row["ended_at"] is not None
            ),
        )
        for row in rows
    ]


def answers_of(drills: Sequence[Drill]) -> list[float | None]:
    """Of each person who was called in the last drills that have ended the seconds until he
    answered; None where he did not."""
    ended = [drill for drill in drills if drill.row["ended_at"] is not None][:LAST]
    return [
        one.answered_seconds for drill in ended for one in drill.people if one.result != "quiet"
    ]


async def start_drill(
    cx: Connection, organization_id: UUID, *, reason: str = "", wedding_id: UUID | None = None
) -> UUID:
    """Calls everybody now. Raises NotFound, Forbidden, Conflict while a wedding or a drill is under
    way or where there is nobody to call, and RateLimited within an hour of the one before."""
    values = {"organization_id": organization_id, "reason": reason, "wedding_id": wedding_id}
    return await _made(cx, Q.start_drill, values)


async def ask_drill(cx: Connection, organization_id: UUID, *, reason: str, name: str) -> UUID:
    """The same as the engine, for whoever sits at the machine."""
    values = {"organization_id": organization_id, "reason": reason, "name": name}
    return await _made(cx, Q.ask_drill, values)


async def _made(cx: Connection, statement: Any, values: dict[str, Any]) -> UUID:
    row = await (await cx.execute(statement, values)).fetchone()
    assert row is not None  # noqa: S101 a function gives one row
    made: UUID = row["id"]
    return made


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a drill is at `at`."""

    at: datetime
    started_at: datetime
    ends_at: datetime
    is_over: bool
    people: tuple[Person, ...]


async def look(cx: Connection, organization_id: UUID, drill_id: UUID) -> Progress:
    """How far it is, as the engine. Raises NotFound."""
    values = {"organization_id": organization_id, "id": drill_id}
    rows = await (await cx.execute(Q.list_calls_of, values)).fetchall()
    if not rows:
        raise NotFound("There is no such drill.")
    one = rows[0]
    is_over = one["ended_at"] is not None or one["ends_at"] <= one["at"]
    return Progress(
        one["at"],
        one["started_at"],
        one["ends_at"],
        is_over,
        people_of(one["started_at"], rows, is_over=is_over),
    )


async def find_schedule(cx: Connection, organization_id: UUID) -> Row | None:
    """When drills are held by themselves; None for never."""
    values = {"organization_id": organization_id}
    return await (await cx.execute(Q.find_schedule, values)).fetchone()


async def set_schedule(
    cx: Connection,
    organization_id: UUID,
    *,
    every: str,
    weekday: int,
    local_time: str,
    time_zone: str,
) -> Row:
    """Sets when. Raises Forbidden for who is no owner or admin, NotValid for what is no zone."""
    values = {
        "organization_id": organization_id,
        "every": every,
        "weekday": weekday,
        "local_time": local_time,
        "time_zone": time_zone,
    }
    row = await (await cx.execute(Q.set_schedule, values)).fetchone()
    if row is None:
        raise Forbidden("Only an owner or admin may set when drills are held.")
    return row


async def clear_schedule(cx: Connection, organization_id: UUID) -> bool:
    """Holds none by themselves any more; False where that was so."""
    values = {"organization_id": organization_id}
    return await (await cx.execute(Q.clear_schedule, values)).fetchone() is not None


async def start_due(cx: Connection, at: datetime) -> tuple[int, int]:
    """Begins what is due by schedule; how many it began, and how many something holds back."""
    row = await (await cx.execute(Q.start_due_drills, {"at": at, "most": AT_ONCE})).fetchone()
    return (row["started"], row["held"]) if row else (0, 0)


async def end_drills(cx: Connection, at: datetime, in_time: timedelta = IN_TIME) -> int:
    """Ends those whose time is over or to which everybody has answered; returns how many."""
    row = await (await cx.execute(Q.end_drills, {"at": at, "in_time": in_time})).fetchone()
    return int(row["ended"]) if row else 0


def hash_token(token: str) -> bytes:
    """What is kept of a link's token."""
    return hashlib.sha256(token.encode()).digest()


async def store_link(cx: Connection, organization_id: UUID, delivery_id: UUID, token: str) -> None:
    """Keeps the hash of the link that goes out with a message."""
    values = {
        "token_hash": hash_token(token),
        "organization_id": organization_id,
        "delivery_id": delivery_id,
    }
    await cx.execute(Q.store_link, values)


async def look_up_link(cx: Connection, token: str) -> Row | None:
    """What a link is about; None for one that we did not send."""
    if len(token) > LONGEST_TOKEN:
        return None
    return await (await cx.execute(Q.look_up_link, {"token_hash": hash_token(token)})).fetchone()


async def use_link(cx: Connection, token: str) -> str:
    """Answers. `answered`, or why not: used, over, unknown."""
    if len(token) > LONGEST_TOKEN:
        return "unknown"
    row = await (await cx.execute(Q.use_link, {"token_hash": hash_token(token)})).fetchone()
    return str(row["outcome"]) if row else "unknown"


async def answer_drill(cx: Connection, delivery_id: UUID, how: str) -> str:
    """The same on the channel of the message itself."""
    values = {"delivery_id": delivery_id, "how": how}
    row = await (await cx.execute(Q.answer_drill, values)).fetchone()
    return str(row["outcome"]) if row else "unknown"


async def answer_drill_of_number(cx: Connection, phone: str) -> str:
    """The same for the latest drill's message to a number."""
    row = await (await cx.execute(Q.answer_drill_of_number, {"phone": phone})).fetchone()
    return str(row["outcome"]) if row else "unknown"


async def is_drill_waiting(cx: Connection, phone: str) -> bool:
    """Whether somebody at a number is called by a drill and has not answered."""
    row = await (await cx.execute(Q.is_drill_waiting, {"phone": phone})).fetchone()
    return bool(row and row["is_waiting"])
