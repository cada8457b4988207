"""Rules followed in memory, compiled and plain, against the functions that say what is right: the
same values to the last bit, the same verdicts at the same instants, the same transitions."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wedsync_apm.clock import to_datetime, to_ms
from wedsync_apm.metrics.blocks.model import Columns, Context
from wedsync_apm.rules import plain_rings, rings
from wedsync_apm.rules.aggregate import Aggregation, Reading, Samples, read_windows
from wedsync_apm.rules.judge import Change, Instance, Unit, judge
from wedsync_apm.rules.limits import WeddingWindow
from wedsync_apm.rules.memory import Memory
from wedsync_apm.rules.model import AlertRule, NoDataPolicy, Operator, RuleKind
from wedsync_apm.rules.plain_rings import AGGREGATIONS, READING, Stuck
from wedsync_apm.rules.sources import RatioSource, Source, WindowSource
from wedsync_apm.rules.units import Units
from wedsync_apm.rules.verdict import Standing

START_MS = 1_780_000_000_000
LONG_AGO_MS = 0
ORGANIZATION = uuid4()
KINDS = [
    pytest.param(rings.Rings, Units, id="compiled"),
    pytest.param(plain_rings.Rings, plain_rings.Units, id="plain"),
]

Sample = tuple[int, int, float, bool]
"""Series, milliseconds after the start, value, whether it declares a wedding."""

NUMBERS = st.one_of(
    st.floats(0, 100),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e308, -1e308, 1e16, 1.0, -1e16, 5e-324, 0.1, 49.9, 50.0, 50.1]),
)


def bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("<d", value)


def fill(held: rings.Rings, samples: Sequence[Sample]) -> list[int]:
    return held.take(
        np.array([one[0] for one in samples], np.int32),
        np.array([START_MS + one[1] for one in samples], np.int64),
        np.array([one[2] for one in samples], np.float64),
        np.array([one[3] for one in samples], np.uint8),
    )


def columns_of(samples: Sequence[Sample]) -> Columns:
    return Columns(
        np.array([one[0] for one in samples], np.int32),
        np.array([START_MS + one[1] for one in samples], np.int64),
        np.array([one[2] for one in samples], np.float64),
        np.zeros(len(samples), np.int64),
        np.array([int(one[3]) for one in samples], np.int32),
        (Context(None, ""), Context("{}", "")),
    )


def samples_of(written: Sequence[Sample], series: int) -> Samples:
    rows = [(START_MS + at, value, flag) for one, at, value, flag in written if one == series]
    return Samples.of(rows)


@st.composite
def windows(draw: st.DrawFn) -> list[Sample]:
    """Samples of three series in any order, some written twice."""
    times = st.integers(0, 120_000) | st.integers(0, 12).map(lambda n: n * 10_000)
    return draw(st.lists(st.tuples(st.integers(1, 3), times, NUMBERS, st.booleans()), max_size=150))


@pytest.mark.parametrize(("make_rings", "make_units"), KINDS)
@settings(max_examples=60)
@given(
    written=windows(),
    aggregation=st.sampled_from(AGGREGATIONS),
    members=st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True),
    at=st.integers(0, 130_000),
    width=st.integers(1, 130_000),
)
def test_a_window_comes_to_the_same_to_the_last_bit(  # noqa: PLR0917 - hypothesis names them
    make_rings: type[rings.Rings],
    make_units: type[Units],
    written: list[Sample],
    aggregation: Aggregation,
    members: list[int],
    at: int,
    width: int,
) -> None:
    held = make_rings()
    slots = {series: held.add(series, 400_000, LONG_AGO_MS) for series in (1, 2, 3)}
    fill(held, written)
    units = make_units(held, 1000, 5000)
    number = AGGREGATIONS.index(aggregation)
    rule = units.add_rule(
        above=number, below=number, width_ms=width, operator=0, absent=0, stale=0, is_ratio=False
    )
    unit = units.add(
        rule=rule,
        limits=units.add_limits(),
        above=[slots[series] for series in members],
        below=[],
        is_fixed=False,
        at_ms=START_MS,
    )
    expected = read_windows(
        aggregation, [samples_of(written, series) for series in members], START_MS + at, width
    )
    found = units.read(unit, START_MS + at)
    if expected is None:
        assert found.found != READING
        return
    assert isinstance(found.reading, Reading)
    assert bits(found.value) == bits(expected.value)
    assert found.reading.sample_count == expected.sample_count
    assert found.reading.is_declared_wedding == expected.is_declared_wedding


@given(
    values=st.lists(
        st.floats(allow_nan=False, allow_infinity=False)
        | st.sampled_from([1e308, -1e308, 1e16, 1.0, 2.0**-1074, -(2.0**53), 2.0**53]),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=200)
def test_a_sum_is_exact_and_rounded_once(values: list[float]) -> None:
    held = rings.Rings()
    held.add(1, 10**6, LONG_AGO_MS)
    fill(held, [(1, n, value, False) for n, value in enumerate(values, start=1)])
    units = Units(held, 1000, 5000)
    number = AGGREGATIONS.index(Aggregation.SUM)
    rule = units.add_rule(
        above=number, below=number, width_ms=1000, operator=0, absent=0, stale=0, is_ratio=False
    )
    limits = units.add_limits()
    unit = units.add(rule=rule, limits=limits, above=[0], below=[], is_fixed=False, at_ms=START_MS)
    found = units.read(unit, START_MS + len(values))
    try:
        expected = math.fsum(values)
    except OverflowError:
        assert found.found != READING
    else:
        assert bits(found.value) == bits(expected)


@dataclass(frozen=True)
class Script:
    """What comes when: batches of samples, each with the second at which somebody looks."""

    rule: AlertRule
    instance: Instance
    batches: tuple[tuple[int, tuple[Sample, ...]], ...]
    weddings: tuple[WeddingWindow, ...]
    ended: tuple[int, int] | None
    """The batch with which it comes, and when all series were over."""
    is_late: bool = False


def rule_of(draw: st.DrawFn) -> AlertRule:
    operator = draw(st.sampled_from(list(Operator)))
    base = 50.0
    has_clear = draw(st.booleans())
    is_ratio = draw(st.booleans())
    seconds = st.sampled_from([0, 1, 10, 25]).map(lambda s: timedelta(seconds=s))
    return AlertRule(
        id=UUID(int=1),
        organization_id=ORGANIZATION,
        created_at=to_datetime(START_MS),
        updated_at=to_datetime(START_MS),
        alert_name="Slow",
        metric_pattern="a.b",
        rule_kind=RuleKind.RATIO if is_ratio else RuleKind.THRESHOLD,
        denominator_pattern="a.c" if is_ratio else None,
        comparison_operator=operator,
        threshold_value=draw(st.sampled_from([base, 1.0])),
        aggregation=draw(st.sampled_from(AGGREGATIONS)),
        evaluation_window=timedelta(seconds=draw(st.sampled_from([1, 20, 45]))),
        for_duration=draw(seconds),
        keep_firing_for=draw(seconds),
        cooldown_period=draw(seconds),
        clear_threshold_value=(40.0 if operator.is_upper else 60.0) if has_clear else None,
        no_data_policy=draw(st.sampled_from(list(NoDataPolicy))),
        stale_policy=draw(st.sampled_from(list(NoDataPolicy))),
        flap_changes=draw(st.sampled_from([0, 0, 3])),
        flap_window=timedelta(seconds=30),
    )


def without_growth(rule: AlertRule) -> AlertRule:
    """A rate drifts between its samples, so that where some come late, looks at other times find
    other instants."""
    return replace(rule, aggregation=Aggregation.AVG) if rule.aggregation.is_growth else rule


LOOKS = st.integers(0, 30_000)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    rule = rule_of(draw)
    series = draw(st.integers(1, 3))
    ids = tuple(range(1, series + 1))
    is_ratio = rule.rule_kind is RuleKind.RATIO
    instance = Instance(
        "one",
        series_ids=ids,
        denominator_ids=(3, 4) if is_ratio else (),
        is_fixed=draw(st.booleans()),
    )
    values = st.sampled_from([0.0, 30.0, 45.0, 50.0, 55.0, 70.0]) | NUMBERS
    batches = []
    looked = 0
    # Where samples come late, looks are on whole seconds: what `judge` is told to begin after for
    # an instance that was never seen is the last look, and in memory it is the last instant.
    is_late = draw(st.booleans())
    if is_late:
        rule = without_growth(rule)
    for _ in range(draw(st.integers(1, 8))):
        before = looked
        looked += draw(st.integers(0, 30).map(lambda s: s * 1000) if is_late else LOOKS)
        first = looked - 40_000 if is_late else before + 1
        times = st.integers(max(first, 1), max(looked, first, 1))
        batch = draw(
            st.lists(st.tuples(st.integers(1, 4), times, values, st.booleans()), max_size=6)
        )
        batches.append((looked, tuple(batch)))
    weddings = tuple(
        WeddingWindow(
            draw(st.sampled_from(["ceremony", "day", "evening_before"])),
            None,
            to_datetime(START_MS + start),
            to_datetime(START_MS + start + draw(st.integers(1, 60_000))),
            number,
        )
        for number, start in enumerate(draw(st.lists(st.integers(0, 120_000), max_size=2)))
    )
    ended = None
    if draw(st.booleans()):
        place = draw(st.integers(0, len(batches) - 1))
        ended = (place, draw(st.integers(1, max(batches[place][0], 1))))
    return Script(rule, instance, tuple(batches), weddings, ended, is_late)


def source_of(script: Script, written: Sequence[Sample], over_ms: int | None) -> Source:
    width_ms = round(script.rule.evaluation_window.total_seconds() * 1000)

    def window(ids: Sequence[int]) -> WindowSource:
        members = [samples_of(written, series) for series in ids]
        return WindowSource(script.rule.aggregation, members, width_ms, over_ms)

    above = window(script.instance.series_ids)
    if script.rule.rule_kind is not RuleKind.RATIO:
        return above
    return RatioSource(above, window(script.instance.denominator_ids))


def by_judge(script: Script) -> tuple[Standing | None, list[Standing]]:
    """The verdict at the end and the beginnings and ends on the way, by the plain functions over
    all that was written up to each look."""
    standing: Standing | None = None
    changes: list[Standing] = []
    written: list[Sample] = []
    over_ms, since = None, 0
    for number, (looked, batch) in enumerate(script.batches):
        written.extend(batch)
        if script.ended is not None and script.ended[0] == number:
            over_ms = START_MS + script.ended[1]
        standing, found = judge(
            Unit(script.rule, script.instance, standing=standing),
            source_of(script, written, over_ms),
            to_datetime(START_MS + looked),
            script.weddings,
            since=to_datetime(START_MS + since),
        )
        since = looked if script.is_late else 0
        changes.extend(change.standing for change in found)
    return standing, changes


def in_memory(
    script: Script, make_rings: type[rings.Rings], make_units: type[Units], *, is_full: bool
) -> tuple[Standing | None, list[Standing]]:
    """The same by memory; each look judges all, or first what was touched."""
    memory = Memory(rings=make_rings, units=make_units)
    for series in (1, 2, 3, 4):
        memory.keep(series, script.rule, LONG_AGO_MS)
    memory.bind([Unit(script.rule, script.instance)], script.weddings, START_MS)
    changes: list[Standing] = []
    was_alarming = False
    for number, (looked, batch) in enumerate(script.batches):
        memory.take(columns_of(batch), [False, True])
        if script.ended is not None and script.ended[0] == number:
            for series in (1, 2, 3, 4):
                memory.end(series, START_MS + script.ended[1])
        found = [] if is_full else memory.follow_touched(START_MS + looked)
        found += memory.follow(START_MS + looked)[0]
        for transition in found:
            if transition.standing.state.is_alarming != was_alarming:
                was_alarming = not was_alarming
                changes.append(transition.standing)
    return memory.standings().get((script.rule.id, "one")), changes


@pytest.mark.parametrize(("make_rings", "make_units"), KINDS)
@settings(max_examples=100)
@given(script=scripts(), is_full=st.booleans())
def test_the_verdicts_are_those_of_the_plain_functions(
    make_rings: type[rings.Rings], make_units: type[Units], script: Script, is_full: bool
) -> None:
    expected, expected_changes = by_judge(script)
    standing, changes = in_memory(script, make_rings, make_units, is_full=is_full)
    assert [told(one) for one in changes] == [told(one) for one in expected_changes]
    assert told(standing) == told(expected)


def told(standing: Standing | None) -> object:
    """A verdict in a form that tells -0.0 from 0.0."""
    if standing is None:
        return None
    return (bits(standing.value), standing)


@st.composite
def late_scripts(draw: st.DrawFn) -> tuple[Script, list[tuple[Sample, int]]]:
    """A rule, and samples each with the millisecond at which it comes."""
    rule = rule_of(draw)
    rule = without_growth(rule)
    is_ratio = rule.rule_kind is RuleKind.RATIO
    instance = Instance(
        "one",
        series_ids=(1, 2),
        denominator_ids=(3, 4) if is_ratio else (),
        is_fixed=draw(st.booleans()),
    )
    weddings = tuple(
        WeddingWindow(
            "ceremony", None, to_datetime(START_MS + at), to_datetime(START_MS + at + 30_000), 1
        )
        for at in draw(st.lists(st.integers(0, 120_000), max_size=1))
    )
    times = st.integers(1, 120_000) | st.integers(1, 12).map(lambda n: n * 10_000)
    values = st.sampled_from([0.0, 30.0, 45.0, 50.0, 55.0, 70.0])
    samples = draw(
        st.lists(
            st.tuples(
                st.tuples(st.integers(1, 4), times, values, st.booleans()),
                st.just(0) | st.integers(0, 60_000),
            ),
            max_size=15,
            unique_by=lambda one: one[0][:2],
        )
    )
    coming = [(one, one[1] + delay) for one, delay in samples]
    script = Script(rule, instance, (), weddings, None)
    return script, sorted(coming, key=lambda one: one[1])


@pytest.mark.parametrize(("make_rings", "make_units"), KINDS)
@settings(max_examples=40)
@given(late=late_scripts(), every=st.sampled_from([5000, 7000, 20_000, 50_000]))
def test_late_samples_lead_to_where_they_would_have_led_in_time(
    make_rings: type[rings.Rings],
    make_units: type[Units],
    late: tuple[Script, list[tuple[Sample, int]]],
    every: int,
) -> None:
    """The verdict in the end is that of all samples together; beginnings and ends alternate, and
    the last one is where it stands; without a late one they are those of all samples together."""
    script, coming = late
    memory = Memory(rings=make_rings, units=make_units)
    for series in (1, 2, 3, 4):
        memory.keep(series, script.rule, LONG_AGO_MS)
    memory.bind([Unit(script.rule, script.instance)], script.weddings, START_MS)
    told_of: list[Standing] = []
    expected: Standing | None = None
    changes: list[Change] = []
    in_time = source_of(script, [one for one, _ in coming], None)
    is_alarming, end = False, 200_000
    for looked in range(every, end + every, every):
        batch = [one for one, at in coming if looked - every < at <= looked]
        memory.take(columns_of(batch), [False, True])
        found = memory.follow_late() + memory.follow_touched(START_MS + looked)
        found += memory.follow(START_MS + looked)[0]
        for transition in found:
            if transition.standing.state.is_alarming != is_alarming:
                is_alarming = not is_alarming
                told_of.append(transition.standing)
        expected, found_in_time = judge(
            Unit(script.rule, script.instance, standing=expected),
            in_time,
            to_datetime(START_MS + looked),
            script.weddings,
            since=to_datetime(START_MS),
        )
        changes.extend(found_in_time)
    standing = memory.standings().get((script.rule.id, "one"))
    assert told(standing) == told(expected)
    assert is_alarming == (expected is not None and expected.state.is_alarming)
    if all(one[1] == at for one, at in coming):
        assert [one.changed_at for one in told_of] == [one.standing.changed_at for one in changes]


def test_what_was_not_told_happens_in_its_own_time() -> None:
    """A breach that was over before anybody heard of it, and one that never was."""
    rule = AlertRule(
        id=UUID(int=1),
        organization_id=ORGANIZATION,
        created_at=to_datetime(START_MS),
        updated_at=to_datetime(START_MS),
        alert_name="Slow",
        metric_pattern="a.b",
        comparison_operator=Operator.ABOVE,
        threshold_value=50.0,
        aggregation=Aggregation.MIN,
        evaluation_window=timedelta(seconds=10),
    )

    def told_in(*batches: tuple[int, list[Sample]]) -> list[tuple[str, int, bool]]:
        memory = Memory()
        memory.keep(1, rule, LONG_AGO_MS)
        memory.bind([Unit(rule, Instance("one", series_ids=(1,)))], (), START_MS)
        found = []
        for looked, batch in batches:
            memory.take(columns_of(batch), [False, True])
            found += memory.follow_late() + memory.follow_touched(START_MS + looked)
            found += memory.follow(START_MS + looked)[0]
        return [
            (
                one.standing.state.value,
                (to_ms(one.standing.evaluated_at) - START_MS) // 1000,
                one.is_late,
            )
            for one in found
        ]

    # In time: it begins at 20 s, and ends at 30.
    missed = [(1, 20_000, 90.0, False), (1, 30_000, 10.0, False)]
    assert told_in((5_000, [(1, 1_000, 10.0, False)]), (60_000, []), (61_000, missed)) == [
        ("firing", 20, False),
        ("ok", 30, False),
    ]
    # Told at 20 s; at 40 s comes what shows that it had not been so.
    good = [(1, 15_000, 10.0, False), (1, 25_000, 10.0, False)]
    assert told_in((5_000, [(1, 1_000, 10.0, False)]), (21_000, missed[:1]), (26_000, good)) == [
        ("firing", 20, False),
        ("ok", 21, True),
    ]


def test_rings_forget_only_what_nobody_needs() -> None:
    held = rings.Rings()
    held.add(7, 60_000, LONG_AGO_MS)
    fill(held, [(7, n * 1000, float(n), False) for n in range(1, 2001)])
    times, values, _ = held.samples(7)
    assert values[-1] == 2000
    assert times[0] <= START_MS + 2_000_000 - 60_000
    assert len(times) <= 256
    complete_after = held.complete_after(7)
    assert complete_after == times[0] - 1000
    assert fill(held, [(7, 1000, 1.0, False)]) == [0], "older than what is held"
    assert held.complete_after(8) is None


@pytest.mark.parametrize(("make_rings", "make_units"), KINDS)
def test_what_is_here_already_touches_nothing(
    make_rings: type[rings.Rings], make_units: type[Units]
) -> None:
    held = make_rings()
    held.add(1, 60_000, LONG_AGO_MS)
    nan = float("nan")
    assert fill(held, [(1, 1000, nan, False), (1, 2000, 5.0, False)]) == []
    units = make_units(held, 1000, 5000)
    units.follow_touched(START_MS)
    assert fill(held, [(1, 1000, nan, False), (1, 2000, 5.0, False), (9, 1, 1.0, False)]) == []
    assert fill(held, [(1, 1000, 6.0, False)]) == [0], "another value at a time that was judged"
    assert held.samples(1)[1] == [6.0, 5.0]


def test_a_window_beyond_what_is_held_is_said_to_be() -> None:
    held = rings.Rings()
    held.add(1, 60_000, START_MS)
    fill(held, [(1, 1000, 5.0, False)])
    units = Units(held, 1000, 5000)
    rule = units.add_rule(
        above=0, below=0, width_ms=30_000, operator=0, absent=0, stale=0, is_ratio=False
    )
    unit = units.add(
        rule=rule, limits=units.add_limits(), above=[0], below=[], is_fixed=False, at_ms=START_MS
    )
    assert units.read(unit, START_MS + 29_999).found == plain_rings.INCOMPLETE
    assert units.read(unit, START_MS + 30_000) == Stuck(
        unit, START_MS + 30_000, READING, 5.0, 1, False
    )


def test_what_does_not_exist_is_refused() -> None:
    held = rings.Rings()
    units = Units(held, 1000, 5000)
    with pytest.raises(IndexError):
        units.record(0)
    with pytest.raises(IndexError):
        units.add(rule=0, limits=0, above=[], below=[], is_fixed=False, at_ms=0)
    with pytest.raises(IndexError):
        units.set_limits(0, (0.0, 0.0), (0.0, 0.0), 0, 1)
    with pytest.raises(ValueError, match="one length"):
        held.take(np.zeros(1, np.int32), np.zeros(2, np.int64), np.zeros(1), np.zeros(1, np.uint8))


def test_standings_carry_their_limit() -> None:
    script = Script(
        rule=AlertRule(
            id=UUID(int=1),
            organization_id=ORGANIZATION,
            created_at=to_datetime(START_MS),
            updated_at=to_datetime(START_MS),
            alert_name="Slow",
            metric_pattern="a.b",
            comparison_operator=Operator.ABOVE,
            threshold_value=50.0,
        ),
        instance=Instance("one", series_ids=(1,)),
        batches=((10_000, ((1, 9_000, 30.0, False),)),),
        weddings=(),
        ended=None,
    )
    standing, _ = in_memory(script, rings.Rings, Units, is_full=True)
    assert standing is not None
    assert (standing.value, standing.limit.value, standing.sample_count) == (30.0, 50.0, 1)
    assert to_ms(standing.evaluated_at) == START_MS + 10_000
