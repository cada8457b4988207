# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The newest samples of an organization's series in memory: of each a ring, the oldest forgotten
when nobody needs it any more."""

from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef enum:
    FIRST_CAPACITY = 8
    MOST_CAPACITY = 32768


cdef class Rings:
    """The newest samples of the series of one organization."""

    def __cinit__(self):
        self._set_table(64)

    def __dealloc__(self):
        cdef Py_ssize_t slot
        for slot in range(self._count):
            free(self._rings[slot].keys)
        free(self._rings)
        free(self._table)
        free(self._touched)

    def __len__(self):
        return self._count

    def add(self, int32_t series_id, int64_t keep_ms, int64_t complete_after_ms):
        """The place of a series whose samples after an instant are all still to come, or given
        next. One that is known keeps what it has; at least so many milliseconds of it are kept."""
        cdef int32_t slot = self._find(series_id)
        cdef Ring *ring
        if slot >= 0:
            ring = &self._rings[slot]
            ring.keep_ms = max(ring.keep_ms, keep_ms)
            ring.complete_after = min(ring.complete_after, complete_after_ms)
            return slot
        if self._count == self._room:
            self._room = max(2 * self._room, 64)
            self._rings = <Ring *>enlarged(self._rings, self._room * sizeof(Ring))
        if 2 * self._count >= self._table_size:
            self._set_table(2 * self._table_size)
        slot = self._count
        ring = &self._rings[slot]
        memset(ring, 0, sizeof(Ring))
        ring.series_id, ring.keep_ms, ring.first_unit = series_id, keep_ms, NONE
        ring.complete_after, ring.ended_ms = complete_after_ms, INT64_MIN
        self._count += 1
        self._place(slot)
        return slot

    def end(self, int32_t series_id, int64_t at_ms):
        """The sender said that a series was over at an instant."""
        cdef int32_t slot = self._find(series_id)
        if slot >= 0 and self._rings[slot].ended_ms != at_ms:
            self._rings[slot].ended_ms = at_ms
            self._touch(slot)

    def complete_after(self, int32_t series_id):
        """Since when all samples of a series are here; None of a series that is not known."""
        cdef int32_t slot = self._find(series_id)
        return None if slot < 0 else self._rings[slot].complete_after

    def take(self, const int32_t[::1] series, const int64_t[::1] times_ms,
             const double[::1] values, const uint8_t[::1] declared):
        """Takes samples in, in the order of their writing; those of unknown series are not for us.

        Gives back those that were news for instants already judged, or came when their time had
        been forgotten: their places, ascending.
        """
        cdef Py_ssize_t place, count = series.shape[0]
        cdef int32_t slot
        cdef int outcome
        cdef list late = []
        if times_ms.shape[0] != count or values.shape[0] != count or declared.shape[0] != count:
            raise ValueError("columns of one length are expected")
        for place in range(count):
            slot = self._find(series[place])
            if slot < 0:
                continue
            outcome = self._insert(
                &self._rings[slot], times_ms[place], declared[place], values[place]
            )
            if outcome:
                self._touch(slot)
            if outcome > 1:
                late.append(place)
        return late

    def samples(self, int32_t series_id):
        """What is held of a series, ascending: milliseconds, values, declared."""
        cdef int32_t slot = self._find(series_id)
        cdef Ring *ring
        cdef uint32_t at, mask
        if slot < 0:
            raise KeyError(series_id)
        ring = &self._rings[slot]
        mask = ring.capacity - 1
        held = [(ring.start + at) & mask for at in range(ring.count)]
        return (
            [ring.keys[at] >> 1 for at in held],
            [ring.values[at] for at in held],
            [bool(ring.keys[at] & 1) for at in held],
        )

    cdef int _insert(self, Ring *ring, int64_t at_ms, bint declared, double value) except -1:
        """0: it was here already. 1: newest. 2: among older ones. 3: too old to be taken."""
        cdef int64_t key = at_ms << 1 | declared, newest
        cdef uint64_t bits, held
        cdef uint32_t mask = ring.capacity - 1, place, at, before
        if at_ms <= ring.complete_after:
            return 3
        if ring.count == 0:
            self._make_room(ring, at_ms)
            ring.keys[ring.start], ring.values[ring.start] = key, value
            ring.count = 1
            return 1
        newest = ring.keys[(ring.start + ring.count - 1) & mask] >> 1
        if at_ms > newest:
            self._make_room(ring, at_ms)
            place = (ring.start + ring.count) & (ring.capacity - 1)
            ring.keys[place], ring.values[place] = key, value
            ring.count += 1
            return 1
        place = first_after(ring, at_ms - 1)
        at = (ring.start + place) & mask
        if ring.keys[at] >> 1 == at_ms:
            memcpy(&bits, &value, sizeof(bits))
            memcpy(&held, &ring.values[at], sizeof(held))
            if bits == held and ring.keys[at] == key:
                return 0
            ring.keys[at], ring.values[at] = key, value
            return 2
        if ring.count == ring.capacity and place == 0 and at_ms <= newest - ring.keep_ms:
            # Making room would forget what is newer than this one.
            ring.complete_after = at_ms
            return 3
        before = ring.count
        self._make_room(ring, newest)
        if ring.count < before:
            place -= 1
        mask = ring.capacity - 1
        for at in range(ring.count, place, -1):
            ring.keys[(ring.start + at) & mask] = ring.keys[(ring.start + at - 1) & mask]
            ring.values[(ring.start + at) & mask] = ring.values[(ring.start + at - 1) & mask]
        at = (ring.start + place) & mask
        ring.keys[at], ring.values[at] = key, value
        ring.count += 1
        return 2

    cdef int _make_room(self, Ring *ring, int64_t newest_ms) except -1:
        """For one sample more: forgets the oldest one if nobody needs it, else grows."""
        cdef uint32_t capacity, at
        cdef int64_t oldest
        cdef int64_t *keys
        cdef double *values
        if ring.count < ring.capacity:
            return 0
        if ring.capacity:
            oldest = ring.keys[ring.start] >> 1
            if oldest <= newest_ms - ring.keep_ms or ring.capacity == MOST_CAPACITY:
                ring.complete_after = oldest
                ring.start = (ring.start + 1) & (ring.capacity - 1)
                ring.count -= 1
                return 0
        capacity = 2 * ring.capacity if ring.capacity else FIRST_CAPACITY
        keys = <int64_t *>malloc(capacity * (sizeof(int64_t) + sizeof(double)))
        if keys == NULL:
            raise MemoryError
        values = <double *>(keys + capacity)
        for at in range(ring.count):
            keys[at] = ring.keys[(ring.start + at) & (ring.capacity - 1)]
            values[at] = ring.values[(ring.start + at) & (ring.capacity - 1)]
        free(ring.keys)
        ring.keys, ring.values, ring.capacity, ring.start = keys, values, capacity, 0
        return 0

    cdef int _touch(self, int32_t slot) except -1:
        if self._rings[slot].is_touched:
            return 0
        if self._touched_count == self._touched_room:
            self._touched_room = max(2 * self._touched_room, 64)
            self._touched = <int32_t *>enlarged(
                self._touched, self._touched_room * sizeof(int32_t)
            )
        self._rings[slot].is_touched = 1
        self._touched[self._touched_count] = slot
        self._touched_count += 1
        return 0

    cdef int32_t _find(self, int32_t series_id) noexcept nogil:
        cdef Py_ssize_t at = _mixed(series_id) & (self._table_size - 1)
        cdef int32_t slot
        while True:
            slot = self._table[at]
            if slot < 0 or self._rings[slot].series_id == series_id:
                return slot
            at = (at + 1) & (self._table_size - 1)

    cdef void _place(self, int32_t slot) noexcept nogil:
        cdef Py_ssize_t at = _mixed(self._rings[slot].series_id) & (self._table_size - 1)
        while self._table[at] >= 0:
            at = (at + 1) & (self._table_size - 1)
        self._table[at] = slot

    cdef int _set_table(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t slot
        self._table = <int32_t *>enlarged(self._table, size * sizeof(int32_t))
        self._table_size = size
        memset(self._table, 0xFF, size * sizeof(int32_t))
        for slot in range(self._count):
            self._place(slot)
        return 0


cdef uint64_t _mixed(int32_t series_id) noexcept nogil:
    return (<uint64_t><uint32_t>series_id * 0x9E3779B97F4A7C15u) >> 20
