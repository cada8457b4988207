"""The verdict from instant to instant."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.support.rules import a_rule
from wedsync_apm.clock import to_ms
from wedsync_apm.rules.aggregate import Aggregation, Samples
from wedsync_apm.rules.judge import CATCH_UP, Change, Instance, Unit, judge
from wedsync_apm.rules.model import AlertRule, NoDataPolicy
from wedsync_apm.rules.sources import WindowSource
from wedsync_apm.rules.verdict import Standing, State

NOW = datetime(2026, 6, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def newest(**values: object) -> AlertRule:
    """A rule on the newest sample of ten seconds."""
    return a_rule(
        **{
            "aggregation": Aggregation.LAST,
            "evaluation_window": 10 * SECOND,
            "cooldown_period": timedelta(),
            **values,
        }
    )


def series(*points: tuple[float, float]) -> Samples:
    """Samples at seconds after NOW."""
    return Samples.of([(to_ms(NOW + at * SECOND), value, False) for at, value in points])


def over(rule: AlertRule, samples: Samples, ended_at: datetime | None = None) -> WindowSource:
    """The rule's number over one series."""
    width_ms = round(rule.evaluation_window / SECOND * 1000)
    ended_ms = to_ms(ended_at) if ended_at else None
    return WindowSource(rule.aggregation, (samples,), width_ms, ended_ms)


ONE = Instance("series:1", series_ids=(1,))


def follow(
    rule: AlertRule, samples: Samples, until: int, step: int = 1, ended_at: datetime | None = None
) -> list[tuple[int, State]]:
    """Judges each `step` seconds; gives back when the state changed, and to what."""
    standing: Standing | None = None
    seen: list[tuple[int, State]] = []
    source = over(rule, samples, ended_at)
    for n in range(0, until + 1, step):
        standing, _ = judge(Unit(rule, ONE, None, standing), source, NOW + n * SECOND)
        if standing is not None and (not seen or seen[-1][1] is not standing.state):
            seen.append((int((standing.changed_at - NOW) / SECOND), standing.state))
    return seen


def test_without_for_the_first_breach_fires() -> None:
    assert follow(newest(), series((0, 1), (5, 4000), (8, 1)), 9) == [
        (0, State.OK),
        (5, State.FIRING),
        (8, State.OK),
    ]


def test_the_limit_itself_is_no_breach_of_above() -> None:
    assert follow(newest(), series((0, 3000)), 5) == [(0, State.OK)]


def test_for_has_to_pass_without_a_break() -> None:
    rule = newest(for_duration=4 * SECOND)
    broken = series((0, 4000), (3, 1), (4, 4000), (9, 4000))
    assert follow(rule, broken, 9) == [
        (0, State.PENDING),
        (3, State.OK),
        (4, State.PENDING),
        (8, State.FIRING),
    ]


def test_between_limit_and_clear_value_it_goes_on() -> None:
    rule = newest(clear_threshold_value=2000.0)
    samples = series((0, 4000), (2, 2500), (4, 2000), (6, 2500))
    assert follow(rule, samples, 8) == [(0, State.FIRING), (4, State.OK)]


def test_the_cooldown_holds_the_next_fire_back_and_no_longer() -> None:
    rule = newest(cooldown_period=6 * SECOND)
    samples = series((0, 4000), (2, 1), (3, 4000), (9, 4000))
    standing, changes = judge(
        Unit(rule, ONE), over(rule, samples), NOW + 9 * SECOND, since=NOW - SECOND
    )
    assert [(change.standing.evaluated_at - NOW, change.is_alarming) for change in changes] == [
        (timedelta(), True),
        (2 * SECOND, False),
        (6 * SECOND, True),
    ]
    assert standing is not None
    assert standing.alarmed_at == NOW + 6 * SECOND


def test_silence_keeps_the_verdict_by_default() -> None:
    assert follow(newest(), series((0, 4000)), 60) == [(0, State.FIRING)]
    assert follow(newest(for_duration=30 * SECOND), series((0, 4000)), 60) == [
        (0, State.PENDING)
    ], "a breach that nothing confirms does not grow into an alarm"


def test_silence_may_end_it() -> None:
    rule = newest(no_data_policy=NoDataPolicy.OK)
    assert follow(rule, series((0, 4000)), 20) == [(0, State.FIRING), (10, State.OK)]


def test_silence_may_be_the_alarm() -> None:
    rule = newest(no_data_policy=NoDataPolicy.ALERT, for_duration=5 * SECOND)
    samples = series((0, 1), (30, 1))
    assert follow(rule, samples, 30) == [
        (0, State.OK),
        (10, State.PENDING),
        (15, State.NO_DATA),
        (30, State.OK),
    ]


def test_a_series_that_its_sender_ended_is_no_alarm() -> None:
    rule = newest(no_data_policy=NoDataPolicy.ALERT)
    assert follow(rule, series((0, 1)), 30, ended_at=NOW + 5 * SECOND) == [(0, State.OK)]
    assert follow(newest(), series((0, 4000)), 30, ended_at=NOW + 5 * SECOND) == [
        (0, State.FIRING),
        (10, State.OK),
    ]


def test_a_series_never_seen_has_no_verdict() -> None:
    rule = newest(no_data_policy=NoDataPolicy.ALERT)
    assert judge(Unit(rule, ONE), over(rule, Samples()), NOW) == (None, ())


def test_old_instants_are_not_judged_one_by_one() -> None:
    """After a long pause nobody is called for what began and ended in it."""
    old = -(CATCH_UP + timedelta(minutes=1)) / SECOND
    samples = series((old, 4000), (old + 1, 1), (0, 1))
    standing, changes = judge(Unit(newest(), ONE), over(newest(), samples), NOW)
    assert changes == ()
    assert standing is not None
    assert standing.state is State.OK


POINTS = st.lists(
    st.tuples(st.integers(0, 120), st.sampled_from([0.0, 2500.0, 4000.0])),
    max_size=30,
    unique_by=lambda point: point[0],
)
RULES = st.builds(
    newest,
    for_duration=st.integers(0, 20).map(lambda n: n * SECOND),
    clear_threshold_value=st.sampled_from([None, 2000.0]),
    no_data_policy=st.sampled_from(NoDataPolicy),
    keep_firing_for=st.integers(0, 20).map(lambda n: n * SECOND),
    cooldown_period=st.sampled_from([0, 15]).map(lambda n: n * SECOND),
    flap_changes=st.sampled_from([0, 3]),
    flap_window=st.just(timedelta(minutes=1)),
    aggregation=st.sampled_from([Aggregation.LAST, Aggregation.AVG, Aggregation.RATE]),
    threshold_value=st.just(2600.0),
)


@given(RULES, POINTS, st.lists(st.integers(0, 120_000), max_size=20))
def test_when_the_engine_looks_changes_nothing(
    rule: AlertRule, points: list[tuple[float, float]], looks: list[int]
) -> None:
    """Judged at one stroke, or at any instants with a restart at each, the history is the same."""
    source, end = over(rule, series(*points)), NOW + 121 * SECOND
    _, whole = judge(Unit(rule, ONE), source, end, since=NOW - SECOND)
    kept: Standing | None = None
    pieces: list[Change] = []
    for at in (*(NOW + timedelta(milliseconds=look) for look in sorted(looks)), end):
        found, changes = judge(Unit(rule, ONE, None, kept), source, at, since=NOW - SECOND)
        # A verdict that stays ok is written every ten seconds only.
        stays = found and kept and found.state is kept.state is State.OK
        if not (stays and found and kept and found.evaluated_at - kept.evaluated_at < 10 * SECOND):
            kept = found
        pieces.extend(changes)
    assert [change.standing for change in pieces] == [change.standing for change in whole]


@given(RULES, POINTS, st.data())
def test_judging_again_at_the_same_instant_changes_nothing(
    rule: AlertRule, points: list[tuple[float, float]], data: st.DataObject
) -> None:
    source = over(rule, series(*points))
    standing: Standing | None = None
    for second in sorted(data.draw(st.sets(st.integers(0, 120), max_size=12))):
        at = NOW + second * SECOND
        standing, _ = judge(Unit(rule, ONE, None, standing), source, at)
        assert judge(Unit(rule, ONE, None, standing), source, at) == (standing, ())


@given(RULES, POINTS)
def test_changes_alternate_and_end_in_the_standing(
    rule: AlertRule, points: list[tuple[float, float]]
) -> None:
    standing, changes = judge(
        Unit(rule, ONE), over(rule, series(*points)), NOW + 121 * SECOND, since=NOW - SECOND
    )
    flags = [change.is_alarming for change in changes]
    assert flags == [n % 2 == 0 for n in range(len(flags))]
    if flags:
        assert standing is not None
        assert standing.state.is_alarming is flags[-1]
