# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What an instant says of a rule, as `verdict` has it."""

from libc.stdint cimport int32_t, int64_t

# As in plain_rings.py.
cdef enum:
    ABOVE, AT_LEAST, BELOW, AT_MOST
cdef enum:
    KEEP, ALERT, FINE
cdef enum:
    UNSEEN, OK, PENDING, FIRING, NO_DATA, OTHER
cdef enum:
    READING, ABSENT, STALE, NOT_APPLICABLE, INCOMPLETE
cdef enum:
    BAD, NOT_CLEAR, GOOD, SILENT, UNKNOWN


cdef struct Rule:
    int64_t width_ms
    double width_seconds
    int32_t above, below, operator, absent, stale
    bint is_ratio


cdef struct Limit:
    double value, clear


cdef struct Limits:
    Limit plain, declared
    int64_t from_ms, until_ms


cdef struct Found:
    double value
    int64_t used
    int kind
    bint declared


cdef inline void set_gap(Found *found, int kind) noexcept nogil:
    found.kind, found.value, found.used, found.declared = kind, 0.0, 0, False


cdef inline int signal_of(Rule *rule, int state, Found *found, Limit *limit) noexcept nogil:
    """What an instant says; as `verdict` has it."""
    cdef double value = found.value
    cdef bint is_bad, is_clear
    cdef int policy
    if found.kind == READING:
        if rule.operator == ABOVE:
            is_bad = value > limit.value
        elif rule.operator == AT_LEAST:
            is_bad = value >= limit.value
        elif rule.operator == BELOW:
            is_bad = value < limit.value
        else:
            is_bad = value <= limit.value
        if is_bad:
            return BAD
        if state == FIRING and limit.clear != limit.value:
            if rule.operator == ABOVE or rule.operator == AT_LEAST:
                is_clear = value <= limit.clear
            else:
                is_clear = value >= limit.clear
            return GOOD if is_clear else NOT_CLEAR
        return GOOD
    if found.kind == NOT_APPLICABLE:
        return GOOD
    policy = rule.stale if found.kind == STALE else rule.absent
    if policy == FINE:
        return GOOD
    return SILENT if policy == ALERT else UNKNOWN
