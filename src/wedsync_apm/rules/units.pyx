# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""An organization's rules followed over the samples in memory.

The same numbers to the last bit, at the same instants, as `aggregate`, `sources` and `judge`, for
the kinds of rules whose windows fit into memory. Only what leaves everything as it is is decided
here; where a verdict may change, the unit is handed over to Python, so that the state machine is
written once.
"""

import numpy as np

from wedsync_apm.rules.plain_rings import RECORD, Stuck

from wedsync_apm.rules.arithmetic cimport grows
from wedsync_apm.rules.rings cimport NONE, Ring, Rings, enlarged
from wedsync_apm.rules.signals cimport (
    ABSENT, BAD, FIRING, GOOD, INCOMPLETE, NO_DATA, NOT_APPLICABLE, NOT_CLEAR, OK, OTHER, PENDING,
    READING, SILENT, STALE, UNKNOWN, UNSEEN, Found, Limit, Limits, Rule, set_gap, signal_of,
)
from wedsync_apm.rules.windows cimport Windows, on_grid

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset


cdef packed struct Unit:
    int64_t at_ms  # judged up to here
    int64_t since_ms  # in this state since
    int64_t due_ms  # when time alone may change it
    double value
    int32_t rule, limits
    int32_t offset, above, below  # its members
    int32_t used
    uint8_t state, found, declared, is_fixed


cdef class Units:
    """The instances of an organization's rules, each with the record of its last verdict."""

    cdef readonly Rings rings
    cdef Windows _windows
    cdef Rule *_rules
    cdef Py_ssize_t _rules_count, _rules_room
    cdef Limits *_limits
    cdef Py_ssize_t _limits_count, _limits_room
    cdef Unit *_units
    cdef Py_ssize_t _count, _room
    cdef int64_t *_edges  # on the grid, ascending
    cdef Py_ssize_t _edges_count
    cdef int64_t _grid_ms, _drift_ms

    def __cinit__(self, Rings rings not None, int64_t grid_ms, int64_t drift_ms):
        self.rings, self._grid_ms, self._drift_ms = rings, grid_ms, max(grid_ms, drift_ms)
        self._windows = Windows(rings)

    def __dealloc__(self):
        free(self._rules)
        free(self._limits)
        free(self._units)
        free(self._edges)

    def __len__(self):
        return self._count

    def add_rule(self, *, int above, int below, int64_t width_ms, int operator, int absent,
                 int stale, bint is_ratio):
        """What units have in common; gives its number."""
        if self._rules_count == self._rules_room:
            self._rules_room = max(2 * self._rules_room, 16)
            self._rules = <Rule *>enlarged(self._rules, self._rules_room * sizeof(Rule))
        self._rules[self._rules_count] = Rule(
            width_ms, <double>width_ms / 1000, above, below, operator, absent, stale, is_ratio
        )
        self._rules_count += 1
        return self._rules_count - 1

    def add_limits(self):
        """Room for what holds for units of one rule and one unit of measure; gives its number.
        Until it is set nothing holds, so that every verdict is handed over."""
        if self._limits_count == self._limits_room:
            self._limits_room = max(2 * self._limits_room, 16)
            self._limits = <Limits *>enlarged(self._limits, self._limits_room * sizeof(Limits))
        memset(&self._limits[self._limits_count], 0, sizeof(Limits))
        self._limits[self._limits_count].from_ms = INT64_MAX
        self._limits[self._limits_count].until_ms = INT64_MAX
        self._limits_count += 1
        return self._limits_count - 1

    def set_limits(self, Py_ssize_t number, plain, declared, int64_t from_ms, int64_t until_ms):
        """What holds in [from, until): value and clear value, on days that no sample declares to be
        a wedding's, and on those that one does."""
        if not 0 <= number < self._limits_count:
            raise IndexError(number)
        self._limits[number].plain = Limit(plain[0], plain[1])
        self._limits[number].declared = Limit(declared[0], declared[1])
        self._limits[number].from_ms, self._limits[number].until_ms = from_ms, until_ms

    def set_edges(self, const int64_t[::1] edges_ms):
        """The instants at which a phase begins or ends: every unit is judged then."""
        cdef Py_ssize_t place
        ordered = np.unique(edges_ms)
        self._edges = <int64_t *>enlarged(self._edges, max(len(ordered), 1) * sizeof(int64_t))
        self._edges_count = len(ordered)
        for place in range(self._edges_count):
            self._edges[place] = on_grid(ordered[place], self._grid_ms)

    def add(self, *, int32_t rule, int32_t limits, above, below, bint is_fixed, int64_t at_ms):
        """An instance over the series at some places, those below a ratio's line apart, judged up
        to an instant; gives its number."""
        cdef Unit unit
        if not 0 <= rule < self._rules_count or not 0 <= limits < self._limits_count:
            raise IndexError("no such rule or limits")
        if self._count == self._room:
            self._room = max(2 * self._room, 64)
            self._units = <Unit *>enlarged(self._units, self._room * sizeof(Unit))
        memset(&unit, 0, sizeof(unit))
        unit.at_ms, unit.since_ms, unit.due_ms = at_ms, at_ms, INT64_MAX
        unit.rule, unit.limits, unit.is_fixed = rule, limits, is_fixed
        unit.offset = self._windows.add((*above, *below), self._count)
        unit.above, unit.below = len(above), len(below)
        unit.state, unit.found = UNSEEN, ABSENT
        self._units[self._count] = unit
        self._count += 1
        return self._count - 1

    def settle(self, Py_ssize_t number, *, int state, int64_t at_ms, int64_t since_ms, due_ms,
               found):
        """What was decided about a unit: its state since when, judged up to, when time alone may
        change that, and what was found, as a `Stuck` has it."""
        cdef Unit *unit = self._unit(number)
        unit.state, unit.at_ms, unit.since_ms = state, at_ms, since_ms
        unit.due_ms = INT64_MAX if due_ms is None else due_ms
        unit.found, unit.value, unit.used, unit.declared = found

    def rewind(self, const int32_t[::1] series, const int64_t[::1] times_ms):
        """Judges again, from the time of each of these samples on, what looks at its series and has
        been judged further; not where the windows of then are not held any more. Gives those that
        were in another state then, or may have been, and the earliest time of each: these are left
        as they are."""
        cdef Py_ssize_t place
        cdef int32_t slot, member, number
        cdef int64_t at_ms
        cdef Unit *unit
        cdef dict others = {}
        if times_ms.shape[0] != series.shape[0]:
            raise ValueError("columns of one length are expected")
        for place in range(series.shape[0]):
            slot = self.rings._find(series[place])
            if slot < 0:
                continue
            at_ms = times_ms[place]
            member = self.rings._rings[slot].first_unit
            while member != NONE:
                number = self._windows.members[member].unit
                unit = &self._units[number]
                if unit.at_ms >= at_ms and self._reaches(unit, at_ms):
                    if unit.state < OTHER and at_ms > unit.since_ms:
                        unit.at_ms = at_ms - 1
                        # Also where the sample was here already: nothing else would judge it now.
                        self.rings._touch(slot)
                    else:
                        others[number] = min(at_ms, others.get(number, at_ms))
                member = self._windows.members[member].next
        return others

    cdef bint _reaches(self, Unit *unit, int64_t at_ms) noexcept nogil:
        """Whether the windows of an instant are held."""
        return self._windows.reach(
            unit.offset, unit.above + unit.below, at_ms - self._rules[unit.rule].width_ms
        )

    def record(self, Py_ssize_t number):
        """The last verdict on a unit."""
        record = np.empty(1, RECORD)
        cdef uint8_t[::1] to = record.view(np.uint8)
        memcpy(&to[0], self._unit(number), sizeof(Unit))
        return record[0]

    def records(self):
        """The last verdicts on all units, as they are now."""
        records = np.empty(self._count, RECORD)
        cdef uint8_t[::1] to = records.view(np.uint8)
        if self._count:
            memcpy(&to[0], self._units, self._count * sizeof(Unit))
        return records

    def follow(self, int64_t end_ms, Py_ssize_t start=0, Py_ssize_t most=INT64_MAX):
        """Judges units, from one on, at each instant up to `end_ms`, until so many judgements are
        made; gives the units that are stuck and the first one that was not looked at."""
        cdef Py_ssize_t number = start, judged = 0
        cdef Found found
        cdef int64_t at_ms
        cdef bint is_stuck
        cdef list stuck = []
        while number < self._count and judged < most:
            with nogil:
                is_stuck = False
                while number < self._count and judged < most and not is_stuck:
                    is_stuck = self._follow(&self._units[number], end_ms, &found, &at_ms, &judged)
                    number += 1
            if is_stuck:
                stuck.append(_stuck(number - 1, at_ms, &found))
        return stuck, number

    def follow_one(self, Py_ssize_t number, int64_t end_ms):
        """Goes on with one unit; what it is stuck in, or None."""
        cdef Found found
        cdef int64_t at_ms
        cdef Py_ssize_t judged = 0
        if self._follow(self._unit(number), end_ms, &found, &at_ms, &judged):
            return _stuck(number, at_ms, &found)
        return None

    def follow_touched(self, int64_t end_ms):
        """Judges the units of the series that something has come for, up to the newest sample or
        `end_ms`; gives those that are stuck."""
        cdef Py_ssize_t place, judged = 0
        cdef int32_t member
        cdef Ring *ring
        cdef Found found
        cdef int64_t at_ms
        cdef bint is_stuck
        cdef list stuck = []
        for place in range(self.rings._touched_count):
            ring = &self.rings._rings[self.rings._touched[place]]
            ring.is_touched = 0
            member = ring.first_unit
            while member != NONE:
                with nogil:
                    is_stuck = False
                    while member != NONE and not is_stuck:
                        is_stuck = self._follow(
                            &self._units[self._windows.members[member].unit],
                            end_ms, &found, &at_ms, &judged,
                        )
                        if not is_stuck:
                            member = self._windows.members[member].next
                if is_stuck:
                    stuck.append(_stuck(self._windows.members[member].unit, at_ms, &found))
                    member = self._windows.members[member].next
        self.rings._touched_count = 0
        # A unit may look at several of the series.
        return list({one.unit: one for one in stuck}.values())

    def read(self, Py_ssize_t number, int64_t at_ms):
        """What a unit's windows come to at an instant."""
        cdef Found found
        self._read(self._unit(number), at_ms, &found)
        return _stuck(number, at_ms, &found)

    cdef Unit *_unit(self, Py_ssize_t number) except NULL:
        if not 0 <= number < self._count:
            raise IndexError(number)
        return &self._units[number]

    cdef bint _follow(
        self, Unit *unit, int64_t end_ms, Found *found, int64_t *at_ms, Py_ssize_t *judged
    ) noexcept nogil:
        """Up to the end, or to where something may change."""
        cdef int64_t last = end_ms // self._grid_ms * self._grid_ms, following
        while True:
            following = self._next(unit, last)
            if following > end_ms:
                return False
            judged[0] += 1
            self._read(unit, following, found)
            if not self._is_steady(unit, following, found):
                at_ms[0] = following
                return True

    cdef int64_t _next(self, Unit *unit, int64_t last) noexcept nogil:
        """The next instant at which anything may change; INT64_MAX: none."""
        cdef Rule *rule = &self._rules[unit.rule]
        cdef int64_t at_ms = unit.at_ms, next_ms = INT64_MAX
        cdef Py_ssize_t edge
        cdef bint is_empty, drifts
        for edge in range(self._edges_count):
            if self._edges[edge] > at_ms:
                next_ms = self._edges[edge]
                break
        if unit.due_ms != INT64_MAX and on_grid(unit.due_ms, self._grid_ms) > at_ms:
            next_ms = min(next_ms, on_grid(unit.due_ms, self._grid_ms))
        is_empty = self._windows.next_of(
            unit.offset, unit.above, rule, at_ms, self._grid_ms, &next_ms
        )
        drifts = grows(rule.above) and not is_empty
        if rule.is_ratio:
            is_empty = self._windows.next_of(
                unit.offset + unit.above, unit.below, rule, at_ms, self._grid_ms, &next_ms
            )
            drifts = drifts or (grows(rule.below) and not is_empty)
        if drifts:
            return min(next_ms, on_grid(at_ms + 1, self._drift_ms))
        return min(next_ms, last) if last > at_ms else next_ms

    cdef bint _is_steady(self, Unit *unit, int64_t at_ms, Found *found) noexcept nogil:
        """Whether the verdict stays as it is; notes it then."""
        cdef Limits *limits = &self._limits[unit.limits]
        cdef Limit *limit = &limits.declared if found.declared else &limits.plain
        cdef Rule *rule = &self._rules[unit.rule]
        cdef int signal
        if found.kind == INCOMPLETE:
            return False
        if at_ms < limits.from_ms or at_ms >= limits.until_ms or at_ms >= unit.due_ms:
            return False
        if (
            unit.state == UNSEEN
            and not unit.is_fixed
            and (found.kind == ABSENT or found.kind == STALE)
        ):
            unit.at_ms = at_ms
            return True
        signal = signal_of(rule, unit.state, found, limit)
        if unit.state == OK or unit.state == UNSEEN:
            if signal != GOOD and signal != UNKNOWN:
                return False
        elif unit.state == PENDING:
            if signal != BAD or found.kind != READING:
                return False
        elif unit.state == FIRING:
            if signal != BAD and signal != NOT_CLEAR and signal != UNKNOWN:
                return False
        elif unit.state == NO_DATA:
            if signal != SILENT and signal != UNKNOWN:
                return False
        else:
            return False
        if unit.state == UNSEEN:
            unit.state, unit.since_ms = OK, at_ms
        unit.at_ms, unit.value, unit.used = at_ms, found.value, found.used
        unit.found, unit.declared = found.kind, found.declared
        return True

    cdef void _read(self, Unit *unit, int64_t at_ms, Found *found) noexcept nogil:
        cdef Rule *rule = &self._rules[unit.rule]
        cdef Found below
        if not rule.is_ratio:
            self._windows.read(unit.offset, unit.above, rule.above, rule, at_ms, found)
            return
        self._windows.read(
            unit.offset + unit.above, unit.below, rule.below, rule, at_ms, &below
        )
        if below.kind != READING:
            found[0] = below
            return
        if below.value == 0:
            set_gap(found, NOT_APPLICABLE)
            return
        self._windows.read(unit.offset, unit.above, rule.above, rule, at_ms, found)
        if found.kind == INCOMPLETE:
            return
        if found.kind != READING:
            found.value, found.used, found.declared = 0.0, below.used, below.declared
        else:
            found.value = found.value / below.value
            found.used += below.used
            found.declared = found.declared or below.declared
        found.kind = READING


cdef object _stuck(Py_ssize_t unit, int64_t at_ms, Found *found):
    return Stuck(unit, at_ms, found.kind, found.value, found.used, bool(found.declared))
