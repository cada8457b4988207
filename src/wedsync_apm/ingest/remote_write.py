"""Prometheus remote write 1.0: a snappy block around a protobuf `WriteRequest`.

A sender repeats itself: the labels of its series come as the same bytes in each request, and
mostly in the same order. So the bytes of a series' labels are remembered as a *run*, along with
the run that came after it; a series that begins with the expected run is known without being
decoded. What follows the run must be samples and nothing else, which its length proves. Series of
which any of this does not hold are decoded one by one.

Samples are read by columns: laid out as one table where all have the same length, else by ptars
(protobuf to Arrow), or by the protobuf package where ptars has no wheel.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
from google.protobuf.message import DecodeError

from wedsync_apm.errors import FieldError, MalformedBody
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused, read_tenant, service_of
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded, IngestGrant, Rejections
from wedsync_apm.ingest.window import in_window
from wedsync_apm.ingest.wire import remote_write_pb2 as wire
from wedsync_apm.metrics.model import (
    Floats,
    Ints,
    Mask,
    SampleBatch,
    SeriesDirectory,
    SeriesKey,
    infer_metric_type,
)

SOURCE: Final = "prometheus"

STALE_MARKER: Final = 0x7FF0000000000002
"""The bits of the NaN by which Prometheus says that a series ended. Other NaNs are values."""

LEARN_AT_ONCE: Final = 500
"""New series (about 15 us each) between which other requests get their turn."""
MOST_REMEMBERED_BYTES: Final = 256 * 1024 * 1024
"""Of runs of labels. A sender who shuffles its labels makes new ones for ever."""
MOST_LABELS: Final = 200_000
"""Distinct labels that are remembered decoded."""

_FIRST_SAMPLES: Final = (b"\x12\x10\x09", b"\x12\x07\x10")
"""How a sample of usual size begins, and one of value zero. Bytes of a label may look the same;
then the run that ends there is not a known one."""
_SAMPLE: Final = np.dtype(
    [("head", "<u2"), ("is_value", "u1"), ("value", "<f8"), ("is_time", "u1"), ("time", "u1", 6)]
)
"""A sample whose value is not zero and whose time lies between 2^35 and 2^42 ms: until 2109."""
_SHIFTS: Final = np.array([0, 7, 14, 21, 28, 35], np.int64)
_VARINT_STEPS: Final = np.array([1 << bits for bits in range(7, 63, 7)], np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The samples of a request; series i has those in `bounds[i]:bounds[i + 1]`."""

    bounds: Ints
    timestamps_ms: Ints
    values: Floats


Reader = Callable[[bytes], Samples]
"""Reads the samples of all series of a WriteRequest. Raises MalformedBody."""


def read_with_ptars(body: bytes) -> Samples:
    """By ptars."""
    try:
        batch = _ptars_handler().list_to_record_batch([body])
    except ValueError as exc:
        raise _malformed() from exc
    samples = batch.column(0).values.field("samples")
    return Samples(
        samples.offsets.to_numpy().astype(np.int64),
        samples.values.field("timestamp").to_numpy(),
        samples.values.field("value").to_numpy(),
    )


def read_with_protobuf(body: bytes) -> Samples:
    """The same, by the protobuf package."""
    try:
        series = wire.SamplesRequest.FromString(body).timeseries
    except DecodeError as exc:
        raise _malformed() from exc
    samples = [sample for one in series for sample in one.samples]
    return Samples(
        bounds_of([len(one.samples) for one in series]),
        np.array([sample.timestamp for sample in samples], np.int64),
        np.array([sample.value for sample in samples], np.float64),
    )


@cache
def _ptars_handler() -> Any:
    import ptars  # noqa: PLC0415 - there is not a wheel for every platform

    return ptars.HandlerPool([wire.DESCRIPTOR]).get_for_message(wire.SamplesRequest.DESCRIPTOR)


read_samples: Final[Reader] = read_with_ptars if find_spec("ptars") else read_with_protobuf


async def decode(body: bytes, arrival: Arrival) -> Decoded:
    """An unpacked WriteRequest by the directory's own decoder, which knows its series."""
    decoder = arrival.directory.companion(
        RemoteWriteDecoder, lambda: RemoteWriteDecoder(arrival.directory, arrival.limits)
    )
    return await decoder.decode(body, arrival.grant, arrival.now_ms)


class RemoteWriteDecoder:
    """Decodes requests, remembering the series of each tenant by the bytes of their labels."""

    def __init__(
        self,
        directory: SeriesDirectory,
        limits: IngestLimits,
        read_samples: Reader = read_samples,
    ) -> None:
        self.directory = directory
        self._limits, self._read_samples = limits, read_samples
        self._runs: dict[UUID | None, _Runs] = {}
        self._labels: dict[bytes, tuple[str, str]] = {}
        self.remembered_bytes = 0

    async def decode(self, body: bytes, grant: IngestGrant, now_ms: int) -> Decoded:
        """The good samples of an unpacked body, and what is wrong with the others.

        Raises MalformedBody and TooLarge for the body as a whole.
        """
        try:
            series = wire.SeriesRequest.FromString(body).timeseries
        except DecodeError as exc:
            raise _malformed() from exc
        # An empty series takes two bytes of a body, and dozens once it is an object.
        self._limits.check_samples(len(series))
        messages = list(series)
        rejections = Rejections(self._limits.listed_errors)
        runs = self._runs_of(grant)
        found = runs.find(messages)
        samples, is_read = _read_tails(runs, found, messages, body, self._read_samples)
        self._limits.check_samples(len(samples.values))
        handles = runs.handles(found)
        handles[~is_read] = -1
        await self._decode_singly(messages, samples, handles, grant, rejections)
        return self._batch(samples, handles, now_ms, rejections)

    def _batch(
        self, samples: Samples, handles: Ints, now_ms: int, rejections: Rejections
    ) -> Decoded:
        counts = np.diff(samples.bounds)
        series = handles if (counts == 1).all() else np.repeat(handles, counts)
        timestamps, values = samples.timestamps_ms, samples.values
        good = in_window(
            series,
            timestamps,
            directory=self.directory,
            limits=self._limits,
            now_ms=now_ms,
            rejections=rejections,
        )
        stale = values.view(np.uint64) == STALE_MARKER
        ended: tuple[tuple[int, int], ...] = ()
        if stale.any():
            ends = good & stale
            ended = tuple(zip(series[ends].tolist(), timestamps[ends].tolist(), strict=True))
            good &= ~stale
        if not good.all():
            series, timestamps, values = series[good], timestamps[good], values[good]
        batch = SampleBatch(self.directory, series, timestamps, values, SOURCE, ended=ended)
        return Decoded(batch, rejections)

    async def _decode_singly(
        self,
        messages: Sequence[bytes],
        samples: Samples,
        handles: Ints,
        grant: IngestGrant,
        rejections: Rejections,
    ) -> None:
        """Puts in the handles that are missing; those of series that are not valid stay -1."""
        for nth, index in enumerate(np.flatnonzero(handles < 0).tolist(), start=1):
            if nth % LEARN_AT_ONCE == 0:
                await asyncio.sleep(0)
            count = int(samples.bounds[index + 1] - samples.bounds[index])
            try:
                message = wire.TimeSeries.FromString(messages[index])
            except DecodeError as exc:
                raise _malformed() from exc
            try:
                handles[index] = handle = self._learn(message.labels, grant)
            except Refused as refused:
                rejections.add(
                    refused.code,
                    FieldError(refused.field, refused.reason, index),
                    grant.organization_id,
                    count + len(message.histograms),
                )
                continue
            self._remember(messages[index], message.labels, handle, grant)
            if message.histograms:
                key = self.directory.keys[handle]
                rejections.add(
                    model.UNSUPPORTED,
                    FieldError(key.metric_name, "native histograms are not taken", index),
                    key.organization_id,
                    len(message.histograms),
                )

    def _remember(
        self, message: bytes, labels: Iterable[bytes], handle: int, grant: IngestGrant
    ) -> None:
        """Keeps the run of a series whose labels stand at its beginning, as senders write it."""
        run = b"".join([_head(len(label)) + label for label in labels])
        if not message.startswith(run):
            return
        if self.remembered_bytes + len(run) > MOST_REMEMBERED_BYTES:
            self._runs.clear()
            self.remembered_bytes = 0
        self.remembered_bytes += len(run)
        self._runs_of(grant).add(run, handle)

    def _runs_of(self, grant: IngestGrant) -> "_Runs":
        runs = self._runs.get(grant.organization_id)
        if runs is None:
            runs = self._runs[grant.organization_id] = _Runs()
        return runs

    def _learn(self, labels: Iterable[bytes], grant: IngestGrant) -> int:
        """The handle of a series that was never met in this form. Raises Refused."""
        decoded = [self._labels.get(encoded) or self._label(encoded) for encoded in labels]
        by_name = dict(decoded)
        if len(by_name) < len(decoded):
            raise Refused(model.INVALID, f"label {_repeated(decoded)[:64]}", "is there twice")
        metric_name = by_name.pop("__name__", "")
        organization_id = grant.organization_id or read_tenant(
            model.ORGANIZATION_LABEL, by_name.pop(model.ORGANIZATION_LABEL, None)
        )
        # An empty value means the same as no label at all.
        tags = sorted([tag for tag in decoded if tag[1] and tag[0] in by_name])
        service_name = service_of(by_name)
        problem = self._limits.problem_with_names(service_name, metric_name, len(tags))
        if problem is not None:
            raise Refused(model.INVALID, problem.field, problem.reason)
        return self.directory.handle(
            SeriesKey(
                organization_id,
                service_name,
                metric_name,
                tuple(tags),
                infer_metric_type(metric_name),
            )
        )

    def _label(self, encoded: bytes) -> tuple[str, str]:
        """A label that is not remembered; it is from now on, unless it is long. Raises Refused."""
        label = _label(encoded)
        problem = None if label[0] == "__name__" else self._limits.problem_with_tag(*label)
        if problem is not None:
            raise Refused(model.INVALID, problem.field, problem.reason)
        if len(self._labels) >= MOST_LABELS:
            self._labels.clear()
        if len(encoded) <= 256:
            self._labels[encoded] = label
        return label


class _Runs:
    """The runs of one tenant, by number in the order of their first sight."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._bytes: list[bytes] = [b"\0"]  # number 0 begins no series
        self._next = [0]
        self._last = 0
        self._handle = np.full(64, -1, np.int64)
        self._length = np.zeros(64, np.int64)

    def add(self, run: bytes, handle: int) -> None:
        """Remembers what a run stands for."""
        number = self._numbers.get(run)
        if number is None:
            number = self._numbers[run] = len(self._bytes)
            self._bytes.append(run)
            self._next.append(0)
            if number == len(self._handle):
                self._handle = np.resize(self._handle, 2 * number)
                self._length = np.resize(self._length, 2 * number)
            self._length[number] = len(run)
        self._handle[number] = handle

    def find(self, messages: Sequence[bytes]) -> Ints:
        """The number of the run with which each series begins, 0 where it is not known."""
        known, following, last = self._bytes, self._next, self._last
        found = []
        for message in messages:
            number = following[last]
            if not message.startswith(known[number]):
                following[last] = number = self._look_up(message)
            found.append(number)
            last = number
        self._last = last
        return np.array(found, np.int64)

    def _look_up(self, message: bytes) -> int:
        for mark in _FIRST_SAMPLES:
            number = self._numbers.get(message[: message.find(mark)], 0)
            if number:
                return number
        return 0

    def handles(self, numbers: Ints) -> Ints:
        """What the runs stand for; -1 for number 0."""
        found: Ints = self._handle[numbers]
        return found

    def lengths(self, numbers: Ints) -> Ints:
        """In bytes."""
        found: Ints = self._length[numbers]
        return found


class _Read(NamedTuple):
    samples: Samples
    is_read: Mask
    """Which series consist of their run and these samples alone."""


def _read_tails(
    runs: _Runs, found: Ints, messages: Sequence[bytes], body: bytes, read_samples: Reader
) -> _Read:
    """The samples of all series, from what follows their runs."""
    lengths = runs.lengths(found)
    tails = [message[length:] for message, length in zip(messages, lengths.tolist(), strict=True)]
    size = len(tails[0]) if tails else 0
    if size % _SAMPLE.itemsize == 0 and all(len(tail) == size for tail in tails):
        table = np.frombuffer(b"".join(tails), _SAMPLE)
        if found.all() and _is_regular(table):
            times = (table["time"] & np.uint8(0x7F)).astype(np.int64) @ (1 << _SHIFTS)
            bounds = np.arange(len(tails) + 1) * (size // _SAMPLE.itemsize)
            samples = Samples(bounds, times, table["value"].astype(np.float64))
            return _Read(samples, np.ones(len(tails), np.bool_))
    samples = read_samples(body)
    sizes = np.fromiter(map(len, tails), np.int64, len(tails))
    return _Read(samples, (found > 0) & (_encoded_sizes(samples) == sizes))


def _is_regular(table: np.typing.NDArray[np.void]) -> bool:
    return bool(
        (table["head"] == 0x1012).all()
        and (table["is_value"] == 0x09).all()
        and (table["is_time"] == 0x10).all()
        and (table["time"][:, :5] >= 0x80).all()
        and (table["time"][:, 5] < 0x80).all()
    )


def _encoded_sizes(samples: Samples) -> Ints:
    """The bytes that the samples of each series take as senders write them, without zeros."""
    times = samples.timestamps_ms.view(np.uint64)
    time_bytes = np.searchsorted(_VARINT_STEPS, times, side="right") + 1
    time_bytes += times >= 1 << 63
    sizes = 2 + 9 * (samples.values.view(np.uint64) != 0) + (1 + time_bytes) * (times != 0)
    return np.diff(np.concatenate(([0], np.cumsum(sizes)))[samples.bounds])


def _label(encoded: bytes) -> tuple[str, str]:
    try:
        label = wire.Label.FromString(encoded)
        name, value = label.name.decode(), label.value.decode()
    except DecodeError as exc:
        raise Refused(model.INVALID, "labels", "cannot be decoded") from exc
    except UnicodeDecodeError as exc:
        raise Refused(model.INVALID, "labels", "are not UTF-8") from exc
    if not name:
        raise Refused(model.INVALID, "labels", "one has no name")
    return name, value


def _repeated(labels: list[tuple[str, str]]) -> str:
    names = [name for name, _ in labels]
    return next(name for name in names if names.count(name) > 1)


@lru_cache(maxsize=4096)
def _head(length: int) -> bytes:
    """What stands before a label of so many bytes."""
    return b"\x0a" + _varint(length)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def bounds_of(lengths: list[int]) -> Ints:
    """Where each of runs of these lengths begins, and the total at the end."""
    return np.concatenate(([0], np.cumsum(np.array(lengths, np.int64)))).astype(np.int64)


def _malformed() -> MalformedBody:
    return MalformedBody("The body is not a WriteRequest of remote write 1.0.")
