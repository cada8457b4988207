"""Samples in the order in which windows and steps are cut out of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.blocks.decoding import COMPACTED, WRITE_BATCH, Row, decode_rows
from wedsync_apm.metrics.blocks.wire import read_array
from wedsync_apm.metrics.model import Floats, Ints
from wedsync_apm.metrics.reading.wire import line_numbers, read_lines

SeriesIds = NDArray[np.int32]

_MOST_STRETCHES: Final = 8
_LEVEL, _SERIES, _OFFSETS, _VALUES, _BITS = 1, 3, 4, 5, 18
"""Where columns stand; behind the bits stand those of the batches."""
_VALUE_BYTES: Final = 12
"""Of a value with its length, as PostgreSQL sends it."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Samples of some rows: of the same series and time the highest `order` counts."""

    series: SeriesIds
    at_ms: Ints
    values: Floats
    order: Ints


NOTHING: Final = Part(
    np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64)
)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Samples by series and time, each time once."""

    series: SeriesIds
    at_ms: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.series)

    def of(self, wanted: SeriesIds) -> "Line":
        """The samples of some series, given in ascending order."""
        rows = rows_of(self.series, wanted)
        return Line(self.series[rows], self.at_ms[rows], self.values[rows])


def decode(rows: Sequence[tuple[Any, ...]], wanted: SeriesIds) -> list[Part]:
    """The samples of some series in rows whose arrays are as they came."""
    compacted = [_row(row) for row in rows if row[_LEVEL] == COMPACTED]
    columns = decode_rows(compacted, wanted)
    return [
        *(_decode_batches(row, wanted) for row in rows if row[_LEVEL] == WRITE_BATCH),
        Part(columns.series, columns.timestamps_ms, columns.values, columns.order),
    ]


def most_samples(row: tuple[Any, ...]) -> int:
    """About how many samples there can be in a row."""
    values, bits = row[_VALUES] or b"", row[_BITS] or b""
    return len(values) // _VALUE_BYTES + len(bits)


def _row(row: tuple[Any, ...]) -> Row:
    """A compacted row; its bits stand last of what it has."""
    *columns, bits = row[: _BITS + 1]
    read: list[Any] = [read_array(one) if isinstance(one, bytes) else one for one in columns]
    return Row(*[*read, bits])


def _decode_batches(row: tuple[Any, ...], wanted: SeriesIds) -> Part:
    """Write batches of one size: their values are lines, and so are the series and offsets of those
    that have others than the batch before."""
    series, offsets, values = (read_lines(row[place]) for place in (_SERIES, _OFFSETS, _VALUES))
    block_ids, first_ms, numbers, is_new = map(read_array, row[_BITS + 1 :])
    line = line_numbers(numbers, is_new)
    # By series, then by batch, which is nearly the order that is wanted.
    place, batch = np.nonzero(is_among(series, wanted).T[:, line])
    line = line[batch]
    return Part(
        series[line, place].astype(np.int32),
        first_ms[batch] + offsets[line, place],
        values[batch, place].astype(np.float64),
        block_ids[batch],
    )


def is_among(series: NDArray[Any], wanted: SeriesIds) -> NDArray[np.bool_]:
    """Which of the series are wanted; `wanted` ascends."""
    if not len(wanted):
        return np.zeros(len(series), np.bool_)
    place = np.searchsorted(wanted, series)
    found: NDArray[np.bool_] = wanted[np.minimum(place, len(wanted) - 1)] == series
    return found


def rows_of(series: SeriesIds, wanted: SeriesIds) -> slice | Ints:
    """Where rows of some series stand among those of all; both ascend."""
    first = np.searchsorted(series, wanted, side="left")
    behind = np.searchsorted(series, wanted, side="right")
    if not len(wanted):
        return slice(0, 0)
    if (first[1:] == behind[:-1]).all():
        return slice(int(first[0]), int(behind[-1]))
    counts = behind - first
    return np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def line_up(parts: Sequence[Part], from_ms: int, behind_ms: int) -> Line:
    """The samples of [from, behind) in order."""
    series = np.concatenate([part.series for part in parts])
    at = np.concatenate([part.at_ms for part in parts])
    inside = np.flatnonzero((at >= from_ms) & (at < behind_ms))
    if behind_ms - from_ms < 2**32:
        # one number instead of two columns: twice as fast to sort
        key = series[inside].astype(np.int64) << 32 | (at[inside] - from_ms)
        place = inside[np.argsort(key, kind="stable")]
    else:
        place = inside[np.lexsort((at[inside], series[inside]))]
    again = (series[place[1:]] == series[place[:-1]]) & (at[place[1:]] == at[place[:-1]])
    if again.any():
        order = np.concatenate([part.order for part in parts])
        place = inside[np.lexsort((order[inside], at[inside], series[inside]))]
        place = place[np.append(~again, True)]
    values = np.concatenate([part.values for part in parts])
    return Line(series[place], at[place], values[place])


def unite_stretches(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same as few stretches [first, behind), in order and apart from each other. Of very
    many only the first and the last are kept apart from what lies between."""
    united: list[tuple[int, int]] = []
    for first, behind in sorted(one for one in stretches if one[0] < one[1]):
        if united and first <= united[-1][1]:
            united[-1] = united[-1][0], max(united[-1][1], behind)
        else:
            united.append((first, behind))
    if len(united) > _MOST_STRETCHES:
        return [united[0], (united[1][0], united[-2][1]), united[-1]]
    return united
