"""The state machine beyond `for`: keeping, flapping, silence of two kinds, groups and counts."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rules import a_rule
from wedsync_apm.clock import to_ms
from wedsync_apm.errors import RateLimited
from wedsync_apm.rules.aggregate import Aggregation, Gap, Reading, Samples, read_windows
from wedsync_apm.rules.composite import Member, count_source
from wedsync_apm.rules.instances import Instances, group_key
from wedsync_apm.rules.judge import Change, Instance, Unit, judge, walk
from wedsync_apm.rules.limits import Limit, LimitSource
from wedsync_apm.rules.model import AlertRule, NoDataPolicy, RuleKind
from wedsync_apm.rules.replay import Turnstile, replay
from wedsync_apm.rules.selectors import Match, TagSelector
from wedsync_apm.rules.sources import RatioSource, WindowSource
from wedsync_apm.rules.verdict import Standing, State, advance

NOW = datetime(2026, 6, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ONE = Instance("series:1", series_ids=(1,))
LIMIT = Limit(3000.0, 2000.0, LimitSource.RULE)
FINDINGS = st.sampled_from(
    [
        Reading(4000.0, 1),
        Reading(2500.0, 1),
        Reading(1.0, 1),
        Gap.ABSENT,
        Gap.STALE,
        Gap.NOT_APPLICABLE,
    ]
)
RULES = st.builds(
    a_rule,
    clear_threshold_value=st.just(2000.0),
    for_duration=st.integers(0, 5).map(lambda n: n * SECOND),
    keep_firing_for=st.integers(0, 5).map(lambda n: n * SECOND),
    cooldown_period=st.integers(0, 8).map(lambda n: n * SECOND),
    no_data_policy=st.sampled_from(NoDataPolicy),
    stale_policy=st.sampled_from(NoDataPolicy),
    flap_changes=st.sampled_from([0, 3, 4]),
    flap_window=st.just(10 * SECOND),
)


def newest(**values: object) -> AlertRule:
    return a_rule(
        **{
            "aggregation": Aggregation.LAST,
            "evaluation_window": 10 * SECOND,
            "cooldown_period": timedelta(),
            **values,
        }
    )


def series(*points: tuple[float, float]) -> Samples:
    return Samples.of([(to_ms(NOW + at * SECOND), value, False) for at, value in points])


def over(rule: AlertRule, *members: Samples, ended: float | None = None) -> WindowSource:
    return WindowSource(
        rule.aggregation,
        members,
        round(rule.evaluation_window / SECOND * 1000),
        None if ended is None else to_ms(NOW + ended * SECOND),
    )


def follow(rule: AlertRule, source: WindowSource, until: int) -> list[tuple[float, str]]:
    """When the state changed, in seconds after NOW, and to what."""
    seen: list[tuple[float, str]] = []
    for standing in walk(Unit(rule, ONE), source, NOW + until * SECOND, since=NOW - SECOND):
        if not seen or seen[-1][1] != standing.state.value:
            seen.append(((standing.evaluated_at - NOW) / SECOND, standing.state.value))
    return seen


def test_an_alarm_is_kept_until_it_has_been_good_for_long_enough() -> None:
    rule = newest(keep_firing_for=5 * SECOND)
    samples = series((0, 4000), (2, 1), (4, 4000), (6, 1))
    assert follow(rule, over(rule, samples), 14) == [
        (0, "firing"),
        (2, "keeping"),
        (4, "firing"),
        (6, "keeping"),
        (11, "ok"),
    ]


def test_what_is_good_but_not_clear_ends_the_keeping() -> None:
    rule = newest(keep_firing_for=5 * SECOND, clear_threshold_value=2000.0)
    samples = series((0, 4000), (1, 1), (4, 2500), (5, 1))
    assert follow(rule, over(rule, samples), 12) == [
        (0, "firing"),
        (1, "keeping"),
        (4, "firing"),
        (5, "keeping"),
        (10, "ok"),
    ]


def test_too_many_changes_are_one_alarm_until_they_have_become_fewer() -> None:
    rule = newest(flap_changes=4, flap_window=20 * SECOND)
    points = [(n * 2, 4000 if n % 2 == 0 else 1) for n in range(6)]
    assert follow(rule, over(rule, series(*points)), 40) == [
        (0, "firing"),
        (2, "ok"),
        (4, "firing"),
        (6, "flapping"),
        (8, "firing"),
        (10, "flapping"),
        # the fourth change from the end, at 4, is 20 seconds past
        (24, "ok"),
    ]


@pytest.mark.parametrize(
    ("ended", "policies", "expected"),
    [
        (None, {"no_data_policy": NoDataPolicy.ALERT}, (10, "no_data")),
        (5, {"no_data_policy": NoDataPolicy.ALERT}, None),
        (5, {"stale_policy": NoDataPolicy.ALERT}, (10, "no_data")),
        (None, {"stale_policy": NoDataPolicy.ALERT}, None),
        (15, {"no_data_policy": NoDataPolicy.ALERT}, (10, "no_data")),
    ],
)
def test_silence_and_a_said_end_are_told_apart(
    ended: float | None, policies: dict[str, NoDataPolicy], expected: tuple[int, str] | None
) -> None:
    rule = newest(**policies)
    seen = follow(rule, over(rule, series((0, 1)), ended=ended), 20)
    assert seen[:2] == [(0, "ok"), *([expected] if expected else [])]
    # where it ends at 15, the sender says so then
    assert seen[2:] == ([(15, "ok")] if ended == 15 else [])


def test_a_series_that_comes_back_is_not_over() -> None:
    rule = newest(no_data_policy=NoDataPolicy.ALERT)
    assert follow(rule, over(rule, series((0, 1), (20, 1)), ended=5), 40) == [
        (0, "ok"),
        (30, "no_data"),
    ]


@given(RULES, st.lists(st.tuples(st.integers(0, 4), FINDINGS), max_size=40))
def test_whatever_comes_a_standing_makes_sense(
    rule: AlertRule, script: list[tuple[int, Reading | Gap]]
) -> None:
    standing: Standing | None = None
    at = NOW
    for wait, found in script:
        at += wait * SECOND
        before, standing = standing, advance(rule, standing, found, LIMIT, at)
        was = before is not None and before.state.is_alarming
        assert (standing.firing_since is not None) == standing.state.is_alarming
        assert (standing.keeping_since is not None) == (standing.state is State.KEEPING)
        assert standing.state is not State.PENDING or standing.pending_since is not None
        assert (standing.value is None) == (standing.gap is not None)
        assert len(standing.flips) <= rule.flap_changes
        if standing.state.is_alarming and not was:
            # It begins with something bad, long enough, and not within the cooldown.
            assert standing.state in (State.FIRING, State.NO_DATA)
            assert standing.alarmed_at == at
            if before is not None and before.alarmed_at is not None:
                assert at - before.alarmed_at >= rule.cooldown_period
            since = before.pending_since if before and before.pending_since else at
            assert at - since >= rule.for_duration
        if was and not standing.state.is_alarming:
            assert not (isinstance(found, Reading) and found.value > LIMIT.clear_value)
        # To look again at the same moment changes nothing.
        again = advance(rule, standing, found, LIMIT, at)
        assert again.state is standing.state or rule.for_duration == timedelta()


POINTS = st.lists(
    st.tuples(st.integers(0, 60_000), st.sampled_from([0.1, 2500.7, 4000.3, 1e12])),
    max_size=25,
    unique_by=lambda point: point[0],
)


@given(
    st.sampled_from(Aggregation),
    POINTS,
    POINTS,
    st.integers(0, 70_000),
    st.randoms(use_true_random=False),
)
def test_the_order_in_which_samples_came_changes_no_bit(
    aggregation: Aggregation,
    one: list[tuple[int, float]],
    other: list[tuple[int, float]],
    at_ms: int,
    shuffle: random.Random,
) -> None:
    rows = [[(at, value, False) for at, value in points] for points in (one, other)]
    told = read_windows(aggregation, [Samples.of(part) for part in rows], at_ms, 30_000)
    for part in rows:
        shuffle.shuffle(part)
    again = read_windows(aggregation, [Samples.of(part) for part in rows], at_ms, 30_000)
    assert told == again


@given(RULES, POINTS, st.randoms(use_true_random=False))
def test_the_order_in_which_samples_came_changes_no_verdict(
    rule: AlertRule, points: list[tuple[int, float]], shuffle: random.Random
) -> None:
    rows = [(to_ms(NOW) + at, value, False) for at, value in points]
    shuffled = rows.copy()
    shuffle.shuffle(shuffled)
    end = NOW + 90 * SECOND
    told = [
        judge(Unit(rule, ONE), over(rule, Samples.of(part)), end, since=NOW - SECOND)
        for part in (rows, shuffled)
    ]
    assert told[0] == told[1]


@given(RULES, POINTS)
def test_a_replay_is_what_the_engine_says(rule: AlertRule, points: list[tuple[int, float]]) -> None:
    source = over(rule, Samples.of([(to_ms(NOW) + at, value, False) for at, value in points]))
    end = NOW + 90 * SECOND
    _, changes = judge(Unit(rule, ONE), source, end, since=NOW - SECOND)
    past = replay(Unit(rule, ONE), source, NOW, end, most_points=10)
    assert [one.standing for one in past.changes] == [one.standing for one in changes]
    ends = [alarm.end for alarm in past.alarms if alarm.end]
    assert [alarm.begin for alarm in past.alarms] + ends == [
        *(one.standing for one in changes if one.is_alarming),
        *(one.standing for one in changes if not one.is_alarming),
    ]
    assert {one.evaluated_at for one in (alarm.begin for alarm in past.alarms)} <= {
        point.evaluated_at for point in past.points
    }


def test_series_become_instances_by_their_tags() -> None:
    rule = a_rule(
        metric_pattern="forms.*",
        group_by=("region", "service_name"),
        tag_selectors=(
            TagSelector("kind", Match.NOT_EQUAL, ("probe",)),
            TagSelector("region", Match.GLOB, ("n*",)),
            TagSelector("test", Match.ABSENT),
        ),
    )
    instances = Instances(rule)
    offered: list[tuple[str, dict[str, str]]] = [
        ("time", {"region": "north"}),
        ("size", {"region": "north", "kind": "person"}),
        ("time", {"region": "nord"}),
        ("time", {"region": "south"}),
        ("time", {"region": "north", "kind": "probe"}),
        ("time", {"region": "north", "test": "1"}),
        ("time", {}),
    ]
    for number, (metric, tags) in enumerate(offered, start=1):
        instances.offer(number, "forms", metric, tags)
    assert {one.key: one.series_ids for one in instances} == {
        group_key({"service_name": "forms", "region": "north"}): (1, 2),
        group_key({"region": "nord", "service_name": "forms"}): (3,),
    }
    of_all = Instances(a_rule(rule_kind=RuleKind.RATIO, denominator_pattern="a.b"))
    assert [(one.key, one.is_fixed) for one in of_all] == [("tags:{}", True)]


def test_growth_is_added_up_and_all_else_is_taken_together() -> None:
    one, other = series((0, 10), (30, 20)), series((0, 100), (30, 160))
    at = to_ms(NOW + 30 * SECOND)
    read = {a: read_windows(a, (one, other), at, 60_000) for a in Aggregation}
    alone = [read_windows(Aggregation.INCREASE, (part,), at, 60_000) for part in (one, other)]
    values = {a: found.value for a, found in read.items() if found}
    assert values[Aggregation.INCREASE] == sum(part.value for part in alone if part)
    assert values[Aggregation.RATE] == values[Aggregation.INCREASE] / 60
    assert (values[Aggregation.SUM], values[Aggregation.COUNT]) == (290, 4)
    assert (values[Aggregation.LAST], values[Aggregation.MIN]) == (160, 10)


def test_a_ratio_of_nothing_is_no_number() -> None:
    some, none, zero = series((0, 4)), Samples(), series((0, 0))
    rule = newest(aggregation=Aggregation.SUM)
    at = to_ms(NOW)
    read = {
        (above, below): RatioSource(over(rule, a), over(rule, b)).read(at)
        for above, a in (("some", some), ("none", none))
        for below, b in (("some", some), ("none", none), ("zero", zero))
    }
    assert read["some", "some"] == Reading(1.0, 2)
    assert read["none", "some"] == Reading(0.0, 1)
    assert read["some", "none"] is Gap.ABSENT
    assert read["some", "zero"] is Gap.NOT_APPLICABLE


def test_a_member_counts_while_any_of_its_instances_alarms() -> None:
    rule = newest()
    standing = advance(rule, None, Reading(4000.0, 1), LIMIT, NOW)
    calm = advance(rule, None, Reading(1.0, 1), LIMIT, NOW + 5 * SECOND)
    slow, busy = UUID(int=1), UUID(int=2)
    members = [
        Member(slow, {"region": "n"}, True, (Change("a", calm),)),
        Member(slow, {"region": "s"}, False, (Change("b", standing),)),
        Member(busy, {"region": "n"}, False),
    ]

    def counts(labels: dict[str, str]) -> list[float]:
        source = count_source((slow, busy), labels, members)
        found = [source.read(to_ms(NOW + n * SECOND)) for n in (-1, 0, 5)]
        return [one.value for one in found if isinstance(one, Reading)]

    assert counts({}) == [1, 1, 1]
    assert counts({"region": "n"}) == [1, 1, 0]
    assert counts({"region": "s"}) == [0, 1, 1]


def test_a_caller_has_so_many_questions_at_a_time() -> None:
    turnstile, one, other = Turnstile(2), UUID(int=1), UUID(int=2)
    with (
        turnstile.one_of(one),
        turnstile.one_of(one),
        turnstile.one_of(other),
        pytest.raises(RateLimited),
        turnstile.one_of(one),
    ):
        pass
    with pytest.raises(ValueError, match="broken"), turnstile.one_of(one):
        raise ValueError("broken")
    with turnstile.one_of(one), turnstile.one_of(one):
        pass
