import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.ingest.distribution import (
    QUANTILES,
    RELATIVE_ERROR,
    SUFFIXES,
    Distribution,
    key_of,
    value_of,
)

VALUES = st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) > 1e-9)


@pytest.mark.parametrize(
    # by the Agent's own: pkg/quantile Default().key()
    ("value", "key"),
    [(0.0, 0), (1.0, 1338), (2.0, 1383), (3.0, 1409), (-1.0, -1338), (1e-10, 0), (math.inf, 32767)],
)
def test_the_bins_are_the_agents(value: float, key: int) -> None:
    assert (key_of(value) if math.isfinite(value) else 32767) == key


@given(VALUES)
def test_a_bin_stands_for_its_values(value: float) -> None:
    assert value_of(key_of(value)) == pytest.approx(value, rel=RELATIVE_ERROR)


@pytest.mark.parametrize("key", [32767, -32767])
def test_no_bin_is_out_of_bounds(key: int) -> None:
    assert math.copysign(1, value_of(key)) == math.copysign(1, key)


@given(st.lists(VALUES, min_size=1, max_size=200))
def test_figures_are_those_of_the_values(values: list[float]) -> None:
    distribution = Distribution.of(values)
    figures = dict(zip(SUFFIXES, distribution.figures(), strict=True))
    assert figures["_count"] == len(values)
    assert figures["_sum"] == pytest.approx(sum(values), rel=1e-9, abs=1e-3)
    assert (figures["_min"], figures["_max"]) == (min(values), max(values))
    ordered = sorted(values)
    for name, q in QUANTILES:
        exact = ordered[math.ceil(round(q * len(values), 6)) - 1]
        assert figures[name] == pytest.approx(exact, rel=RELATIVE_ERROR), name


@given(st.floats(0.001, 1000), st.floats(0.01, 1))
def test_a_sampled_value_counts_for_those_that_were_not_sent(value: float, rate: float) -> None:
    distribution = Distribution()
    for _ in range(10):
        distribution.add(value, 1 / rate)
    assert distribution.count == pytest.approx(10 / rate)
    assert distribution.quantile(0.99) == value
