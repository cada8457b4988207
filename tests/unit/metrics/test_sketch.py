"""The quantile sketch: its bytes, its accuracy, and that merging loses nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.metrics import sketch

numbers = st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > 1e-12)
lists = st.lists(numbers, min_size=1, max_size=50)


def of(values: list[float]) -> bytes:
    return sketch.encode(np.array(values, np.float64))


def test_the_bytes_are_those_that_sql_writes() -> None:
    # ceil(ln 10 / ln(1.02 / 0.98)) = 58
    assert of([0, 10, 10, -10]).hex(" ", -6) == "bf8c00000001 000000000001 407400000002"


def test_nan_and_infinities_are_left_out() -> None:
    assert of([float("nan"), float("inf"), float("-inf")]) == b""
    assert sketch.quantile(b"", 0.5) is None


@given(lists, st.floats(0, 1))
def test_a_quantile_is_within_two_percent(values: list[float], q: float) -> None:
    ordered = np.sort(values)
    rank = max(int(np.ceil(q * len(ordered) - 1e-9)), 1)
    true = float(ordered[rank - 1])
    found = sketch.quantile(of(values), q)
    assert found == pytest.approx(true, rel=0.0100001, abs=0)


@given(st.lists(lists, max_size=4))
def test_the_merge_is_the_sketch_of_all(parts: list[list[float]]) -> None:
    everything = [value for part in parts for value in part]
    assert sketch.merge([of(part) for part in parts]) == of(everything)


def test_counts_stop_at_what_four_bytes_hold() -> None:
    full = of([1.0])[:2] + (2**31 - 1).to_bytes(4)
    assert sketch.merge([full, full]) == full


def test_a_torn_sketch_is_refused() -> None:
    with pytest.raises(ValueError, match="6"):
        sketch.quantile(b"\x00" * 7, 0.5)


def test_a_quantile_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        sketch.quantile(of([1]), 95)
