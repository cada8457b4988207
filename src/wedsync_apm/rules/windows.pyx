# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What the windows of rules come to, and when they may next come to something else: as
`aggregate.read_windows` and `sources.WindowSource` have it."""

from wedsync_apm.rules.arithmetic cimport LAST, RATE, grows, reduce, total
from wedsync_apm.rules.rings cimport NONE, Ring, Rings, enlarged, first_after
from wedsync_apm.rules.signals cimport ABSENT, INCOMPLETE, READING, STALE, Found, Rule, set_gap

from libc.math cimport isfinite
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint32_t
from libc.stdlib cimport free, realloc


cdef class Windows:
    """Which units look at which series, and what they see there."""

    def __cinit__(self, Rings rings not None):
        cdef Py_ssize_t slot
        self.rings = rings
        # Whoever looked at the series before does so no longer.
        for slot in range(rings._count):
            rings._rings[slot].first_unit = NONE

    def __dealloc__(self):
        free(self.members)
        free(self._buffer)

    cdef int32_t add(self, slots, int32_t unit) except -1:
        """Has a unit look at the series at some places; where its members begin."""
        cdef int32_t slot, offset = self._count
        cdef Py_ssize_t needed = self._count + len(slots)
        if needed > self._room:
            self._room = max(2 * self._room, needed, 64)
            self.members = <Member *>enlarged(self.members, self._room * sizeof(Member))
        for slot in slots:
            if not 0 <= slot < self.rings._count:
                raise IndexError(slot)
        for slot in slots:
            self.members[self._count] = Member(slot, unit, self.rings._rings[slot].first_unit)
            self.rings._rings[slot].first_unit = self._count
            self._count += 1
        return offset

    cdef bint reach(self, int32_t offset, int32_t count, int64_t after_ms) noexcept nogil:
        """Whether all of some series after an instant is held."""
        cdef int32_t member
        for member in range(offset, offset + count):
            if after_ms < self.rings._rings[self.members[member].slot].complete_after:
                return False
        return True

    cdef bint next_of(
        self, int32_t offset, int32_t count, Rule *rule, int64_t at_ms, int64_t grid_ms,
        int64_t *next_ms,
    ) noexcept nogil:
        """The next sample of some series, or the next one that leaves the window; whether there is
        none in it."""
        cdef Ring *ring
        cdef uint32_t coming, oldest, mask
        cdef int32_t member
        cdef int64_t over = INT64_MIN
        cdef bint is_empty = True, is_over = count > 0
        for member in range(offset, offset + count):
            ring = &self.rings._rings[self.members[member].slot]
            mask = ring.capacity - 1
            coming = first_after(ring, at_ms)
            oldest = first_after(ring, at_ms - rule.width_ms)
            while oldest < coming and not isfinite(ring.values[(ring.start + oldest) & mask]):
                oldest += 1
            if oldest < coming:
                is_empty = False
                next_ms[0] = min(
                    next_ms[0],
                    on_grid(
                        (ring.keys[(ring.start + oldest) & mask] >> 1) + rule.width_ms, grid_ms
                    ),
                )
            while coming < ring.count and not isfinite(ring.values[(ring.start + coming) & mask]):
                coming += 1
            if coming < ring.count:
                next_ms[0] = min(next_ms[0], ring.keys[(ring.start + coming) & mask] >> 1)
            is_over = is_over and ring.ended_ms != INT64_MIN
            over = max(over, ring.ended_ms)
        if is_over and over > at_ms:
            next_ms[0] = min(next_ms[0], on_grid(over, grid_ms))
        return is_empty

    cdef void read(
        self, int32_t offset, int32_t members, int aggregation, Rule *rule, int64_t at_ms,
        Found *found,
    ) noexcept nogil:
        """The windows of some series as one, as `read_windows` has it."""
        cdef Ring *ring
        cdef int32_t member
        cdef uint32_t at, first, behind, mask
        cdef Py_ssize_t count = 0, grown = 0, held
        cdef int64_t newest_ms = INT64_MIN, over = INT64_MIN, key
        cdef double value, newest = 0, growth
        cdef bint declared = False, is_over = members > 0, is_growth = grows(aggregation)
        for member in range(offset, offset + members):
            ring = &self.rings._rings[self.members[member].slot]
            if at_ms - rule.width_ms < ring.complete_after:
                set_gap(found, INCOMPLETE)
                return
            is_over = is_over and ring.ended_ms != INT64_MIN
            over = max(over, ring.ended_ms)
            first = first_after(ring, at_ms - rule.width_ms)
            behind = first_after(ring, at_ms)
            mask = ring.capacity - 1
            if not self._has_room(count + (behind - first)):
                set_gap(found, INCOMPLETE)
                return
            held = count
            for at in range(first, behind):
                value = ring.values[(ring.start + at) & mask]
                if isfinite(value):
                    if not is_growth:
                        self._buffer[held] = value
                    held += 1
                    key = ring.keys[(ring.start + at) & mask]
                    if key >> 1 >= newest_ms:
                        newest_ms, newest, declared = key >> 1, value, key & 1
            if held == count:
                continue
            if is_growth and held - count > 1:
                growth = _increase(
                    ring, first, behind, held - count, at_ms - rule.width_ms, at_ms
                )
                # What was counted lies before it, or is counted alone: there is room.
                self._buffer[grown] = growth
                grown += 1
            count = held
        if count == 0 or (is_growth and grown == 0):
            if not is_over or over > at_ms or self._has_samples_after(offset, members, over, at_ms):
                set_gap(found, ABSENT)
            else:
                set_gap(found, STALE)
            return
        if is_growth:
            value = total(self._buffer, grown)
            if aggregation == RATE:
                value = value / rule.width_seconds
        elif aggregation == LAST:
            value = newest
        else:
            value = reduce(aggregation, self._buffer, count)
        if not isfinite(value):
            if not is_over or over > at_ms or self._has_samples_after(offset, members, over, at_ms):
                set_gap(found, ABSENT)
            else:
                set_gap(found, STALE)
            return
        found.kind, found.value, found.used, found.declared = READING, value, count, declared

    cdef bint _has_samples_after(
        self, int32_t offset, int32_t members, int64_t after_ms, int64_t until_ms
    ) noexcept nogil:
        cdef Ring *ring
        cdef int32_t member
        cdef uint32_t at
        for member in range(offset, offset + members):
            ring = &self.rings._rings[self.members[member].slot]
            for at in range(first_after(ring, after_ms), first_after(ring, until_ms)):
                if isfinite(ring.values[(ring.start + at) & (ring.capacity - 1)]):
                    return True
        return False

    cdef bint _has_room(self, Py_ssize_t count) noexcept nogil:
        """Of the buffer, with as much again to sort in."""
        cdef double *larger
        if 2 * count > self._buffer_room:
            larger = <double *>realloc(self._buffer, 4 * count * sizeof(double))
            if larger == NULL:
                return False
            self._buffer, self._buffer_room = larger, 4 * count
        return True


cdef double _increase(
    Ring *ring, uint32_t first, uint32_t behind, Py_ssize_t count, int64_t start_ms, int64_t end_ms
) noexcept nogil:
    """As `aggregate.increase`, over at least two finite samples."""
    cdef Py_ssize_t at
    cdef uint32_t mask = ring.capacity - 1
    cdef double oldest = 0, newest = 0, value, growth, seen, gap, to_start, to_end, back
    cdef int64_t first_ms = 0, last_ms = 0
    cdef bint has = False
    # The first and the last value before anything else, as the sum begins with them.
    for at in range(first, behind):
        value = ring.values[(ring.start + at) & mask]
        if isfinite(value):
            oldest, first_ms = value, ring.keys[(ring.start + at) & mask] >> 1
            break
    for at in range(<Py_ssize_t>behind - 1, <Py_ssize_t>first - 1, -1):
        value = ring.values[(ring.start + at) & mask]
        if isfinite(value):
            newest, last_ms = value, ring.keys[(ring.start + at) & mask] >> 1
            break
    growth = newest - oldest
    newest = oldest
    for at in range(first, behind):
        value = ring.values[(ring.start + at) & mask]
        if isfinite(value):
            if has and value < newest:
                growth += newest
            newest, has = value, True
    seen = <double>(last_ms - first_ms) / 1000
    gap = seen / (count - 1)
    to_start, to_end = <double>(first_ms - start_ms) / 1000, <double>(end_ms - last_ms) / 1000
    if to_start >= gap * 1.1:
        to_start = gap / 2
    if growth > 0 and oldest >= 0:
        back = seen * (oldest / growth)
        if back < to_start:
            to_start = back
    if to_end >= gap * 1.1:
        to_end = gap / 2
    return growth * ((seen + to_start + to_end) / seen)
