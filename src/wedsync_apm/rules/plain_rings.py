"""The same as `rings`, by the plain functions of `aggregate` and `sources`: where `rings` is not
compiled, and what it is compared with.

Some hundred times slower; good for some thousands of series.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.rules.aggregate import Aggregation, Gap, Reading, Samples
from wedsync_apm.rules.model import NoDataPolicy, Operator
from wedsync_apm.rules.sources import RatioSource, Source, WindowSource, on_grid
from wedsync_apm.rules.verdict import State

AGGREGATIONS: Final = (
    Aggregation.AVG,
    Aggregation.MIN,
    Aggregation.MAX,
    Aggregation.SUM,
    Aggregation.COUNT,
    Aggregation.LAST,
    Aggregation.RATE,
    Aggregation.INCREASE,
    Aggregation.P50,
    Aggregation.P90,
    Aggregation.P95,
    Aggregation.P99,
    Aggregation.STDDEV,
)
OPERATORS: Final = (Operator.ABOVE, Operator.AT_LEAST, Operator.BELOW, Operator.AT_MOST)
POLICIES: Final = (NoDataPolicy.KEEP, NoDataPolicy.ALERT, NoDataPolicy.OK)
UNSEEN: Final = 0
STATES: Final = (None, State.OK, State.PENDING, State.FIRING, State.NO_DATA)
"""By number; none for an instance that was never seen. What is not among them has the number behind
them, and every instant of it is handed over."""
OTHER: Final = len(STATES)
FOUND: Final = (None, Gap.ABSENT, Gap.STALE, Gap.NOT_APPLICABLE)
"""By number: a reading, or why there is none."""
READING: Final = 0
INCOMPLETE: Final = len(FOUND)
"""The windows reach further back than what is held."""
NEVER_MS: Final = 2**63 - 1

RECORD: Final = np.dtype(
    [
        ("at_ms", "<i8"),
        ("since_ms", "<i8"),
        ("due_ms", "<i8"),
        ("value", "<f8"),
        ("rule", "<i4"),
        ("limits", "<i4"),
        ("offset", "<i4"),
        ("above", "<i4"),
        ("below", "<i4"),
        ("used", "<i4"),
        ("state", "u1"),
        ("found", "u1"),
        ("declared", "u1"),
        ("is_fixed", "u1"),
    ]
)
"""The last verdict on a unit: 60 bytes, from which it can be explained with its rule's limits."""

Found = tuple[int, float, int, bool]
"""What was found (`FOUND`), the value, of how many samples, and whether the newest declares a
wedding."""


class Stuck(NamedTuple):
    """A unit whose verdict may change at an instant, and what was found then."""

    unit: int
    at_ms: int
    found: int
    value: float
    used: int
    declared: bool

    @property
    def what(self) -> Found:
        """For `settle`."""
        return (self.found, self.value, self.used, self.declared)

    @property
    def reading(self) -> Reading | Gap:
        """As a source gives it; not of what is incomplete."""
        gap = FOUND[self.found]
        return Reading(self.value, self.used, self.declared) if gap is None else gap


@dataclass(slots=True)
class _Ring:
    keep_ms: int
    complete_after: int
    ended_ms: int | None = None
    times_ms: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    declared: list[bool] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    finite: Samples | None = None

    def samples(self) -> Samples:
        if self.finite is None:
            self.finite = Samples.of(zip(self.times_ms, self.values, self.declared, strict=True))
        return self.finite


class Rings:
    """The newest samples of the series of one organization."""

    def __init__(self) -> None:
        self.rings: list[_Ring] = []
        self.touched: dict[int, None] = {}
        self._slots: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.rings)

    def add(self, series_id: int, keep_ms: int, complete_after_ms: int) -> int:
        """The place of a series whose samples after an instant are all still to come, or given
        next. One that is known keeps what it has; at least so many milliseconds of it are kept."""
        slot = self._slots.setdefault(series_id, len(self.rings))
        if slot == len(self.rings):
            self.rings.append(_Ring(keep_ms, complete_after_ms))
        ring = self.rings[slot]
        ring.keep_ms = max(ring.keep_ms, keep_ms)
        ring.complete_after = min(ring.complete_after, complete_after_ms)
        return slot

    def slot_of(self, series_id: int) -> int | None:
        """Where a series is held."""
        return self._slots.get(series_id)

    def end(self, series_id: int, at_ms: int) -> None:
        """The sender said that a series was over at an instant."""
        slot = self._slots.get(series_id)
        if slot is not None and self.rings[slot].ended_ms != at_ms:
            self.rings[slot].ended_ms = at_ms
            self.touched[slot] = None

    def complete_after(self, series_id: int) -> int | None:
        """Since when all samples of a series are here; None of a series that is not known."""
        slot = self._slots.get(series_id)
        return None if slot is None else self.rings[slot].complete_after

    def take(
        self,
        series: NDArray[np.int32],
        times_ms: NDArray[np.int64],
        values: NDArray[np.float64],
        declared: NDArray[np.uint8],
    ) -> list[int]:
        """Takes samples in, in the order of their writing; those of unknown series are not for us.

        Gives back those that were news for instants already judged, or came when their time had
        been forgotten: their places, ascending.
        """
        columns = (series.tolist(), times_ms.tolist(), values.tolist(), declared.tolist())
        if len({len(column) for column in columns}) > 1:
            raise ValueError("columns of one length are expected")
        late = []
        for place, (one, at_ms, value, flag) in enumerate(zip(*columns, strict=True)):
            slot = self._slots.get(one)
            if slot is None:
                continue
            outcome = _insert(self.rings[slot], at_ms, value, bool(flag))
            if outcome:
                self.touched[slot] = None
            if outcome > 1:
                late.append(place)
        return late

    def samples(self, series_id: int) -> tuple[list[int], list[float], list[bool]]:
        """What is held of a series, ascending: milliseconds, values, declared."""
        ring = self.rings[self._slots[series_id]]
        return (ring.times_ms, ring.values, ring.declared)


def _insert(ring: _Ring, at_ms: int, value: float, declared: bool) -> int:
    """0: it was here already. 1: newest. 2: among older ones. 3: too old to be taken."""
    if at_ms <= ring.complete_after:
        return 3
    place = bisect_left(ring.times_ms, at_ms)
    is_newest = place == len(ring.times_ms)
    if not is_newest and ring.times_ms[place] == at_ms:
        if _bits(ring.values[place]) == _bits(value) and ring.declared[place] == declared:
            return 0
        ring.values[place], ring.declared[place] = value, declared
    else:
        ring.times_ms.insert(place, at_ms)
        ring.values.insert(place, value)
        ring.declared.insert(place, declared)
        forgotten = bisect_right(ring.times_ms, ring.times_ms[-1] - ring.keep_ms)
        if forgotten:
            ring.complete_after = ring.times_ms[forgotten - 1]
            for column in (ring.times_ms, ring.values, ring.declared):
                del column[:forgotten]
    ring.finite = None
    return 1 if is_newest else 2


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


@dataclass(frozen=True, slots=True)
class _Rule:
    above: Aggregation
    below: Aggregation
    width_ms: int
    operator: Operator
    absent: NoDataPolicy
    stale: NoDataPolicy
    is_ratio: bool


@dataclass(slots=True)
class _Limits:
    plain: tuple[float, float] = (0.0, 0.0)
    declared: tuple[float, float] = (0.0, 0.0)
    from_ms: int = NEVER_MS
    until_ms: int = NEVER_MS


@dataclass(slots=True)
class _Unit:
    rule: int
    limits: int
    above: tuple[int, ...]
    below: tuple[int, ...]
    offset: int
    is_fixed: bool
    at_ms: int
    since_ms: int
    due_ms: int = NEVER_MS
    state: int = UNSEEN
    found: Found = (1, 0.0, 0, False)


class Units:
    """The instances of an organization's rules, each with the record of its last verdict."""

    def __init__(self, rings: Rings, grid_ms: int, drift_ms: int) -> None:
        self.rings = rings
        self._grid_ms, self._drift_ms = grid_ms, max(grid_ms, drift_ms)
        self._rules: list[_Rule] = []
        self._limits: list[_Limits] = []
        self._units: list[_Unit] = []
        self._edges_ms: list[int] = []
        self._members = 0
        # Whoever looked at the series before does so no longer.
        for ring in rings.rings:
            ring.units.clear()

    def __len__(self) -> int:
        return len(self._units)

    def add_rule(
        self,
        *,
        above: int,
        below: int,
        width_ms: int,
        operator: int,
        absent: int,
        stale: int,
        is_ratio: bool,
    ) -> int:
        """What units have in common; gives its number."""
        self._rules.append(
            _Rule(
                AGGREGATIONS[above],
                AGGREGATIONS[below],
                width_ms,
                OPERATORS[operator],
                POLICIES[absent],
                POLICIES[stale],
                is_ratio,
            )
        )
        return len(self._rules) - 1

    def add_limits(self) -> int:
        """Room for what holds for units of one rule and one unit of measure; gives its number.
        Until it is set nothing holds, so that every verdict is handed over."""
        self._limits.append(_Limits())
        return len(self._limits) - 1

    def set_limits(
        self,
        number: int,
        plain: tuple[float, float],
        declared: tuple[float, float],
        from_ms: int,
        until_ms: int,
    ) -> None:
        """What holds in [from, until): value and clear value, on days that no sample declares to be
        a wedding's, and on those that one does."""
        self._limits[number] = _Limits(plain, declared, from_ms, until_ms)

    def set_edges(self, edges_ms: NDArray[np.int64]) -> None:
        """The instants at which a phase begins or ends: every unit is judged then."""
        self._edges_ms = [on_grid(edge, self._grid_ms) for edge in sorted(edges_ms.tolist())]

    def add(
        self,
        *,
        rule: int,
        limits: int,
        above: Sequence[int],
        below: Sequence[int],
        is_fixed: bool,
        at_ms: int,
    ) -> int:
        """An instance over the series at some places, those below a ratio's line apart, judged up
        to an instant; gives its number."""
        if not 0 <= rule < len(self._rules) or not 0 <= limits < len(self._limits):
            raise IndexError("no such rule or limits")
        number = len(self._units)
        unit = _Unit(
            rule, limits, tuple(above), tuple(below), self._members, is_fixed, at_ms, at_ms
        )
        for slot in (*above, *below):
            self.rings.rings[slot].units.append(number)
        self._members += len(above) + len(below)
        self._units.append(unit)
        return number

    def settle(
        self,
        number: int,
        *,
        state: int,
        at_ms: int,
        since_ms: int,
        due_ms: int | None,
        found: Found,
    ) -> None:
        """What was decided about a unit: its state since when, judged up to, when time alone may
        change that, and what was found, as a `Stuck` has it."""
        unit = self._units[number]
        unit.state, unit.at_ms, unit.since_ms = state, at_ms, since_ms
        unit.due_ms = NEVER_MS if due_ms is None else due_ms
        unit.found = found

    def rewind(self, series: NDArray[np.int32], times_ms: NDArray[np.int64]) -> dict[int, int]:
        """Judges again, from the time of each of these samples on, what looks at its series and has
        been judged further; not where the windows of then are not held any more. Gives those that
        were in another state then, or may have been, and the earliest time of each: these are left
        as they are."""
        others: dict[int, int] = {}
        for one, at_ms in zip(series.tolist(), times_ms.tolist(), strict=True):
            slot = self.rings.slot_of(one)
            if slot is None:
                continue
            for number in self.rings.rings[slot].units:
                unit = self._units[number]
                if unit.at_ms < at_ms or not self._reaches(unit, at_ms):
                    continue
                if unit.state < OTHER and at_ms > unit.since_ms:
                    unit.at_ms = at_ms - 1
                    # Also where the sample was here already: nothing else would judge it now.
                    self.rings.touched[slot] = None
                else:
                    others[number] = min(at_ms, others.get(number, at_ms))
        return others

    def _reaches(self, unit: _Unit, at_ms: int) -> bool:
        after_ms = at_ms - self._rules[unit.rule].width_ms
        return all(
            after_ms >= self.rings.rings[slot].complete_after for slot in (*unit.above, *unit.below)
        )

    def record(self, number: int) -> Any:
        """The last verdict on a unit."""
        return self.records()[number]

    def records(self) -> NDArray[Any]:
        """The last verdicts on all units, as they are now."""
        rows = [
            (
                *(one.at_ms, one.since_ms, one.due_ms, one.found[1], one.rule, one.limits),
                *(one.offset, len(one.above), len(one.below), one.found[2]),
                *(one.state, one.found[0], one.found[3], one.is_fixed),
            )
            for one in self._units
        ]
        return np.array(rows, RECORD)

    def follow(self, end_ms: int, start: int = 0, most: int = NEVER_MS) -> tuple[list[Stuck], int]:
        """Judges units, from one on, at each instant up to `end_ms`, until so many judgements are
        made; gives the units that are stuck and the first one that was not looked at."""
        stuck: list[Stuck] = []
        number, judged = start, 0
        while number < len(self._units) and judged < most:
            more, found = self._follow(number, end_ms)
            judged += more
            number += 1
            if found is not None:
                stuck.append(found)
        return stuck, number

    def follow_one(self, number: int, end_ms: int) -> Stuck | None:
        """Goes on with one unit; what it is stuck in, or None."""
        return self._follow(number, end_ms)[1]

    def follow_touched(self, end_ms: int) -> list[Stuck]:
        """Judges the units of the series that something has come for, up to the newest sample or
        `end_ms`; gives those that are stuck."""
        numbers = {
            number: None for slot in self.rings.touched for number in self.rings.rings[slot].units
        }
        self.rings.touched.clear()
        found = (self._follow(number, end_ms)[1] for number in numbers)
        return [one for one in found if one is not None]

    def read(self, number: int, at_ms: int) -> Stuck:
        """What a unit's windows come to at an instant."""
        unit = self._units[number]
        rule = self._rules[unit.rule]
        sides = (unit.below, unit.above) if rule.is_ratio else (unit.above,)
        for side in sides:
            # Of a ratio with nothing below the line nobody asks what is above it.
            if any(at_ms - rule.width_ms < self.rings.rings[slot].complete_after for slot in side):
                return Stuck(number, at_ms, INCOMPLETE, 0.0, 0, False)
            if rule.is_ratio and side is unit.below:
                below = self._window(rule.below, side, rule.width_ms).read(at_ms)
                if isinstance(below, Gap) or below.value == 0:
                    break
        found = self._source(unit).read(at_ms)
        if isinstance(found, Gap):
            return Stuck(number, at_ms, FOUND.index(found), 0.0, 0, False)
        return Stuck(
            number, at_ms, READING, found.value, found.sample_count, found.is_declared_wedding
        )

    def _window(self, aggregation: Aggregation, slots: Sequence[int], width_ms: int) -> Source:
        rings = [self.rings.rings[slot] for slot in slots]
        ended = [ring.ended_ms for ring in rings]
        over = [at for at in ended if at is not None]
        return WindowSource(
            aggregation,
            [ring.samples() for ring in rings],
            width_ms,
            max(over) if over and len(over) == len(ended) else None,
        )

    def _source(self, unit: _Unit) -> Source:
        rule = self._rules[unit.rule]
        above = self._window(rule.above, unit.above, rule.width_ms)
        if not rule.is_ratio:
            return above
        return RatioSource(above, self._window(rule.below, unit.below, rule.width_ms))

    def _follow(self, number: int, end_ms: int) -> tuple[int, Stuck | None]:
        unit, judged = self._units[number], 0
        source = self._source(unit)
        while (at_ms := self._next(unit, source, end_ms)) is not None:
            judged += 1
            found = self.read(number, at_ms)
            if not self._is_steady(unit, found):
                return judged, found
        return judged, None

    def _next(self, unit: _Unit, source: Source, end_ms: int) -> int | None:
        at_ms = unit.at_ms
        found = [] if source.drifts(at_ms) else [end_ms // self._grid_ms * self._grid_ms]
        if unit.due_ms != NEVER_MS:
            found.append(on_grid(unit.due_ms, self._grid_ms))
        found += [edge for edge in self._edges_ms if edge > at_ms][:1]
        moving = source.next_after(at_ms, self._grid_ms)
        if moving is not None:
            found.append(moving)
        return min((one for one in found if at_ms < one <= end_ms), default=None)

    def _is_steady(self, unit: _Unit, stuck: Stuck) -> bool:
        limits = self._limits[unit.limits]
        if stuck.found == INCOMPLETE:
            return False
        if not limits.from_ms <= stuck.at_ms < limits.until_ms or stuck.at_ms >= unit.due_ms:
            return False
        is_unseen = FOUND[stuck.found] in (Gap.ABSENT, Gap.STALE) and not unit.is_fixed
        if unit.state == UNSEEN and is_unseen:
            unit.at_ms = stuck.at_ms
            return True
        if not self._stays(unit, stuck):
            return False
        if unit.state == UNSEEN:
            unit.state, unit.since_ms = STATES.index(State.OK), stuck.at_ms
        unit.at_ms, unit.found = stuck.at_ms, stuck.what
        return True

    def _stays(self, unit: _Unit, stuck: Stuck) -> bool:
        rule, limits = self._rules[unit.rule], self._limits[unit.limits]
        if unit.state == OTHER:
            return False
        state = STATES[unit.state]
        if stuck.found == READING:
            limit, clear = limits.declared if stuck.declared else limits.plain
            return _stays_by(rule, state, stuck.value, limit, clear)
        policy = rule.stale if FOUND[stuck.found] is Gap.STALE else rule.absent
        if FOUND[stuck.found] is Gap.NOT_APPLICABLE or policy is NoDataPolicy.OK:
            return state in (None, State.OK)
        if policy is NoDataPolicy.ALERT:
            return state is State.NO_DATA
        return state is not State.PENDING


def _stays_by(rule: _Rule, state: State | None, value: float, limit: float, clear: float) -> bool:
    if rule.operator.is_breached(value, limit):
        return state in (State.PENDING, State.FIRING)
    if state is not State.FIRING:
        return state in (None, State.OK)
    if clear == limit:
        return False
    return not (value <= clear if rule.operator.is_upper else value >= clear)
