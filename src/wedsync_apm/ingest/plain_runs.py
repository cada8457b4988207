"""The same as `runs`, in plain Python and by the protobuf package: where `runs` is not compiled.

Some eight times slower, and what `runs` is compared with.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError

from wedsync_apm.ingest.wire import remote_write_pb2 as wire
from wedsync_apm.metrics.model import Floats, Ints

STALE_MARKER: Final = 0x7FF0000000000002
"""The bits of the NaN by which Prometheus says that a series ended. Other NaNs are values."""

Unknown = tuple[int, int, int, int, int]
"""A series' number in the request, where its message starts and stops in the body, its first
sample, and the one after its last."""
Scan = tuple[int, int, Ints, Ints, Floats, list[Unknown], int]
"""Counts of series and samples; of each sample the handle, milliseconds and value; the series that
must be looked at one by one, and the count of staleness markers."""


class Runs:
    """The runs of one tenant: the bytes of a series' labels, and what they stand for."""

    def __init__(self) -> None:
        self._handles: dict[bytes, int] = {}
        self.remembered_bytes = 0

    def remember(self, run: bytes, handle: int) -> None:
        """Remembers what a run, which is not empty, stands for."""
        if not run:
            raise ValueError("a run has bytes")
        if run not in self._handles:
            self.remembered_bytes += len(run)
        self._handles[run] = handle

    def scan(self, body: bytes, most: int) -> Scan:
        """What is in a body; if there are more than `most` series or samples, the counts alone.

        Raises ValueError for what is no WriteRequest.
        """
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
            run = run_of(one.labels)
            handle = self._handles.get(run, -1)
            if handle < 0 or one.histograms or not message.startswith(run):
                handle = -1
                unknown.append((index, start, start + len(message), first, first + count))
            handles.append(handle)
            first += count
            start += len(message)
        samples = list(chain.from_iterable(one.samples for one in series))
        values = np.array([sample.value for sample in samples], np.float64)
        return (
            len(series),
            len(samples),
            np.repeat(np.array(handles, np.int64), counts),
            np.array([sample.timestamp for sample in samples], np.int64),
            values,
            unknown,
            int((values.view(np.uint64) == STALE_MARKER).sum()),
        )


def run_of(labels: Iterable[bytes]) -> bytes:
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
    return series, samples, nothing, nothing, np.zeros(0), [], 0
