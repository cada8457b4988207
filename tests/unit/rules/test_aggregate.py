"""What a window comes to: its edges, what is left out, and each aggregate against an oracle."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.rules.aggregate import (
    Aggregation,
    Samples,
    quantile,
    rate,
    read_window,
    read_windows,
)

MINUTE = 60_000
FINITE = st.floats(-1e9, 1e9)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 3 * MINUTE),
        FINITE | st.sampled_from([math.nan, math.inf, -math.inf]),
        st.booleans(),
    ),
    max_size=40,
    unique_by=lambda row: row[0],
)


def of(*points: tuple[int, float]) -> Samples:
    return Samples.of([(at, value, False) for at, value in points])


def value(aggregation: Aggregation, samples: Samples, at: int, width: int = MINUTE) -> float | None:
    reading = read_window(aggregation, samples, at, width)
    return reading.value if reading else None


def test_the_far_edge_is_out_and_the_near_one_in() -> None:
    samples = of((0, 1), (1, 10), (MINUTE, 100), (MINUTE + 1, 1000))
    assert value(Aggregation.SUM, samples, MINUTE) == 110
    assert value(Aggregation.SUM, samples, MINUTE - 1) == 11


def test_a_window_without_a_finite_sample_has_no_value() -> None:
    samples = of((10, math.nan), (20, math.inf), (30, -math.inf))
    for aggregation in Aggregation:
        assert value(aggregation, samples, MINUTE) is None
        assert value(aggregation, Samples(), MINUTE) is None


def test_of_one_time_the_last_write_stays() -> None:
    assert value(Aggregation.LAST, of((5, 1), (5, 2)), MINUTE) == 2
    assert value(Aggregation.COUNT, of((5, 1), (5, 2)), MINUTE) == 1
    assert value(Aggregation.COUNT, of((5, 1), (5, math.nan)), MINUTE) is None


def test_the_newest_sample_says_whether_it_is_a_wedding_day() -> None:
    samples = Samples.of([(10, 1.0, True), (20, 1.0, False)])
    assert read_window(Aggregation.AVG, samples, 15, MINUTE).is_declared_wedding  # type: ignore[union-attr]
    assert not read_window(Aggregation.AVG, samples, 20, MINUTE).is_declared_wedding  # type: ignore[union-attr]


@given(ROWS, st.integers(0, 3 * MINUTE), st.integers(1, 2 * MINUTE))
def test_each_aggregate_agrees_with_numpy(
    rows: list[tuple[int, float, bool]], at: int, width: int
) -> None:
    held = np.array([v for t, v, _ in sorted(rows) if at - width < t <= at and math.isfinite(v)])
    samples = Samples.of(rows)
    expected: dict[Aggregation, Callable[[Any], Any]] = {
        Aggregation.AVG: np.mean,
        Aggregation.MIN: np.min,
        Aggregation.MAX: np.max,
        Aggregation.SUM: np.sum,
        Aggregation.COUNT: np.size,
        Aggregation.LAST: lambda values: values[-1],
        Aggregation.P50: lambda values: np.quantile(values, 0.5),
        Aggregation.P95: lambda values: np.quantile(values, 0.95),
        Aggregation.P99: lambda values: np.quantile(values, 0.99),
    }
    for aggregation, oracle in expected.items():
        found = value(aggregation, samples, at, width)
        if held.size == 0:
            assert found is None
        else:
            assert found == pytest.approx(float(oracle(held)), rel=1e-9, abs=1e-3)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(
    rows: list[tuple[int, float, bool]], chance: random.Random
) -> None:
    shuffled = rows.copy()
    chance.shuffle(shuffled)
    for aggregation in Aggregation:
        assert read_window(aggregation, Samples.of(rows), 2 * MINUTE, 2 * MINUTE) == read_window(
            aggregation, Samples.of(shuffled), 2 * MINUTE, 2 * MINUTE
        )


def test_rate_of_a_steady_counter() -> None:
    # 2 a second, scraped every 15 s, the window's edges on scrapes: one half gap is stretched.
    points = [(t * 1000, 100.0 + 2 * t) for t in range(0, 61, 15)]
    assert value(Aggregation.RATE, of(*points), MINUTE) == pytest.approx(2.0)


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=30),
    st.sets(st.integers(1, 28), max_size=4),
)
def test_a_reset_is_the_same_as_a_counter_that_went_on(
    steps: Sequence[int], resets: set[int]
) -> None:
    times = [n * 1000 for n in range(len(steps))]
    whole, broken, total, since = [], [], 0, 0
    for n, step in enumerate(steps):
        # A counter that begins again at nothing and grows less than it had is seen as a reset.
        if n in resets and step < since:
            since = 0
        total, since = total + step, since + step
        whole.append(float(total))
        broken.append(float(since))
    end = times[-1] + 500
    growth = whole[-1] - whole[0]
    found = rate(times, broken, -500, end)
    assert found is not None
    assert found == pytest.approx(rate(times, whole, -500, end) or 0.0, rel=1e-9, abs=1e-9)
    assert found * (end + 500) / 1000 >= growth - 1e-6


def test_rate_needs_two_samples() -> None:
    assert value(Aggregation.RATE, of((30_000, 5)), MINUTE) is None


def test_rate_never_reaches_back_past_zero() -> None:
    # Seen 1 -> 3 within 2 s of a minute: it cannot have been below zero before.
    found = rate([30_000, 32_000], [1.0, 3.0], 0, MINUTE)
    assert found == pytest.approx(2 * (2 + 1 + 1) / 2 / 60)


@given(st.lists(FINITE, min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_lies_within_its_values(values: list[float], share: float) -> None:
    assert min(values) <= quantile(values, share) <= max(values)


@pytest.mark.parametrize("aggregation", [Aggregation.RATE, Aggregation.INCREASE])
def test_growths_beyond_all_numbers_in_both_directions_have_no_sum(
    aggregation: Aggregation,
) -> None:
    up, down = of((0, -1e308), (1000, 1e308)), of((0, 1e308), (1000, -1e308), (2000, -1e308))
    assert read_windows(aggregation, [up], 2000, MINUTE) is None
    assert read_windows(aggregation, [up, down], 2000, MINUTE) is None
    assert read_windows(aggregation, [up, down, of((0, 1), (1000, 2))], 2000, MINUTE) is None
