"""Fills rollups: reads what has come, lets the model compute, and writes whole buckets.

Work is done in slices of the organizations, and within one in batches, each of which is a
transaction that holds the slice's lock: several processes share the work, memory is bounded, and
what a crash leaves undone is found again, because the cursor moves when everything is written.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
from psycopg import AsyncServerCursor
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.rows import kwargs_row, tuple_row

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.blocks.decoding import Row, decode_rows
from wedsync_apm.metrics.blocks.wire import speak_numpy
from wedsync_apm.metrics.ranges import WIDTHS
from wedsync_apm.metrics.rollups import wire
from wedsync_apm.metrics.rollups.model import (
    Counted,
    Entries,
    Samples,
    combine,
    concatenate,
    find_shrunk,
    merge,
    prefer,
    summarize,
    widen,
)
from wedsync_apm.metrics.rollups.rows import (
    EPOCH,
    Heads,
    decode_counted,
    decode_entries,
    decode_write_batches,
    without,
)

Q = load_queries(__package__)

SLICES: Final = 8
"""Into so many parts the organizations are divided; the schema says which is whose."""
ORGANIZATIONS: Final = 256
SAMPLES: Final = 100_000
ENTRIES: Final = 20_000
SKETCH_ENTRIES: Final = 200_000
PAGE_BYTES: Final = 2_000_000
"""What is worked on at a time, at most; a minute of one organization is never divided. With more
at a time a sample costs the same, and the process' memory grows with it."""

_ROWS_FIRST: Final = 20
_ROWS_MOST: Final = 4_000
_MINUTE: Final = timedelta(minutes=1)
_LADDER: Final = tuple(WIDTHS.values())
NARROWER: Final = dict(zip(_LADDER[1:], _LADDER, strict=False))


@dataclass(frozen=True, slots=True)
class Batch:
    """The buckets in [start, end) of some organizations, which ascend."""

    organization_ids: tuple[UUID, ...]
    start: datetime
    end: datetime

    def halves(self, width: timedelta) -> tuple["Batch", ...]:
        """Two smaller ones; nothing where it is a single bucket."""
        middle = len(self.organization_ids) // 2
        if middle:
            return (
                Batch(self.organization_ids[:middle], self.start, self.end),
                Batch(self.organization_ids[middle:], self.start, self.end),
            )
        buckets = (self.end - self.start) // width
        if buckets < 2:
            return ()
        at = self.start + buckets // 2 * width
        return (
            Batch(self.organization_ids, self.start, at),
            Batch(self.organization_ids, at, self.end),
        )

    def places(self) -> dict[str, int]:
        """Where each organization stands."""
        return {str(one): place for place, one in enumerate(self.organization_ids)}

    def values(self) -> dict[str, Any]:
        """Itself as parameters."""
        return {"organization_ids": list(self.organization_ids), "from": self.start, "to": self.end}


class TooMuchError(Exception):
    """A batch is larger than what is worked on at a time."""


def cursor_name(width: timedelta, number: int) -> str:
    """The reader of the flushes that fills one width of one slice."""
    return f"rollup {int(width.total_seconds())} {number}"


async def fill_slice(cx: Connection, number: int, width: timedelta) -> int | None:
    """Fills what has come since in a slice, the narrower widths first; gives back how many buckets
    of `width` were written, None where another process has the slice.

    The connection must not be inside a transaction, or all becomes one.
    """
    widths = [one for one in _LADDER if one <= width]
    async with cx.transaction():
        if not await _take_slice(cx, number):
            return None
        # Before all that follows: what is committed from here on comes up again the next time.
        snapshot = (await _rows(cx, Q.read_snapshot, {}))[0]["snapshot"]
        work = {one: await list_batches(cx, number, one) for one in widths}
    written = 0
    for one in widths:
        written = 0
        for batch in work[one]:
            filled = await _fill_in_turn(cx, number, batch, one)
            if filled is None:
                return None
            written += filled
        values = {"name": cursor_name(one, number), "snapshot": snapshot}
        async with cx.transaction():
            await cx.execute(Q.move_cursor, values)
    return written


async def list_batches(cx: Connection, number: int, width: timedelta) -> list[Batch]:
    """What has been touched in a slice, organizations with the same stretch of time together."""
    batches: list[Batch] = []
    together: dict[tuple[datetime, datetime], list[UUID]] = {}
    for row in await _rows(cx, Q.list_touched_buckets, {"width": width, "slice": number}):
        together.setdefault((row["starts"], row["ends"]), []).append(row["organization_id"])
    for (start, end), ids in together.items():
        ids.sort()
        batches += [
            Batch(tuple(ids[first : first + ORGANIZATIONS]), start, end)
            for first in range(0, len(ids), ORGANIZATIONS)
        ]
    return batches


async def _fill_in_turn(cx: Connection, number: int, batch: Batch, width: timedelta) -> int | None:
    try:
        async with cx.transaction():
            if not await _take_slice(cx, number):
                return None
            return await fill(cx, batch, width, is_divisible=bool(batch.halves(width)))
    except TooMuchError:
        written = 0
        for half in batch.halves(width):
            filled = await _fill_in_turn(cx, number, half, width)
            if filled is None:
                return None
            written += filled
        return written


async def fill(
    cx: Connection, batch: Batch, width: timedelta, *, is_divisible: bool = False
) -> int:
    """Writes the buckets of one width; gives back how many. Raises TooMuchError, before anything is
    written, for more than should be worked on at a time and `is_divisible`."""
    if width == _MINUTE:
        return await _fill_minutes(cx, batch, is_divisible=is_divisible)
    return await _fill_wider(cx, batch, width, is_divisible=is_divisible)


async def _fill_minutes(cx: Connection, batch: Batch, *, is_divisible: bool) -> int:
    samples = await _read_samples(cx, batch, is_divisible=is_divisible)
    fresh, counted = await asyncio.to_thread(summarize, samples)
    if not len(fresh):
        return 0
    old = await _read_counted(cx, batch)
    shrunk = find_shrunk(old, counted)
    if len(shrunk):
        # Retention has taken samples that were counted once: their series keep what they have,
        # and a minute of which no sample is left stays as it is.
        kept = (await _read_entries(cx, batch, _MINUTE)).take(shrunk)
        bucket = combine(
            np.concatenate((fresh.organization, kept.organization)),
            np.concatenate((fresh.bucket_ms, kept.bucket_ms)),
        )
        is_written = np.isin(bucket[len(fresh) :], bucket[: len(fresh)])
        fresh = prefer(kept.take(np.flatnonzero(is_written)), fresh)
    return await _write(cx, batch, _MINUTE, fresh)


async def _fill_wider(cx: Connection, batch: Batch, width: timedelta, *, is_divisible: bool) -> int:
    fresh = await _read_merged(cx, batch, width, is_divisible=is_divisible)
    old = await _read_heads(cx, batch, width)
    if fuller := old.fuller_than(Heads.of(fresh)):
        # Retention may have taken narrower ones: all of them anew from the samples, as far as
        # these are there. What then still falls short of what was there does not replace it.
        for place, start in fuller:
            one = Batch((batch.organization_ids[place],), start, start + width)
            for narrower in _LADDER[: _LADDER.index(width)]:
                await fill(cx, one, narrower)
        fresh = await _read_merged(cx, batch, width, is_divisible=False)
        fresh = without(fresh, old.fuller_than(Heads.of(fresh)))
    return await _write(cx, batch, width, fresh)


async def _read_samples(cx: Connection, batch: Batch, *, is_divisible: bool) -> Samples:
    places = batch.places()
    first = (batch.start - EPOCH) // timedelta(milliseconds=1)
    last = (batch.end - EPOCH) // timedelta(milliseconds=1)
    parts: list[Samples] = []
    total = 0

    def keep(samples: Samples) -> None:
        nonlocal total
        inside = (samples.at_ms >= first) & (samples.at_ms < last)
        if not inside.all():
            samples = samples.take(inside)
        parts.append(samples)
        total += len(samples.series)
        if is_divisible and total > SAMPLES:
            raise TooMuchError

    # First the write batches: what compaction takes from them meanwhile is then seen twice, which
    # does no harm, and not missed.
    # `since` comes reckoned, so that partitions are left out before anything is planned for them.
    values = batch.values()
    batches = {**values, "since": batch.start - timedelta(hours=1)}
    async with _stream(cx, Q.list_write_batches, batches) as pages:
        async for rows in pages:
            keep(decode_write_batches(rows, places))
    async with cx.cursor("blocks", binary=True, row_factory=kwargs_row(Row)) as cursor:
        speak_numpy(cursor)
        await cursor.execute(
            Q.list_compacted_blocks, {**values, "since": batch.start - timedelta(days=1)}
        )
        # Each may hold a day of many series, of which a minute is wanted.
        while blocks := await cursor.fetchmany(4):
            columns = decode_rows(blocks)
            place = np.array([places[one.source] for one in columns.contexts], np.int64)
            weddings = np.array([bool(one.wedding_context) for one in columns.contexts], np.bool_)
            keep(
                Samples(
                    place[columns.context],
                    columns.series.astype(np.int64),
                    columns.timestamps_ms,
                    columns.order,
                    columns.values,
                    weddings[columns.context],
                )
            )
    return Samples.join(parts)


async def _read_merged(
    cx: Connection, batch: Batch, width: timedelta, *, is_divisible: bool
) -> Entries:
    """The narrower buckets in a batch, put together, page after page."""
    narrower = NARROWER[width]
    milliseconds = (width // timedelta(milliseconds=1), narrower // timedelta(milliseconds=1))
    merged: list[Entries] = []
    size = 0
    async with _stream(cx, Q.list_parts, {**batch.values(), "width": narrower}) as pages:
        async for rows in pages:
            page = widen(decode_entries(rows, batch.places()), *milliseconds)
            merged.append(page)
            size += len(page.sketches.codes)
            if size > SKETCH_ENTRIES:
                merged = [await asyncio.to_thread(merge, concatenate(merged))]
                size = len(merged[0].sketches.codes)
                if is_divisible and size > SKETCH_ENTRIES // 2:
                    raise TooMuchError
    return await asyncio.to_thread(merge, concatenate(merged))


async def _read_entries(cx: Connection, batch: Batch, width: timedelta) -> Entries:
    async with _stream(cx, Q.list_rollups, {**batch.values(), "width": width}) as pages:
        return concatenate([decode_entries(rows, batch.places()) async for rows in pages])


async def _read_counted(cx: Connection, batch: Batch) -> Counted:
    async with _stream(cx, Q.list_sample_counts, batch.values()) as pages:
        return Counted.join([decode_counted(rows, batch.places()) async for rows in pages])


async def _read_heads(cx: Connection, batch: Batch, width: timedelta) -> Heads:
    async with cx.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(Q.list_heads, {**batch.values(), "width": width})
        return Heads.decode(await cursor.fetchall(), batch.places())


class _RowArray(bytes):
    """An array of `apm_private.rollup_row` as the wire has it."""


class _RowArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


async def _write(cx: Connection, batch: Batch, width: timedelta, entries: Entries) -> int:
    if not len(entries):
        return 0
    rows = await asyncio.to_thread(wire.encode_rows, entries, batch.organization_ids)
    row_type = (await _rows(cx, Q.find_row_type, {}))[0]["oid"]
    at_a_time = max(1, ENTRIES * len(rows) // len(entries))
    async with cx.cursor() as cursor:
        cursor.adapters.register_dumper(_RowArray, _RowArrayDumper)
        for first in range(0, len(rows), at_a_time):
            data = wire.encode_array(rows[first : first + at_a_time], row_type)
            await cursor.execute(Q.write_rollups, {"width": width, "rows": _RowArray(data)})
    return len(rows)


async def _take_slice(cx: Connection, number: int) -> bool:
    return bool((await _rows(cx, Q.take_slice, {"slice": number}))[0]["is_mine"])


async def _rows(cx: Connection, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return await (await cx.execute(query, values)).fetchall()


@asynccontextmanager
async def _stream(
    cx: Connection, query: str, values: Mapping[str, Any]
) -> AsyncIterator[AsyncIterator[list[tuple[Any, ...]]]]:
    """The rows of a query, page by page, arrays as they come."""
    async with cx.cursor("rollups", binary=True, row_factory=tuple_row) as cursor:
        for oid in (wire.INT4S, wire.INT8S, wire.FLOAT8S, wire.BYTEAS):
            cursor.adapters.register_loader(oid, wire.RawLoader)
        await cursor.execute(query, values)
        yield _pages(cursor)


async def _pages(cursor: AsyncServerCursor[Any]) -> AsyncIterator[list[tuple[Any, ...]]]:
    """A few rows first, then about `PAGE_BYTES` at a time: a row may have one series or 20,000."""
    number = _ROWS_FIRST
    while rows := await cursor.fetchmany(number):
        size = sum(len(value) for row in rows for value in row if isinstance(value, bytes))
        number = min(max(len(rows) * PAGE_BYTES // max(size, 1), 1), _ROWS_MOST)
        yield rows
