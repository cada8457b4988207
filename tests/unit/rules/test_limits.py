"""Which number holds: explicit wedding value before factor before rule, and why."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rules import a_rule
from wedsync_apm.rules.limits import LimitSource, WeddingWindow, resolve_limit, tighten, wedding_at
from wedsync_apm.rules.model import Operator

NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)
WEDDING = UUID(int=9)
CEREMONY = WeddingWindow("ceremony", WEDDING, NOON, NOON + timedelta(hours=3), 1)
DAY = WeddingWindow("day", WEDDING, NOON - timedelta(hours=12), NOON + timedelta(hours=12), 5)


def test_on_any_other_day_the_rule_itself_holds() -> None:
    limit = resolve_limit(a_rule(wedding_day_threshold_value=1000.0), None)
    assert (limit.value, limit.source, limit.phase) == (3000, LimitSource.RULE, None)


def test_an_explicit_wedding_value_beats_the_factor() -> None:
    limit = resolve_limit(a_rule(wedding_day_threshold_value=2900.0), CEREMONY, factor=0.1)
    assert (limit.value, limit.source) == (2900, LimitSource.WEDDING_VALUE)
    assert (limit.phase, limit.wedding_id) == ("ceremony", WEDDING)


def test_without_one_the_factor_holds() -> None:
    limit = resolve_limit(a_rule(), CEREMONY, factor=0.5)
    assert (limit.value, limit.source) == (1500, LimitSource.WEDDING_FACTOR)


def test_a_rule_may_ask_to_be_left_alone_and_still_knows_the_phase() -> None:
    limit = resolve_limit(a_rule(wedding_day_override=False), CEREMONY)
    assert (limit.value, limit.source, limit.phase) == (3000, LimitSource.RULE, "ceremony")


def test_a_declared_wedding_counts_and_the_calendar_names_the_phase() -> None:
    declared = resolve_limit(a_rule(), None, is_declared_wedding=True)
    assert (declared.value, declared.phase) == (1500, "declared")
    assert resolve_limit(a_rule(), DAY, is_declared_wedding=True).phase == "day"


def test_the_most_telling_window_wins_and_its_end_is_out() -> None:
    assert wedding_at([DAY, CEREMONY], NOON) == CEREMONY
    assert wedding_at([DAY, CEREMONY], NOON - timedelta(milliseconds=1)) == DAY
    assert wedding_at([DAY, CEREMONY], NOON + timedelta(hours=3)) == DAY
    assert wedding_at([DAY, CEREMONY], NOON + timedelta(hours=12)) is None


@pytest.mark.parametrize(
    ("operator", "limit", "unit", "expected"),
    [
        (Operator.ABOVE, 3000.0, "ms", 1500.0),
        (Operator.BELOW, 10.0, None, 20.0),
        (Operator.ABOVE, -10.0, None, -20.0),
        (Operator.BELOW, -10.0, None, -5.0),
        (Operator.BELOW, 99.0, "%", 99.5),
        (Operator.AT_MOST, 0.98, "ratio", 0.99),
        (Operator.ABOVE, 80.0, "%", 40.0),
        (Operator.BELOW, 150.0, "%", 300.0),
        (Operator.ABOVE, 0.0, None, 0.0),
    ],
)
def test_a_factor_tightens_in_the_rules_own_direction(
    operator: Operator, limit: float, unit: str | None, expected: float
) -> None:
    assert tighten(operator, limit, 0.5, unit) == pytest.approx(expected)


@given(
    st.sampled_from(Operator),
    st.floats(-1e6, 1e6),
    st.floats(0.01, 1.0),
    st.sampled_from([None, "ms", "%", "ratio"]),
    st.floats(-1e6, 1e6),
)
def test_a_factor_never_loosens(
    operator: Operator, limit: float, factor: float, unit: str | None, value: float
) -> None:
    """What was bad on any day is bad on a wedding day."""
    if operator.is_breached(value, limit):
        assert operator.is_breached(value, tighten(operator, limit, factor, unit))


@given(
    st.sampled_from(Operator),
    st.floats(-1e6, 1e6),
    st.floats(0, 1e6),
    st.floats(-1e6, 1e6) | st.none(),
)
def test_the_clear_value_stays_on_the_good_side(
    operator: Operator, limit: float, distance: float, wedding_value: float | None
) -> None:
    clear = limit - distance if operator.is_upper else limit + distance
    rule = a_rule(
        comparison_operator=operator,
        threshold_value=limit,
        clear_threshold_value=clear,
        wedding_day_threshold_value=wedding_value,
    )
    resolved = resolve_limit(rule, CEREMONY)
    if operator.is_upper:
        assert resolved.clear_value <= resolved.value
    else:
        assert resolved.clear_value >= resolved.value


def test_a_clear_value_moves_only_where_it_has_to() -> None:
    rule = a_rule(
        threshold_value=5000.0, clear_threshold_value=1600.0, wedding_day_threshold_value=2000.0
    )
    assert resolve_limit(rule, CEREMONY).clear_value == 1600
    rule = a_rule(threshold_value=3000.0, clear_threshold_value=2500.0)
    assert resolve_limit(rule, CEREMONY).clear_value == 1250
