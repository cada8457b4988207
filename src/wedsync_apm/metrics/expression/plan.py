"""Which samples an expression needs: each leaf over the instants at which it is looked at."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wedsync_apm.metrics.expression.syntax import Edge, Expression, Leaf, Subquery, parts
from wedsync_apm.metrics.model import Ints


@dataclass(frozen=True, slots=True)
class Grid:
    """Instants from `start_ms` to `end_ms`, both included, every `step_ms`: one where both are
    equal, none where the end is before the start."""

    start_ms: int
    end_ms: int
    step_ms: int = 1

    @property
    def count(self) -> int:
        """How many there are."""
        return max((self.end_ms - self.start_ms) // self.step_ms + 1, 0)

    @property
    def instants_ms(self) -> Ints:
        """All of them."""
        return np.arange(self.start_ms, self.end_ms + 1, self.step_ms, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Need:
    """A leaf over a grid."""

    leaf: Leaf
    grid: Grid

    @property
    def span(self) -> tuple[int, int]:
        """The time [from, behind) of the samples that it may take, in milliseconds."""
        first = self.grid.start_ms - self.leaf.offset_ms - self.leaf.range_ms
        return first, self.grid.end_ms - self.leaf.offset_ms + 1


def needs_of(expression: Expression, asked: Grid) -> list[Need]:
    """Each once."""
    return list(dict.fromkeys(_needs(expression, asked, asked)))


def _needs(expression: Expression, grid: Grid, asked: Grid) -> Iterator[Need]:
    match expression:
        case Leaf():
            yield need_of(expression, grid, asked)
        case Subquery():
            inner = inner_grid(expression, grid, asked)
            if inner.count:
                yield from _needs(expression.inner, inner, asked)
        case _:
            for one in parts(expression):
                yield from _needs(one, grid, asked)


def need_of(leaf: Leaf, grid: Grid, asked: Grid) -> Need:
    """The leaf over a grid, or over the one instant at which it is fixed."""
    return Need(leaf, fixed_grid(leaf.at, grid, asked))


def fixed_grid(at: int | Edge | None, grid: Grid, asked: Grid) -> Grid:
    """The grid, or the one instant that `@` says."""
    if at is None:
        return grid
    if isinstance(at, Edge):
        at = asked.start_ms if at is Edge.START else asked.end_ms
    return Grid(at, at)


def inner_grid(subquery: Subquery, grid: Grid, asked: Grid) -> Grid:
    """The instants of a subquery for all windows of a grid: multiples of its step."""
    outer = fixed_grid(subquery.at, grid, asked)
    first = outer.start_ms - subquery.offset_ms - subquery.range_ms
    last = outer.end_ms - subquery.offset_ms
    step = subquery.step_ms
    return Grid(-(-first // step) * step, last, step)
