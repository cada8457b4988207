"""What a panel says of the rule that is made from it, and what the editor makes of that."""

import math
from urllib.parse import parse_qsl, urlencode

import pytest

from wedsync_apm.dashboards.material import Found
from wedsync_apm.dashboards.model import (
    At,
    Figure,
    Level,
    Limit,
    Query,
    SeriesPanel,
    StatPanel,
    TextPanel,
    When,
)
from wedsync_apm.metrics.ranges import Aggregation, RangeAnswer, RangeSeries
from wedsync_apm.rules.model import RuleKind
from wedsync_apm.web.build.board_rule import (
    address_of,
    figure_of,
    seldom_passed,
    typed_from_address,
)
from wedsync_apm.web.build.rule_form import new_draft, read_draft

PLACE = At(x=0, y=0, w=3, h=2)
SHOWN = Found(
    now=RangeAnswer(
        [RangeSeries("shop.took", {}, "ms", [(float(n), n * 10.0) for n in range(1, 101)])],
        "5m",
        300.0,
    )
)
LATENCY = Figure(metric="shop.took", agg=Aggregation.P95, tags={"region": "eu & us"})


def test_a_panels_rule_arrives_in_the_editor_whole() -> None:
    panel = StatPanel(
        key="k",
        title="Orders – taken",
        at=PLACE,
        query=LATENCY,
        limits=(
            Limit(value=800, level=Level.WARNING),
            Limit(value=0.25, when=When.BELOW),
        ),
    )
    asked = dict(parse_qsl(urlencode(address_of(panel, LATENCY, SHOWN)), keep_blank_values=True))
    assert asked["from"] == "limit"
    draft, errors = read_draft(
        typed_from_address(RuleKind.THRESHOLD, asked), new_draft(RuleKind.THRESHOLD), "ms"
    )
    assert errors == {}
    assert draft is not None
    assert (draft.alert_name, draft.metric_pattern) == ("Orders – taken", "shop.took")
    assert draft.tag_filter == {"region": "eu & us"} or draft.tag_selectors[0].values == (
        "eu & us",
    )
    assert (draft.aggregation, draft.group_by) == ("p95", ())
    assert (draft.comparison_operator, draft.threshold_value) == ("<", 0.25)
    assert draft.severity == "critical"


@pytest.mark.parametrize(
    ("group_by", "expected"), [(None, None), ((), ()), (("region", "till"), ("region", "till"))]
)
def test_lines_become_instances(
    group_by: tuple[str, ...] | None, expected: tuple[str, ...] | None
) -> None:
    query = Query(metric="shop.took", agg=Aggregation.RATE, group_by=group_by)
    panel = SeriesPanel(key="k", title="T", at=PLACE, queries=(query,))
    assert figure_of(panel) is query
    asked = address_of(panel, query, SHOWN)
    # 990 is what 99 in 100 stay below
    assert (asked["limit"], asked["from"]) == ("1000", "usual")
    draft, errors = read_draft(
        typed_from_address(RuleKind.THRESHOLD, asked), new_draft(RuleKind.THRESHOLD), None
    )
    assert errors == {}
    assert draft is not None
    assert (draft.group_by, draft.threshold_value) == (expected, 1000.0)


def test_without_figures_the_limit_is_left_to_the_person() -> None:
    panel = StatPanel(key="k", title="T", at=PLACE, query=LATENCY)
    asked = address_of(panel, LATENCY, Found())
    assert "limit" not in asked
    assert typed_from_address(RuleKind.THRESHOLD, asked).texts["threshold_value"] == ""
    assert figure_of(TextPanel(key="t", title="T", at=PLACE, text="x")) is None


def test_an_address_that_makes_no_sense_is_the_usual_form() -> None:
    usual = typed_from_address(RuleKind.THRESHOLD, {"metric": "a.b"})
    forged = typed_from_address(
        RuleKind.THRESHOLD,
        {"metric": "a.b", "agg": "mean'", "op": "=>", "severity": "huge", "tag.": "<b>"},
    )
    assert forged.texts["aggregation"] == usual.texts["aggregation"]
    assert forged.texts["comparison_operator"] == usual.texts["comparison_operator"]
    assert forged.texts["severity"] == usual.texts["severity"]
    assert (
        len(
            typed_from_address(RuleKind.RATIO, {"agg": "p95", "metric": "x" * 999}).texts[
                "metric_pattern"
            ]
        )
        == 256
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([math.nan, math.inf], None),
        ([0.0, -3.0], 0.0),
        ([101.0], 120.0),
        ([1000.0], 1200.0),
        ([0.0423], 0.05),
        ([9.9e6], 1e7),
        ([*range(1, 101)], 100.0),
        # one peak in two hundred is no reason
        ([5.0] * 199 + [9000.0], 6.0),
    ],
)
def test_the_suggested_limit_is_round_and_seldom_passed(
    values: list[float], expected: float | None
) -> None:
    assert seldom_passed(values) == expected
