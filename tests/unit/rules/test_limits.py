"""Which number holds: explicit wedding value before factor before rule, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rules import a_rule
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.limits import (
    WITHOUT_FACTORS,
    LimitSource,
    WeddingWindow,
    is_looser,
    resolve_limit,
    tighten,
    wedding_at,
    whole_of,
)
from wedsync_apm.rules.model import PROXIMITIES, Operator, RuleKind

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
    ("operator", "limit", "whole", "expected"),
    [
        (Operator.ABOVE, 3000.0, None, 1500.0),
        (Operator.BELOW, 10.0, None, 20.0),
        (Operator.ABOVE, -10.0, None, -20.0),
        (Operator.BELOW, -10.0, None, -5.0),
        (Operator.BELOW, 99.0, 100.0, 99.5),
        (Operator.BELOW, 10.0, 100.0, 20.0),
        (Operator.AT_MOST, 0.98, 1.0, 0.99),
        (Operator.AT_MOST, 1.0, 1.0, 1.0),
        (Operator.ABOVE, 0.0, None, 0.0),
    ],
)
def test_a_factor_tightens_in_the_rules_own_direction(
    operator: Operator, limit: float, whole: float | None, expected: float
) -> None:
    assert tighten(operator, limit, 0.5, whole) == pytest.approx(expected)


kinds = st.sampled_from(RuleKind)
units = st.sampled_from([None, "", "1", "ms", "%", "Percent", "ratio", "availability"])
names = st.sampled_from(["forms.submit_time", "shop.availability", "shop.success_count", "shop.*"])
factors = st.floats(0.01, 1.0)


@given(
    operator=st.sampled_from(Operator),
    limit=st.floats(-1e6, 1e6) | st.floats(0, 1),
    factor=factors,
    kind=kinds,
    unit=units,
    name=names,
)
def test_a_factor_never_loosens(
    *,
    operator: Operator,
    limit: float,
    factor: float,
    kind: RuleKind,
    unit: str | None,
    name: str,
) -> None:
    """What was bad on any day is bad on a wedding day."""
    rule = a_rule(
        comparison_operator=operator, threshold_value=limit, rule_kind=kind, metric_pattern=name
    )
    for own in ({}, {"window": factor}):
        found = resolve_limit(replace(rule, wedding_factors=own), DAY, factor=factor, unit=unit)
        assert not is_looser(rule, found)


@given(
    operator=st.sampled_from([Operator.BELOW, Operator.AT_MOST]),
    figure=st.sampled_from(
        [
            (RuleKind.RATIO, None, "shop.orders", 1.0),
            (RuleKind.RATIO, "ms", "shop.orders", 1.0),
            (RuleKind.THRESHOLD, "ratio", "shop.orders", 1.0),
            (RuleKind.THRESHOLD, None, "shop.orders", 1.0),
            (RuleKind.THRESHOLD, "1", "shop.orders", 1.0),
            (RuleKind.THRESHOLD, "%", "shop.orders", 100.0),
            (RuleKind.THRESHOLD, "percent", "shop.orders", 100.0),
        ]
    ),
    share=st.floats(0, 1, exclude_min=True),
    clear_share=st.floats(0, 1),
    factor=factors,
    wedding_share=st.floats(0, 1),
)
def test_a_tightened_limit_on_a_share_stays_within_reach(
    *,
    operator: Operator,
    figure: tuple[RuleKind, str | None, str, float],
    share: float,
    clear_share: float,
    factor: float,
    wedding_share: float,
) -> None:
    """What is whole alarms no more than on other days, and what alarmed is over when it is whole,
    by the default factor, one of its own, or a wedding value."""
    kind, unit, name, whole = figure
    limit = share * whole
    rule = a_rule(
        comparison_operator=operator,
        threshold_value=limit,
        clear_threshold_value=max(limit, clear_share * whole),
        rule_kind=kind,
        metric_pattern=name,
    )
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"wedding_factors": {"window": factor}},
        {"wedding_day_threshold_value": wedding_share * whole},
    )
    for change in changes:
        found = resolve_limit(replace(rule, **change), DAY, factor=factor, unit=unit)
        assert found.value <= found.clear_value <= whole
        if "wedding_day_threshold_value" not in change:
            was_bad = operator.is_breached(whole, limit)
            assert operator.is_breached(whole, found.value) == was_bad


@given(
    kind=st.sampled_from(sorted(WITHOUT_FACTORS)),
    operator=st.sampled_from(Operator),
    limit=st.floats(-1e6, 1e6),
    factor=factors,
    phase=st.sampled_from(sorted(PROXIMITIES)),
    unit=units,
)
def test_a_composite_s_or_a_deadline_s_limit_never_changes_by_a_factor(
    *,
    kind: RuleKind,
    operator: Operator,
    limit: float,
    factor: float,
    phase: str,
    unit: str | None,
) -> None:
    """All of two rules are two of them on a wedding day, too, and a disk is full at the same."""
    rule = a_rule(
        comparison_operator=operator,
        threshold_value=limit,
        rule_kind=kind,
        wedding_factors={phase: factor},
    )
    near = replace(CEREMONY, phase=phase)
    found = resolve_limit(rule, near, is_declared_wedding=True, factor=factor, unit=unit)
    assert (found.value, found.source) == (limit, LimitSource.RULE)
    named = replace(rule, wedding_thresholds={phase: 7.0})
    assert resolve_limit(named, near, factor=factor, unit=unit).value == 7


@pytest.mark.parametrize(
    ("limit", "unit", "more", "whole"),
    [
        (0.99, None, {"rule_kind": RuleKind.RATIO}, 1),
        (1.0, "ms", {"rule_kind": RuleKind.RATIO}, 1),
        (50.0, None, {"rule_kind": RuleKind.RATIO}, None),
        (99.0, "%", {}, 100),
        (99.0, "percent", {}, 100),
        (0.99, "ratio", {}, 1),
        (0.99, None, {}, 1),
        (0.99, "1", {}, 1),
        (0.5, "GB", {}, None),
        (99.0, None, {"metric_pattern": "shop.availability"}, 100),
        (99.0, "availability", {}, 100),
        (99.0, None, {"metric_pattern": "shop.requests_success_rate"}, 100),
        (99.0, None, {"metric_pattern": "shop.success_count"}, None),
        (99.0, None, {"metric_pattern": "availability.pages"}, None),
        (99.0, "ms", {"metric_pattern": "shop.uptime"}, None),
        (150.0, "%", {}, None),
        (0.0, "%", {}, None),
        (99.0, "%", {"comparison_operator": Operator.ABOVE}, None),
        (5.0, "%", {"aggregation": Aggregation.COUNT}, None),
        (5.0, "%", {"aggregation": Aggregation.SUM}, None),
        (50.0, "%", {"rule_kind": RuleKind.CHANGE}, None),
    ],
)
def test_what_is_a_share(
    limit: float, unit: str | None, more: dict[str, Any], whole: float | None
) -> None:
    values = {"comparison_operator": Operator.BELOW, "threshold_value": limit} | more
    assert whole_of(a_rule(**values), unit) == whole


def test_of_itself_no_limit_moves_where_nobody_knows_how_far_the_figure_reaches() -> None:
    """Twice 20 replicas may be more than there are; who knows better names a factor or a value."""
    rule = a_rule(comparison_operator=Operator.BELOW, threshold_value=20.0)
    assert resolve_limit(rule, DAY, unit="replicas").source is LimitSource.RULE
    own = replace(rule, wedding_factors={"window": 0.8})
    assert resolve_limit(own, DAY, unit="replicas").value == 25
    down = replace(rule, threshold_value=-50.0, rule_kind=RuleKind.CHANGE)
    assert resolve_limit(down, DAY).value == -25, "towards nought there is always room"


def test_the_clear_value_of_a_share_stays_in_proportion_to_what_is_missing() -> None:
    rule = a_rule(
        comparison_operator=Operator.BELOW,
        threshold_value=0.5,
        clear_threshold_value=0.7,
        rule_kind=RuleKind.RATIO,
    )
    limit = resolve_limit(rule, DAY)
    assert limit.value == 0.75
    assert limit.clear_value == pytest.approx(0.85)


def test_a_wedding_value_may_be_looser_and_is_known_to_be() -> None:
    rule = a_rule(threshold_value=10.0, wedding_thresholds={"ceremony": 50.0, "day": 5.0})
    assert is_looser(rule, resolve_limit(rule, CEREMONY))
    assert not is_looser(rule, resolve_limit(rule, DAY))
    least = replace(rule, comparison_operator=Operator.BELOW)
    assert is_looser(least, resolve_limit(least, DAY))


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


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("days_before", 3000),
        ("evening_before", 2250),
        ("set_up", 1500),
        ("ceremony", 1500),
        ("after", 3000),
        ("enhanced", 3000),
        ("maximum", 3000),
    ],
)
def test_the_nearer_the_wedding_the_stricter(phase: str, expected: float) -> None:
    limit = resolve_limit(a_rule(), replace(CEREMONY, phase=phase))
    assert (limit.value, limit.phase) == (expected, phase)
    assert (limit.source is LimitSource.RULE) == (expected == 3000)


def test_a_rule_has_values_and_factors_of_its_own_for_each_grade_and_phase() -> None:
    rule = a_rule(
        wedding_day_threshold_value=1400.0,
        wedding_thresholds={"ceremony": 900.0, "evening_before": 2900.0},
        wedding_factors={"window": 0.1, "after": 0.8, "maximum": 0.5},
    )

    def at(phase: str) -> tuple[float, str, float | None]:
        limit = resolve_limit(rule, replace(CEREMONY, phase=phase))
        return limit.value, limit.source.value, limit.factor

    assert at("ceremony") == (900, "wedding_value", None)
    assert at("reception") == (1400, "wedding_value", None), "any value beats any factor"
    assert at("evening_before") == (2900, "wedding_value", None)
    assert at("after") == (2400, "wedding_factor", 0.8)
    assert at("maximum") == (1500, "wedding_factor", 0.5)
    assert at("days_before") == (3000, "rule", None)


def test_what_a_sample_declares_is_nearer_than_what_is_only_near() -> None:
    eve = replace(CEREMONY, phase="evening_before")
    limit = resolve_limit(a_rule(), eve, is_declared_wedding=True)
    assert (limit.value, limit.phase) == (1500, "declared")
