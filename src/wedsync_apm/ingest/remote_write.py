"""Prometheus remote write 1.0: a snappy block around a protobuf `WriteRequest`.

A sender repeats itself: the labels of its series come as the same bytes in each request, and
mostly in the same order. So the bytes of a series' labels are remembered as a *run*, along with
the run that came after it; a series that begins with the expected run is known after one
comparison, and another one after a look at a table. `Runs` reads a body so, compiled; what it has
not met is decoded here, one series after the other.
"""

import asyncio
from dataclasses import replace
from typing import Final
from uuid import UUID

import numpy as np
from google.protobuf.message import DecodeError

from wedsync_apm.errors import FieldError, MalformedBody
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused, read_tenant
from wedsync_apm.ingest.labels import METRIC, Label, Named, label_of, named
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded, IngestGrant, Rejections
from wedsync_apm.ingest.plain_runs import STALE_MARKER, Scan, UnknownSeries
from wedsync_apm.ingest.window import in_window
from wedsync_apm.ingest.wire import remote_write_pb2 as wire
from wedsync_apm.metrics.model import (
    Ints,
    SampleBatch,
    SeriesDirectory,
    SeriesKey,
    infer_metric_type,
)

try:
    from wedsync_apm.ingest.runs import Runs, known_series
except ImportError:  # no compiler was there when the product was installed
    from wedsync_apm.ingest.plain_runs import Runs, known_series

SOURCE: Final = "prometheus"

LEARN_AT_ONCE: Final = 100
"""New series (about 15 us each) between which other requests get their turn."""
MOST_REMEMBERED_BYTES: Final = 256 * 1024 * 1024
"""Of runs of labels. A sender who shuffles its labels makes new ones for ever."""
MOST_METADATA_BYTES: Final = 1024 * 1024
"""Of a request without samples; senders cut theirs at some hundred kilobytes."""
MOST_METRICS: Final = 20_000
"""Of which one request may say something."""
KEYS_AT_ONCE: Final = 10_000
"""Series that are looked at between which other requests get their turn."""
_LONGEST_TEXT: Final = 1024
_IN_ITS_UNIT: Final = ("_sum", "_total")
"""Ends of the names of a family's series that are in its unit; buckets and counts are not."""
MOST_LABELS: Final = 200_000
"""Distinct labels that are remembered decoded, and names that are remembered as good."""


async def decode(body: bytes | memoryview, arrival: Arrival) -> Decoded:
    """An unpacked WriteRequest by the directory's own decoder, which knows its series.

    It may lie in a room that the next body is unpacked into: nobody looks at it after a wait.
    """
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
        runs: type[Runs] = Runs,
    ) -> None:
        self.directory = directory
        self._limits, self._new_runs = limits, runs
        self._runs: dict[UUID | None, Runs] = {}
        self._labels: dict[bytes, Label] = {}
        self._types: dict[tuple[str, str], str] = {}
        """Of metrics, by the names of service and metric, which are good."""
        self._units: dict[tuple[UUID, str], str] = {}
        """Of each tenant's metrics, as its sender declared them."""
        self.remembered_bytes = 0

    async def decode(self, body: bytes | memoryview, grant: IngestGrant, now_ms: int) -> Decoded:
        """The good samples of an unpacked body, and what is wrong with the others.

        Raises MalformedBody and TooLarge for the body as a whole.
        """
        try:
            scan = self._runs_of(grant).scan(body, self._limits.samples)
        except ValueError as exc:
            raise _malformed() from exc
        self._limits.check_samples(max(scan.series, scan.samples))
        is_short = len(body) <= MOST_METADATA_BYTES
        if not scan.series and is_short and grant.organization_id is not None:
            # Senders tell what metrics are in requests of their own.
            await self._learn_units(bytes(body), grant.organization_id)
        rejections = Rejections(self._limits.listed_errors)
        if scan.unknown:
            # A copy of what lies in a room: others get their turn meanwhile.
            await self._decode_singly(bytes(body), scan.unknown, scan.handles, grant, rejections)
        window = self._limits.window(now_ms)
        is_in_time = window.earliest_ms <= scan.earliest_ms and scan.latest_ms <= window.latest_ms
        if rejections.count or scan.stale or not is_in_time:
            batch = self._good_part(scan, now_ms, rejections)
        else:
            batch = SampleBatch(
                self.directory, scan.handles, scan.timestamps_ms, scan.values, SOURCE
            )
        return Decoded(batch, rejections)

    def _good_part(self, scan: Scan, now_ms: int, rejections: Rejections) -> SampleBatch:
        handles, timestamps_ms = scan.handles, scan.timestamps_ms
        good = in_window(
            handles,
            timestamps_ms,
            directory=self.directory,
            limits=self._limits,
            now_ms=now_ms,
            rejections=rejections,
        )
        is_stale = scan.values.view(np.uint64) == STALE_MARKER
        ends = good & is_stale
        good &= ~is_stale
        return SampleBatch(
            self.directory,
            handles[good],
            timestamps_ms[good],
            scan.values[good],
            SOURCE,
            ended=tuple(zip(handles[ends].tolist(), timestamps_ms[ends].tolist(), strict=True)),
        )

    async def _decode_singly(
        self,
        body: bytes,
        unknown: list[UnknownSeries],
        handles: Ints,
        grant: IngestGrant,
        rejections: Rejections,
    ) -> None:
        """Puts in the handles that are missing; those of series that are not valid stay -1."""
        runs, is_platform = self._runs_of(grant), grant.is_platform
        for nth, (position, start, labels_stop, stop, first, after) in enumerate(unknown, start=1):
            if nth % LEARN_AT_ONCE == 0:
                await asyncio.sleep(0)
                runs = self._runs_of(grant)
            run, histograms = body[start:labels_stop], 0
            try:
                said = known_series(run, self._labels, is_platform) if run else None
                if said is None:
                    message = _series_of(run or body[start:stop])
                    histograms = len(message.histograms)
                    said = self._named(message, is_platform)
                handle = self._learn(said, grant)
            except Refused as refused:
                rejections.add(
                    refused.code,
                    FieldError(refused.field, refused.reason, position),
                    grant.organization_id,
                    after - first + histograms,
                )
                continue
            handles[first:after] = handle
            if run:
                self.remembered_bytes += runs.remember(run, handle)
                if self.remembered_bytes > MOST_REMEMBERED_BYTES:
                    runs = self._forget(grant)
            if histograms:
                key = self.directory.keys[handle]
                rejections.add(
                    model.UNSUPPORTED,
                    FieldError(key.metric_name, "native histograms are not taken", position),
                    key.organization_id,
                    histograms,
                )

    def _forget(self, grant: IngestGrant) -> Runs:
        self._runs.clear()
        self.remembered_bytes = 0
        return self._runs_of(grant)

    def _runs_of(self, grant: IngestGrant) -> Runs:
        runs = self._runs.get(grant.organization_id)
        if runs is None:
            runs = self._runs[grant.organization_id] = self._new_runs()
        return runs

    def _named(self, message: wire.TimeSeries, is_platform: bool) -> Named:
        """What a series says with a label that is not remembered. Raises Refused."""
        labels = [self._labels.get(one) or self._label(one) for one in message.labels]
        names = [label.tag[0] for label in labels]
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise Refused(model.INVALID, f"label {repeated[:64]}", "is there twice")
        return named(labels, is_platform=is_platform)

    def _learn(self, said: Named, grant: IngestGrant) -> int:
        """The handle of a series that was never met in this form. Raises Refused."""
        organization, service_name, metric_name, tags = said
        organization_id = grant.organization_id or read_tenant(
            model.ORGANIZATION_LABEL, organization
        )
        metric_type = self._types.get((service_name, metric_name))
        if metric_type is None or len(tags) > self._limits.tags:
            metric_type = self._type_of(service_name, metric_name, len(tags))
        unit = self._units.get((organization_id, metric_name))
        return self.directory.handle(
            SeriesKey(organization_id, service_name, metric_name, tags, metric_type, unit)
        )

    async def _learn_units(self, body: bytes, organization_id: UUID) -> None:
        """The units that a request without samples declares, for series that are known and for
        those that come."""
        try:
            told = wire.MetadataRequest.FromString(body).metadata
        except DecodeError as exc:
            raise _malformed() from exc
        learnt: dict[str, str] = {}
        for one in told[:MOST_METRICS]:
            name, unit = _text(one.metric_family_name), _text(one.unit)
            if not name or not unit or self._limits.problem_with_name("unit", unit) is not None:
                continue
            for metric in (name, *(name + suffix for suffix in _IN_ITS_UNIT)):
                if self._units.get((organization_id, metric)) != unit:
                    learnt[metric] = unit
        if not learnt:
            return
        if len(self._units) + len(learnt) > MOST_LABELS:
            self._units.clear()
        self._units |= {(organization_id, metric): unit for metric, unit in learnt.items()}
        for nth, key in enumerate(list(self.directory.keys)):
            if nth % KEYS_AT_ONCE == KEYS_AT_ONCE - 1:
                await asyncio.sleep(0)
            if key.organization_id == organization_id and key.metric_name in learnt:
                self.directory.handle(replace(key, unit=learnt[key.metric_name]))

    def _type_of(self, service_name: str, metric_name: str, tags: int) -> str:
        """The type of a metric whose names are good. Raises Refused."""
        problem = self._limits.problem_with_names(service_name, metric_name, tags)
        if problem is not None:
            raise Refused(model.INVALID, problem.field, problem.reason)
        if len(self._types) >= MOST_LABELS:
            self._types.clear()
        found = self._types[service_name, metric_name] = infer_metric_type(metric_name)
        return found

    def _label(self, encoded: bytes) -> Label:
        """A label that is not remembered; it is from now on, unless it is long. Raises Refused."""
        label = label_of(*_label(encoded))
        problem = None if label.role == METRIC else self._limits.problem_with_tag(*label.tag)
        if problem is not None:
            raise Refused(model.INVALID, problem.field, problem.reason)
        if len(self._labels) >= MOST_LABELS:
            self._labels.clear()
        if len(encoded) <= 256:
            self._labels[encoded] = label
        return label


def _series_of(message: bytes) -> wire.TimeSeries:
    try:
        return wire.TimeSeries.FromString(message)
    except DecodeError as exc:
        raise _malformed() from exc


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


def _text(encoded: bytes) -> str:
    """What it says, or nothing where it is no text."""
    return encoded.decode(errors="ignore") if len(encoded) <= _LONGEST_TEXT else ""


def _malformed() -> MalformedBody:
    return MalformedBody("The body is not a WriteRequest of remote write 1.0.")
