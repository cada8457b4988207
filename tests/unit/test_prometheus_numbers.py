"""Numbers and points as Prometheus writes them."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wedsync_apm.api.prometheus.answers import heads_of, numbers_of, points
from wedsync_apm.metrics.expression.plan import Grid


def in_go(value: float) -> str:
    """`strconv.FormatFloat(value, 'f', -1, 64)` where it stays short, else with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value and not 1e-6 <= abs(value) < 1e21:
        return repr(value)
    return np.format_float_positional(value, trim="-")


@given(st.lists(st.floats()))
@example([0.0, -0.0, 1.0, 10.0, 100.05, 1e15, 1e16, 1e20, 1e21, 1e-4, 9.99e-5, 1e-6, 9e-7, 5e-324])
def test_numbers_are_the_shortest_that_read_back(values: list[float]) -> None:
    texts = numbers_of(np.array(values, np.float64))
    assert texts == [in_go(value) for value in values]


@pytest.mark.parametrize(
    ("grid", "times"),
    [
        (Grid(60_000, 180_000, 60_000), [60, 120, 180]),
        (Grid(500, 1_500, 500), [0.5, 1, 1.5]),
        (Grid(-1_000, -1_000), [-1]),
    ],
)
def test_points_are_pairs_of_seconds_and_text(grid: Grid, times: list[float]) -> None:
    numbers = [str(n) for n in range(len(times))]
    found = json.loads(bytes(points(heads_of(grid), numbers)))
    assert found == [list(pair) for pair in zip(times, numbers, strict=True)]
    assert [type(at) for at, _ in found] == [type(at) for at in times]
