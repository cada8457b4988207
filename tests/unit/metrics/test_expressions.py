"""The pieces of expressions against plain Python that says the same slowly."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.metrics.expression.budget import Budget, OutOfTime, TooMuch
from wedsync_apm.metrics.expression.functions import FUNCTIONS
from wedsync_apm.metrics.expression.histograms import histogram_quantile
from wedsync_apm.metrics.expression.parsing import parse, parse_selector
from wedsync_apm.metrics.expression.plan import Grid, Need, inner_grid, needs_of
from wedsync_apm.metrics.expression.ranges import apply
from wedsync_apm.metrics.expression.relabelling import replace_label
from wedsync_apm.metrics.expression.selection import possible_values
from wedsync_apm.metrics.expression.spreads import quantile_of
from wedsync_apm.metrics.expression.syntax import (
    BadExpression,
    Expression,
    Function,
    Leaf,
    NotAnswered,
    Subquery,
)
from wedsync_apm.metrics.expression.vectors import (
    AmbiguousAnswer,
    Labels,
    Matrix,
    Samples,
    Vector,
    join_alike,
    refuse_alike,
)

NUMBERS = st.floats(-1e6, 1e6, width=32)
COLUMN = st.lists(st.one_of(st.none(), NUMBERS, st.just(math.nan)), min_size=1, max_size=9)


def vector_of(*rows: tuple[Labels, Sequence[float | None]]) -> Vector:
    """Series with their values; None: not there."""
    values = np.array([[0.0 if one is None else one for one in row] for _, row in rows])
    present = np.array([[one is not None for one in row] for _, row in rows])
    return Vector([labels for labels, _ in rows], Matrix(values, present))


def rows_of(vector: Vector) -> list[tuple[Labels, list[float | None]]]:
    return [
        (labels, [value if there else None for value, there in zip(row, is_there, strict=True)])
        for labels, row, is_there in zip(
            vector.labels,
            vector.matrix.values.tolist(),
            vector.matrix.present.tolist(),
            strict=True,
        )
    ]


@given(COLUMN, st.sampled_from((0.0, 0.25, 0.5, 0.99, 1.0, -1.0, 2.0, math.nan)))
def test_a_quantile_lies_between_its_neighbours(
    column: list[float | None], quantile: float
) -> None:
    there = sorted(
        (one for one in column if one is not None),
        key=lambda one: -math.inf if math.isnan(one) else one,
    )
    if math.isnan(quantile) or not there:
        expected = math.nan
    elif not 0 <= quantile <= 1:
        expected = math.copysign(math.inf, quantile)
    else:
        rank = quantile * (len(there) - 1)
        low, weight = math.floor(rank), rank - math.floor(rank)
        high = min(low + 1, len(there) - 1)
        expected = there[low] * (1 - weight) + there[high] * weight
    values = np.array([[0.0 if one is None else one] for one in column])
    present = np.array([[one is not None] for one in column])
    found = quantile_of(values, present, np.array([quantile]))
    assert found.tolist() == pytest.approx([expected], nan_ok=True)


@given(
    st.lists(st.lists(st.integers(0, 60), unique=True, max_size=12), min_size=1, max_size=4),
    st.integers(1, 30),
    st.integers(0, 10),
    st.sampled_from(
        (
            "count_over_time",
            "sum_over_time",
            "max_over_time",
            "changes",
            "resets",
            "stdvar_over_time",
        )
    ),
)
def test_windows_hold_the_samples_of_their_range(
    series: list[list[int]], range_ms: int, offset_ms: int, name: str
) -> None:
    """A sample's value is a function of its time, so that the expectation is plain."""
    times = [sorted(one) for one in series]
    values = [[float(at * 7 % 5) for at in one] for one in times]
    starts = np.cumsum([0, *map(len, times)])
    samples = Samples(
        starts,
        np.array([at for one in times for at in one], np.int64),
        np.array([value for one in values for value in one]),
        np.zeros((len(times), 0), np.int64),
    )
    leaf = Leaf((), Function(name), range_ms, offset_ms)
    instants = np.array([0, 13, 40, 41, 75])
    found = apply(leaf.function, leaf, samples, instants, Budget())
    for row, (at, own) in enumerate(zip(times, values, strict=True)):
        for column, instant in enumerate(instants.tolist()):
            end = instant - offset_ms
            inside = [v for t, v in zip(at, own, strict=True) if end - range_ms <= t <= end]
            assert found.present[row, column] == bool(inside)
            if inside:
                assert found.values[row, column] == pytest.approx(plain(name, inside))


def plain(name: str, inside: Sequence[float]) -> float:
    pairs = list(pairwise(inside))
    mean = sum(inside) / len(inside)
    return {
        "count_over_time": len(inside),
        "sum_over_time": sum(inside),
        "max_over_time": max(inside),
        "changes": sum(one != other for one, other in pairs),
        "resets": sum(other < one for one, other in pairs),
        "stdvar_over_time": sum((one - mean) ** 2 for one in inside) / len(inside),
    }[name]


def test_series_that_become_alike_are_one_or_ambiguous() -> None:
    apart = vector_of(({"a": "1"}, [1, None, 3]), ({}, [9, 9, 9]), ({"a": "1"}, [None, 2, None]))
    assert rows_of(join_alike(apart)) == [({"a": "1"}, [1, 2, 3]), ({}, [9, 9, 9])]
    with pytest.raises(AmbiguousAnswer):
        refuse_alike(apart)
    with pytest.raises(AmbiguousAnswer):
        join_alike(vector_of(({}, [1, None]), ({}, [2, None])))
    absent = vector_of(({}, [1, 2]), ({}, [None, None]))
    assert refuse_alike(absent) is absent


def bucket(bound: str, *counts: float | None) -> tuple[Labels, Sequence[float | None]]:
    return {"__name__": "b", "le": bound}, counts


@np.errstate(all="ignore")
def test_quantiles_of_buckets() -> None:
    counts = vector_of(
        bucket("+Inf", 10, 10, 0, 10, 10),
        bucket("1", 5, 10, 0, 5, None),
        bucket("2", 10, 4, 0, 10, 10),  # once below that of a smaller bound
        bucket("2.0", 0, 0, 0, 0, 0),  # the same bound, written otherwise
        bucket("many", 7, 7, 7, 7, 7),  # no bound: left out
        ({"__name__": "b"}, [7, 7, 7, 7, 7]),
    )
    quantile = np.array([0.75, 0.5, 0.5, 2.0, 0.5])
    ((labels, found),) = rows_of(histogram_quantile(quantile, counts))
    assert labels == {}
    assert found == pytest.approx([1.5, 0.5, math.nan, math.inf, 1.0], nan_ok=True)
    without_end = vector_of(bucket("1", 5), bucket("2", 6))
    ((_, found),) = rows_of(histogram_quantile(np.array([0.5]), without_end))
    assert found == pytest.approx([math.nan], nan_ok=True)
    below_zero = vector_of(bucket("-1", 5), bucket("+Inf", 6))
    ((_, found),) = rows_of(histogram_quantile(np.array([0.5]), below_zero))
    assert found == [-1.0]


@pytest.mark.parametrize(
    ("pattern", "template", "value", "expected"),
    [
        ("(.*)-(.*)", "$2.$1", "a-b", "b.a"),
        ("(.*)", "${1}x", "a", "ax"),
        ("(.*)", "$1x", "a", ""),  # a group named 1x, which there is not
        ("(?P<one>.)(?:.)(.)", "${one}$2", "abc", "ac"),
        (r"\((.)\)[(](.)", "$1$2$3", "(a)(b", "ab"),
        ("(.*)", "$$1 \\ $", "a", "$1 \\ $"),
        (r"\Q(\E(.)", "$1", "(a", "a"),
        ("b", "x", "ab", None),
        ("", "x", "", "x"),
    ],
)
def test_templates_are_those_of_go(
    pattern: str, template: str, value: str, expected: str | None
) -> None:
    given_ = vector_of(({"from": value, "to": "before"}, [1]))
    ((labels, _),) = rows_of(replace_label(given_, "to", template, "from", pattern))
    assert labels.get("to", "") == ("before" if expected is None else expected)


def test_a_template_has_nine_groups() -> None:
    with pytest.raises(NotAnswered, match="nine"):
        replace_label(vector_of(({"a": "x"}, [1])), "b", "$10", "a", "(.)" + "(.?)" * 9)


def test_dates_are_those_of_the_calendar() -> None:
    seconds = [0, 951_782_400.9, 1_709_164_800, -1, 4_102_444_799]
    given_ = vector_of(({}, seconds))
    for name, expected in (
        ("year", [1970, 2000, 2024, 1969, 2099]),
        ("month", [1, 2, 2, 12, 12]),
        ("day_of_month", [1, 29, 29, 31, 31]),
        ("day_of_year", [1, 60, 60, 365, 365]),
        ("day_of_week", [4, 2, 4, 3, 4]),
        ("days_in_month", [31, 29, 29, 31, 31]),
        ("hour", [0, 0, 0, 23, 23]),
        ("minute", [0, 0, 0, 59, 59]),
    ):
        found = FUNCTIONS[name](np.zeros(5, np.int64), [given_])
        assert isinstance(found, Vector)
        assert found.matrix.values[0].tolist() == expected, name


def test_labels_with_numbers_are_sorted_by_the_numbers() -> None:
    given_ = vector_of(*(({"n": text}, [1.0]) for text in ("a10", "a9", "b1", "a9b", "")))
    found = FUNCTIONS["sort_by_label"](np.zeros(1, np.int64), [given_, "n"])
    assert isinstance(found, Vector)
    assert [one["n"] for one in found.labels] == ["", "a9", "a9b", "a10", "b1"]


def subquery(text: str) -> Subquery:
    found: Expression = parse(text)
    assert isinstance(found, Subquery)
    return found


def test_each_selector_is_looked_at_over_its_own_instants() -> None:
    asked = Grid(600_000, 900_000, 60_000)
    text = "a + b @ end() + rate(c[5m] @ 100 offset 1m) + max_over_time((d offset 10s)[2m:7s])"
    found = {need.leaf.matchers[0].value: need for need in needs_of(parse(text), asked)}
    assert found["a"].grid == asked
    assert found["b"].grid == Grid(900_000, 900_000)
    assert found["c"].grid == Grid(100_000, 100_000)
    assert found["c"].span == (100_000 - 360_000, 100_000 - 60_000 + 1)
    assert found["d"].grid == Grid(483_000, 900_000, 7_000)


def test_a_step_longer_than_its_range_may_have_no_instants() -> None:
    asked = Grid(600_000, 600_000)
    inner = inner_grid(subquery("a[1m:1h]"), asked, asked)
    assert inner.count == 0
    assert needs_of(parse("max_over_time(a[1m:1h])"), asked) == []
    assert Need(Leaf(()), Grid(0, 0)).span == (-300_000, 1)


def test_what_a_selector_is() -> None:
    assert [one.value for one in parse_selector('a{b=~"c"}')] == ["a", "c"]
    for text in ("a[5m]", "a offset 1m", "a @ 5", "rate(a[5m])", "1", "a or b"):
        with pytest.raises(BadExpression, match="selector"):
            parse_selector(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ["a"]),
        ('{__name__=~"a|b:c"}', ["a", "b:c"]),
        ('{__name__=~"a.*"}', None),
        ('{__name__!="a", b="c"}', None),
    ],
)
def test_names_that_an_index_can_find(text: str, expected: list[str] | None) -> None:
    assert possible_values(parse_selector(text), "__name__") == expected


def test_what_costs_too_much_is_refused_before_it_is_done() -> None:
    budget = Budget()
    with pytest.raises(TooMuch, match="5000001 series at 1 instants"):
        budget.check_values(5_000_001, 1)
    for _ in range(40):
        budget.check_values(1000, 5000)
    with pytest.raises(TooMuch, match="200,000,000 steps"):
        budget.check_values(1, 1)
    with pytest.raises(TooMuch, match="1,000,001 points"):
        Budget().check_answer(1_000_001)
    with pytest.raises(OutOfTime, match="longer than"):
        Budget(seconds=-0.01).check_time()
