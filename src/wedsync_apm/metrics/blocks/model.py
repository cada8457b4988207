"""Samples as columns, and which of those that were written more than once counts."""

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
