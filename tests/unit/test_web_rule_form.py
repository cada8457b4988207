"""The rule editor's fields: what is kept goes into the form and comes out of it as it was, and what
cannot be kept is said beside its field."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.faults import COUNTABLE, FROM_ROLLUPS, find_faults
from wedsync_apm.rules.limits import WITHOUT_FACTORS
from wedsync_apm.rules.model import (
    GRADES,
    GUARDS,
    PHASES,
    Baseline,
    NoDataPolicy,
    Operator,
    RuleDraft,
    RuleKind,
)
from wedsync_apm.rules.selectors import Match, TagSelector
from wedsync_apm.rules.starter import STARTER_RULES
from wedsync_apm.types import Channel, Severity
from wedsync_apm.web.build.rule_form import (
    FIELDS,
    new_draft,
    new_typed,
    read_draft,
    typed_from,
    typed_of,
)
from wedsync_apm.web.build.rule_text import (
    read_number,
    read_span,
    read_values,
    write_number,
    write_span,
    write_values,
)
from wedsync_apm.web.views.rule_form import Condition, Typed

finite = st.floats(-1e9, 1e9, allow_nan=False).map(lambda value: value or 0.0)
spans = st.integers(60_000, 3_600_000).map(lambda ms: timedelta(milliseconds=ms))
words_of = st.text("abcdefghij_ ,\"'", min_size=1, max_size=12).map(str.strip).filter(bool)
tags = st.text("abcxyz_", min_size=1, max_size=8)


@st.composite
def selectors(draw: Any) -> TagSelector:
    match = draw(st.sampled_from(Match))
    count = {Match.ABSENT: (0, 0), Match.IN: (1, 4)}.get(match, (1, 1))
    values = draw(st.lists(words_of, min_size=count[0], max_size=count[1]))
    return TagSelector(draw(tags), match, tuple(values))


@st.composite
def drafts(draw: Any) -> RuleDraft:
    kind = draw(st.sampled_from(RuleKind))
    nears = st.dictionaries(st.sampled_from((*GRADES, *GUARDS, *PHASES)), finite, max_size=4)
    own = draw(nears)
    filters = draw(st.dictionaries(tags, words_of, max_size=2))
    aggregations = {
        RuleKind.CHANGE: sorted(FROM_ROLLUPS),
        RuleKind.BURN_RATE: sorted(COUNTABLE),
    }.get(kind, sorted(Aggregation))
    values: dict[str, Any] = {
        "alert_name": draw(words_of),
        "metric_pattern": "orders.*",
        "comparison_operator": draw(st.sampled_from(Operator)),
        "threshold_value": draw(finite),
        "rule_kind": kind,
        "tag_filter": filters,
        "tag_selectors": tuple(
            one
            for one in draw(st.lists(selectors(), max_size=3))
            # an equal on a tag of its own is kept in the filter
            if one.match is not Match.EQUAL or one.tag in filters
        ),
        "aggregation": draw(st.sampled_from(aggregations)),
        "evaluation_window": draw(spans) + timedelta(minutes=5),
        "for_duration": draw(spans),
        "keep_firing_for": draw(spans),
        "no_data_policy": draw(st.sampled_from(NoDataPolicy)),
        "severity": draw(st.sampled_from(Severity)),
        "notification_channels": tuple(c for c in Channel if draw(st.booleans())),
        "wedding_day_override": draw(st.booleans()),
        "wedding_day_threshold_value": own.pop("window", None),
        "wedding_thresholds": own,
        "wedding_day_severity": draw(st.none() | st.sampled_from(Severity)),
        "wedding_factors": draw(
            st.dictionaries(st.sampled_from(GRADES), st.floats(0.001, 1), max_size=3)
        ),
        "flap_changes": draw(st.sampled_from((0, 3, 20))),
        "auto_resolve": draw(st.booleans()),
        "opens_incident": draw(st.booleans()),
        "vendor_text": {"subject": "Your order form"},
    }
    if kind in WITHOUT_FACTORS:
        values["wedding_factors"] = {}
    if kind is RuleKind.COMPOSITE:
        values |= {"metric_pattern": "", "tag_filter": {}, "tag_selectors": ()}
        values["member_rule_ids"] = (UUID(int=1), UUID(int=2))
    if kind in (RuleKind.RATIO, RuleKind.BURN_RATE):
        values["denominator_pattern"] = "orders.all"
        values["denominator_selectors"] = tuple(draw(st.lists(selectors(), max_size=2)))
        values["group_by"] = draw(st.sampled_from(((), ("region",), ("a", "b, c"))))
    if kind is RuleKind.BURN_RATE:
        values["objective"] = draw(st.floats(0.001, 0.9999))
        values["short_window"] = draw(st.none() | st.just(timedelta(minutes=1)))
    if kind is RuleKind.CHANGE:
        values["baseline"] = draw(st.sampled_from(Baseline))
    if kind is RuleKind.DEADLINE:
        values["horizon"] = draw(st.none() | spans)
    return RuleDraft(**values)


class Sent(dict[str, list[str]]):
    """A form as a browser sends it."""

    def get(self, name: str, default: Any = None) -> Any:
        return self[name][-1] if self.get_all(name) else default

    def get_all(self, name: str) -> list[str]:
        return super().get(name, [])

    def getall(self, name: str, default: Any = None) -> Any:
        return self.get_all(name) or default


def send(typed: Typed) -> Sent:
    """What a browser sends of a form that nobody touched: with the empty row at its end."""
    sent = Sent({name: [text.replace("\n", "\r\n")] for name, text in typed.texts.items()})
    for name, rows in typed.conditions.items():
        for part in ("tag", "match", "values"):
            sent[f"{name}.{part}"] = [getattr(row, part) for row in rows] + [
                "=" if part == "match" else ""
            ]
    for name, chosen in typed.chosen.items():
        sent[name] = sorted(chosen)
    for name in typed.ticked:
        sent[name] = ["yes"]
    return sent


@given(drafts())
def test_a_rule_goes_through_the_form_unchanged(draft: RuleDraft) -> None:
    assert find_faults(draft) == []
    typed = typed_of(draft)
    assert typed_from(draft.rule_kind, send(typed)) == typed
    read, errors = read_draft(typed, draft)
    assert errors == {}
    assert read is not None
    # of the kinds that are always grouped, no groups and one group of all are the same
    assert replace(read, group_by=draft.group_by) == draft
    assert read.grouping == draft.grouping


@pytest.mark.parametrize("vendor", STARTER_RULES)
def test_the_starter_rules_go_through_the_form_unchanged(vendor: str) -> None:
    for draft in STARTER_RULES[vendor]:
        read, errors = read_draft(typed_of(draft), draft)
        assert errors == {}
        assert read is not None
        for one in fields(RuleDraft):
            # `success = false` may stand in the filter as well
            if one.name not in ("tag_filter", "tag_selectors", "group_by"):
                assert getattr(read, one.name) == getattr(draft, one.name), one.name
        assert set(read.selector.tags) == set(draft.selector.tags)
        assert read.grouping == draft.grouping


@pytest.mark.parametrize("kind", RuleKind)
def test_a_new_rule_needs_a_name_and_what_nobody_can_guess(kind: RuleKind) -> None:
    _, errors = read_draft(new_typed(kind), new_draft(kind))
    wanted = {"alert_name"} | {
        name
        for name in ("metric_pattern", "denominator_pattern", "member_rule_ids")
        if kind in FIELDS[name]
    }
    if kind is RuleKind.THRESHOLD:
        wanted.add("threshold_value")
    assert set(errors) == wanted


def change(kind: RuleKind, **texts: str) -> tuple[RuleDraft | None, dict[str, str]]:
    typed = new_typed(kind, "orders.*")
    filled = {"alert_name": "R", "threshold_value": "5", "denominator_pattern": "a.b", **texts}
    return read_draft(replace(typed, texts={**typed.texts, **filled}), new_draft(kind))


FAULTS = [
    ("threshold", {"alert_name": ""}, {"alert_name"}),
    ("threshold", {"alert_name": "x" * 201}, {"alert_name"}),
    ("threshold", {"metric_pattern": "orders"}, {"metric_pattern"}),
    ("threshold", {"threshold_value": "lots", "clear_threshold_value": "9"}, {"threshold_value"}),
    ("threshold", {"threshold_value": "nan"}, {"threshold_value"}),
    ("threshold", {"threshold_value": "1e400"}, {"threshold_value"}),
    ("threshold", {"clear_threshold_value": "6"}, {"clear_threshold_value"}),
    ("threshold", {"evaluation_window": "2 days"}, {"evaluation_window"}),
    ("threshold", {"evaluation_window": "soon"}, {"evaluation_window"}),
    ("threshold", {"evaluation_window": ""}, {"evaluation_window"}),
    ("threshold", {"for_duration": "-1 s"}, {"for_duration"}),
    ("threshold", {"keep_firing_for": "25 h"}, {"keep_firing_for"}),
    ("threshold", {"cooldown_period": "x"}, {"cooldown_period"}),
    ("threshold", {"flap_changes": "2"}, {"flap_changes"}),
    ("threshold", {"flap_changes": "-3"}, {"flap_changes"}),
    ("threshold", {"flap_window": "1 s"}, {"flap_window"}),
    ("threshold", {"near_window": "x"}, {"near_window"}),
    ("threshold", {"factor_ceremony": "2"}, {"factor_ceremony"}),
    ("threshold", {"factor_after": "0"}, {"factor_after"}),
    ("threshold", {"severity": "dire"}, {"severity"}),
    ("threshold", {"wedding_day_severity": "dire"}, {"wedding_day_severity"}),
    ("threshold", {"aggregation": "guess"}, {"aggregation"}),
    ("threshold", {"grouping": "tags", "group_by": ""}, {"group_by"}),
    ("threshold", {"grouping": "tags", "group_by": "a, a"}, {"group_by"}),
    ("ratio", {"denominator_pattern": ""}, {"denominator_pattern"}),
    ("burn_rate", {"objective": "100 %"}, {"objective"}),
    ("burn_rate", {"objective": "x"}, {"objective"}),
    ("burn_rate", {"aggregation": "avg"}, {"aggregation"}),
    ("burn_rate", {"short_window": "2 h"}, {"short_window"}),
    ("change", {"baseline": ""}, {"baseline"}),
    ("change", {"baseline_weeks": "9"}, {"baseline_weeks"}),
    ("change", {"aggregation": "p95"}, {"aggregation"}),
    ("deadline", {"horizon": "31 days"}, {"horizon"}),
    ("composite", {}, {"member_rule_ids"}),
]


@pytest.mark.parametrize(("kind", "texts", "wanted"), FAULTS)
def test_a_fault_stands_beside_its_field(
    kind: str, texts: dict[str, str], wanted: set[str]
) -> None:
    draft, errors = change(RuleKind(kind), **texts)
    assert draft is None
    assert set(errors) == wanted
    assert all(text and "{" not in text for text in errors.values())


def test_a_fault_in_a_condition_names_its_row() -> None:
    typed = new_typed(RuleKind.THRESHOLD, "orders.*")
    rows = (Condition("a", "=", "b"), Condition("", "=", "c"), Condition("d", "like", "e"))
    typed = replace(
        typed,
        texts={**typed.texts, "alert_name": "R", "threshold_value": "1"},
        conditions={**typed.conditions, "tag_selectors": rows},
    )
    draft, errors = read_draft(typed, new_draft(RuleKind.THRESHOLD))
    assert draft is None
    assert set(errors) == {"tag_selectors[1]", "tag_selectors[2]"}


def test_members_that_are_no_ids_are_refused() -> None:
    typed = new_typed(RuleKind.COMPOSITE)
    typed = replace(
        typed,
        texts={**typed.texts, "alert_name": "R"},
        chosen={**typed.chosen, "member_rule_ids": frozenset({"1; drop table"})},
    )
    draft, errors = read_draft(typed, new_draft(RuleKind.COMPOSITE))
    assert draft is None
    assert set(errors) == {"member_rule_ids"}


@given(st.integers(0, 10**9))
def test_a_length_is_read_as_it_is_written(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    assert read_span(write_span(span)) == span


@given(finite | st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_a_number_is_read_as_it_is_written(value: float, is_share: bool) -> None:
    assert read_number(write_number(value, is_share=is_share), is_share=is_share) == value


@given(st.lists(words_of))
def test_values_are_read_as_they_are_written(values: list[str]) -> None:
    assert read_values(write_values(values)) == tuple(values)


@given(st.text())
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    for read in (read_span, read_number, read_values):
        read(text)
    typed = new_typed(RuleKind.THRESHOLD, text)
    changed = {**dict.fromkeys(typed.texts, text), "metric_pattern": text}
    read_draft(replace(typed, texts=changed), new_draft(RuleKind.THRESHOLD))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30 s", 30), ("5m", 300), ("1 h 30 min", 5400), ("2 Days", 172_800), ("0", 0)],
)
def test_lengths_are_written_as_people_do(text: str, seconds: float) -> None:
    assert read_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 parsecs", "1 h and more", "-5 min", "5 min" * 20])
def test_what_is_no_length_is_none(text: str) -> None:
    assert read_span(text) is None


def test_shares_are_written_in_percent() -> None:
    assert write_number(0.05, is_share=True) == "5 %"
    assert read_number("5 %", is_share=True) == 0.05
    assert read_number("0.05", is_share=True) == 0.05
    assert write_number(2.5, is_share=True) == "2.5"
    assert read_number("5 %") is None
    assert write_number(0.07, is_share=True) == "7 %"
