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
_WIDTHS: Final = {
    "minute": timedelta(minutes=1),
    "five_minutes": timedelta(minutes=5),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class Owned:
    """An organization and its terms."""

    organization_id: UUID
    terms: Terms


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


async def list_terms(
    cx: Connection, default: Terms, most: int, after: UUID, limit: int
) -> list[Owned]:
    """The next organizations behind `after`, with their terms."""
    values = {**asdict(default), "most": most or NO_BOUND, "after": after, "limit": limit}
    async with cx.transaction():
        rows = await (await cx.execute(Q.list_terms, values)).fetchall()
    return [Owned(row.pop("organization_id"), Terms(**row)) for row in rows]


async def delete_expired(cx: Connection, owned: Owned, at: datetime, longest_raw: int) -> int:
    """Deletes an organization's rows past their terms; returns how many.

    Samples only where its term is shorter than the longest of all, which partitions see to.
    """
    terms, organization = owned.terms, {"organization_id": owned.organization_id}
    deleted = 0
    if terms.raw < longest_raw:
        deleted += await _drain(cx, Q.delete_blocks, organization, cutoff(at, terms.raw))
    days = asdict(terms)
    for name, width in _WIDTHS.items():
        values = {**organization, "width": width}
        deleted += await _drain(cx, Q.delete_rollups, values, cutoff(at, days[name]))
    longest = max(days.values())
    async with cx.transaction():
        gone = await cx.execute(Q.delete_series, {**organization, "before": cutoff(at, longest)})
    return deleted + gone.rowcount


async def _drain(cx: Connection, query: str, values: Mapping[str, Any], before: datetime) -> int:
    total = 0
    while True:
        async with cx.transaction():
            done = await cx.execute(query, {**values, "before": before, "limit": ROWS_AT_ONCE})
        total += done.rowcount
        if done.rowcount < ROWS_AT_ONCE:
            return total


async def _one(cx: Connection, query: str, values: Mapping[str, Any]) -> dict[str, Any]:
    async with cx.transaction():
        row = await (await cx.execute(query, values)).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate or a function
    return row
