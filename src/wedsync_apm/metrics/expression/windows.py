"""What functions make of samples, for all series and instants at once.

A range holds both of its ends, as in Prometheus before version 3. The extrapolation of `rate` and
`increase` is the one that Prometheus documents in its source: towards each end of the range, by at
most 1.1 average distances, else by half of one, and never below zero for a counter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.expression.syntax import Function, Leaf
from wedsync_apm.metrics.model import Floats, Ints

NEVER_ENDED: Final = np.iinfo(np.int64).max
"""In place of when a series ended."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples by series and time, each time once: those of series i are `starts[i]:starts[i + 1]`.

    `ended_ms` is when a series was said to have ended.
    """

    starts: Ints
    at_ms: Ints
    values: Floats
    ended_ms: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A row a series, a column an instant; `values` mean something where `present`."""

    values: Floats
    present: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """For each series and instant the samples `first:behind`, none where both are equal."""

    samples: Samples
    first: Ints
    behind: Ints
    ends_ms: Ints

    @property
    def counts(self) -> Ints:
        return self.behind - self.first

    def reduce(self, operation: np.ufunc, column: Floats, skip: int = 0) -> Floats:
        """The operation over each window without its first `skip`; 0 where nothing is left."""
        first, behind = self.first.ravel() + skip, self.behind.ravel()
        found = np.zeros(len(first))
        some = first < behind
        # Every other slice of reduceat is a window; the dummy lets the last end where all ends.
        bounds = np.column_stack((first[some], behind[some])).ravel()
        if len(bounds):
            found[some] = operation.reduceat(np.append(column, 0.0), bounds)[::2]
        return found.reshape(self.first.shape)

    def at(self, column: NDArray[np.float64] | Ints, index: Ints) -> Floats:
        """The column at places some of which do not exist."""
        return column[np.clip(index, 0, len(column) - 1)].astype(np.float64)


def apply(leaf: Leaf, samples: Samples, instants_ms: Ints) -> Matrix:
    """What the leaf comes to at the instants."""
    series = len(samples.starts) - 1
    shape = (series, len(instants_ms))
    if not len(samples.at_ms):
        return Matrix(np.zeros(shape), np.zeros(shape, np.bool_))
    ends = instants_ms - leaf.offset_ms
    windows = _cut(samples, ends - leaf.range_ms, ends)
    if leaf.function is Function.LATEST:
        return _latest(windows)
    with np.errstate(all="ignore"):
        if leaf.function in (Function.RATE, Function.INCREASE):
            return _rise(windows, leaf)
        return Matrix(_SUMMARIES[leaf.function](windows), windows.counts > 0)


def _cut(samples: Samples, begins: Ints, ends: Ints) -> _Windows:
    # One ascending column of series and time, so that one search finds all edges.
    lowest = min(int(samples.at_ms.min()), int(begins.min()))
    span = max(int(samples.at_ms.max()), int(ends.max())) - lowest + 2
    base = np.arange(len(samples.starts) - 1, dtype=np.int64) * span
    key = np.repeat(base, np.diff(samples.starts)) + (samples.at_ms - lowest)
    first = np.searchsorted(key, base[:, None] + (begins - lowest), side="left")
    behind = np.searchsorted(key, base[:, None] + (ends - lowest), side="right")
    return _Windows(samples, first, behind, ends)


def _latest(windows: _Windows) -> Matrix:
    samples, place = windows.samples, windows.behind - 1
    at = samples.at_ms[np.clip(place, 0, None)]
    ended = samples.ended_ms[:, None]
    over = (at < ended) & (ended <= windows.ends_ms)
    return Matrix(windows.at(samples.values, place), (windows.counts > 0) & ~over)


def _rise(windows: _Windows, leaf: Leaf) -> Matrix:
    samples, counts = windows.samples, windows.counts
    values, last_place = samples.values, windows.behind - 1
    # What a counter had when it started again from zero; never across series, as no window is.
    lost = np.zeros(len(values))
    lost[1:] = np.where(values[1:] < values[:-1], values[:-1], 0.0)
    first, last = windows.at(values, windows.first), windows.at(values, last_place)
    rise = last - first + windows.reduce(np.add, lost, skip=1)
    first_at = windows.at(samples.at_ms, windows.first)
    last_at = windows.at(samples.at_ms, last_place)
    to_start = (first_at - (windows.ends_ms - leaf.range_ms)) / 1000
    to_end = (windows.ends_ms - last_at) / 1000
    sampled = (last_at - first_at) / 1000
    distance = sampled / (counts - 1)
    to_zero = sampled * (first / rise)
    to_start = np.where((rise > 0) & (first >= 0), np.minimum(to_zero, to_start), to_start)
    extrapolated = sampled.copy()
    for edge in (to_start, to_end):
        extrapolated += np.where(edge < distance * 1.1, edge, distance / 2)
    factor = extrapolated / sampled
    if leaf.function is Function.RATE:
        factor /= leaf.range_ms / 1000
    return Matrix(rise * factor, counts > 1)


def _average(windows: _Windows) -> Floats:
    return windows.reduce(np.add, windows.samples.values) / windows.counts


_SUMMARIES: Final[dict[Function, Callable[[_Windows], Floats]]] = {
    Function.COUNT_OVER_TIME: lambda windows: windows.counts.astype(np.float64),
    Function.SUM_OVER_TIME: lambda windows: windows.reduce(np.add, windows.samples.values),
    Function.AVG_OVER_TIME: _average,
    # as Prometheus: NaN only if there is nothing else
    Function.MIN_OVER_TIME: lambda windows: windows.reduce(np.fmin, windows.samples.values),
    Function.MAX_OVER_TIME: lambda windows: windows.reduce(np.fmax, windows.samples.values),
    Function.LAST_OVER_TIME: lambda windows: windows.at(windows.samples.values, windows.behind - 1),
}
