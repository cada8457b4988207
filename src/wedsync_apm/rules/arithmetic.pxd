# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What numbers come to, to the last bit as `aggregate` has it.

Sums are exact and rounded once, like `math.fsum`: in two doubles while these can hold them, which
is checked at each step, else by Shewchuk's growing expansions ("Adaptive Precision Floating-Point
Arithmetic and Fast Robust Geometric Predicates", 1997).
"""

from libc.math cimport INFINITY, fabs, floor, isfinite, sqrt
from libc.string cimport memcpy

# As in plain_rings.py.
cdef enum:
    AVG, MIN, MAX, SUM, COUNT, LAST, RATE, INCREASE, P50, P90, P95, P99, STDDEV


cdef inline bint grows(int aggregation) noexcept nogil:
    return aggregation == RATE or aggregation == INCREASE


cdef inline double reduce(int aggregation, double *values, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t at
    cdef double found = values[0], apart
    if aggregation == AVG:
        return total(values, count) / count
    if aggregation == SUM:
        return total(values, count)
    if aggregation == COUNT:
        return <double>count
    if aggregation == MIN:
        for at in range(1, count):
            if values[at] < found:
                found = values[at]
        return found
    if aggregation == MAX:
        for at in range(1, count):
            if values[at] > found:
                found = values[at]
        return found
    if aggregation == STDDEV:
        found = total(values, count) / count
        if not isfinite(found):
            return found
        for at in range(count):
            apart = values[at] - found
            values[at] = apart * apart
        return sqrt(total(values, count) / count)
    if aggregation == P50:
        return quantile(values, count, 0.50)
    if aggregation == P90:
        return quantile(values, count, 0.90)
    if aggregation == P95:
        return quantile(values, count, 0.95)
    return quantile(values, count, 0.99)


cdef inline double quantile(double *values, Py_ssize_t count, double share) noexcept nogil:
    cdef double position = share * (count - 1), low, high, found
    cdef Py_ssize_t below = <Py_ssize_t>floor(position)
    sort(values, count)
    low, high = values[below], values[min(below + 1, count - 1)]
    found = low + (high - low) * (position - below)
    if low > found:
        found = low
    return high if high < found else found


cdef inline void sort(double *values, Py_ssize_t count) noexcept nogil:
    """Stable, as Python's: 0.0 and -0.0 are equal and not the same. There is as much room behind
    the values."""
    cdef Py_ssize_t width = 16, start, middle, end, at, left, right
    cdef double value
    cdef double *spare = values + count
    start = 0
    while start < count:
        end = min(start + width, count)
        for at in range(start + 1, end):
            value = values[at]
            left = at
            while left > start and value < values[left - 1]:
                values[left] = values[left - 1]
                left -= 1
            values[left] = value
        start = end
    while width < count:
        start = 0
        while start + width < count:
            middle, end = start + width, min(start + 2 * width, count)
            memcpy(spare, values + start, width * sizeof(double))
            left, right, at = 0, middle, start
            while left < width and right < end:
                if values[right] < spare[left]:
                    values[at] = values[right]
                    right += 1
                else:
                    values[at] = spare[left]
                    left += 1
                at += 1
            while left < width:
                values[at] = spare[left]
                left += 1
                at += 1
            start += 2 * width
        width *= 2


cdef inline double total(const double *values, Py_ssize_t count) noexcept nogil:
    """The sum, exact and rounded once; infinity where it, or a part of it, is too large."""
    cdef double high = 0, low = 0, value, summed, rest, error
    cdef Py_ssize_t at
    for at in range(count):
        value = values[at]
        summed = high + value
        rest = summed - high
        error = (high - (summed - rest)) + (value - rest)
        high = summed
        summed = low + error
        rest = summed - low
        if (low - (summed - rest)) + (error - rest) != 0:
            return expanded(values, count)
        low = summed
    if not isfinite(high):
        return expanded(values, count)
    return high + low


cdef inline double expanded(const double *values, Py_ssize_t count) noexcept nogil:
    # Not overlapping doubles cover 2,098 bits, 53 of them each.
    cdef double parts[48]
    cdef double value, other, high = 0, low = 0, rest
    cdef Py_ssize_t at, part, kept, held = 0
    for at in range(count):
        value = values[at]
        kept = 0
        for part in range(held):
            other = parts[part]
            if fabs(value) < fabs(other):
                value, other = other, value
            high = value + other
            rest = high - value
            low = other - rest
            if low != 0:
                parts[kept] = low
                kept += 1
            value = high
        if not isfinite(value):
            return INFINITY
        held = kept
        if value != 0:
            parts[held] = value
            held += 1
    if held == 0:
        return 0.0
    high = parts[held - 1]
    held -= 1
    low = 0
    while held > 0:
        value = high
        held -= 1
        other = parts[held]
        high = value + other
        rest = high - value
        low = other - rest
        if low != 0:
            break
    # Half to even across several parts: where the rest lies on the same side it is more than half.
    if held > 0 and ((low < 0 and parts[held - 1] < 0) or (low > 0 and parts[held - 1] > 0)):
        other = low * 2
        value = high + other
        rest = value - high
        if other == rest:
            high = value
    return high
