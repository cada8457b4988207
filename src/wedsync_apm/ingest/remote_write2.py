"""Prometheus remote write 2.0: a snappy block around a protobuf `io.prometheus.write.v2.Request`.

Labels come as positions in a table of symbols that each request brings along. Every symbol of a
series that is taken gets a number which lasts; a request's positions are turned into those numbers
all at once, and a series' numbers, with its type and unit, are the key of a dictionary from which
its handle comes. So a known series costs no Python object but that key, however the sender numbers
its symbols.
"""

import asyncio
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Final, NoReturn
from uuid import UUID

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from wedsync_apm.errors import MalformedBody, TooLarge
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused, SampleColumns
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded
from wedsync_apm.ingest.plain_runs import STALE_MARKER
from wedsync_apm.ingest.remote_write import LEARN_AT_ONCE, SOURCE
from wedsync_apm.ingest.window import in_window
from wedsync_apm.ingest.wire import remote_write2_pb2 as wire
from wedsync_apm.metrics.model import Floats, Ints, SampleBatch, SeriesKey

MOST_REMEMBERED_BYTES: Final = 64 * 1024 * 1024
"""Of symbols and keys. A sender who shuffles the labels of its series makes new keys for ever."""

MOST_SYMBOLS_A_SAMPLE: Final = 10

_COUNTER: Final = "counter"
_CUMULATIVE: Final = ("_bucket", "_count", "_sum")
_HISTOGRAM, _SUMMARY = 3, 5
_TYPES: Final = {
    1: _COUNTER,
    2: "gauge",
    _HISTOGRAM: "histogram",
    4: "gauge",  # a histogram of gauges
    _SUMMARY: "summary",
    6: "gauge",  # info: always 1
    7: "gauge",  # a state set: 0 or 1
}


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A parsed request. Series i has the references `reference_bounds[i]:reference_bounds[i + 1]`
    and the samples `sample_bounds[i]:sample_bounds[i + 1]`."""

    symbols: list[bytes]
    references: NDArray[np.uint32]
    reference_bounds: Ints
    sample_bounds: Ints
    timestamps_ms: Ints
    values: Floats
    histograms: Ints
    """Native histograms of each series."""
    exemplars: Ints
    """Of each series."""
    types: Ints
    """The declared type of each series' metric, 0 for none."""
    units: Ints
    """The unit of each series' metric: a reference, 0 for none."""


def parse_with_ptars(body: bytes) -> Columns:
    """Raises MalformedBody for bytes that are no Request."""
    try:
        batch = _ptars_handler().list_to_record_batch([body])
    except ValueError as exc:
        _malformed(exc)
    symbols, series = batch.column(0).values, batch.column(1).values
    references, samples = series.field("labels_refs"), series.field("samples")
    metadata = series.field("metadata")
    return Columns(
        symbols=_binaries(symbols),
        references=references.values.to_numpy(),
        reference_bounds=references.offsets.to_numpy().astype(np.int64),
        sample_bounds=samples.offsets.to_numpy().astype(np.int64),
        timestamps_ms=samples.values.field("timestamp").to_numpy(),
        values=samples.values.field("value").to_numpy(),
        histograms=np.diff(series.field("histograms").offsets.to_numpy()).astype(np.int64),
        exemplars=np.diff(series.field("exemplars").offsets.to_numpy()).astype(np.int64),
        # Where there is no metadata, its fields are zero.
        types=metadata.field("type").to_numpy(zero_copy_only=False).astype(np.int64),
        units=metadata.field("unit_ref").to_numpy(zero_copy_only=False).astype(np.int64),
    )


def _binaries(column: Any) -> list[bytes]:
    _, offsets, data = column.buffers()
    if not len(column):
        return []
    ends = np.frombuffer(offsets, np.int32, len(column) + 1).tolist()
    raw = data.to_pybytes() if data is not None else b""
    return [raw[start:stop] for start, stop in pairwise(ends)]


def parse_with_protobuf(body: bytes) -> Columns:
    """The same, by the protobuf package."""
    try:
        request = wire.Request.FromString(body)
    except DecodeError as exc:
        _malformed(exc)
    series = request.timeseries
    samples = [sample for one in series for sample in one.samples]
    references = [reference for one in series for reference in one.labels_refs]
    return Columns(
        symbols=list(request.symbols),
        references=np.array(references, np.uint32),
        reference_bounds=_bounds_of([len(one.labels_refs) for one in series]),
        sample_bounds=_bounds_of([len(one.samples) for one in series]),
        timestamps_ms=np.array([sample.timestamp for sample in samples], np.int64),
        values=np.array([sample.value for sample in samples], np.float64),
        histograms=np.array([len(one.histograms) for one in series], np.int64),
        exemplars=np.array([len(one.exemplars) for one in series], np.int64),
        types=np.array([one.metadata.type for one in series], np.int64),
        units=np.array([one.metadata.unit_ref for one in series], np.int64),
    )


def _malformed(cause: Exception) -> NoReturn:
    raise MalformedBody("The body is not a Request of remote write 2.0.") from cause


@cache
def _ptars_handler() -> Any:
    import ptars  # noqa: PLC0415 - there is not a wheel for every platform

    return ptars.HandlerPool([wire.DESCRIPTOR]).get_for_message(wire.Request.DESCRIPTOR)


def parse(body: bytes) -> Columns:
    """By the faster parser that there is; raises MalformedBody."""
    return parse_with_ptars(body) if _HAS_PTARS else parse_with_protobuf(body)


_HAS_PTARS: Final = find_spec("ptars") is not None


async def decode(body: bytes, arrival: Arrival) -> Decoded:
    """The good samples of an unpacked Request, and what else it has.

    Raises MalformedBody and TooLarge for the body as a whole.
    """
    known = arrival.directory.companion(KnownSeries, KnownSeries)
    check_parts(body, arrival.limits)
    return await decode_columns(parse(body), arrival, known)


def check_parts(body: bytes, limits: IngestLimits) -> None:
    """Raises TooLarge for more series or symbols than a sensible request has, before they are
    parsed: an empty one takes two bytes of a body and fifty times that of memory."""
    if len(body) <= 2 * limits.samples:
        return
    try:
        outline = wire.Outline.FromString(body)
    except DecodeError as exc:
        _malformed(exc)
    if len(outline.timeseries) > limits.samples:
        raise TooLarge(f"{len(outline.timeseries)} series in one request.")
    if len(outline.symbols) > MOST_SYMBOLS_A_SAMPLE * limits.samples:
        raise TooLarge(f"{len(outline.symbols)} symbols in one request.")


async def decode_columns(columns: Columns, arrival: Arrival, known: "KnownSeries") -> Decoded:
    """The same, of a parsed request."""
    arrival.limits.check_samples(len(columns.values))
    series_count = len(columns.histograms)
    if len(columns.references) > 100_000 + 4 * arrival.limits.tags * series_count:
        raise TooLarge(f"{len(columns.references)} references in {series_count} series.")
    if series_count and columns.symbols[:1] != [b""]:
        raise MalformedBody("The first symbol of a Request must be empty.")
    reader = SampleColumns(arrival, SOURCE)
    handles = await known.handles(columns, arrival, reader)
    series = np.repeat(handles, np.diff(columns.sample_bounds))
    good = in_window(
        series,
        columns.timestamps_ms,
        directory=arrival.directory,
        limits=arrival.limits,
        now_ms=arrival.now_ms,
        rejections=reader.rejections,
    )
    stale = columns.values.view(np.uint64) == STALE_MARKER
    ended = good & stale
    good &= ~stale
    batch = SampleBatch(
        directory=arrival.directory,
        series=series[good],
        timestamps_ms=columns.timestamps_ms[good],
        values=columns.values[good],
        source=SOURCE,
        ended=tuple(
            zip(series[ended].tolist(), columns.timestamps_ms[ended].tolist(), strict=True)
        ),
    )
    return Decoded(batch, reader.rejections)


class KnownSeries:
    """The series of each tenant by the numbers of their symbols, for one directory."""

    def __init__(self, most_bytes: int = MOST_REMEMBERED_BYTES) -> None:
        self._most_bytes = most_bytes
        self._forget()

    def _forget(self) -> None:
        self._numbers = {b"": 0}
        self._handles: dict[UUID | None, dict[bytes, int]] = {}
        self._held = 0

    async def handles(self, columns: Columns, arrival: Arrival, reader: SampleColumns) -> Ints:
        """The handle of each series, -1 where its labels are not valid."""
        if self._held > self._most_bytes:
            self._forget()
        numbers = self._numbers
        known = self._handles.setdefault(arrival.grant.organization_id, {})
        find, keys = known.get, _keys(columns, numbers)
        handles = np.array([find(key, -1) for key in keys], np.int64)
        others = columns.histograms + columns.exemplars
        suspects = np.flatnonzero((handles < 0) | (others > 0))
        for nth, index in enumerate(suspects.tolist(), start=1):
            if nth % LEARN_AT_ONCE == 0:
                await asyncio.sleep(0)
            if handles[index] < 0:
                try:
                    handles[index] = _learn(columns, index, reader)
                except Refused as refused:
                    samples = int(np.diff(columns.sample_bounds[index : index + 2])[0])
                    count = max(samples + int(others[index]), 1)
                    reader.refuse(refused, position=index, count=count)
                    continue
                self._remember(columns, index, int(handles[index]), numbers, known)
            _refuse_others(columns, index, arrival.directory.keys[int(handles[index])], reader)
        return handles

    def _remember(
        self,
        columns: Columns,
        index: int,
        handle: int,
        numbers: dict[bytes, int],
        known: dict[bytes, int],
    ) -> None:
        start, stop = columns.reference_bounds[index : index + 2].tolist()
        unit = int(columns.units[index])
        key = []
        for reference in (*columns.references[start:stop].tolist(), unit):
            symbol = columns.symbols[reference]
            number = numbers.get(symbol)
            if number is None:
                number = numbers[symbol] = len(numbers)
                self._held += len(symbol) + 100
            key.append(number)
        encoded = np.array([*key[:-1], columns.types[index], key[-1]], np.int32).tobytes()
        known[encoded] = handle
        self._held += len(encoded) + 100


def _keys(columns: Columns, numbers: dict[bytes, int]) -> list[bytes]:
    """What each series is remembered by: the numbers of its labels' symbols, its type, its unit.

    A symbol without a number, or a reference to no symbol, is -1, which no remembered key has.
    """
    find = numbers.get
    number_of = np.array([*(find(symbol, -1) for symbol in columns.symbols), -1], np.int32)
    beyond = len(columns.symbols)
    bounds, series = columns.reference_bounds, len(columns.histograms)
    encoded = np.empty(len(columns.references) + 2 * series, np.int32)
    ends = bounds[1:] + 2 * np.arange(1, series + 1)
    shift = np.repeat(2 * np.arange(series), np.diff(bounds))
    labels: NDArray[np.int32] = number_of[np.minimum(columns.references, beyond)]
    encoded[np.arange(len(columns.references)) + shift] = labels
    encoded[ends - 2] = columns.types
    encoded[ends - 1] = number_of[np.minimum(columns.units, beyond)]
    raw = encoded.tobytes()
    return [raw[start:stop] for start, stop in pairwise([0, *(4 * ends).tolist()])]


def _learn(columns: Columns, index: int, reader: SampleColumns) -> int:
    """Raises Refused."""
    start, stop = columns.reference_bounds[index : index + 2].tolist()
    if (stop - start) % 2:
        raise Refused(model.INVALID, "labels_refs", "holds a name without a value")
    texts = [_symbol(columns.symbols, one) for one in columns.references[start:stop].tolist()]
    tags: dict[str, str] = {}
    for name, value in zip(texts[::2], texts[1::2], strict=True):
        if not name:
            raise Refused(model.INVALID, "labels", "one has no name")
        if name in tags:
            raise Refused(model.INVALID, f"label {name[:64]}", "is there twice")
        tags[name] = value
    # An empty value means the same as no label at all.
    tags = {name: value for name, value in tags.items() if value}
    metric_name = tags.pop("__name__", "")
    return reader.series(
        metric_name,
        tags,
        metric_type=_metric_type(int(columns.types[index]), metric_name),
        unit=_symbol(columns.symbols, int(columns.units[index])),
        prefix="",
    )


def _symbol(symbols: list[bytes], reference: int) -> str:
    if reference >= len(symbols):
        reason = f"{reference} is beyond the {len(symbols)} symbols"
        raise Refused(model.INVALID, "reference", reason)
    try:
        return symbols[reference].decode()
    except UnicodeDecodeError:
        raise Refused(model.INVALID, "symbols", f"number {reference} is not UTF-8") from None


def _metric_type(declared: int, metric_name: str) -> str | None:
    """Ours for the declared one, None where there is none."""
    if declared in (_HISTOGRAM, _SUMMARY) and metric_name.endswith(_CUMULATIVE):
        return _COUNTER
    return _TYPES.get(declared)


def _refuse_others(columns: Columns, index: int, key: SeriesKey, reader: SampleColumns) -> None:
    """Counts what we know and do not keep."""
    for what, counts in (
        ("native histograms", columns.histograms),
        ("exemplars", columns.exemplars),
    ):
        if counts[index]:
            reader.refuse(
                Refused(model.UNSUPPORTED, key.metric_name[:64], f"{what} are not taken"),
                position=index,
                organization_id=key.organization_id,
                count=int(counts[index]),
            )


def _bounds_of(lengths: list[int]) -> Ints:
    """Where each of runs of these lengths begins, and the total at the end."""
    return np.concatenate(([0], np.cumsum(np.array(lengths, np.int64)))).astype(np.int64)
