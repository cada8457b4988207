"""What becomes of an organization's day: which rows are taken in, and what takes their place.

Three rules keep every read the same whatever has been compacted:

1. A run takes every write batch of the day up to some block id, leaving out none in between. What
   it makes carries the highest id that it took, so whatever is left is later and still wins.
2. Compacted rows never hold the same series and time twice: where a new sample has the series and
   time of an old one, the old one goes.
3. Samples of different contexts or sources never come into one row.

A compacted row that is not full yet is taken in with the new samples. A full one is made again only
when new samples supersede some of its own, so that late ones cost no more than themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.blocks.model import Columns, Context, SeriesIds, last_wins
from wedsync_apm.metrics.blocks.packing import MOST_SAMPLES, PackedRow, pack_rows

FULL_SAMPLES: Final = MOST_SAMPLES // 2
"""A row of so many stays as it is when samples follow it."""
_DAY_BITS: Final = 28
"""Two days of milliseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """A compacted row without its samples; `place` is where it lies."""

    place: str
    first_ms: int
    last_ms: int
    series_ids: SeriesIds
    sample_count: int


@dataclass(frozen=True, slots=True, eq=False)
class NewRow:
    """A packed row and what its samples have in common."""

    context: Context
    packed: PackedRow


def choose_rows(
    headers: Sequence[Header], most_samples: int, day_end_ms: int
) -> tuple[list[Header], list[Header]]:
    """The rows to take in, which are not full (at most so many samples), and the others.

    A row that ends behind its day is not ours, and must not make one that is too long.
    """
    taken: list[Header] = []
    others: list[Header] = []
    room = most_samples
    for header in sorted(headers, key=lambda one: one.sample_count):
        is_full = header.sample_count >= FULL_SAMPLES
        if not is_full and header.sample_count <= room and header.last_ms < day_end_ms:
            taken.append(header)
            room -= header.sample_count
        else:
            others.append(header)
    return taken, others


def may_supersede(new: Columns, header: Header) -> bool:
    """Whether any of the samples may have the series and time of one in the row."""
    at = new.timestamps_ms
    inside = (at >= header.first_ms) & (at <= header.last_ms)
    return bool(inside.any() and np.isin(new.series[inside], header.series_ids).any())


def find_superseded(old: Columns, new: Columns) -> NDArray[np.bool_]:
    """Which of the old samples have the series and time of a new one."""
    day = int(min(old.timestamps_ms.min(), new.timestamps_ms.min()))
    found: NDArray[np.bool_] = np.isin(_keys(old, day), _keys(new, day))
    return found


def _keys(columns: Columns, day: int) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = columns.series.astype(np.int64) << _DAY_BITS
    keys |= columns.timestamps_ms - day
    return keys


def make_rows(columns: Columns) -> Iterator[NewRow]:
    """Packs samples, of each series and time the last written, by context."""
    ordered = last_wins(columns)
    for code in np.unique(ordered.context).tolist():
        for packed in pack_rows(ordered.take(ordered.context == code)):
            yield NewRow(ordered.contexts[code], packed)
