"""Takes write batches in and puts packed rows in their place."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncCursor, IsolationLevel
from psycopg.rows import dict_row

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.blocks.decoding import Row, decode_rows
from wedsync_apm.metrics.blocks.model import Columns, concatenate
from wedsync_apm.metrics.blocks.wire import array_parameter, bits_parameter, speak_numpy
from wedsync_apm.metrics.compaction.model import (
    Header,
    NewRow,
    choose_rows,
    find_superseded,
    make_rows,
    may_supersede,
)

Q = load_queries(__package__)

READER: Final = "compact"
"""The cursor by which new flushes are noted."""
MOST_SAMPLES: Final = 500_000
"""New ones that one run takes in; as many old ones may join them (32 bytes each, a few times)."""

_INT2: Final = 1005
_INT4: Final = 1007
_INT8: Final = 1016
_FLOAT8: Final = 1022


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a run did: write batches taken in, their samples, rows made and rows made again."""

    organization_id: UUID
    day: date
    batches: int = 0
    samples: int = 0
    made: int = 0
    remade: int = 0


async def settle_blocks(cx: Connection, older_than: timedelta) -> int:
    """The highest block id that may be compacted, of those that are `older_than` so much.

    In a transaction of its own, of which it must be the first statement that writes.
    """
    async with cx.transaction():
        row = await (await cx.execute(Q.settle_blocks, {"older_than": older_than})).fetchone()
    assert row is not None  # noqa: S101 -- a function returns a value
    return int(row["settled_id"])


async def note_work(cx: Connection) -> int:
    """Notes what came since the last look; returns for how many days of organizations."""
    async with cx.transaction():
        row = await (await cx.execute(Q.note_work, {"name": READER})).fetchone()
        assert row is not None  # noqa: S101 -- a select without from
        if not row["is_continued"]:
            await cx.execute(Q.note_everything)
    return int(row["noted"])


async def compact_next(
    cx: Connection,
    settled_id: int,
    *,
    noted_before: datetime,
    blocks: int,
    stuck: Sequence[Compacted] = (),
    most_samples: int = MOST_SAMPLES,
) -> Compacted | None:
    """Compacts the day that has waited longest, in a transaction of its own; None without one.

    A day is due when it was noted before a moment or has so many write batches, but not if it is
    among the `stuck`. Raises psycopg's SerializationFailure when somebody deleted what was being
    taken in: nothing has changed then.
    """
    assert cx.info.transaction_status == psycopg.pq.TransactionStatus.IDLE  # noqa: S101
    # One snapshot for all statements, and a failure where somebody deletes at the same time.
    await cx.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    try:
        async with cx.transaction():
            due = {
                "noted_before": noted_before,
                "blocks": blocks,
                "stuck_organizations": [one.organization_id for one in stuck],
                "stuck_days": [one.day for one in stuck],
            }
            work = await (await cx.execute(Q.claim_work, due)).fetchone()
            if work is None:
                return None
            async with cx.cursor(binary=True, row_factory=dict_row) as cursor:
                speak_numpy(cursor)
                day = _Day(cursor, work["organization_id"], work["day"])
                return await day.compact(settled_id, most_samples)
    finally:
        if not cx.closed:
            await cx.set_isolation_level(None)


class _Day:
    """An organization's day, inside one transaction."""

    def __init__(self, cursor: AsyncCursor[dict[str, Any]], organization_id: UUID, day: date):
        self._cursor = cursor
        start = datetime.combine(day, time(), UTC)
        self._scope: dict[str, Any] = {
            "organization_id": organization_id,
            "from": start,
            "to": start + timedelta(days=1),
        }
        self._day = day
        self._end_ms = int(self._scope["to"].timestamp() * 1000)

    async def compact(self, settled_id: int, most_samples: int) -> Compacted:
        batches = await self._rows(Q.list_batches, settled_id=settled_id, most_samples=most_samples)
        done = Compacted(self._scope["organization_id"], self._day)
        if batches:
            places = [batch.pop("place") for batch in batches]
            new = decode_rows([Row(**batch) for batch in batches])
            block_id = int(new.order.max())
            await self._cursor.execute(Q.announce_nothing)
            made, remade = await self._replace(new, block_id, most_samples)
            await self._delete(0, places)
            done = replace(done, batches=len(batches), samples=len(new), made=made, remade=remade)
        await self._cursor.execute(Q.keep_work, {**self._scope, "day": self._day})
        return done

    async def _replace(self, new: Columns, block_id: int, most_samples: int) -> tuple[int, int]:
        headers = [Header(**row) for row in await self._rows(Q.list_headers)]
        taken, others = choose_rows(headers, most_samples, self._end_ms)
        old = await self._samples(taken)
        # in a thread: somebody may be waiting to be called
        rows = await asyncio.to_thread(lambda: list(make_rows(concatenate([new, old]))))
        gone = [header.place for header in taken]
        remade = 0
        for header in others:
            if not may_supersede(new, header):
                continue
            full = await self._samples([header])
            superseded = find_superseded(full, new)
            if superseded.any():
                await self._insert(list(make_rows(full.take(~superseded))), block_id)
                gone.append(header.place)
                remade += 1
        await self._insert(rows, block_id)
        await self._delete(1, gone)
        return len(rows), remade

    async def _samples(self, headers: Sequence[Header]) -> Columns:
        if not headers:
            return Columns.empty()
        places = [header.place for header in headers]
        found = await self._rows(Q.list_compacted, places=places)
        return decode_rows([Row(**row) for row in found])

    async def _rows(self, query: str, **more: Any) -> list[dict[str, Any]]:
        await self._cursor.execute(query, {**self._scope, **more})
        return await self._cursor.fetchall()

    async def _insert(self, rows: Sequence[NewRow], block_id: int) -> None:
        for row in rows:
            await self._cursor.execute(
                Q.insert_packed, {**self._scope, **_parameters(row), "block_id": block_id}
            )

    async def _delete(self, level: int, places: Sequence[str]) -> None:
        await self._cursor.execute(
            Q.delete_rows, {**self._scope, "level": level, "places": list(places)}
        )
        # A snapshot's rows are deleted all or there is a failure; this is for what nobody foresaw.
        assert self._cursor.rowcount == len(places)  # noqa: S101


def _parameters(row: NewRow) -> dict[str, Any]:
    packed, columns = row.packed, row.packed.columns
    plain = packed.plain
    return {
        "first_ms": packed.first_ms,
        "last_ms": packed.last_ms,
        "series_ids": array_parameter(packed.series_ids, _INT4),
        "metric_values": array_parameter(plain, _FLOAT8) if len(plain) else None,
        "sample_count": packed.sample_count,
        "series_clocks": array_parameter(packed.clocks + 1, _INT4),
        "series_digits": array_parameter(packed.digits, _INT2),
        "clock_counts": array_parameter(columns.counts[len(packed.series_ids) :], _INT4),
        "packed_bases": array_parameter(columns.bases, _INT8),
        "packed_rises": array_parameter(columns.rises, _INT8),
        "packed_units": array_parameter(columns.units, _INT4),
        "packed_widths": array_parameter(columns.widths, _INT2),
        "packed_starts": array_parameter(columns.starts, _INT4),
        "packed_bits": bits_parameter(packed.bits, packed.bit_count),
        "wedding_context": row.context.wedding_context,
        "source": row.context.source,
    }
