"""Exponential histograms: the buckets that become of them, and what quantiles then say."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.otlp.exponential import MOST_BUCKETS, Ladder, bound_of, buckets
from wedsync_apm.ingest.otlp.model import Buckets, Exponential

NONE = Buckets(0, [])


def place_of(value: float, scale: int) -> int:
    """The bucket of an absolute value, by the bounds themselves."""
    place = math.ceil(math.log2(value) * 2.0**scale) - 1
    while power(place, scale) >= value:
        place -= 1
    while power(place + 1, scale) < value:
        place += 1
    return place


def power(place: int, scale: int) -> float:
    try:
        return math.exp2(place * 2.0**-scale)
    except OverflowError:
        return math.inf


def of_values(values: Sequence[float], scale: int, zero_threshold: float = 0.0) -> Exponential:
    """The histogram that a sender makes of some values."""

    def counted(places: list[int]) -> Buckets:
        if not places:
            return NONE
        low = min(places)
        counts = [0] * (max(places) - low + 1)
        for place in places:
            counts[place - low] += 1
        return Buckets(low, counts)

    positive = [place_of(value, scale) for value in values if value > zero_threshold]
    negative = [place_of(-value, scale) for value in values if value < -zero_threshold]
    return Exponential(
        count=len(values),
        sum=sum(values),
        min=None,
        max=None,
        scale=scale,
        zero_count=len(values) - len(positive) - len(negative),
        zero_threshold=zero_threshold,
        positive=counted(positive),
        negative=counted(negative),
    )


def quantile_of(cumulative: Sequence[tuple[float, float]], quantile: float) -> float:
    """What Prometheus' histogram_quantile says: linear in the bucket of the rank."""
    rank = quantile * cumulative[-1][1]
    at = next(n for n, (_, count) in enumerate(cumulative) if count >= rank)
    if at == len(cumulative) - 1:
        return cumulative[-2][0]
    upper, count = cumulative[at]
    if at == 0:
        return upper if upper <= 0 else upper * rank / count
    lower, below = cumulative[at - 1]
    return lower + (upper - lower) * (rank - below) / (count - below)


def true_quantile(values: Sequence[float], quantile: float) -> float:
    """The value of that rank."""
    return sorted(values)[max(math.ceil(quantile * len(values)) - 1, 0)]


@given(
    st.lists(st.floats(1e-3, 100.0), min_size=1, max_size=200),
    st.sampled_from([2, 3, 5, 8]),
    st.sampled_from([0.05, 0.5, 0.9, 0.95, 0.99, 1.0]),
)
@settings(max_examples=300, deadline=None)
def test_a_quantile_is_within_the_documented_error(
    values: list[float], scale: int, quantile: float
) -> None:
    ladder, cumulative = buckets(of_values(values, scale), Ladder())
    assert ladder.scale == 2
    found, truth = quantile_of(cumulative, quantile), true_quantile(values, quantile)
    assert abs(found - truth) <= (2**0.25 - 1) * truth * (1 + 1e-9)


@given(
    st.lists(st.floats(1e-9, 1e9) | st.floats(-1e9, -1e-9), min_size=1, max_size=50),
    st.integers(-2, 8),
)
@settings(max_examples=200, deadline=None)
def test_every_bound_counts_the_values_up_to_it(values: list[float], scale: int) -> None:
    ladder, cumulative = buckets(of_values(values, scale), Ladder())
    assert cumulative[-1] == (math.inf, len(values))
    # A value on a bound itself may count on either side of a negative one.
    for bound, count in cumulative[:-1]:
        below = sum(value <= bound for value in values)
        assert below - sum(value == bound for value in values) <= count <= below
    counts = [count for _, count in cumulative]
    assert counts == sorted(counts)
    bounds = [bound for bound, _ in cumulative]
    assert all(one < two for one, two in pairwise(bounds))
    assert len(bounds) <= 2 * (MOST_BUCKETS + 1) + 2
    assert set(bounds[:-1]) <= {0.0} | {
        sign * bound_of(place, 2) for place in range(-500, 500) for sign in (-1, 1)
    }
    assert ladder.scale <= min(scale, 2)


@given(
    st.lists(
        st.tuples(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=9), st.integers(-3, 9)),
        min_size=2,
        max_size=5,
    )
)
@settings(max_examples=200, deadline=None)
def test_a_series_keeps_its_bounds_unless_the_scale_falls(
    points: list[tuple[list[float], int]],
) -> None:
    ladder, before = Ladder(), set[float]()
    for values, scale in points:
        widened, cumulative = buckets(of_values(values, scale), ladder)
        bounds = {bound for bound, _ in cumulative}
        if widened.scale == ladder.scale:
            assert before <= bounds
        ladder, before = widened, bounds
        assert sum(1 for bound in bounds if bound > 0) <= MOST_BUCKETS + 2


def test_bounds_of_every_scale_are_the_same_numbers() -> None:
    for scale in range(-3, 2):
        for place in range(-40, 40):
            assert bound_of(place, scale) == bound_of(2 * place, scale + 1)
    assert [bound_of(place, 0) for place in (-1, 0, 1, 10)] == [0.5, 1.0, 2.0, 1024.0]


def test_the_zero_bucket_ends_at_its_threshold() -> None:
    _, cumulative = buckets(of_values([0.0, 0.05, -0.05, 1.5], 0, zero_threshold=0.1), Ladder())
    assert cumulative == [(0.1, 3), (1.0, 3), (2.0, 4), (math.inf, 4)]


def test_nothing_counted_is_zero_and_infinity() -> None:
    ladder, cumulative = buckets(of_values([], 20), Ladder())
    assert cumulative == [(0.0, 0), (math.inf, 0)]
    assert ladder == Ladder()


def test_more_values_than_are_in_buckets_are_beyond_all_bounds() -> None:
    point = Exponential(9, None, None, None, 0, 0, 0.0, Buckets(0, [2]), NONE)
    assert buckets(point, Ladder())[1] == [(0.0, 0), (1.0, 0), (2.0, 2), (math.inf, 9)]


@pytest.mark.parametrize(
    ("values", "scale"),
    [([5e-324, 1.0], 0), ([1.0, 1.7e308], 0), ([5e-324, 1.7e308, -1.7e308], -9)],
)
def test_the_largest_and_smallest_doubles_have_a_place(values: list[float], scale: int) -> None:
    _, cumulative = buckets(of_values(values, scale), Ladder())
    assert len(cumulative) <= 2 * MOST_BUCKETS + 4
    assert cumulative[-1] == (math.inf, len(values))
    assert all(math.isfinite(bound) for bound, _ in cumulative[:-1])


@pytest.mark.parametrize(
    ("point", "where"),
    [
        (Exponential(9, None, None, None, -11, 0, 0.0, NONE, NONE), "scale"),
        (Exponential(9, None, None, None, 0, 0, -1.0, NONE, NONE), "zeroThreshold"),
        (Exponential(9, None, None, None, 0, 0, math.nan, NONE, NONE), "zeroThreshold"),
        (Exponential(1, None, None, None, 0, 1, 0.0, Buckets(0, [1]), NONE), "count"),
        (Exponential(1, None, None, None, 0, 0, 0.0, Buckets(1024, [1]), NONE), "offset"),
        (Exponential(1, None, None, None, 0, 0, 0.0, NONE, Buckets(-1076, [1])), "offset"),
        (Exponential(1, None, None, None, -10, 0, 0.0, Buckets(2**31 - 1, [1]), NONE), "offset"),
        (Exponential(1, None, None, None, -10, 0, 0.0, Buckets(-(2**31), [1]), NONE), "offset"),
    ],
)
def test_what_no_histogram_can_be_is_refused(point: Exponential, where: str) -> None:
    with pytest.raises(Refused) as refused:
        buckets(point, Ladder())
    assert refused.value.field == where
