# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The windows of rules over the series of one organization."""

from wedsync_apm.rules.rings cimport Rings
from wedsync_apm.rules.signals cimport Found, Rule

from libc.stdint cimport int32_t, int64_t


cdef struct Member:
    int32_t slot, unit, next


cdef class Windows:
    cdef Rings rings
    cdef Member *members
    cdef Py_ssize_t _count, _room
    cdef double *_buffer
    cdef Py_ssize_t _buffer_room

    cdef int32_t add(self, slots, int32_t unit) except -1
    cdef bint reach(self, int32_t offset, int32_t count, int64_t after_ms) noexcept nogil
    cdef bint next_of(
        self, int32_t offset, int32_t count, Rule *rule, int64_t at_ms, int64_t grid_ms,
        int64_t *next_ms,
    ) noexcept nogil
    cdef void read(
        self, int32_t offset, int32_t members, int aggregation, Rule *rule, int64_t at_ms,
        Found *found,
    ) noexcept nogil
    cdef bint _has_samples_after(
        self, int32_t offset, int32_t members, int64_t after_ms, int64_t until_ms
    ) noexcept nogil
    cdef bint _has_room(self, Py_ssize_t count) noexcept nogil


cdef inline int64_t on_grid(int64_t at_ms, int64_t grid_ms) noexcept nogil:
    return (at_ms + grid_ms - 1) // grid_ms * grid_ms
