"""Heartbeats in the database."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.db.nouns import Noun
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.heartbeats.model import Signal, due_after

Q = load_queries(__package__)

MISSED_AT_ONCE: Final = 500

HEARTBEATS: Final = Noun(
    list_sql=Q.list_heartbeats,
    find_sql=Q.find_heartbeat,
    create_sql=Q.create_heartbeat,
    update_sql=Q.update_heartbeat,
    delete_sql=Q.delete_heartbeat,
)


@dataclass(frozen=True, slots=True)
class Missed:
    """A heartbeat that was not heard of in time, and the incident that says so."""

    organization_id: UUID
    heartbeat_id: UUID
    incident_id: UUID
    overdue: timedelta
    """How long after its time it was found out."""


def hash_token(token: str) -> bytes:
    """What is kept of a token: 32 bytes."""
    return hashlib.sha256(token.encode()).digest()


async def set_token(cx: Connection, heartbeat_id: UUID, token: str) -> None:
    """Gives a heartbeat its token; an older one is good no more. Raises NotFound, Forbidden."""
    await cx.execute(Q.set_token, {"id": heartbeat_id, "token_hash": hash_token(token)})


async def hear(cx: Connection, token: str, signal: Signal, words: str) -> str | None:
    """Notes a ping at the database's time; what it leads to, or None for a token that is none's.

    `words` follow the heartbeat's name in the incident of a failure. `cx` is in a transaction, as
    the API's own login: the token is all that the sender has to show.
    """
    rows = await cx.execute(Q.take_heartbeat, {"token_hash": hash_token(token)})
    found = await rows.fetchone()
    if found is None:
        return None
    due_at = due_after(
        found["received_at"],
        period=found["period"],
        cron=found["cron"],
        time_zone=found["time_zone"],
    )
    rows = await cx.execute(
        Q.note_heartbeat,
        {
            "organization_id": found["organization_id"],
            "id": found["id"],
            "signal": signal.value,
            "words": words,
            "due_at": due_at,
            "received_at": found["received_at"],
        },
    )
    noted = await rows.fetchone()
    assert noted is not None  # noqa: S101 a function gives one row
    return str(noted["state"])


async def miss_heartbeats(
    cx: Connection, at: datetime, *, limit: int = MISSED_AT_ONCE
) -> list[Missed]:
    """Opens an incident for each heartbeat whose grace has run out at `at`."""
    rows = await cx.execute(Q.miss_heartbeats, {"at": at, "limit": limit})
    return [Missed(**row) for row in await rows.fetchall()]
