"""Series with their values at many instants, and what is the same for all that works on them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.model import Floats, Ints

NAME: Final = "__name__"
NEVER_ENDED: Final = np.iinfo(np.int64).max
"""In place of when a series ended."""
ALWAYS: Final = np.iinfo(np.int64).min
"""In place of from when on samples are kept."""

Labels = Mapping[str, str]
Scalar = Floats
"""A number at each instant, or one for all of them."""


class AmbiguousAnswer(ValueError):
    """Two series of an answer have the same labels, or two fit where one may."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples by series and time, each time once: those of series i are `starts[i]:starts[i + 1]`.

    `ended_ms` has a row for each series: when it was said to have ended, and then `NEVER_ENDED`.
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

    @property
    def is_anywhere(self) -> NDArray[np.bool_]:
        """Of each series, whether it is there at any instant."""
        return np.asarray(self.present.any(axis=1))

    @property
    def is_any(self) -> NDArray[np.bool_]:
        """Of each instant, whether any series is there."""
        return np.asarray(self.present.any(axis=0))

    def of(self, rows: Sequence[int] | Ints) -> "Matrix":
        """Some of the rows."""
        return Matrix(self.values[rows], self.present[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """Series with their labels, and their values at every instant."""

    labels: Sequence[Labels]
    matrix: Matrix

    def over(self, instants: int) -> "Vector":
        """The same at so many instants, where it holds at one for all."""
        shape = (len(self.labels), instants)
        values, present = self.matrix.values, self.matrix.present
        return Vector(
            self.labels, Matrix(np.broadcast_to(values, shape), np.broadcast_to(present, shape))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """Series with their labels, and all their samples; those before `kept_from_ms` are not kept
    any more."""

    labels: Sequence[Labels]
    samples: Samples
    kept_from_ms: int = ALWAYS


def nothing(instants: int) -> Vector:
    """No series."""
    return Vector([], Matrix(np.zeros((0, instants)), np.zeros((0, instants), np.bool_)))


def key_of(labels: Labels) -> frozenset[tuple[str, str]]:
    """Equal for equal labels."""
    return frozenset(labels.items())


def without(labels: Labels, left_out: Collection[str]) -> dict[str, str]:
    """The labels but some."""
    return {name: value for name, value in labels.items() if name not in left_out}


def unnamed(labels: Sequence[Labels]) -> list[Labels]:
    """Labels of values that are no longer the metric's."""
    return [without(one, (NAME,)) for one in labels]


def refuse_alike(vector: Vector) -> Vector:
    """The same vector. Raises AmbiguousAnswer where two series that are there at any instants
    have the same labels, as a function of a range does."""
    if len({key_of(one) for one in vector.labels}) < len(vector.labels):
        seen: set[frozenset[tuple[str, str]]] = set()
        for labels, is_there in zip(vector.labels, vector.matrix.is_anywhere, strict=True):
            if is_there:
                if key_of(labels) in seen:
                    raise AmbiguousAnswer(_SAME)
                seen.add(key_of(labels))
    return vector


def join_alike(vector: Vector) -> Vector:
    """Series of the same labels as one. Raises AmbiguousAnswer where they meet at an instant."""
    places: defaultdict[frozenset[tuple[str, str]], list[int]] = defaultdict(list)
    for row, labels in enumerate(vector.labels):
        places[key_of(labels)].append(row)
    if len(places) == len(vector.labels):
        return vector
    values = np.empty((len(places), vector.matrix.values.shape[1]))
    present = np.empty(values.shape, np.bool_)
    for row, those in enumerate(places.values()):
        there = vector.matrix.present[those]
        if len(those) > 1 and (there.sum(axis=0) > 1).any():
            raise AmbiguousAnswer(_SAME)
        present[row] = there.any(axis=0)
        chosen = there.argmax(axis=0)
        values[row] = vector.matrix.values[np.array(those)[chosen], np.arange(values.shape[1])]
    return Vector([vector.labels[those[0]] for those in places.values()], Matrix(values, present))


_SAME: Final = "vector cannot contain metrics with the same labelset"
