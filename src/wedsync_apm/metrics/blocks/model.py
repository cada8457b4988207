"""What the rows of `apm_metrics` hold, as columns.

A row is a write batch (level 0) or a packed span of many series (level 1). `decode_rows` turns both
into columns of samples without a Python loop over the samples; `last_wins` keeps of each series and
time the sample that counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
SeriesIds = NDArray[np.int32]


class Context(NamedTuple):
    """What samples of one row have in common: the wedding context as JSON text, and the source."""

    wedding_context: str | None
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Samples as equally long columns.

    `timestamps_ms` are milliseconds since 1970 UTC. `order` is the number of the write (its
    `block_id`): of one series and time the highest counts. `context` points into `contexts`.
    """

    series: SeriesIds
    timestamps_ms: Ints
    values: Floats
    order: Ints
    context: NDArray[np.int32]
    contexts: tuple[Context, ...] = ()

    def __len__(self) -> int:
        return len(self.series)

    def take(self, chosen: NDArray[Any]) -> "Columns":
        """The samples of a mask, or at positions."""
        return Columns(
            self.series[chosen],
            self.timestamps_ms[chosen],
            self.values[chosen],
            self.order[chosen],
            self.context[chosen],
            self.contexts,
        )

    @classmethod
    def empty(cls) -> "Columns":
        """No samples."""
        return cls(
            np.zeros(0, np.int32),
            np.zeros(0, np.int64),
            np.zeros(0, np.float64),
            np.zeros(0, np.int64),
            np.zeros(0, np.int32),
        )


def last_wins(columns: Columns) -> Columns:
    """Sorted by series and time, one sample of each pair: that of the last write.

    Within one write the later position wins, as a write batch never holds a pair twice.
    """
    if not len(columns):
        return columns
    order = np.lexsort((columns.order, columns.timestamps_ms, columns.series))
    series, at = columns.series[order], columns.timestamps_ms[order]
    superseded = (series[1:] == series[:-1]) & (at[1:] == at[:-1])
    if superseded.any():
        order = order[np.append(~superseded, True)]
    return columns.take(order)


def concatenate(parts: Sequence[Columns]) -> Columns:
    """All samples of the parts, in their order; equal contexts become one."""
    codes: dict[Context, int] = {}
    context = [
        np.array([codes.setdefault(one, len(codes)) for one in part.contexts] or [0], np.int32)[
            part.context
        ]
        for part in parts
    ]
    if not parts:
        return Columns.empty()
    return Columns(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.timestamps_ms for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.order for part in parts]),
        np.concatenate(context),
        tuple(codes),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A row as `read_rows` brings it: times in milliseconds, arrays as numpy has them."""

    block_id: int
    level: int
    first_ms: int
    series_ids: SeriesIds
    offsets_ms: NDArray[np.int32] | None
    values: Floats | None
    wedding_context: str | None
    source: str


def decode_rows(rows: Sequence[Row], series_ids: SeriesIds | None = None) -> Columns:
    """Every sample of the rows, unsorted; only of the wanted series where these are given."""
    codes: dict[Context, int] = {}
    context = [
        codes.setdefault(Context(row.wedding_context, row.source), len(codes)) for row in rows
    ]
    if not rows:
        return Columns.empty()
    counts = [len(row.series_ids) for row in rows]
    columns = Columns(
        np.concatenate([row.series_ids for row in rows]),
        np.repeat(np.array([row.first_ms for row in rows], np.int64), counts)
        + np.concatenate([row.offsets_ms for row in rows if row.offsets_ms is not None]),
        np.concatenate([row.values for row in rows if row.values is not None]),
        np.repeat(np.array([row.block_id for row in rows], np.int64), counts),
        np.repeat(np.array(context, np.int32), counts),
        tuple(codes),
    )
    return columns if series_ids is None else columns.take(np.isin(columns.series, series_ids))
