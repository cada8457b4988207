"""The samples that each series has in the range before each instant.

A range holds both of its ends, as in Prometheus before version 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.vectors import Matrix, Samples
from wedsync_apm.metrics.model import Floats, Ints

_SLOTS_AT_A_TIME: Final = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """For each series and instant the samples `first:behind`, none where both are equal.

    The samples are those of [end - range, end]; `now_ms` is the instant, which an offset or `@`
    takes apart from the end.
    """

    samples: Samples
    first: Ints
    behind: Ints
    ends_ms: Ints
    range_ms: int
    now_ms: Ints
    budget: Budget

    @property
    def counts(self) -> Ints:
        """How many samples each has."""
        return self.behind - self.first

    def reduce(self, operation: np.ufunc, column: Floats, skip: int = 0) -> Floats:
        """The operation over each window without its first `skip`; 0 where nothing is left."""
        first, behind = self.first.ravel() + skip, self.behind.ravel()
        found = np.zeros(len(first))
        some = first < behind
        # Every other slice of reduceat is a window; the dummy lets the last end where all ends.
        bounds = np.column_stack((first[some], behind[some])).ravel()
        if len(bounds):
            self.budget.take(int((behind - first)[some].sum()))
            found[some] = operation.reduceat(np.append(column, 0.0), bounds)[::2]
        return found.reshape(self.first.shape)

    def at(self, column: NDArray[np.float64] | Ints, index: Ints) -> Floats:
        """The column at places some of which do not exist."""
        return column[np.clip(index, 0, len(column) - 1)].astype(np.float64)

    def spread(self) -> Iterator["Slots"]:
        """The windows with samples, some at a time, each in a column with its samples below each
        other."""
        counts = self.counts.ravel()
        # those of nearly equal length together, so that little is empty
        order = np.argsort(counts, kind="stable")
        order = order[np.searchsorted(counts[order], 1) :]
        while len(order):
            # the longest first; as many as have room with it
            length = int(counts[order[-1]])
            some = order[-max(_SLOTS_AT_A_TIME // length, 1) :]
            order = order[: -len(some)]
            self.budget.take(length * len(some))
            slot = np.arange(length)[:, None]
            present = slot < counts[some]
            place = np.where(present, self.first.ravel()[some] + slot, 0)
            now = self.now_ms[some % len(self.now_ms)]
            at_ms, values = self.samples.at_ms[place], self.samples.values[place]
            yield Slots(some, values, at_ms, present, now)


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Columns of samples, one for each of `windows` (numbers), oldest first; `values` mean
    something where `present`."""

    windows: Ints
    values: Floats
    at_ms: Ints
    present: NDArray[np.bool_]
    now_ms: Ints

    @property
    def counts(self) -> Ints:
        """How many samples each window has."""
        found: Ints = self.present.sum(axis=0)
        return found


def cut(samples: Samples, ends_ms: Ints, range_ms: int, now_ms: Ints, budget: Budget) -> Windows:
    """The windows of all series; there must be samples."""
    begins_ms = ends_ms - range_ms
    # One ascending column of series and time, so that one search finds all edges.
    lowest = min(int(samples.at_ms.min()), int(begins_ms.min()))
    span = max(int(samples.at_ms.max()), int(ends_ms.max())) - lowest + 2
    base = np.arange(len(samples.starts) - 1, dtype=np.int64) * span
    key = np.repeat(base, np.diff(samples.starts)) + (samples.at_ms - lowest)
    first = np.searchsorted(key, base[:, None] + (begins_ms - lowest), side="left")
    behind = np.searchsorted(key, base[:, None] + (ends_ms - lowest), side="right")
    return Windows(samples, first, behind, ends_ms, range_ms, now_ms, budget)


def empty_matrix(series: int, instants: int) -> Matrix:
    """Nothing is there."""
    return Matrix(np.zeros((series, instants)), np.zeros((series, instants), np.bool_))
