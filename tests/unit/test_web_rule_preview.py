"""What a rule would have done as words and as a drawing, and why it says what it says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rules import a_rule
from wedsync_apm.rules.aggregate import Gap
from wedsync_apm.rules.judge import Instance, Unit
from wedsync_apm.rules.limits import Limit, LimitSource, WeddingWindow, resolve_limit, wedding_at
from wedsync_apm.rules.model import Operator, RuleKind
from wedsync_apm.rules.past import Past
from wedsync_apm.rules.replay import Alarm, Replay
from wedsync_apm.rules.store import NamedSeries, Verdict
from wedsync_apm.rules.verdict import Standing, State
from wedsync_apm.web.build.rule_drawing import limit_steps, nice_steps, thin, value_range
from wedsync_apm.web.build.rule_editor import build_kinds, suggest
from wedsync_apm.web.build.rule_form import new_typed
from wedsync_apm.web.build.rule_preview import (
    Look,
    Reader,
    build_nears,
    build_preview,
    spans_of,
)
from wedsync_apm.web.build.rule_why import build_instance, why_words
from wedsync_apm.web.views.rule_form import PreviewView

NOW = datetime(2026, 6, 20, 12, 13, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
READER = Reader(NOW, "Europe/London", False)
SERIES = NamedSeries(7, "forms", "submit_time", {"region": "north"}, "ms")


def standing(at: datetime, value: float | None = 1000.0, **more: Any) -> Standing:
    values: dict[str, Any] = {
        "state": State.OK,
        "value": value,
        "limit": Limit(3000, 3000, LimitSource.RULE),
        "sample_count": 4,
        "pending_since": None,
        "firing_since": None,
        "changed_at": at,
        "evaluated_at": at,
        "gap": None if value is not None else Gap.ABSENT,
    } | more
    return Standing(**values)


def replayed(key: str, *alarms: tuple[float, float | None], values: Any = None) -> Replay:
    """One instance over the last day; alarms by hours before now."""
    points = tuple(standing(NOW - HOUR * h, v) for h, v in (values or [(23, 1000.0), (0, 1500.0)]))
    found = tuple(
        Alarm(
            standing(NOW - HOUR * begin, 9100.0, state=State.FIRING),
            None if end is None else standing(NOW - HOUR * end),
        )
        for begin, end in alarms
    )
    unit = Unit(a_rule(), Instance(key, series_ids=(7,)), "ms")
    return Replay(unit, points, found, (), None)


def preview(
    *replays: Replay, count: int | None = None, hours: float = 24, **rule: Any
) -> PreviewView:
    found = Past(a_rule(**rule), replays, {7: SERIES}, len(replays) if count is None else count)
    look = Look("24h", NOW - HOUR * hours, NOW, "in the last 24 hours")
    return build_preview(found, look, READER)


def test_each_time_is_told_with_its_length() -> None:
    view = preview(replayed("series:7", (5, 4.5), (2, None)))
    assert view.sentence == (
        "Would have told you 2 times in the last 24 hours: 08:13 (30 min), 11:13 (goes on)."
    )
    assert [one.begins for one in view.firings] == ["11:13", "08:13"]
    assert view.firings[1].why == "9.1 s, limit 3 s"
    assert view.drawing is not None
    assert len(view.drawing.fired) == 2


def test_what_overlaps_in_several_series_is_told_once() -> None:
    one, other = replayed("series:7", (5, 4)), replayed("series:8", (4.5, 3), (1, 0.5))
    spans = spans_of([one, other], NOW - 24 * HOUR, NOW)
    assert [(s.begins, s.ends) for s in spans] == [
        (NOW - 5 * HOUR, NOW - 3 * HOUR),
        (NOW - HOUR, NOW - HOUR / 2),
    ]
    assert preview(one, other).sentence.startswith("Would have told you 2 times")


def test_an_alarm_from_before_the_range_begins_with_it() -> None:
    (span,) = spans_of([replayed("series:7", (30, 20))], NOW - 24 * HOUR, NOW)
    assert (span.begins, span.ends) == (NOW - 24 * HOUR, NOW - 20 * HOUR)


def test_no_time_says_how_near_it_came() -> None:
    view = preview(replayed("series:7", values=[(23, 1000.0), (2, 2900.0), (0, None)]))
    assert view.sentence == "Would have told nobody in the last 24 hours."
    assert "The nearest to the limit was 2.9 s." in view.hint
    below = preview(
        replayed("series:7", values=[(23, 5000.0), (2, 2900.0)]),
        comparison_operator=Operator.BELOW,
    )
    assert "The nearest to the limit was 2.9 s." in below.hint


def test_too_often_is_said() -> None:
    often = [(float(h), h - 0.5) for h in range(1, 13)]
    view = preview(replayed("series:7", *often))
    assert "That is often." in view.hint
    assert len(view.firings) == 10
    assert view.more == "and 2 more"
    assert "and 9 more" in view.sentence


def test_nothing_measured_is_no_calm() -> None:
    view = preview(replayed("series:7", values=[(23, None), (0, None)]))
    assert view.sentence == (
        "Nothing was measured in the last 24 hours, so it would have told nobody."
    )
    assert view.drawing is None
    assert preview(count=0).drawing is None


def test_silence_that_is_the_alarm_is_told() -> None:
    gone = replayed("series:7", values=[(23, 1000.0), (9, None)])
    begin = standing(NOW - 9 * HOUR, None, state=State.NO_DATA)
    view = preview(Replay(gone.subject, gone.points, (Alarm(begin, None),), (), None))
    assert view.firings[0].why == "Nothing came in"


def test_series_that_are_not_drawn_are_counted() -> None:
    many = [replayed(f"series:{n}") for n in range(6)]
    view = preview(*many, count=20)
    assert view.drawing is not None
    assert len(view.drawing.curves) == 4
    assert view.others == "16 more series were looked at and are not drawn."


def test_figures_that_are_younger_than_the_range_fill_the_drawing() -> None:
    view = preview(replayed("series:7", values=[(1, 1000.0), (0, 1500.0)]))
    assert "Its figures begin at 12:13." in view.hint
    assert view.drawing is not None
    assert view.drawing.curves[0].path.startswith("M47")


PHASES_OF_A_DAY = [
    WeddingWindow("day", None, NOW - 12 * HOUR, NOW + 12 * HOUR, 4),
    WeddingWindow("ceremony", None, NOW - 3 * HOUR, NOW - 2 * HOUR, 2),
    WeddingWindow("evening_before", None, NOW - 19 * HOUR, NOW - 12 * HOUR, 5),
]


@given(st.integers(0, 24 * 60 - 1))
def test_the_limit_is_drawn_as_the_engine_resolves_it(minutes: int) -> None:
    rule = a_rule(wedding_thresholds={"ceremony": 500})
    start = NOW - 24 * HOUR
    steps = limit_steps(rule, PHASES_OF_A_DAY, start, NOW, unit="ms")
    at = start + minutes * MINUTE
    (step,) = [one for one in steps if one.begins <= at < one.ends]
    assert step.limit == resolve_limit(rule, wedding_at(PHASES_OF_A_DAY, at), unit="ms")
    assert steps[0].begins == start
    assert steps[-1].ends == NOW


def test_the_drawing_reaches_the_newest_value() -> None:
    old = replayed("series:7", values=[(23, 1000.0), (1, 1000.0)])
    newest = standing(NOW, 2500.0)
    view = preview(Replay(old.subject, old.points, (), (), newest))
    assert view.drawing is not None
    assert "L1000 " in view.drawing.curves[0].path


def test_phases_are_drawn_and_named() -> None:
    found = Past(a_rule(), (replayed("series:7"),), {7: SERIES}, 1, weddings=tuple(PHASES_OF_A_DAY))
    look = Look("24h", NOW - 24 * HOUR, NOW, "in the last 24 hours")
    drawing = build_preview(found, look, READER).drawing
    assert drawing is not None
    assert [one.words for one in drawing.bands if one.words][:2] == [
        "Evening before",
        "Wedding day",
    ]
    assert {one.words for one in drawing.limits} == {"limit 3 s", "limit 2.2 s", "limit 1.5 s"}
    assert drawing.grip > 0


@given(
    st.lists(
        st.tuples(st.floats(0, 1000), st.none() | st.floats(-1e6, 1e6)), min_size=1, max_size=900
    ).map(lambda found: sorted(found, key=lambda p: p[0])),
    st.integers(10, 300),
)
def test_thinning_keeps_the_peaks_and_the_gaps(
    points: list[tuple[float, float | None]], count: int
) -> None:
    kept = thin(points, count)
    assert len(kept) <= count * 1.5 + 3
    values = [y for _, y in points if y is not None]
    shown = [y for _, y in kept if y is not None]
    if values:
        assert (min(shown), max(shown)) == (min(values), max(values))
    if len(points) <= count:
        assert kept == points


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_steps_of_an_axis_lie_on_it(low: float, span: float) -> None:
    for value in nice_steps(low, low + span):
        assert low - span * 1e-6 - 1e-6 <= value <= low + span * 1.000001 + 1e-6
    assert len(nice_steps(low, low + span)) <= 5


@given(st.lists(st.floats(-1e9, 1e9)), st.lists(st.floats(-1e9, 1e9)))
def test_every_value_and_limit_is_in_the_drawing(values: list[float], limits: list[float]) -> None:
    for is_share in (False, True):
        low, high = value_range(values, limits, is_share=is_share)
        assert low < high
        assert all(low <= one <= high for one in (*values, *limits))


def test_only_a_share_is_not_drawn_from_nought() -> None:
    assert value_range([480.0], [500.0])[0] == 0
    assert value_range([99.8], [99.9], is_share=True)[0] > 99


def test_the_graded_limits_say_what_tightens_when() -> None:
    rule = a_rule(
        threshold_value=800.0, wedding_factors={"days_before": 0.9}, wedding_thresholds={"day": 1}
    )
    nears = build_nears(rule, new_typed(RuleKind.THRESHOLD), "ms", READER)
    assert [(one.key, one.limit, one.source) for one in nears.grades] == [
        ("rule", "0.8 s", "as always"),
        ("days_before", "0.72 s", "times 0.9"),
        ("evening_before", "0.6 s", "times 0.75"),
        ("window", "0.4 s", "times 0.5"),
        ("after", "0.8 s", "as always"),
    ]
    assert nears.sentence == "Tightens from 0.8 s to 0.4 s on the day."
    parts = {one.key: one for one in nears.parts}
    assert parts["day"].source == "your own limit"
    empty = build_nears(None, new_typed(RuleKind.THRESHOLD), "ms", READER)
    assert {one.limit for one in empty.grades} == {""}


def test_a_least_share_tightens_towards_the_whole() -> None:
    rule = a_rule(comparison_operator=Operator.BELOW, threshold_value=99.0)
    nears = build_nears(rule, new_typed(RuleKind.THRESHOLD), "%", READER)
    assert nears.grades[3].limit == "99.5 %"


def test_a_limit_that_no_factor_moves_is_shown_as_it_is() -> None:
    rule = a_rule(
        rule_kind=RuleKind.DEADLINE, comparison_operator=Operator.AT_LEAST, threshold_value=95.0
    )
    nears = build_nears(rule, new_typed(RuleKind.DEADLINE), "%", READER)
    assert {(one.limit, one.takes_factor) for one in nears.grades} == {("95 %", False)}
    assert nears.sentence == "Stays at 95 % on the day."
    least = a_rule(comparison_operator=Operator.BELOW, threshold_value=20.0)
    nears = build_nears(least, new_typed(RuleKind.THRESHOLD), "replicas", READER)
    assert nears.grades[3].default_factor == "1", "what holds where the field stays empty"


def test_a_looser_limit_is_called_one() -> None:
    rule = a_rule(threshold_value=10.0, wedding_thresholds={"ceremony": 50.0})
    nears = build_nears(rule, new_typed(RuleKind.THRESHOLD), "", READER)
    parts = {one.key: one.source for one in nears.parts}
    assert parts["ceremony"] == "your own limit, looser than on other days"
    assert "looser" not in parts["reception"]
    day = replace(rule, wedding_day_threshold_value=50.0)
    nears = build_nears(day, new_typed(RuleKind.THRESHOLD), "", READER)
    assert nears.sentence == "Looser on the day: 50 instead of 10."


def test_names_come_from_what_is_sent() -> None:
    rule = a_rule(metric_pattern="forms.*")
    found = suggest([SERIES], rule.selector, None, is_new=False)
    assert found.metrics == ("forms.submit_time", "forms.*")
    assert (found.tags, found.values) == (("region",), ("north",))
    assert found.matching == "1 series fits just now: Forms, submit time (region north)"
    none = suggest([SERIES], a_rule(metric_pattern="a.b").selector, None, is_new=False)
    assert none.matching == "Nothing that you send fits this just now."
    assert none.tags == ("region",)


def test_every_kind_is_offered_with_the_figure_that_was_come_with() -> None:
    kinds = build_kinds("a.b&kind=x").kinds
    assert {one.value for one in kinds} == set(RuleKind)
    assert all(one.href.endswith("&metric=a.b%26kind%3Dx") for one in kinds)


def verdict(found: Standing) -> Verdict:
    return Verdict("series:7", {}, SERIES, found)


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_word_and_is_unknown_without_an_engine(state: State) -> None:
    found = verdict(standing(NOW, state=state))
    known = build_instance(a_rule(), found, [], READER, unit="ms", is_known=True)
    assert known.status.word
    assert known.technical == ()
    silent = build_instance(a_rule(), found, [], READER, unit="ms", is_known=False)
    assert (silent.status.kind, silent.status.word) == ("none", "Not known")
    paused = build_instance(a_rule(is_active=False), found, [], READER, unit="ms", is_known=True)
    assert (paused.status.kind, paused.status.word) == ("none", "Off")


def test_silence_is_never_green() -> None:
    found = verdict(standing(NOW, None))
    shown = build_instance(a_rule(), found, [], READER, unit="ms", is_known=True)
    assert (shown.status.kind, shown.status.word) == ("none", "Nothing comes in")


def test_why_names_the_value_the_limit_its_source_and_the_samples() -> None:
    limit = Limit(1500, 1500, LimitSource.WEDDING_FACTOR, "ceremony", None, 0.5)
    found = standing(NOW, 1600.0, limit=limit, state=State.PENDING, pending_since=NOW)
    lines = why_words(a_rule(for_duration=2 * MINUTE), found, "ms", READER)
    assert lines == (
        "It stands at 1.6 s.",
        "It tells when over 1.5 s (Ceremony), else over 3 s.",
        "Judged by 4 samples of the last 5 min.",
        "It tells once this has lasted 2 min.",
    )


def test_why_says_that_a_limit_is_looser() -> None:
    limit = Limit(5000, 5000, LimitSource.WEDDING_VALUE, "ceremony", None)
    lines = why_words(a_rule(), standing(NOW, 1600.0, limit=limit), "ms", READER)
    assert lines[1] == (
        "It tells when over 5 s: your own limit now (Ceremony), 3 s on ordinary days. "
        "That is looser than on other days."
    )


def test_an_engineer_reads_the_engine_s_own_words() -> None:
    engineer = Reader(NOW, "Europe/London", True)
    shown = build_instance(
        a_rule(), verdict(standing(NOW)), [(NOW, 850.0)], engineer, unit="ms", is_known=True
    )
    facts = {one.name: one.value for one in shown.technical}
    assert facts["instance_key"] == "series:7"
    assert "limit > 3000, the rule's own; ok" in facts["reason"]
    assert shown.samples == (("13:13", "850 ms"),)
