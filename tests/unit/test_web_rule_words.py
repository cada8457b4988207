"""Every word of the rules' pages that is put together from data is in the catalogue."""

import pytest

from wedsync_apm.rules.aggregate import Aggregation, Gap
from wedsync_apm.rules.limits import LimitSource
from wedsync_apm.rules.model import (
    GRADES,
    GUARDS,
    PROXIMITIES,
    Baseline,
    NoDataPolicy,
    Operator,
    RuleKind,
)
from wedsync_apm.rules.verdict import State
from wedsync_apm.types import Severity
from wedsync_apm.web.build.rule_editor import LOOKS
from wedsync_apm.web.build.rule_preview import phase_words
from wedsync_apm.web.words import WORDS

BUILT: dict[str, set[str]] = {
    "rule.kind.": {f"{one.value}{end}" for one in RuleKind for end in ("", "_as")},
    "rule.agg.": {one.value for one in Aggregation},
    "rule.baseline.": {one.value for one in Baseline},
    "rule.silence.": {one.value for one in NoDataPolicy},
    "rule.bad.": {one.value for one in Severity},
    "rule.grouping.": {"each", "all", "tags"},
    "rule.match.": {"equal", "not_equal", "glob", "in", "absent"},
    "rule.near.": {"rule", *PROXIMITIES},
    "rule.near_from.": {one.value for one in LimitSource},
    "rule.phase.": {*GRADES, *GUARDS, "declared"},
    "rule.look.": set(LOOKS),
    "rule.range.": {"7d", "3d", "24h", "6h", "1h"},
    "rule.fault.": {
        "alert_name",
        "metric_pattern",
        "denominator_pattern",
        "condition",
        "tag_selectors",
        "denominator_selectors",
        "group_by",
        "threshold_value",
        "clear_threshold_value",
        "near",
        "factor",
        "flap_changes",
        "evaluation_window",
        "for_duration",
        "keep_firing_for",
        "cooldown_period",
        "flap_window",
        "objective",
        "aggregation",
        "short_window",
        "baseline",
        "baseline_weeks",
        "horizon",
        "member_rule_ids",
        "severity",
    },
    "rule.field.": {
        "alert_name",
        "metric_pattern",
        "numerator",
        "denominator_pattern",
        "tag_selectors",
        "denominator_selectors",
        "aggregation",
        "evaluation_window",
        "comparison_operator",
        "threshold_value",
        "change",
        "burn",
        "count",
        "objective",
        "short_window",
        "baseline",
        "baseline_weeks",
        "horizon",
        "grouping",
        "group_by",
        "wedding_day_override",
        "for_duration",
        "clear_threshold_value",
        "keep_firing_for",
        "cooldown_period",
        "no_data_policy",
        "stale_policy",
        "flap_changes",
        "flap_window",
        "severity",
        "wedding_day_severity",
        "auto_resolve",
        "opens_incident",
    },
    "rule.hint.": {
        "metric_pattern",
        "change",
        "share",
        "burn",
        "short_window",
        "horizon",
        "group_by",
        "span",
        "for_duration",
        "clear_threshold_value",
        "keep_firing_for",
        "flap",
    },
    "why.gap.": {one.value for one in Gap},
    "why.state.": {"silent", *(one.value for one in State)},
    "why.side.": {one.name.lower() for one in Operator},
    "why.": {f"limit_{one.value}" for one in LimitSource if one is not LimitSource.RULE},
}


def test_every_key_built_from_data_exists() -> None:
    wanted = {start + end for start, ends in BUILT.items() for end in ends}
    assert wanted - set(WORDS) == set()


@pytest.mark.parametrize("phase", sorted(PROXIMITIES))
def test_every_phase_has_a_name(phase: str) -> None:
    assert phase_words(phase)
