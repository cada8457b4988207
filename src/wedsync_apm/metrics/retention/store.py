"""Lets go what is past its term, in small transactions of their own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.retention.model import Terms, cutoff

Q = load_queries(__package__)

NO_BOUND: Final = 36_500
"""In place of the platform's longest term where it has none: what the table allows."""
ROWS_AT_ONCE: Final = 1_000
"""Of a transaction."""


@dataclass(frozen=True, slots=True)
class Expired:
    """An organization that has something older than `before`: rollups of that width, or samples
    where it is None."""

    organization_id: UUID
    width: timedelta | None
    before: datetime


async def find_longest_terms(cx: Connection, default: Terms, most: int) -> tuple[int, int]:
    """The longest term of anybody in days: for samples, and for rollups."""
    row = await _one(
        cx,
        Q.find_longest_terms,
        {"raw": default.raw, "rollups": default.longest_rollup, "most": most or NO_BOUND},
    )
    return int(row["raw"]), int(row["rollups"])


async def drop_partitions(cx: Connection, at: datetime, raw: int, rollups: int) -> int:
    """Drops what is past everybody's term; returns how many partitions, 0 while somebody reads."""
    bounds = {"blocks_before": cutoff(at, raw), "rollups_before": cutoff(at, rollups)}
    return int((await _one(cx, Q.drop_partitions, bounds))["dropped"])


async def shrink_partitions(cx: Connection) -> int:
    """Gives back what emptied days still take; returns how many of them."""
    return int((await _one(cx, Q.shrink_partitions, {}))["shrunk"])


async def list_expired(
    cx: Connection, default: Terms, most: int, at: datetime, *, longest_raw: int, limit: int
) -> list[Expired]:
    """Who has anything past a term of his, so many at most.

    Samples only where the term is shorter than the longest of all, which partitions see to.
    """
    values = {**_terms(default, most), "at": at, "longest_raw": longest_raw, "limit": limit}
    async with cx.transaction():
        rows = await (await cx.execute(Q.list_expired, values)).fetchall()
    return [Expired(**row) for row in rows]


async def delete_expired(cx: Connection, expired: Expired) -> int:
    """Deletes what was found; returns how many rows."""
    values = {"organization_id": expired.organization_id, "before": expired.before}
    if expired.width is None:
        return await _drain(cx, Q.delete_blocks, values)
    return await _drain(cx, Q.delete_rollups, {**values, "width": expired.width})


async def delete_series(cx: Connection, default: Terms, most: int, at: datetime) -> int:
    """Deletes the series that nothing is kept of any more; returns how many. Reads all series."""
    async with cx.transaction():
        return (await cx.execute(Q.delete_series, {**_terms(default, most), "at": at})).rowcount


def _terms(default: Terms, most: int) -> dict[str, int]:
    return {**asdict(default), "most": most or NO_BOUND}


async def _drain(cx: Connection, query: str, values: Mapping[str, Any]) -> int:
    total = 0
    while True:
        async with cx.transaction():
            done = await cx.execute(query, {**values, "limit": ROWS_AT_ONCE})
        total += done.rowcount
        if done.rowcount < ROWS_AT_ONCE:
            return total


async def _one(cx: Connection, query: str, values: Mapping[str, Any]) -> dict[str, Any]:
    async with cx.transaction():
        row = await (await cx.execute(query, values)).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate or a function
    return row
