"""The group-commit writer: one per process, between all requests and the database.

While one transaction commits, the batches of further requests gather; the next transaction takes
all of them. There is no delay to wait for company: under load the commit itself is the wait, and
without load a request pays for nothing but its own commit. A second connection does not wait for
the first one's commit when as many requests have gathered as are on their way: fewer would only
make transactions smaller. A request is answered after the commit, so what was acknowledged is on
disk.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from wedsync_apm.clock import utcnow
from wedsync_apm.errors import DatabaseAway, RateLimited, StorageFull
from wedsync_apm.ingest import model, store
from wedsync_apm.ingest.asides import Announcements, Aside, RefusalCounts
from wedsync_apm.ingest.calendar import CalendarCache
from wedsync_apm.ingest.line import Line
from wedsync_apm.ingest.packing import Gathered, Written, all_handles, ended_series
from wedsync_apm.ingest.resolver import Resolver
from wedsync_apm.metrics.model import SampleBatch
from wedsync_apm.telemetry import Counter, Gauge, Histogram, get_logger

log = get_logger(__name__)

MOST_PENDING_SAMPLES: Final = 2_000_000
"""Samples that may wait for the database (32 bytes each) before senders are told to wait."""
MOST_PENDING_SHARE: Final = 0.5
"""Of them, from one organization: the rest of the room is the others'."""
MOST_FLUSH_SAMPLES: Final = 200_000
SAY_AGAIN_SECONDS: Final = 1.0
"""After something that could not be said."""

STORED = Counter("wedsync_apm_ingest_samples_stored_total", "Samples committed")
NOT_FINITE = Counter(
    "wedsync_apm_ingest_samples_not_finite_total",
    "NaN and infinities committed: shown, but left out of rollups",
)
FLUSHES = Counter("wedsync_apm_ingest_flushes_total", "Transactions of the writer", ("outcome",))
FLUSH_SECONDS = Histogram("wedsync_apm_ingest_flush_seconds", "From gathering to commit")
PENDING = Gauge("wedsync_apm_ingest_pending_samples", "Samples that wait for a commit")
REFUSED_SAMPLES = Counter("wedsync_apm_ingest_samples_refused_total", "By reason", ("reason",))


@dataclass(slots=True, eq=False)
class _Job:
    batch: SampleBatch
    resolved_for: float
    """When the connection was made for which its series are resolved."""
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
        self._lines = [Line(conninfo), Line(conninfo)]
        self._free = list(self._lines)
        self._flushing = 0
        """Requests whose transactions are under way."""
        self._resolver = Resolver([Line(conninfo), Line(conninfo)], series_limit)
        self._most_pending = most_pending_samples
        self._jobs: list[_Job] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._writing = 0
        self._pending_samples = 0
        self._pending_of: defaultdict[UUID | None, int] = defaultdict(int)
        self._announcements, self._refusals = Announcements(), RefusalCounts()
        self._saying: set[asyncio.Task[None]] = set()
        self._tasks: asyncio.TaskGroup | None = None
        """While it runs."""
        self._is_starting = False
        self._closing = False

    async def write(self, batch: SampleBatch, sender: UUID | None = None) -> Written:
        """Returns when the batch is committed. `sender` is the organization that it comes from,
        None for the platform.

        Raises DatabaseAway when the database cannot be reached or does not keep up, StorageFull
        when its disk is full. Then nothing of the batch is acknowledged, and sending it again is
        safe: the same sample is shown once.
        """
        if not len(batch) and not batch.ended:
            return Written(0, {})
        if self._closing:
            raise _stopping()
        samples = len(batch)
        self._check_room(samples, sender)
        self._count(samples, sender, 1)
        try:
            since = max(line.connected_at for line in self._lines)
            await self._resolver.resolve(batch.directory, all_handles(batch), older_than=since)
            job = _Job(batch, since, asyncio.get_running_loop().create_future())
            self._jobs.append(job)
            self._start_soon()
            return await job.done
        finally:
            self._count(-samples, sender, -1)

    def count_refusals(self, source: str, rejections: model.Rejections) -> None:
        """Has the owners' counts of refused samples raised, within a second or so."""
        for (_, reason), refusal in rejections.by_reason.items():
            REFUSED_SAMPLES.inc(refusal.count, reason=reason)
        if self._refusals.add(source, rejections):
            self._say_in(self._refusals, self._refusals.due_in)

    async def run(self) -> None:
        """Flushes until cancelled; then what waits is refused, not lost in silence."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._resolver.run(), name="series resolver")
                self._tasks = tasks
                self._start_soon()
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    self._tasks = None
        finally:
            self._closing = True
            _fail(self._jobs, _stopping())
            self._jobs = []
            for line in self._lines:
                await line.close()

    async def drain(self) -> None:
        """Takes no more batches, and returns when those that wait are settled."""
        self._closing = True
        await self._idle.wait()
        if self._saying:
            await asyncio.wait(self._saying)
        for aside in self._announcements, self._refusals:
            if aside.is_waiting and self._free:
                await self._say(aside, self._free.pop())

    def _check_room(self, samples: int, sender: UUID | None) -> None:
        """Whether a batch may wait with the others. Raises DatabaseAway or RateLimited."""
        share = self._most_pending * MOST_PENDING_SHARE
        if self._pending_samples + samples > self._most_pending:
            raise DatabaseAway(
                "The database does not keep up; nothing of this request was stored.",
                retry_after=1.0,
            )
        if sender is not None and self._pending_of[sender] + samples > share:
            raise RateLimited(
                "Too many samples of yours are waiting; nothing of this request was stored.",
                retry_after=1.0,
            )

    def _count(self, samples: int, sender: UUID | None, writes: int) -> None:
        self._writing += writes
        self._pending_samples += samples
        PENDING.set(self._pending_samples)
        if sender is not None:
            self._pending_of[sender] += samples
            if not self._pending_of[sender]:
                del self._pending_of[sender]
        if self._writing:
            self._idle.clear()
        else:
            self._idle.set()

    def _start_soon(self) -> None:
        """As soon as all that is ready now has had its turn: the requests among it go together."""
        if self._tasks is not None and not self._is_starting:
            self._is_starting = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        """Starts what can be done."""
        self._is_starting = False
        if self._tasks is None:
            return
        for aside in self._announcements, self._refusals:
            if aside.is_due and not aside.is_being_said and self._free:
                saying = self._tasks.create_task(self._say(aside, self._free.pop()))
                self._saying.add(saying)
                saying.add_done_callback(self._saying.discard)
        while self._jobs and self._free and len(self._jobs) >= self._flushing:
            jobs = self._take()
            self._flushing += len(jobs)
            self._tasks.create_task(self._flush_and_free(self._free.pop(), jobs))

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

    async def _flush_and_free(self, line: Line, jobs: list[_Job]) -> None:
        try:
            await self._flush(line, jobs)
        finally:
            self._flushing -= len(jobs)
            self._free.append(line)
            self._start_soon()

    async def _flush(self, line: Line, jobs: list[_Job]) -> None:
        """Commits the jobs together and settles them, whatever happens."""
        try:
            with FLUSH_SECONDS.time():
                async with line.open() as cx:
                    written = await self._store(line, cx, jobs)
        except BaseException as exc:
            FLUSHES.inc(outcome="failed")
            await self._settle_failure(line, jobs, exc)
            if not isinstance(exc, Exception):
                raise
            return
        FLUSHES.inc(outcome="committed")
        for job, result in zip(jobs, written, strict=True):
            if not job.done.done():
                job.done.set_result(result)

    async def _settle_failure(self, line: Line, jobs: list[_Job], exc: BaseException) -> None:
        if not isinstance(exc, Exception):
            exc = _stopping()
        elif not isinstance(exc, DatabaseAway | StorageFull) and len(jobs) > 1:
            # Something in one of them is not to the database's liking. Each for itself, so that
            # it takes no other down.
            for job in jobs:
                await self._flush(line, [job])
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
        _fail(jobs, exc)

    async def _store(self, line: Line, cx: store.Connection, jobs: Sequence[_Job]) -> list[Written]:
        """One transaction for all jobs; gives back what became of each."""
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for index, job in enumerate(jobs):
            groups[id(job.batch.directory)].append(index)
        written: dict[int, Written] = {}
        packed = []
        for indexes in groups.values():
            await self._resolve_again(line, [jobs[index] for index in indexes])
            gathered = Gathered([jobs[index].batch for index in indexes])
            written.update(zip(indexes, gathered.results(), strict=True))
            if gathered.flush.organizations:
                calendar = await self._ask_calendar(line, cx, gathered)
                packed.append(gathered.pack(calendar))
                if gathered.flush.not_finite:
                    NOT_FINITE.inc(gathered.flush.not_finite)
        ended = ended_series([job.batch for job in jobs])
        await store.store_flush(cx, packed, ended, prepared=line.is_prepared)
        STORED.inc(sum(result.stored for result in written.values()))
        for one in packed:
            owners = {one.organizations[handle].text for handle in one.blocks.organizations}
            if self._announcements.add(owners):
                self._say_in(self._announcements, self._announcements.due_in)
        return [written[index] for index in range(len(jobs))]

    async def _resolve_again(self, line: Line, jobs: Sequence[_Job]) -> None:
        """After a reconnect: what was known is perhaps another database's."""
        since = line.connected_at
        late = [job.batch for job in jobs if job.resolved_for < since]
        if late:
            handles = np.concatenate([all_handles(batch) for batch in late])
            await self._resolver.resolve(late[0].directory, handles, older_than=since)

    async def _ask_calendar(
        self, line: Line, cx: store.Connection, gathered: Gathered
    ) -> CalendarCache:
        """What the calendar says of these samples' organizations and times."""
        directory, flush = gathered.directory, gathered.flush
        calendar = directory.companion(CalendarCache, CalendarCache)
        earliest, latest = flush.earliest_ms, flush.latest_ms
        now = time.monotonic()
        met = len(directory.organizations)
        # While one flush waits for its answer, another one may learn less of the same organization.
        while asked := calendar.missing(flush.organizations, earliest, latest, now, met=met):
            now_ms = int(utcnow().timestamp() * 1000)
            start, end = calendar.range_for(earliest, latest, now_ms)
            named = {directory.organizations[handle]: handle for handle in asked}
            spans = await store.find_wedding_contexts(
                cx, list(named), start, end, prepared=line.is_prepared
            )
            found = {named[organization_id]: own for organization_id, own in spans.items()}
            calendar.learn(asked, start, end, found, now)
        return calendar

    def _say_in(self, aside: Aside, seconds: float) -> None:
        def be_due() -> None:
            aside.is_due = True
            self._start_soon()

        asyncio.get_running_loop().call_later(seconds, be_due)

    async def _say(self, aside: Aside, line: Line) -> None:
        """On a line that is nobody else's, which it frees."""
        aside.is_due, aside.is_being_said = False, True
        try:
            async with line.open() as cx:
                await aside.say(cx)
        except Exception as exc:
            # Whatever it is: samples must go on being written.
            log.warning(
                "What goes beside the samples could not be said: %s",
                exc,
                extra={"action": "say_failed", "of": aside.name, "reason": type(exc).__name__},
            )
            await line.close()
            # What the database does not like would fail for ever.
            if isinstance(exc, DatabaseAway | StorageFull):
                aside.keep()
            if aside.is_waiting:
                self._say_in(aside, SAY_AGAIN_SECONDS)
        finally:
            aside.is_being_said = False
            self._free.append(line)
            self._start_soon()


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


def _fail(jobs: Sequence[_Job], exc: Exception) -> None:
    for job in jobs:
        if not job.done.done():
            job.done.set_exception(exc)


def _stopping() -> DatabaseAway:
    return DatabaseAway("This process is stopping; nothing was stored.", retry_after=1.0)
