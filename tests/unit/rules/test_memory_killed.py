"""Memory that is lost anywhere, and made anew from rows and samples: the history stays the same.

What `engine.judging` and `engine.memories` do with a database is done here with a dictionary, some
thousand times as fast; `tests/integration/test_killed_and_late.py` is the same with all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from tests.support.rules import a_rule
from wedsync_apm.clock import to_datetime
from wedsync_apm.metrics.blocks.model import Columns, Context
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.course import from_items
from wedsync_apm.rules.instances import Instances
from wedsync_apm.rules.judge import CATCH_UP, Unit
from wedsync_apm.rules.memory import Memory
from wedsync_apm.rules.model import AlertRule, NoDataPolicy, Operator
from wedsync_apm.rules.transitions import Key
from wedsync_apm.rules.verdict import Standing, State

START_MS: Final = 1_780_000_000_000
LENGTH: Final = 150
SECOND: Final = timedelta(seconds=1)
CATCH_UP_MS: Final = round(CATCH_UP / timedelta(milliseconds=1))


@dataclass(frozen=True)
class Sample:
    """A measured value, and how many seconds after its time it comes."""

    series: int
    second: float
    value: float
    delay: float


@dataclass(frozen=True)
class Script:
    """What is measured, who watches it, when the engine looks, and where it is killed."""

    samples: Sequence[Sample]
    rules: Sequence[AlertRule]
    looks: Sequence[float]
    killed_before: frozenset[int]
    killed_after: frozenset[int]


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    samples = []
    for series in (1, 2):
        at = draw(st.floats(0.5, 20))
        while at < LENGTH:
            delay = draw(st.sampled_from([0.0, 0.0, 0.0, 1.0, 9.5, 40.0]))
            value = draw(st.sampled_from([1.0, 4.0, 9.0]))
            samples.append(Sample(series, round(at, 1), value, delay))
            at += draw(st.sampled_from([2.0, 5.0, 5.0, 15.0]))
    looks, look = list[float](), 1.0
    while look < LENGTH + 45:
        looks.append(round(look, 1))
        look += draw(st.sampled_from([1.0, 2.7, 6.0, 11.4]))
    seconds = st.sampled_from([0, 3, 10]).map(lambda n: n * SECOND)
    rules = [
        a_rule(
            id=UUID(int=number + 1),
            metric_pattern="forms.load",
            aggregation=Aggregation(
                draw(st.sampled_from(["avg", "min", "max", "last", "sum", "count"]))
            ),
            comparison_operator=operator,
            threshold_value=5.0,
            clear_threshold_value=draw(st.sampled_from([None, 3.0 if operator.is_upper else 8.0])),
            evaluation_window=draw(st.sampled_from([5, 20])) * SECOND,
            for_duration=draw(seconds),
            keep_firing_for=draw(seconds),
            cooldown_period=draw(seconds),
            no_data_policy=draw(st.sampled_from(list(NoDataPolicy))),
            flap_changes=draw(st.sampled_from([0, 0, 3])),
            flap_window=timedelta(minutes=1),
            group_by=draw(st.sampled_from([None, (), ("form",)])),
        )
        for number in range(2)
        for operator in [draw(st.sampled_from([Operator.ABOVE, Operator.AT_MOST]))]
    ]
    places = st.frozensets(st.integers(0, len(looks) - 1), max_size=12)
    return Script(samples, rules, looks, draw(places), draw(places))


def columns_of(samples: Sequence[Sample]) -> Columns:
    return Columns(
        np.array([one.series for one in samples], np.int32),
        np.array([START_MS + round(one.second * 1000) for one in samples], np.int64),
        np.array([one.value for one in samples], np.float64),
        np.zeros(len(samples), np.int64),
        np.zeros(len(samples), np.int32),
        (Context(None, ""),),
    )


@dataclass
class Row:
    """What the database keeps of a verdict."""

    standing: Standing
    course: list[dict[str, Any]]


@dataclass
class Engine:
    """One organization, judged as the evaluator does."""

    rules: Sequence[AlertRule]
    rows: dict[Key, Row] = field(default_factory=dict)
    judged_ms: int | None = None
    memory: Memory | None = None
    series: frozenset[int] = frozenset()
    rows_ms: int | None = None
    alarming: set[Key] = field(default_factory=set)

    def forget(self) -> None:
        self.memory = None

    def look(
        self, at_ms: int, known: Sequence[Sample], fresh: Sequence[Sample], *, is_kept: bool = True
    ) -> list[tuple[Any, ...]]:
        """Judges, and writes what follows from it unless it is killed before that."""
        series = frozenset(one.series for one in known)
        if self.memory is None:
            self.rows_ms, self.series = None, series
            self.memory = Memory()
            self.alarming = {
                key for key, row in self.rows.items() if row.standing.state.is_alarming
            }
            self._bind(at_ms, known, is_new=True)
            if self.judged_ms is not None:
                self.memory.expect_late(columns_of(fresh))
            found = self.memory.follow_late()
        else:
            self.memory.take(columns_of(fresh), [False])
            if series != self.series:
                self.series = series
                self._bind(at_ms, known, is_new=False)
                found = self.memory.follow_late()
            else:
                found = self.memory.follow_late() + self.memory.follow_touched(at_ms)
        found += self.memory.follow(at_ms)[0]
        if not is_kept:
            return []
        after = {one.key: one.standing for one in found}
        if self.rows_ms is None or at_ms - self.rows_ms >= 60_000:
            after, self.rows_ms = self.memory.standings(), at_ms
        moved = self.memory.take_moved()
        courses = self.memory.courses()
        for key, standing in (after | moved).items():
            before = self.rows.get(key)
            if (
                before is None
                or key in moved
                or State.OK not in (standing.state, before.standing.state)
                or standing.evaluated_at - before.standing.evaluated_at >= 10 * SECOND
            ):
                self.rows[key] = Row(standing, courses.get(key, []))
        self.judged_ms = at_ms
        told = []
        for one in found:
            if one.standing.state.is_alarming != (one.key in self.alarming):
                self.alarming ^= {one.key}
                at = (one.standing.evaluated_at - to_datetime(START_MS)) / SECOND
                told.append((str(one.key), one.key in self.alarming, at, one.is_late))
        return sorted(told)

    def _bind(self, at_ms: int, known: Sequence[Sample], *, is_new: bool) -> None:
        assert self.memory is not None
        subjects = []
        standings = {key: row.standing for key, row in self.rows.items()}
        if not is_new:
            standings |= self.memory.standings()
        for rule in self.rules:
            instances = Instances(rule)
            for series in sorted(self.series):
                instances.offer(series, "forms", "load", {"form": str(series)})
            subjects += [
                Unit(rule, one, None, standings.get((rule.id, one.key))) for one in instances
            ]
            for series in self.series:
                if not self.memory.reaches(series, at_ms - CATCH_UP_MS - 20_000):
                    self.memory.keep(series, rule, at_ms - CATCH_UP_MS - 20_000)
                    self.memory.load(
                        columns_of([one for one in known if one.series == series]), [False]
                    )
        judged_ms = self.judged_ms if is_new else None
        looked_ms = self.judged_ms or at_ms - CATCH_UP_MS
        self.memory.bind(
            subjects,
            (),
            judged_ms if judged_ms and standings else looked_ms,
            judged_ms=judged_ms or 0,
            courses={
                key: from_items(row.course, row.standing)
                for key, row in self.rows.items()
                if row.course
            },
        )


def live_through(script: Script, *, is_killed: bool) -> tuple[list[Any], list[Any]]:
    """Every verdict after each look, and what was told."""
    engine, before, verdicts, told = Engine(script.rules), -1.0, [], []
    for number, look in enumerate(script.looks):
        at_ms = START_MS + round(look * 1000)
        known = [one for one in script.samples if one.second + one.delay <= look]
        fresh = [one for one in known if before < one.second + one.delay]
        if is_killed and number in script.killed_before:
            engine.look(at_ms, known, fresh, is_kept=False)
            engine.forget()
        told += engine.look(at_ms, known, fresh)
        if is_killed and number in script.killed_after:
            engine.forget()
        verdicts.append(stands(engine.rows))
        before = look
    return verdicts, told


def stands(rows: Mapping[Key, Row]) -> dict[str, Any]:
    start = to_datetime(START_MS)

    def place(at: Any) -> float | None:
        return None if at is None else float((at - start) / SECOND)

    return {
        str(key): (
            one.state.value,
            [place(at) for at in one.flips],
            *(place(at) for at in (one.pending_since, one.firing_since)),
            *(place(at) for at in (one.keeping_since, one.alarmed_at)),
        )
        for key, row in rows.items()
        for one in [row.standing]
    }


@settings(
    max_examples=60,
    # The same scripts each time: what this test is for is what was changed, not chance.
    derandomize=True,
    # A smaller script takes as long as the one that failed.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(script=scripts())
def test_the_history_is_the_one_it_would_have_been(script: Script) -> None:
    verdicts, told = live_through(script, is_killed=False)
    after_kills, told_after_kills = live_through(script, is_killed=True)
    for look, ours, theirs in zip(script.looks, verdicts, after_kills, strict=True):
        assert ours == theirs, f"at {look}"
    assert told == told_after_kills
    event("something was told" if told else "nothing was told")
    event("a correction" if any(one[3] for one in told) else "no correction")


def test_a_window_that_drains_between_two_seconds_does_so_for_a_new_engine_too() -> None:
    """It looks at 156.5 s; the sample is 20 s old at 156.1, which is judged at 157."""
    rule = a_rule(
        metric_pattern="forms.load",
        aggregation=Aggregation.AVG,
        comparison_operator=Operator.AT_MOST,
        threshold_value=5.0,
        evaluation_window=20 * SECOND,
        keep_firing_for=10 * SECOND,
        no_data_policy=NoDataPolicy.OK,
    )
    sample = Sample(1, 136.1, 1.0, 0.0)
    looks = (130.0, 136.1, 156.5, 159.2, 170.0)
    script = Script([sample], [rule], looks, frozenset({3}), frozenset())
    _, told = live_through(script, is_killed=True)
    assert [one[1:] for one in told] == [(True, 136.1, False), (False, 167.0, False)]
    assert live_through(script, is_killed=True) == live_through(script, is_killed=False)
