"""An organization's rules over the samples that are held in memory.

The compiled part decides what stays as it is; what may change is judged here, by the same function
as `preview` and `explain`. Of every instance the last verdict is held with all that explains it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.clock import to_datetime
from wedsync_apm.metrics.blocks.model import Columns, Ints
from wedsync_apm.rules.aggregate import Gap, Reading
from wedsync_apm.rules.compiled import Rings, Units
from wedsync_apm.rules.course import (
    LATENESS_MS,
    Course,
    implied_by,
    is_other_course,
    remember,
    to_items,
)
from wedsync_apm.rules.held_limits import HeldLimits
from wedsync_apm.rules.held_verdicts import HeldVerdicts
from wedsync_apm.rules.judge import Unit, judge_at
from wedsync_apm.rules.limits import WEDDING_FACTOR, WeddingWindow
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.moves import Moves
from wedsync_apm.rules.plain_rings import (
    AGGREGATIONS,
    INCOMPLETE,
    NEVER_MS,
    OPERATORS,
    POLICIES,
    Stuck,
)
from wedsync_apm.rules.sources import DRIFT_MS, GRID_MS
from wedsync_apm.rules.transitions import Key, Transition
from wedsync_apm.rules.verdict import Standing
from wedsync_apm.telemetry import Counter, get_logger

JUDGED_AT_ONCE: Final = 8192
"""Judgements between two looks at whether somebody waits: some milliseconds."""

log = get_logger(__name__)

TOO_LATE = Counter(
    "wedsync_apm_rules_too_late_total",
    "Samples that came when nobody knew any more how the verdict of their time had stood.",
)


def fits_memory(rule: AlertRule, longest_ms: int) -> bool:
    """Whether a rule is judged from memory; else from the database."""
    width_ms = round(rule.evaluation_window.total_seconds() * 1000)
    return rule.rule_kind in (RuleKind.THRESHOLD, RuleKind.RATIO) and width_ms <= longest_ms


@dataclass(frozen=True, slots=True)
class _Fixed:
    found: Reading | Gap

    def read(self, at_ms: int) -> Reading | Gap:
        return self.found

    def next_after(self, at_ms: int, grid_ms: int) -> int | None:
        return None

    def drifts(self, at_ms: int) -> bool:
        return False


class Memory:
    """The rules of one organization whose windows are held, and where each instance stands."""

    def __init__(
        self,
        *,
        factor: float = WEDDING_FACTOR,
        rings: Callable[[], Rings] = Rings,
        units: Callable[[Rings, int, int], Units] = Units,
    ) -> None:
        self._factor = factor
        self._rings = rings()
        self._make_units = units
        self._units = units(self._rings, GRID_MS, DRIFT_MS)
        self._limits = HeldLimits(self._units, (), factor)
        self._verdicts = HeldVerdicts(self._units, self._limits)
        self._subjects: list[Unit] = []
        self._courses: dict[int, Course] = {}
        """Of those that have changed lately."""
        self._moves = Moves(self._units)
        self._judged_ms = self._bound_ms = 0
        self._late: list[tuple[NDArray[np.int32], Ints]] = []
        """Series and times of samples that came after their time had been judged."""
        self.paused: dict[UUID, str] = {}
        """Rules that could not be judged, and why: no instance of them is, until they are bound
        anew."""

    def __len__(self) -> int:
        return len(self._subjects)

    @property
    def series_count(self) -> int:
        """The series that are held."""
        return len(self._rings)

    def keep(self, series_id: int, rule: AlertRule, complete_after_ms: int) -> None:
        """Holds of a series what a rule looks at; `complete_after_ms` says from when on all of it
        is given, if it is not held yet."""
        width_ms = round(rule.evaluation_window.total_seconds() * 1000)
        self._rings.add(series_id, width_ms + LATENESS_MS, complete_after_ms)

    def reaches(self, series_id: int, after_ms: int) -> bool:
        """Whether all samples of a series after an instant are held, or may be asked for."""
        complete_after = self._rings.complete_after(series_id)
        return complete_after is not None and complete_after <= after_ms

    def bind(
        self,
        subjects: Iterable[Unit],
        weddings: Sequence[WeddingWindow],
        at_ms: int,
        *,
        judged_ms: int = 0,
        courses: Mapping[Key, Course] | None = None,
    ) -> None:
        """Judges these instances from here on, each after its last verdict, or after `at_ms`; the
        series that they look at are kept. Whoever was judged before is so no longer.

        `judged_ms` says up to when those that were not held here have been judged by somebody else,
        whose every change their standings tell, and `courses` how they have stood lately.
        """
        known, before, has_moved = dict(courses or {}), self._positions(), self.has_moved
        self._units = self._make_units(self._rings, GRID_MS, DRIFT_MS)
        self._limits = HeldLimits(self._units, weddings, self._factor)
        self._verdicts = HeldVerdicts(self._units, self._limits)
        self._subjects, self.paused = [], {}
        self._courses, self._bound_ms = {}, at_ms
        self._judged_ms = max(self._judged_ms, judged_ms)
        # What left a window after the last whole second is due at the next one.
        judged_ms -= judged_ms % GRID_MS
        rules: dict[object, int] = {}
        limits: dict[tuple[object, str | None], int] = {}
        for number, subject in enumerate(subjects):
            rule = subject.rule
            if rule.id not in rules:
                rules[rule.id] = self._add_rule(rule)
            measure = (rule.id, subject.unit)
            if measure not in limits:
                limits[measure] = self._limits.add(rule, subject.unit, at_ms)
            key = (rule.id, subject.instance.key)
            here = before.get(key)
            if here is None:
                judged, course = judged_ms, known.get(key)
            elif here[0] == rule.updated_at:
                _, judged, course = here
            else:
                # How it would have stood under another rule is not known.
                judged = here[1]
                course = None if subject.standing is None else [(at_ms, subject.standing)]
            if course:
                self._courses[number] = course
            self._add(subject, rules[rule.id], limits[measure], at_ms, judged)
        unseen = [n for n, subject in enumerate(self._subjects) if subject.standing is None]
        moved = range(len(self._subjects)) if has_moved else ()
        self._moves = Moves(self._units, unseen, moved)

    def _positions(self) -> dict[Key, tuple[datetime, int, Course | None]]:
        """Of every instance its rule's version, up to when it is judged, and how it stood."""
        judged = self._units.records()["at_ms"].tolist()
        return {
            (unit.rule.id, unit.instance.key): (
                unit.rule.updated_at,
                judged[number],
                self._courses.get(number),
            )
            for number, unit in enumerate(self._subjects)
        }

    def believe(self, weddings: Sequence[WeddingWindow], at_ms: int) -> None:
        """The calendar is another one from here on."""
        self._limits.believe(weddings, at_ms)

    def take(self, columns: Columns, declared: Sequence[bool]) -> None:
        """Samples that have come, in the order of their writing; of each of their contexts, whether
        it declares a wedding."""
        self.load(columns, declared)
        self.expect_late(columns)

    def load(self, columns: Columns, declared: Sequence[bool]) -> None:
        """Samples that nobody has to be told of: they were there before."""
        flags = np.array(declared, np.uint8)
        self._rings.take(
            np.ascontiguousarray(columns.series, np.int32),
            np.ascontiguousarray(columns.timestamps_ms, np.int64),
            np.ascontiguousarray(columns.values, np.float64),
            flags[columns.context] if len(flags) else np.zeros(len(columns), np.uint8),
        )

    def expect_late(self, columns: Columns) -> None:
        """Of samples that are held already: those that came after their time had been judged."""
        late = columns.timestamps_ms <= self._judged_ms
        if late.any():
            self._late.append((columns.series[late], columns.timestamps_ms[late]))

    def end(self, series_id: int, at_ms: int) -> None:
        """The sender said that a series was over."""
        self._rings.end(series_id, at_ms)

    def follow_late(self) -> list[Transition]:
        """Judges again what samples have come for that are older than what was judged.

        Where a verdict has not changed since such a sample's time, its instants are only due once
        more. Else it goes back to how it stood then, and is judged anew up to where it was. If no
        beginning or end has been told of that time, all that is found happens in its own time. What
        has been told stands; then only where it has led to is corrected, by a transition that says
        so.
        """
        if not self._late:
            return []
        series = np.concatenate([one for one, _ in self._late])
        times_ms = np.concatenate([one for _, one in self._late])
        self._late.clear()
        others = self._units.rewind(
            np.ascontiguousarray(series, np.int32), np.ascontiguousarray(times_ms, np.int64)
        )
        return [
            transition
            for number, at_ms in others.items()
            for transition in self._judge_again(number, at_ms)
        ]

    def _judge_again(self, number: int, at_ms: int) -> list[Transition]:
        """One instance, from an instant on."""
        subject, last = self._subjects[number], self._verdicts.of(number)
        if subject.rule.id in self.paused:
            return []
        course = self._courses.get(number) or implied_by(last)
        earlier = [one for one in course if one[0] < at_ms]
        base = earlier[-1][1] if earlier else None
        if not earlier or (base is None and at_ms <= self._judged_ms - LATENESS_MS):
            TOO_LATE.inc()
            return []
        was_alarming = base is not None and base.state.is_alarming
        undone = (*(one for _, one in course[len(earlier) :]), last)
        is_told = any(one and one.state.is_alarming != was_alarming for one in undone)
        end_ms = max(int(self._units.record(number)["at_ms"]), self._judged_ms)
        self._moves.add(number, is_unseen=base is None)
        if base is None:
            self._courses.pop(number, None)
            self._verdicts.forget(number, at_ms - 1, self._bound_ms)
        else:
            self._courses[number] = earlier
            base = replace(base, evaluated_at=to_datetime(at_ms - 1))
            self._verdicts.hold(number, subject.rule, base)
        stuck = self._units.follow_one(number, end_ms)
        found = self._judge([stuck], end_ms) if stuck is not None else []
        if not is_told:
            return found
        now = self._verdicts.of(number)
        return [] if now is None else [Transition(subject, now, is_late=True)]

    def follow_touched(self, at_ms: int) -> list[Transition]:
        """Judges what something has come for, up to `at_ms`."""
        self._judged_ms = max(self._judged_ms, at_ms)
        return self._judge(self._units.follow_touched(at_ms), at_ms)

    def follow(self, at_ms: int, start: int = 0) -> tuple[list[Transition], int]:
        """Judges a slice of all instances up to `at_ms`, and says where the next one begins."""
        self._judged_ms = max(self._judged_ms, at_ms)
        stuck, behind = self._units.follow(at_ms, start, JUDGED_AT_ONCE)
        return self._judge(stuck, at_ms), behind

    def standings(self) -> dict[Key, Standing]:
        """Every verdict as it is now, with all that explains it."""
        return {
            (unit.rule.id, unit.instance.key): standing
            for number, unit in enumerate(self._subjects)
            if (standing := self._verdicts.of(number)) is not None
        }

    @property
    def has_moved(self) -> bool:
        """Whether anything has changed that the next verdict may depend on."""
        return bool(self._moves)

    def take_moved(self) -> dict[Key, Standing]:
        """The verdicts of which that is so since the last call."""
        return {
            (unit.rule.id, unit.instance.key): standing
            for number in self._moves.take()
            if (standing := self._verdicts.of(number)) is not None
            for unit in [self._subjects[number]]
        }

    def courses(self) -> dict[Key, list[dict[str, Any]]]:
        """How those have stood lately that have changed, as their rows keep it."""
        found = {}
        for number, course in self._courses.items():
            if items := to_items(course, self._judged_ms):
                unit = self._subjects[number]
                found[unit.rule.id, unit.instance.key] = items
        return found

    def _add_rule(self, rule: AlertRule) -> int:
        aggregation = AGGREGATIONS.index(rule.aggregation)
        return self._units.add_rule(
            above=aggregation,
            below=aggregation,
            width_ms=round(rule.evaluation_window.total_seconds() * 1000),
            operator=OPERATORS.index(rule.comparison_operator),
            absent=POLICIES.index(rule.no_data_policy),
            stale=POLICIES.index(rule.stale_policy),
            is_ratio=rule.rule_kind is RuleKind.RATIO,
        )

    def _add(self, subject: Unit, rule: int, limits: int, at_ms: int, judged_ms: int) -> None:
        instance, standing = subject.instance, subject.standing
        number = self._units.add(
            rule=rule,
            limits=limits,
            above=[self._rings.add(one, 0, NEVER_MS) for one in instance.series_ids],
            below=[self._rings.add(one, 0, NEVER_MS) for one in instance.denominator_ids],
            is_fixed=instance.is_fixed,
            at_ms=at_ms,
        )
        self._subjects.append(subject)
        if standing is not None:
            self._verdicts.hold(number, subject.rule, standing, judged_ms=judged_ms)

    def _judge(self, stuck: Iterable[Stuck], end_ms: int) -> list[Transition]:
        """What may change, each to the end."""
        found: list[Transition] = []
        for one in stuck:
            if self._subjects[one.unit].rule.id in self.paused:
                continue
            following: Stuck | None = one
            while following is not None:
                try:
                    transition = self._judge_at(following)
                except Exception as exc:  # one rule's defect is not its neighbours'
                    self._pause(self._subjects[following.unit].rule, exc)
                    break
                if transition is not None:
                    found.append(transition)
                following = self._units.follow_one(following.unit, end_ms)
        return found

    def _pause(self, rule: AlertRule, exc: Exception) -> None:
        log.error(
            "A rule cannot be judged and is paused",
            extra={"action": "pause_rule", "rule_id": str(rule.id)},
            exc_info=exc,
        )
        self.paused[rule.id] = str(exc) or type(exc).__name__
        for number, subject in enumerate(self._subjects):
            if subject.rule.id == rule.id:
                self._verdicts.pause(number)

    def _judge_at(self, stuck: Stuck) -> Transition | None:
        number = stuck.unit
        subject = self._subjects[number]
        before = self._verdicts.of(number)
        record = self._units.record(number)
        if stuck.found == INCOMPLETE:
            raise Forgotten
        standing = judge_at(
            subject,
            _Fixed(stuck.reading),
            stuck.at_ms,
            before,
            self._limits.weddings,
            factor=self._factor,
        )
        self._limits.resolve(int(record["limits"]), stuck.at_ms)
        if standing is None:
            self._verdicts.forget(number, stuck.at_ms, int(record["since_ms"]), stuck.what)
            return None
        self._verdicts.hold(number, subject.rule, standing, stuck.what)
        if is_other_course(before, standing):
            course = self._courses.setdefault(number, implied_by(before))
            remember(course, stuck.at_ms, standing)
            self._moves.add(number)
        if before is not None and before.state is standing.state:
            return None
        return Transition(subject, standing)


class Forgotten(Exception):
    """A window reaches further back than what is held of its series."""

    def __init__(self) -> None:
        super().__init__("its windows hold more samples than fit into memory")
