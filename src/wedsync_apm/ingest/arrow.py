"""Our own protocol as an Apache Arrow IPC stream: samples in columns.

Columns are matched by name, in any order; others are passed over. Rows are judged by what they
consist of: each distinct combination of service, metric, tags, unit and type is looked at once,
however many rows have it, and no Python runs for a single row that is good.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final, get_args
from uuid import UUID

import msgspec
import numpy as np
import pyarrow as pa

from wedsync_apm.errors import MalformedBody
from wedsync_apm.ingest import model
from wedsync_apm.ingest.arrow_columns import COLUMNS, KEYS, NULL, Rows, read_rows
from wedsync_apm.ingest.arrow_stream import read_stream
from wedsync_apm.ingest.columns import Refused, SampleColumns
from wedsync_apm.ingest.json_samples import (
    LARGE_BODY_BYTES,
    SOURCE,
    ArrivalTimes,
    MetricType,
    context_text,
)
from wedsync_apm.ingest.model import Arrival, Decoded
from wedsync_apm.ingest.window import in_window, refuse_each
from wedsync_apm.metrics.model import CALENDAR, Floats, Ints, Mask, SampleBatch

RESOLVED_AT_ONCE: Final = 500
"""Combinations (about 10 us each) between which other requests get their turn."""
MOST_JSON_BYTES: Final = 256 * 1024
"""Of tags or a context as JSON that is read at all."""
MOST_REMEMBERED_BYTES: Final = 64 * 1024 * 1024
"""Of the words by which series are remembered."""
_TYPES: Final = frozenset(get_args(MetricType))


class KnownRows:
    """The handles of what was met before, by the words that it came in, for one directory."""

    def __init__(self, most_bytes: int = MOST_REMEMBERED_BYTES) -> None:
        self._most_bytes, self._held = most_bytes, 0
        self._handles: dict[tuple[UUID | None, tuple[Any, ...]], int] = {}
        self.find = self._handles.get

    def remember(self, tenant: UUID | None, words: tuple[Any, ...], handle: int) -> None:
        """Begins anew when too much is held: JSON can be padded in as many ways as one likes."""
        service, metric, tags, unit, _ = words
        if self._held > self._most_bytes:
            self._handles.clear()
            self._held = 0
        texts = [tags] if isinstance(tags, str) else [text for tag in tags or () for text in tag]
        self._held += 500 + sum(map(len, (service, metric, unit or "", *texts)))
        self._handles[tenant, words] = handle


async def decode(body: bytes, arrival: Arrival) -> Decoded:
    """The good samples of a stream, and what is wrong with the others.

    Raises MalformedBody for what is no stream, NotValid for one whose columns are not ours, and
    TooLarge.
    """
    if len(body) < LARGE_BODY_BYTES:
        batches = _read_all(body, arrival)
    else:
        batches = await asyncio.to_thread(_read_all, body, arrival)
    taking = _Taking(arrival)
    for rows in batches:
        await taking.take(rows)
    return taking.finish()


def _read_all(body: bytes, arrival: Arrival) -> list[Rows]:
    try:
        return [read_rows(batch) for batch in read_stream(body, COLUMNS, arrival.limits)]
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as exc:
        reason = str(exc).encode(errors="replace").decode()[:200]
        raise MalformedBody(f"The body is no Arrow IPC stream: {reason}.") from exc


class _Taking:
    """What became of the rows so far."""

    def __init__(self, arrival: Arrival) -> None:
        self._arrival, self._reader = arrival, SampleColumns(arrival, SOURCE)
        self._tenant = arrival.grant.organization_id
        self._known = arrival.directory.companion(KnownRows, KnownRows)
        self._first = 0
        self._contexts: dict[str, int] = {}
        self._found: list[tuple[Ints, Ints, Floats, Ints, Ints]] = []

    async def take(self, rows: Rows) -> None:
        """Takes the good rows of a batch, and notes what is wrong with the others."""
        positions = np.arange(self._first, self._first + len(rows))
        good = np.ones(len(rows), np.bool_)
        series = await self._series(rows, good)
        contexts = await self._context_of(rows, series, good)
        for bad, code, reason in (
            (~rows.has_value, model.INVALID, "is missing"),
            (~np.isfinite(rows.values), model.NOT_FINITE, "is not finite"),
        ):
            self._refuse_of(np.flatnonzero(good & bad), Refused(code, "value", reason), series)
            good &= ~bad
        times = rows.times_ms.copy()
        self._set_arrival_times(times, np.flatnonzero(good & ~rows.has_time), series)
        good &= in_window(
            np.where(good, series, NULL),
            times,
            directory=self._arrival.directory,
            limits=self._arrival.limits,
            now_ms=self._arrival.now_ms,
            rejections=self._reader.rejections,
            positions=positions,
        )
        self._found.append(
            (series[good], times[good], rows.values[good], contexts[good], positions[good])
        )
        self._first += len(rows)

    def finish(self) -> Decoded:
        """Everything, once."""
        if not self._found:
            return self._reader.finish()
        series, times, values, contexts, positions = map(
            np.concatenate, zip(*self._found, strict=True)
        )
        batch = SampleBatch(
            directory=self._arrival.directory,
            series=series,
            timestamps_ms=times,
            values=values,
            source=SOURCE,
            contexts=tuple(self._contexts),
            context_index=contexts if self._contexts else None,
        )
        return Decoded(batch, self._reader.rejections, positions)

    async def _series(self, rows: Rows, good: Mask) -> Ints:
        """The series of each row; those of combinations that are not valid are no longer good."""
        handles = np.full(len(rows.combinations), NULL, np.int64)
        wrong: list[tuple[int, Refused]] = []
        values = [rows.keys[name].value for name in KEYS]
        for nth, codes in enumerate(rows.combinations.tolist()):
            if nth and nth % RESOLVED_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                handles[nth] = self._handle(
                    tuple(
                        None if code == NULL else value(code)
                        for value, code in zip(values, codes, strict=True)
                    )
                )
            except Refused as refused:
                wrong.append((nth, refused))
        if wrong:
            groups = _Groups(rows.combination)
            for nth, why in wrong:
                self._refuse(groups.places(nth), why)
        series = handles[rows.combination]
        good &= series >= 0
        return series

    def _handle(self, words: tuple[Any, ...]) -> int:
        known = self._known.find((self._tenant, words))
        if known is not None:
            return known
        service, metric, tags, unit, kind = words
        for name, given in (("service_name", service), ("metric_name", metric)):
            if given is None:
                raise Refused(model.INVALID, name, "is missing")
        if kind is not None and kind not in _TYPES:
            reason = f"unknown value {kind[:64]!r}; one of {', '.join(get_args(MetricType))}"
            raise Refused(model.INVALID, "metric_type", reason)
        handle = self._reader.series(
            metric, dict(_pairs(tags)), service_name=service, metric_type=kind, unit=unit
        )
        self._known.remember(self._tenant, words, handle)
        return handle

    async def _context_of(self, rows: Rows, series: Ints, good: Mask) -> Ints:
        """The index of each row's context; rows whose context is not valid are no longer good."""
        codes = rows.contexts.codes.astype(np.int64)
        found = np.full(len(codes), CALENDAR, np.int64)
        distinct = np.unique(codes[good & (codes != NULL)])
        if not len(distinct):
            return found
        groups = _Groups(codes)
        for nth, code in enumerate(distinct.tolist()):
            if nth and nth % RESOLVED_AT_ONCE == 0:
                await asyncio.sleep(0)
            places = groups.places(code)
            places = places[good[places]]
            try:
                given = _object("wedding_context", rows.contexts.value(code))
                text = context_text(given, self._arrival.limits)
            except Refused as refused:
                self._refuse_of(places, refused, series)
                good[places] = False
            else:
                found[places] = self._contexts.setdefault(text, len(self._contexts))
        return found

    def _set_arrival_times(self, times: Ints, places: Ints, series: Ints) -> None:
        """Gives rows that come without a time that of arrival, each of a series its own."""
        if not len(places):
            return
        remembered = self._arrival.directory.companion(ArrivalTimes, ArrivalTimes)
        now_ms, latest = self._arrival.now_ms, self._arrival.limits.window(self._arrival.now_ms)
        remembered.begin(now_ms)
        order = np.argsort(series[places], kind="stable")
        handles, starts, counts = np.unique(
            series[places][order], return_index=True, return_counts=True
        )
        first = [
            remembered.reserve(handle, count, now_ms, latest.latest_ms)
            for handle, count in zip(handles.tolist(), counts.tolist(), strict=True)
        ]
        nth = np.arange(len(places)) - np.repeat(starts, counts)
        times[places[order]] = np.repeat(np.array(first, np.int64), counts) + nth

    def _refuse_of(self, places: Ints, refused: Refused, series: Ints) -> None:
        """Notes rows of known series."""
        refuse_each(
            places,
            refused,
            series=series,
            directory=self._arrival.directory,
            rejections=self._reader.rejections,
            positions=np.arange(self._first, self._first + len(series)),
        )

    def _refuse(self, places: Ints, refused: Refused) -> None:
        """Notes rows whose series is not known, each by its place while the list has room."""
        rejections = self._reader.rejections
        room = max(rejections.listed_at_most - len(rejections.listed), 0)
        for place in places[:room].tolist():
            self._reader.refuse(refused, position=self._first + place)
        if len(places) > room:
            self._reader.refuse(refused, count=len(places) - room)


class _Groups:
    """The places at which each code stands, found for all of them at once."""

    def __init__(self, codes: Ints) -> None:
        self._order = np.argsort(codes, kind="stable")
        self._sorted = codes[self._order]

    def places(self, code: int) -> Ints:
        """In order."""
        start, stop = np.searchsorted(self._sorted, [code, code + 1])
        found: Ints = self._order[start:stop]
        return found


def _pairs(tags: Any) -> Iterator[tuple[str, str]]:
    """A row's tags from what its column holds. Raises Refused."""
    if isinstance(tags, str):
        tags = list(_object("tags", tags).items())
    seen = set()
    for name, value in tags or ():
        if not isinstance(name, str) or not isinstance(value, str):
            raise Refused(model.INVALID, "tags", "are not all text by text")
        if name in seen:
            raise Refused(model.INVALID, f"tags.{name[:64]}", "is there twice")
        seen.add(name)
        yield name, value


def _object(field: str, text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text) if len(text) <= MOST_JSON_BYTES else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(model.INVALID, field, "is no JSON object, or too long")
    return found
