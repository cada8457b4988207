# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The newest samples of the series of one organization."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport realloc

cdef enum:
    NONE = -1


cdef struct Ring:
    int64_t *keys  # milliseconds, and in the lowest bit whether its context declares a wedding
    double *values
    int64_t complete_after  # every sample after it is here
    int64_t keep_ms
    int64_t ended_ms
    int32_t series_id
    int32_t first_unit  # in the list of those that look at it
    uint32_t capacity, start, count
    uint32_t is_touched


cdef class Rings:
    cdef Ring *_rings
    cdef Py_ssize_t _count, _room
    cdef int32_t *_table  # open addressing: slots by series id
    cdef Py_ssize_t _table_size
    cdef int32_t *_touched
    cdef Py_ssize_t _touched_count, _touched_room

    cdef int _insert(self, Ring *ring, int64_t at_ms, bint declared, double value) except -1
    cdef int _make_room(self, Ring *ring, int64_t newest_ms) except -1
    cdef int _touch(self, int32_t slot) except -1
    cdef int32_t _find(self, int32_t series_id) noexcept nogil
    cdef void _place(self, int32_t slot) noexcept nogil
    cdef int _set_table(self, Py_ssize_t size) except -1


cdef inline uint32_t first_after(Ring *ring, int64_t at_ms) noexcept nogil:
    """The first place whose sample is later; the count where there is none."""
    cdef uint32_t low = 0, high = ring.count, middle, mask = ring.capacity - 1
    cdef int64_t wanted = at_ms << 1 | 1
    if high == 0 or ring.keys[(ring.start + high - 1) & mask] <= wanted:
        return high
    if ring.keys[ring.start] > wanted:
        return 0
    while low < high:
        middle = (low + high) >> 1
        if ring.keys[(ring.start + middle) & mask] > wanted:
            high = middle
        else:
            low = middle + 1
    return low


cdef inline void *enlarged(void *held, Py_ssize_t size) except NULL:
    cdef void *larger = realloc(held, size)
    if larger == NULL:
        raise MemoryError
    return larger
