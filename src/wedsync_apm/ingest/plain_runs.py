"""The same as `runs`, in plain Python and by the protobuf package: where `runs` is not compiled.

Some eight times slower, and what `runs` is compared with.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from wedsync_apm.ingest.labels import Label, Named, named
from wedsync_apm.ingest.wire import remote_write_pb2 as wire
from wedsync_apm.metrics.model import Floats, Ints

STALE_MARKER: Final = 0x7FF0000000000002
"""The bits of the NaN by which Prometheus says that a series ended. Other NaNs are values."""
_LATEST: Final = 2**63 - 1
Tag = tuple[str, str]
Member = tuple[bytes, bytes]
"""By what a tag is sorted, and its text."""


class UnknownSeries(NamedTuple):
    """One that must be looked at by itself: not met before, or holding more than samples."""

    position: int
    """In the request."""
    start: int
    """Of its message, in the body."""
    labels_stop: int
    """Before it are labels alone, behind it samples alone; `start` where that is not so."""
    stop: int
    """Its message ends before it."""
    first: int
    """Of its samples, which have the handle -1; the last one is before `after`."""
    after: int


class Scan(NamedTuple):
    """What is in a WriteRequest."""

    series: int
    samples: int
    handles: Ints
    """Of each sample, as are the two that follow."""
    timestamps_ms: Ints
    values: Floats
    unknown: list[UnknownSeries]
    stale: int
    """Samples that are staleness markers."""
    earliest_ms: int
    """More than `latest_ms` if there are no samples."""
    latest_ms: int


class Runs:
    """The runs of one tenant: the bytes of a series' labels, and what they stand for."""

    def __init__(self) -> None:
        self._handles: dict[bytes, int] = {}

    def remember(self, run: bytes, handle: int) -> int:
        """Remembers what a run, which is not empty, stands for; gives back how many bytes more
        are remembered now."""
        if not run:
            raise ValueError("a run has bytes")
        more = 0 if run in self._handles else len(run)
        self._handles[run] = handle
        return more

    def scan(self, body: bytes | memoryview, most: int) -> Scan:
        """What is in a body; of more than `most` series or samples the counts alone are right.

        Raises ValueError for what is no WriteRequest.
        """
        body = bytes(body)
        try:
            messages = wire.SeriesRequest.FromString(body).timeseries
            if len(messages) > most:
                return _counts(len(messages), 0)
            series = [wire.TimeSeries.FromString(message) for message in messages]
        except DecodeError as exc:
            raise ValueError("not a WriteRequest") from exc
        counts = [len(one.samples) for one in series]
        if sum(counts) > most:
            return _counts(len(series), sum(counts))
        handles, unknown = [], []
        first = start = 0
        for index, (one, message, count) in enumerate(zip(series, messages, counts, strict=True)):
            start = body.index(message, start)
            run = _run_of(one.labels)
            is_plain = message.startswith(run) and not one.histograms
            handle = self._handles.get(run, -1) if is_plain else -1
            if handle < 0:
                labels_stop = start + len(run) if is_plain else start
                stop = start + len(message)
                unknown.append(UnknownSeries(index, start, labels_stop, stop, first, first + count))
            handles.append(handle)
            first += count
            start += len(message)
        samples = list(chain.from_iterable(one.samples for one in series))
        values = np.array([sample.value for sample in samples], np.float64)
        timestamps_ms = np.array([sample.timestamp for sample in samples], np.int64)
        return Scan(
            len(series),
            len(samples),
            np.repeat(np.array(handles, np.int64), counts),
            timestamps_ms,
            values,
            unknown,
            stale=int((values.view(np.uint64) == STALE_MARKER).sum()),
            earliest_ms=int(timestamps_ms.min(initial=_LATEST)),
            latest_ms=int(timestamps_ms.max(initial=-_LATEST)),
        )


def known_series(run: bytes, known: Mapping[bytes, Label], is_platform: bool) -> Named | None:
    """What the labels of a run say; None if `known` lacks one, and if one name is there twice."""
    found = [known.get(label) for label in wire.TimeSeries.FromString(run).labels]
    labels = [label for label in found if label is not None]
    if len({label.tag[0] for label in labels}) < len(found):
        return None
    return named(labels, is_platform=is_platform)


def joined_members(
    tags: tuple[Tag, ...], known: dict[Tag, Member], make: Callable[[Tag], Member]
) -> bytes | None:
    """The texts of tags, between commas, in the order of their keys. `known` has key and text of
    each; what it lacks is put in as `make` gives it. None, when compiled, for more than 80."""
    for tag in tags:
        if tag not in known:
            known[tag] = make(tag)
    return b", ".join([text for _, text in sorted([known[tag] for tag in tags])])


def _run_of(labels: Iterable[bytes]) -> bytes:
    """The bytes of labels as senders write them into a series."""
    return b"".join([_head(len(label)) + label for label in labels])


@lru_cache(maxsize=4096)
def _head(length: int) -> bytes:
    """What stands before a label of so many bytes."""
    head = bytearray(b"\x0a")
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head)


def _counts(series: int, samples: int) -> Scan:
    nothing = np.zeros(0, np.int64)
    return Scan(series, samples, nothing, nothing, np.zeros(0), [], 0, _LATEST, -_LATEST)
