"""Every rule can be shown: each kind and aggregation as a sentence, and on a chart what fits it."""

from dataclasses import replace

import pytest

from tests.support.rules import EPOCH, a_rule
from wedsync_apm.metrics.store import Metric
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.limits import rule_for
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.selectors import Match, TagSelector
from wedsync_apm.rules.starter import STARTER_RULES
from wedsync_apm.web.build.charts import function_for
from wedsync_apm.web.build.rules import sentence, wedding_sentence, what_words

METRIC = Metric("forms", "submit_time", "gauge", "ms", 1, EPOCH)


@pytest.mark.parametrize("kind", RuleKind)
@pytest.mark.parametrize("aggregation", Aggregation)
def test_a_rule_of_each_kind_is_a_sentence(kind: RuleKind, aggregation: Aggregation) -> None:
    rule = a_rule(rule_kind=kind, aggregation=aggregation, denominator_pattern="forms.requests")
    assert sentence(rule, None).startswith("When ")
    assert function_for(METRIC, rule)


def test_what_a_ratio_watches_names_both_parts() -> None:
    rule = a_rule(
        rule_kind=RuleKind.RATIO,
        metric_pattern="api.errors",
        denominator_pattern="api.requests",
        aggregation=Aggregation.SUM,
    )
    assert what_words(rule) == "the sum of API, errors as a share of API, requests"


def test_what_a_rule_watches_names_its_conditions() -> None:
    payments = next(rule for rule in STARTER_RULES["florist"] if rule.rule_kind is RuleKind.RATIO)
    assert what_words(payments) == (
        "the share of wedding payments, payment processing time where success is false"
    )
    rule = a_rule(
        metric_pattern="shop.load",
        tag_filter={"route": "/rsvp"},
        tag_selectors=(
            TagSelector("code", Match.NOT_EQUAL, ("200",)),
            TagSelector("region", Match.IN, ("a", "b", "c", "d", "e")),
            TagSelector("host", Match.ABSENT),
            TagSelector("path", Match.GLOB, ("/x" * 30,)),
        ),
    )
    assert what_words(rule) == (
        "the average of shop, load where route is /rsvp and code is not 200"
        " and region is a or b or c or 2 more and host is not told"
        f" and path is like {'/x' * 19}/…"
    )


def test_a_rule_says_where_its_limit_is_looser_near_a_wedding() -> None:
    rule = a_rule(threshold_value=10.0)
    assert wedding_sentence(rule, None) == "On wedding days over 5."
    day = replace(rule, wedding_day_threshold_value=50.0)
    looser = "On wedding days over 50. That is looser than on other days."
    assert wedding_sentence(day, None) == looser
    part = replace(rule, wedding_thresholds={"ceremony": 50.0})
    at_times = "On wedding days over 5. At times it is looser than on other days."
    assert wedding_sentence(part, None) == at_times
    composite = replace(rule, rule_kind=RuleKind.COMPOSITE, threshold_value=2.0)
    assert wedding_sentence(composite, None) == "On wedding days the same limit holds."


def test_a_chart_shows_no_limit_that_is_not_the_metrics_own() -> None:
    ratio: AlertRule = a_rule(rule_kind=RuleKind.RATIO, denominator_pattern="a.b")
    plain = a_rule(alert_name="Later")
    assert rule_for([ratio], "forms", "submit_time") is None
    assert rule_for([ratio, plain], "forms", "submit_time") is plain


def test_the_starter_rules_are_of_several_kinds() -> None:
    assert {kind for rules in STARTER_RULES.values() for kind in (r.rule_kind for r in rules)} == {
        RuleKind.THRESHOLD,
        RuleKind.RATIO,
        RuleKind.DEADLINE,
    }
