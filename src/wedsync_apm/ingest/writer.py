"""The group-commit writer: one per process, between all requests and the database.

While one transaction commits, the batches of further requests gather; the next transaction takes
all of them. There is no delay to wait for company: under load the commit itself is the wait, and
without load a request pays for nothing but its own commit. A request is answered after the commit,
so what was acknowledged is on disk.
"""

import asyncio
import os
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
import psycopg

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import DatabaseAway, StorageFull
from wedsync_apm.ingest import model, store
from wedsync_apm.ingest.calendar import CalendarCache
from wedsync_apm.ingest.copy_format import PackedBlocks
from wedsync_apm.ingest.model import Refusal
from wedsync_apm.metrics.model import (
    CALENDAR,
    REFUSED,
    UNKNOWN_ORGANIZATION,
    Ints,
    SampleBatch,
    SeriesDirectory,
    split_blocks,
)
from wedsync_apm.telemetry import Counter, Gauge, Histogram, get_logger

log = get_logger(__name__)

MOST_PENDING_SAMPLES: Final = 2_000_000
"""Samples that may wait for the database (32 bytes each) before senders are told to wait."""
MOST_FLUSH_SAMPLES: Final = 200_000
MOST_SERIES_AT_ONCE: Final = 5_000
"""Series resolved by one statement, which must stay well below the role's statement_timeout."""
FLUSH_TIMEOUT_SECONDS: Final = 12.0
"""More than the role's statement_timeout: a server that lives has ended the statement by then."""
CUT_GRACE_SECONDS: Final = 2.0
"""After a cut connection the driver has failed by then, or is cancelled."""
RESOLVE_AGAIN_SECONDS: Final = 900.0
"""A series' id is asked for again after this long: it, or its organization, may be gone."""
ASK_AGAIN_SECONDS: Final = 10.0
"""A refused series is asked for again after this long: there may be room."""
REFUSALS_EVERY_SECONDS: Final = 1.0
MOST_REFUSALS: Final = 10_000

STORED = Counter("wedsync_apm_ingest_samples_stored_total", "Samples committed")
NOT_FINITE = Counter(
    "wedsync_apm_ingest_samples_not_finite_total",
    "NaN and infinities committed: shown, but left out of rollups",
)
FLUSHES = Counter("wedsync_apm_ingest_flushes_total", "Transactions of the writer", ("outcome",))
FLUSH_SECONDS = Histogram("wedsync_apm_ingest_flush_seconds", "From gathering to commit")
PENDING = Gauge("wedsync_apm_ingest_pending_samples", "Samples that wait for a commit")
REFUSED_SAMPLES = Counter("wedsync_apm_ingest_samples_refused_total", "By reason", ("reason",))


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """What became of a batch: the number committed, and by reason the positions that were not."""

    stored: int
    refused: Mapping[str, Ints]


@dataclass(slots=True, eq=False)
class _Job:
    batch: SampleBatch
    done: asyncio.Future[Written]


class Writer:
    """Use `open_writer`, or `run` it as a task of your own."""

    def __init__(
        self,
        conninfo: str,
        *,
        series_limit: int = 20_000,
        most_pending_samples: int = MOST_PENDING_SAMPLES,
    ) -> None:
        self._conninfo = conninfo
        self._series_limit = series_limit
        self._most_pending = most_pending_samples
        self._jobs: list[_Job] = []
        self._unsettled: set[asyncio.Future[Written]] = set()
        self._pending_samples = 0
        self._refusals: dict[tuple[UUID, str, str], Refusal] = {}
        self._refusals_due = 0.0
        self._wake = asyncio.Event()
        self._closing = False
        self._cx: store.Connection | None = None
        self._connected_at = 0.0
        self._can_copy = False
        self._calendar = CalendarCache()

    async def write(self, batch: SampleBatch) -> Written:
        """Returns when the batch is committed.

        Raises DatabaseAway when the database cannot be reached or does not keep up, StorageFull
        when its disk is full. Then nothing of the batch is acknowledged, and sending it again is
        safe: the same sample is shown once.
        """
        if not len(batch) and not batch.ended:
            return Written(0, {})
        if self._closing:
            raise DatabaseAway("This process is stopping; nothing was stored.", retry_after=1.0)
        if self._pending_samples + len(batch) > self._most_pending:
            raise DatabaseAway(
                "The database does not keep up; nothing of this request was stored.",
                retry_after=1.0,
            )
        job = _Job(batch, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._unsettled.add(job.done)
        job.done.add_done_callback(self._unsettled.discard)
        self._pending_samples += len(batch)
        PENDING.set(self._pending_samples)
        self._wake.set()
        return await job.done

    def count_refusals(self, source: str, rejections: model.Rejections) -> None:
        """Has the owners' counts of refused samples raised, within a second or so."""
        for (_, reason), refusal in rejections.by_reason.items():
            REFUSED_SAMPLES.inc(refusal.count, reason=reason)
        for organization_id, reason, refusal in rejections.of_known_organizations():
            key = organization_id, source, reason
            if key not in self._refusals and len(self._refusals) >= MOST_REFUSALS:
                continue  # counted in telemetry above; the table of so many is beyond reading
            kept = self._refusals.setdefault(key, Refusal())
            kept.count += refusal.count
            kept.example = refusal.example
        self._wake.set()

    async def run(self) -> None:
        """Flushes until cancelled; then what waits is refused, not lost in silence."""
        try:
            while True:
                await self._wait()
                if self._jobs:
                    await self._flush(self._take())
                if self._refusals and time.monotonic() >= self._refusals_due:
                    await self._flush_refusals()
        finally:
            self._closing = True
            self._fail(self._jobs, DatabaseAway("This process is stopping; nothing was stored."))
            self._jobs = []
            await self._disconnect()

    async def drain(self) -> None:
        """Takes no more batches, and returns when those that wait are settled."""
        self._closing = True
        if self._unsettled:
            await asyncio.wait(self._unsettled)
        if self._refusals:
            await self._flush_refusals()

    async def _wait(self) -> None:
        if self._jobs:
            return
        timeout = None
        if self._refusals:
            timeout = max(self._refusals_due - time.monotonic(), 0.0)
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout)

    def _take(self) -> list[_Job]:
        """The oldest batches, as many as go into one transaction, but at least one."""
        samples = taken = 0
        for job in self._jobs:
            if taken and samples + len(job.batch) > MOST_FLUSH_SAMPLES:
                break
            samples += len(job.batch)
            taken += 1
        jobs, self._jobs = self._jobs[:taken], self._jobs[taken:]
        return jobs

    async def _flush(self, jobs: list[_Job]) -> None:
        """Commits the jobs together and settles them, whatever happens."""
        try:
            with FLUSH_SECONDS.time():
                async with self._time_limit():
                    with wrap_database_errors():
                        written = await self._store([job.batch for job in jobs])
        except BaseException as exc:
            FLUSHES.inc(outcome="failed")
            if self._cx is not None and (self._cx.broken or not isinstance(exc, Exception)):
                await self._disconnect()
            await self._settle_failure(jobs, exc)
            if not isinstance(exc, Exception):
                raise
            return
        FLUSHES.inc(outcome="committed")
        self._release(jobs)
        for job, result in zip(jobs, written, strict=True):
            STORED.inc(result.stored)
            NOT_FINITE.inc(int(len(job.batch) - np.isfinite(job.batch.values).sum()))
            if not job.done.done():
                job.done.set_result(result)

    async def _settle_failure(self, jobs: list[_Job], exc: BaseException) -> None:
        if isinstance(exc, TimeoutError):
            await self._disconnect()
            exc = DatabaseAway("The database took too long to commit.")
        elif not isinstance(exc, Exception):
            exc = DatabaseAway("This process is stopping; nothing was stored.")
        elif not isinstance(exc, DatabaseAway | StorageFull) and len(jobs) > 1:
            # Something in one of them is not to the database's liking. Each for itself, so that
            # it takes no other down.
            for job in jobs:
                await self._flush([job])
            return
        log.warning(
            "A flush failed: %s",
            exc,
            extra={
                "action": "flush_failed",
                "requests": len(jobs),
                "samples": sum(len(job.batch) for job in jobs),
                "reason": type(exc).__name__,
            },
        )
        self._release(jobs)
        self._fail(jobs, exc)

    def _release(self, jobs: Sequence[_Job]) -> None:
        self._pending_samples -= sum(len(job.batch) for job in jobs)
        PENDING.set(self._pending_samples)

    @staticmethod
    def _fail(jobs: Sequence[_Job], exc: Exception) -> None:
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(exc)

    async def _store(self, batches: Sequence[SampleBatch]) -> list[Written]:
        """One transaction for all batches; gives back what became of each."""
        cx = await self._connection()
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for index, batch in enumerate(batches):
            groups[id(batch.directory)].append(index)
        written: dict[int, Written] = {}
        packed: list[PackedBlocks] = []
        ended: defaultdict[UUID, dict[int, int]] = defaultdict(dict)
        for indexes in groups.values():
            group = [batches[index] for index in indexes]
            await self._resolve(cx, group)
            blocks, results = await self._pack(cx, group)
            packed += [blocks] if len(blocks.blocks) else []
            written.update(zip(indexes, results, strict=True))
            for batch in group:
                _note_ended(batch, ended)
        await store.store_flush(cx, packed, ended, copy=self._can_copy)
        return [written[index] for index in range(len(batches))]

    async def _resolve(self, cx: store.Connection, group: Sequence[SampleBatch]) -> None:
        """Settles the ids of all series of the group, those of ended ones included."""
        directory = group[0].directory
        now = time.monotonic()
        handles = directory.unresolved(
            np.concatenate(
                [batch.series for batch in group]
                + [np.array([handle for handle, _ in batch.ended], np.int64) for batch in group]
            ),
            # Another database may answer after a reconnect, one restored from a backup for example.
            older_than=max(now - RESOLVE_AGAIN_SECONDS, self._connected_at),
            refused_before=now - ASK_AGAIN_SECONDS,
        )
        for start in range(0, len(handles), MOST_SERIES_AT_ONCE):
            part = handles[start : start + MOST_SERIES_AT_ONCE]
            keys = [directory.keys[handle] for handle in part.tolist()]
            ids = await store.resolve_series(cx, keys, self._series_limit)
            directory.resolve(part, ids, now)

    async def _pack(
        self, cx: store.Connection, group: Sequence[SampleBatch]
    ) -> tuple[PackedBlocks, list[Written]]:
        directory = group[0].directory
        series = np.concatenate([batch.series for batch in group])
        ids = directory.series_ids(series)
        taken = ids > 0
        results = _results(group, ids)
        organization = directory.organization_of(series)
        timestamps = np.concatenate([batch.timestamps_ms for batch in group])
        values = np.concatenate([batch.values for batch in group])
        contexts: dict[str | None, int] = {}
        codes = np.concatenate([_context_codes(batch, contexts) for batch in group])
        sources = sorted({batch.source for batch in group})
        source = np.repeat(
            [sources.index(batch.source) for batch in group], [len(batch) for batch in group]
        )
        if not taken.all():
            series, ids, organization = series[taken], ids[taken], organization[taken]
            timestamps, values = timestamps[taken], values[taken]
            codes, source = codes[taken], source[taken]
        if len(series):
            await self._ask_calendar(cx, directory, organization, timestamps)
        self._calendar.apply(directory, organization, timestamps, codes, contexts)
        blocks = split_blocks(
            organization=organization,
            series_ids=ids.astype(np.int64),
            timestamps_ms=timestamps,
            values=values,
            context=codes,
            source=source,
        )
        packed = PackedBlocks(blocks, directory.organization_forms, tuple(contexts), sources)
        return packed, results

    async def _ask_calendar(
        self,
        cx: store.Connection,
        directory: SeriesDirectory,
        organization: Ints,
        timestamps: Ints,
    ) -> None:
        named = [directory.organizations[handle] for handle in np.unique(organization).tolist()]
        earliest, latest = int(timestamps.min()), int(timestamps.max())
        now = time.monotonic()
        asked = self._calendar.missing(named, earliest, latest, now)
        if asked:
            now_ms = int(utcnow().timestamp() * 1000)
            start, end = self._calendar.range_for(earliest, latest, now_ms)
            spans = await store.find_wedding_contexts(cx, asked, start, end)
            self._calendar.learn(asked, start, end, spans, now)

    async def _flush_refusals(self) -> None:
        refusals, self._refusals = self._refusals, {}
        self._refusals_due = time.monotonic() + REFUSALS_EVERY_SECONDS
        try:
            async with self._time_limit():
                with wrap_database_errors():
                    await store.count_refusals(await self._connection(), refusals)
        except Exception as exc:
            # Whatever it is: samples must go on being written.
            log.warning(
                "Refusals could not be counted for their owners: %s",
                exc,
                extra={"action": "refusals_failed", "reason": type(exc).__name__},
            )
            await self._disconnect()
            if not isinstance(exc, DatabaseAway | StorageFull | TimeoutError):
                return  # it would fail for ever
            for key, newer in self._refusals.items():
                refusals.setdefault(key, Refusal()).count += newer.count
            self._refusals = refusals

    async def _connection(self) -> store.Connection:
        if self._cx is None or self._cx.closed:
            self._cx = await store.connect(self._conninfo)
            self._connected_at = time.monotonic()
            self._can_copy = await store.can_copy(self._cx)
        return self._cx

    @asynccontextmanager
    async def _time_limit(self) -> AsyncIterator[None]:
        """Raises TimeoutError when the time for a flush is over.

        The connection is cut before anything is cancelled: a cancelled driver first asks the server
        to stop and waits for its answer, and a server that hangs has none.
        """
        loop = asyncio.get_running_loop()
        is_over = False

        def end() -> None:
            nonlocal is_over
            is_over = True
            if self._cx is not None:
                _cut(self._cx)

        timer = loop.call_later(FLUSH_TIMEOUT_SECONDS, end)
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS + CUT_GRACE_SECONDS):
                yield
        except DatabaseAway as exc:
            if is_over:
                raise TimeoutError from exc
            raise
        finally:
            timer.cancel()

    async def _disconnect(self) -> None:
        cx, self._cx = self._cx, None
        if cx is not None:
            _cut(cx)
            with suppress(Exception):
                await cx.close()


def _cut(cx: store.Connection) -> None:
    """Ends the connection at the socket, so that whoever waits for the server waits no more."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(cx.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def open_writer(conninfo: str, *, series_limit: int = 20_000) -> AsyncIterator[Writer]:
    """A running writer over a connection of the role `apm_writer`.

    It need not find the database: until there is one, writes raise DatabaseAway.
    """
    writer = Writer(conninfo, series_limit=series_limit)
    task = asyncio.create_task(writer.run(), name="ingest writer")
    try:
        yield writer
        await writer.drain()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _results(group: Sequence[SampleBatch], ids: np.typing.NDArray[np.int32]) -> list[Written]:
    """By batch: how many samples go in, and the positions of those that do not."""
    results, start = [], 0
    for batch in group:
        own = ids[start : start + len(batch)]
        start += len(batch)
        refused = {
            reason: np.flatnonzero(own == code)
            for reason, code in (
                (model.TOO_MANY_SERIES, REFUSED),
                (model.UNKNOWN_ORGANIZATION, UNKNOWN_ORGANIZATION),
            )
            if (own == code).any()
        }
        results.append(Written(int((own > 0).sum()), refused))
    return results


def _context_codes(batch: SampleBatch, contexts: dict[str | None, int]) -> Ints:
    """The batch's own contexts by the flush's codes; the rest stays `CALENDAR`."""
    if batch.context_index is None:
        return np.full(len(batch), CALENDAR, np.int64)
    codes = [contexts.setdefault(context, len(contexts)) for context in batch.contexts]
    # The last entry is what `CALENDAR`, which is -1, finds.
    return np.array([*codes, CALENDAR], np.int64)[batch.context_index]


def _note_ended(batch: SampleBatch, ended: defaultdict[UUID, dict[int, int]]) -> None:
    for handle, timestamp_ms in batch.ended:
        series_id = int(batch.directory.series_ids(np.array([handle]))[0])
        if series_id > 0:
            ended[batch.directory.keys[handle].organization_id][series_id] = timestamp_ms
