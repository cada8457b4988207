"""Prometheus remote write 1.0: a snappy block around a protobuf `WriteRequest`.

The labels of a series come out of the parser as one contiguous run of bytes. That run is the key
of a dictionary from which the series' handle comes; only a run that was never seen is decoded. So
a sample of a known series costs no Python object.

Two parsers give the same columns: ptars (to Arrow, about five times faster) and the protobuf
package's own, which is used where ptars cannot be imported.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

import numpy as np
from google.protobuf.message import DecodeError

from wedsync_apm.errors import FieldError, MalformedBody
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused, read_tenant, service_of
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded, IngestGrant, Rejections
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
"""New series (about 25 us each) between which other requests get their turn."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A parsed request. Series i has the label bytes `label_bounds[i]:label_bounds[i + 1]` of
    `label_bytes` and the samples `sample_bounds[i]:sample_bounds[i + 1]`."""

    label_bytes: bytes
    label_bounds: Ints
    labels_of: Callable[[int], Iterable[bytes]]
    """The labels of a series as encoded messages."""
    sample_bounds: Ints
    timestamps_ms: Ints
    values: Floats
    histograms: Ints
    """Native histograms of each series."""


def parse_with_ptars(body: bytes) -> Columns:
    """Raises MalformedBody for bytes that are no WriteRequest."""
    try:
        batch = _ptars_handler().list_to_record_batch([body])
    except ValueError as exc:
        raise MalformedBody("The body is not a WriteRequest of remote write 1.0.") from exc
    series = batch.column(0).values
    labels, samples = series.field("labels"), series.field("samples")
    label_ends = labels.offsets.to_numpy().astype(np.int64)
    _, offsets, data = labels.values.buffers()
    byte_ends = np.zeros(1, np.int64)
    if len(labels.values):
        byte_ends = np.frombuffer(offsets, np.int32, len(labels.values) + 1).astype(np.int64)
    label_bytes = data.to_pybytes() if data is not None else b""

    def labels_of(index: int) -> Iterable[bytes]:
        ends = byte_ends[label_ends[index] : label_ends[index + 1] + 1].tolist()
        return [label_bytes[start:stop] for start, stop in pairwise(ends)]

    return Columns(
        label_bytes=label_bytes,
        label_bounds=byte_ends[label_ends],
        labels_of=labels_of,
        sample_bounds=samples.offsets.to_numpy().astype(np.int64),
        timestamps_ms=samples.values.field("timestamp").to_numpy(),
        values=samples.values.field("value").to_numpy(),
        histograms=np.diff(series.field("histograms").offsets.to_numpy()).astype(np.int64),
    )


def parse_with_protobuf(body: bytes) -> Columns:
    """The same, by the protobuf package."""
    try:
        request = wire.WriteRequest.FromString(body)
    except DecodeError as exc:
        raise MalformedBody("The body is not a WriteRequest of remote write 1.0.") from exc
    series = request.timeseries
    labels = [b"".join(one.labels) for one in series]
    samples = [sample for one in series for sample in one.samples]
    return Columns(
        label_bytes=b"".join(labels),
        label_bounds=_bounds([len(one) for one in labels]),
        labels_of=lambda index: series[index].labels,
        sample_bounds=_bounds([len(one.samples) for one in series]),
        timestamps_ms=np.array([sample.timestamp for sample in samples], np.int64),
        values=np.array([sample.value for sample in samples], np.float64),
        histograms=np.array([len(one.histograms) for one in series], np.int64),
    )


def _bounds(lengths: list[int]) -> Ints:
    return np.concatenate(([0], np.cumsum(np.array(lengths, np.int64)))).astype(np.int64)


@cache
def _ptars_handler() -> Any:
    import ptars  # noqa: PLC0415 - there is not a wheel for every platform

    return ptars.HandlerPool([wire.DESCRIPTOR]).get_for_message(wire.WriteRequest.DESCRIPTOR)


def parse(body: bytes) -> Columns:
    """By the faster parser that there is; raises MalformedBody."""
    return parse_with_ptars(body) if _HAS_PTARS else parse_with_protobuf(body)


_HAS_PTARS: Final = find_spec("ptars") is not None


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
        parse: Callable[[bytes], Columns] = parse,
    ) -> None:
        self.directory = directory
        self._limits, self._parse = limits, parse
        self._known: dict[UUID | None, dict[bytes, int]] = {}

    async def decode(self, body: bytes, grant: IngestGrant, now_ms: int) -> Decoded:
        """The good samples of an unpacked body, and what is wrong with the others.

        Raises MalformedBody and TooLarge for the body as a whole.
        """
        columns = self._parse(body)
        self._limits.check_samples(len(columns.values))
        rejections = Rejections(self._limits.listed_errors)
        handles = await self._handles(columns, grant, rejections)
        series = np.repeat(handles, np.diff(columns.sample_bounds))
        good = self._in_window(series, columns.timestamps_ms, now_ms, rejections)
        stale = columns.values.view(np.uint64) == STALE_MARKER
        ended = good & stale
        good &= ~stale
        batch = SampleBatch(
            directory=self.directory,
            series=series[good],
            timestamps_ms=columns.timestamps_ms[good],
            values=columns.values[good],
            source=SOURCE,
            ended=tuple(
                zip(series[ended].tolist(), columns.timestamps_ms[ended].tolist(), strict=True)
            )
            if ended.any()
            else (),
        )
        return Decoded(batch, rejections)

    async def _handles(self, columns: Columns, grant: IngestGrant, rejections: Rejections) -> Ints:
        """The handle of each series, -1 where its labels are not valid."""
        known = self._known.setdefault(grant.organization_id, {})
        find, labels = known.get, columns.label_bytes
        found = [
            find(labels[start:stop], -1) for start, stop in pairwise(columns.label_bounds.tolist())
        ]
        handles = np.array(found, np.int64)
        has_histograms = bool(columns.histograms.any())
        suspects = handles < 0
        if has_histograms:
            suspects |= columns.histograms > 0
        counts = np.diff(columns.sample_bounds)
        for nth, index in enumerate(np.flatnonzero(suspects).tolist(), start=1):
            if nth % LEARN_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                if handles[index] < 0:
                    start, stop = columns.label_bounds[index : index + 2].tolist()
                    handle = self._learn(columns.labels_of(index), grant)
                    known[labels[start:stop]] = handle
                    handles[index] = handle
            except Refused as invalid:
                count = max(int(counts[index] + columns.histograms[index]), 1)
                rejections.add(
                    model.INVALID,
                    FieldError(invalid.field, invalid.reason, index),
                    grant.organization_id,
                    count,
                )
                continue
            if columns.histograms[index]:
                key = self.directory.keys[int(handles[index])]
                rejections.add(
                    model.UNSUPPORTED,
                    FieldError(key.metric_name, "native histograms are not taken", index),
                    key.organization_id,
                    int(columns.histograms[index]),
                )
        return handles

    def _learn(self, labels: Iterable[bytes], grant: IngestGrant) -> int:
        tags: dict[str, str] = {}
        for label in labels:
            name, value = _label(label)
            if name in tags:
                raise Refused(model.INVALID, f"label {name[:64]}", "is there twice")
            tags[name] = value
        # An empty value means the same as no label at all.
        tags = {name: value for name, value in tags.items() if value}
        metric_name = tags.pop("__name__", "")
        organization_id = grant.organization_id or read_tenant(
            model.ORGANIZATION_LABEL, tags.pop(model.ORGANIZATION_LABEL, None)
        )
        service_name = service_of(tags)
        problem = self._limits.problem_with_series(service_name, metric_name, tags.items())
        if problem is not None:
            raise Refused(model.INVALID, problem.field, problem.reason)
        key = SeriesKey(
            organization_id,
            service_name,
            metric_name,
            self.directory.share_tags(sorted(tags.items())),
            infer_metric_type(metric_name),
        )
        return self.directory.handle(key)

    def _in_window(
        self, series: Ints, timestamps_ms: Ints, now_ms: int, rejections: Rejections
    ) -> Mask:
        window = self._limits.window(now_ms)
        good = series >= 0
        for reason, text, outside in (
            (model.TOO_OLD, "is too far back", timestamps_ms < window.earliest_ms),
            (model.TOO_NEW, "lies in the future", timestamps_ms > window.latest_ms),
        ):
            refused = np.flatnonzero(good & outside)
            if len(refused):
                good[refused] = False
                self._reject(reason, text, series[refused], rejections)
        return good

    def _reject(self, reason: str, text: str, series: Ints, rejections: Rejections) -> None:
        """Counts the refused samples of each organization."""
        organizations = self.directory.organization_of(series)
        found, first, counts = np.unique(organizations, return_index=True, return_counts=True)
        for organization, example, count in zip(found, first, counts, strict=True):
            name = self.directory.keys[int(series[example])].metric_name
            rejections.add(
                reason,
                FieldError("timestamp", f"{text} ({name[:64]})"),
                self.directory.organizations[int(organization)],
                int(count),
            )


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
