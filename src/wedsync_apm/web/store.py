"""What the pages ask that belongs to no room: the frame, the engine's pulse, the one-tap link."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Frame:
    """The moment of a page, by the database's clock, and what its frame shows."""

    at: datetime
    operator_role: str | None
    live_incidents: int
    is_wedding: bool


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


@dataclass(frozen=True, slots=True)
class Wedding:
    """A wedding with its parts; `windows` are (phase, begins, ends)."""

    id: UUID
    couple: str
    venue_name: str | None
    wedding_date: date
    time_zone: str | None
    contacts: tuple[Mapping[str, Any], ...]
    windows: tuple[tuple[str, datetime, datetime], ...]


async def list_weddings_near(
    cx: Connection, organization_id: UUID, *, earliest: date, latest: date, limit: int = 200
) -> list[Wedding]:
    """The weddings dated in the range, the earliest first."""
    found = await cx.execute(
        Q.list_weddings_near,
        {
            "organization_id": organization_id,
            "earliest": earliest,
            "latest": latest,
            "limit": limit,
        },
    )
    return [_wedding(row) for row in await found.fetchall()]


def _wedding(row: Mapping[str, Any]) -> Wedding:
    windows = tuple(
        (
            str(one["phase"]),
            datetime.fromisoformat(one["begins"]),
            datetime.fromisoformat(one["ends"]),
        )
        for one in row["windows"]
    )
    return Wedding(**{**row, "windows": windows, "contacts": tuple(row["contacts"])})
