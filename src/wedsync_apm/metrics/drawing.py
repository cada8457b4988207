"""Points of a range query as they are drawn: one value a step, in the points' own unit. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from wedsync_apm.metrics.ranges import Aggregation, RangeAnswer

Point = float | None


def step_of(answer: RangeAnswer) -> float:
    """The steps of the drawing: those of the answer, or as wide as the samples really come.

    A sender that reports once a minute leaves every other half minute empty: that is no gap.
    """
    paces = [
        median(b[0] - a[0] for a, b in pairwise(one.points))
        for one in answer.series
        if len(one.points) > 2
    ]
    return max([answer.step_seconds, *paces])


def unit_of(unit: str | None, aggregation: Aggregation) -> str:
    """The unit of the points: a rate and a count have units of their own."""
    if aggregation is Aggregation.COUNT:
        return ""
    if aggregation is Aggregation.RATE:
        return f"{unit}/s" if unit and unit != "1" else "/s"
    return unit or ""


def grid(
    points: Sequence[tuple[float, float]], first: float, step: float, count: int
) -> tuple[Point, ...]:
    """One value for each of `count` steps from number `first`; gaps are None."""
    values: list[Point] = [None] * count
    for at, value in points:
        index = int(at // step - first)
        if 0 <= index < count:
            before = values[index]
            # Several in one step: the highest is drawn, so that a peak stays visible.
            values[index] = value if before is None else max(before, value)
    return tuple(values)


def thin(values: Sequence[Point], count: int) -> tuple[Point, ...]:
    """At most `count` points, each the highest of its stretch, so that a peak stays visible."""
    if len(values) <= count:
        return tuple(values)
    size = -(-len(values) // count)
    stretches = (values[i : i + size] for i in range(0, len(values), size))
    return tuple(max((v for v in stretch if v is not None), default=None) for stretch in stretches)
