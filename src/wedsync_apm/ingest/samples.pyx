# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Works on columns of samples: whose they are, whether their series are known, and their blocks as
PostgreSQL's binary format has them.

What is in an index column comes from this process; each is looked at all the same, once.
"""

import sys

from wedsync_apm.ingest.plain_samples import Cut

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from *:
    uint32_t swapped32 "__builtin_bswap32"(uint32_t) nogil
    uint64_t swapped64 "__builtin_bswap64"(uint64_t) nogil

if sys.byteorder != "little":
    raise ImportError("numbers are turned round for the wire")

cdef int64_t HOUR_MS = 3_600_000
cdef int64_t POSTGRES_EPOCH_MS = 946_684_800_000
cdef int64_t MOST_HOURS = 1 << 31  # on either side of 1970
cdef uint64_t IN_HOUR = (1 << 22) - 1  # 22 bits: the milliseconds of an hour
cdef uint64_t EXPONENT = 0x7FF0000000000000
cdef uint32_t CALENDAR = 0xFFFFFFFF

cdef enum:
    INT4_OID = 23
    FLOAT8_OID = 701
    TIMESTAMPTZ_OID = 1184
    HEAD = 20  # bytes before the elements of an array
    MOST_KEPT_BYTES = 1 << 20


cdef struct Sample:
    uint64_t place  # organization and hour
    uint64_t within  # series and millisecond of the hour
    double value
    uint32_t context
    uint32_t source


def pack_items(items not None, uint32_t oid):
    """At least one, as an array of elements of that type; a text as UTF-8, None as null."""
    cdef list listed = list(items)
    cdef Py_ssize_t size = HEAD, length
    cdef uint32_t nulls = 0
    for item in listed:
        if _text_of(item, &length) == NULL:
            nulls = 1
        size += 4 + max(length, 0)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, size)
    cdef char *to = PyBytes_AS_STRING(made)
    to = _put_head(to, nulls, oid, len(listed))
    cdef const char *text
    cdef uint32_t number
    for item in listed:
        text = _text_of(item, &length)
        number = swapped32(<uint32_t>length)
        memcpy(to, &number, 4)
        to += 4
        if text != NULL:
            memcpy(to, text, length)
            to += length
    return made


cdef const char *_text_of(object item, Py_ssize_t *length) except? NULL:
    """The bytes of an item, which lives longer; NULL and -1 for None."""
    if item is None:
        length[0] = -1
        return NULL
    if isinstance(item, bytes):
        length[0] = PyBytes_GET_SIZE(item)
        return PyBytes_AS_STRING(item)
    return PyUnicode_AsUTF8AndSize(item, length)


cdef char *_put_head(char *to, uint32_t nulls, uint32_t oid, Py_ssize_t count) noexcept:
    cdef uint32_t[5] head
    # dimensions, has nulls, element type, length, lower bound
    head = [swapped32(1), swapped32(nulls), swapped32(oid), swapped32(count), swapped32(1)]
    memcpy(to, head, HEAD)
    return to + HEAD


def tally(const int64_t[:] series not None, const int64_t[::1] organization not None):
    """How many of the handles are of each organization."""
    cdef Py_ssize_t at = 0, count = len(series), known = len(organization), start
    cdef int64_t owner
    cdef dict counts = {}
    while at < count:
        start, owner = at, _at(organization, known, series[at])
        while at < count and _at(organization, known, series[at]) == owner:
            at += 1
        counts[owner] = counts.get(owner, 0) + at - start
    return counts


def are_known(
    const int64_t[:] series not None, const int32_t[::1] series_id not None,
    const double[::1] resolved_at not None, double older_than,
):
    """Whether all have an id that is not from before `older_than`."""
    cdef Py_ssize_t at, known = len(series_id)
    cdef int64_t handle
    if len(resolved_at) < known:
        raise IndexError("columns of one directory are equally long")
    for at in range(len(series)):
        handle = series[at]
        if handle < 0 or handle >= known:
            raise IndexError("a handle that the directory does not have")
        if series_id[handle] <= 0 or resolved_at[handle] < older_than:
            return False
    return True


cdef inline int64_t _at(const int64_t[::1] column, Py_ssize_t known, int64_t place) except -1:
    if place < 0 or place >= known:
        raise IndexError("a handle that the directory does not have")
    return column[place]


# The room of the last flush, for the next one: pages that come and go cost more than the sorting.
cdef void *_kept = NULL
cdef size_t _kept_size = 0


cdef class Flush:
    """The samples of batches of one directory, without those that have no series."""

    cdef void *_room
    cdef size_t _room_size
    cdef Sample *_samples
    cdef Sample *_spare
    cdef Py_ssize_t *_runs
    cdef Py_ssize_t _count
    cdef readonly list stored
    cdef readonly list organizations
    cdef readonly int64_t earliest_ms, latest_ms
    cdef readonly Py_ssize_t not_finite

    def __init__(self, columns, const int32_t[::1] series_id, const int64_t[::1] organization):
        cdef Py_ssize_t room = 0, before, at
        cdef uint64_t owner, last = 0
        if self._samples != NULL:
            raise RuntimeError("a flush is made once")
        for column in columns:
            room += len(column[0])
        self._take_room(room)
        self.earliest_ms, self.latest_ms = INT64_MAX, INT64_MIN
        self.stored, owners = [], set()
        for series, timestamps_ms, values, contexts, source in columns:
            before = self._count
            self._add(series, timestamps_ms, values, contexts, source, series_id, organization)
            self.stored.append(self._count - before)
        for at in range(self._count):
            owner = self._samples[at].place >> 32
            if at == 0 or owner != last:
                owners.add(owner)
                last = owner
        self.organizations = sorted(owners)

    def __dealloc__(self):
        self._give_room()

    cdef int _take_room(self, size_t samples) except -1:
        """For so many samples twice, and the ends of their runs."""
        global _kept, _kept_size
        cdef size_t needed = 2 * samples * sizeof(Sample) + (samples + 1) * sizeof(Py_ssize_t)
        if _kept != NULL and needed <= _kept_size:
            self._room, self._room_size = _kept, _kept_size
            _kept, _kept_size = NULL, 0
        else:
            self._room, self._room_size = malloc(needed), needed
            if self._room == NULL:
                raise MemoryError
        self._samples = <Sample *>self._room
        self._spare = self._samples + samples
        self._runs = <Py_ssize_t *>(self._spare + samples)
        return 0

    cdef void _give_room(self) noexcept:
        """To the next flush, unless it has a larger one or this one is too large to be kept."""
        global _kept, _kept_size
        if _kept_size < self._room_size <= MOST_KEPT_BYTES:
            free(_kept)
            _kept, _kept_size = self._room, self._room_size
        else:
            free(self._room)
        self._room, self._room_size, self._count = NULL, 0, 0

    cdef int _add(
        self, const int64_t[:] series, const int64_t[:] timestamps_ms,
        const double[:] values, const int64_t[:] contexts, uint32_t source,
        const int32_t[::1] series_id, const int64_t[::1] organization,
    ) except -1:
        cdef Py_ssize_t at, count = len(series), known = min(len(series_id), len(organization))
        cdef int64_t handle, time, hour
        cdef uint64_t bits
        cdef Sample *sample
        if len(timestamps_ms) != count or len(values) != count:
            raise ValueError("columns of one batch are equally long")
        if contexts is not None and len(contexts) != count:
            raise ValueError("columns of one batch are equally long")
        for at in range(count):
            handle = series[at]
            if handle < 0 or handle >= known:
                raise IndexError("a handle that the directory does not have")
            if series_id[handle] <= 0:
                continue
            time = timestamps_ms[at]
            hour = time // HOUR_MS - (time % HOUR_MS < 0)
            if hour < -MOST_HOURS or hour >= MOST_HOURS:
                raise OverflowError("a time beyond reason")
            sample = &self._samples[self._count]
            sample.place = <uint64_t>organization[handle] << 32 | <uint64_t>(hour + MOST_HOURS)
            sample.within = <uint64_t>series_id[handle] << 22 | <uint64_t>(time - hour * HOUR_MS)
            sample.value = values[at]
            sample.context = CALENDAR if contexts is None else <uint32_t>contexts[at]
            sample.source = source
            memcpy(&bits, &sample.value, sizeof(bits))
            self.not_finite += bits & EXPONENT == EXPONENT
            self.earliest_ms = min(self.earliest_ms, time)
            self.latest_ms = max(self.latest_ms, time)
            self._count += 1
        return 0

    def cut(self, dict spans not None, int otherwise):
        """The blocks. `spans` gives, for organizations with weddings, from and until when
        (milliseconds) samples that have no context of their own get which; the first that fits
        counts, and `otherwise` where none does. To be called once."""
        cdef Py_ssize_t count
        with nogil:
            self._sort(0, self._count, False)
            self._drop_superseded()
        self._ask_calendar(spans, otherwise)
        with nogil:
            self._part_contexts()
        packed = self._packed()
        self._give_room()
        return packed

    cdef void _drop_superseded(self) noexcept nogil:
        cdef Py_ssize_t at, kept = 0
        cdef Sample *samples = self._samples
        for at in range(1, self._count):
            if (
                samples[at].place != samples[kept].place
                or samples[at].within != samples[kept].within
            ):
                kept += 1
            if kept != at:
                samples[kept] = samples[at]
        self._count = min(self._count, kept + 1)

    cdef int _ask_calendar(self, dict spans, uint32_t otherwise) except -1:
        cdef Py_ssize_t at, start = 0, stop
        cdef uint64_t owner
        cdef Sample *sample
        cdef int64_t time, earliest, behind
        while start < self._count:
            owner, stop = self._samples[start].place >> 32, start + 1
            while stop < self._count and self._samples[stop].place >> 32 == owner:
                stop += 1
            marked = [*spans.get(owner, ()), (INT64_MIN, INT64_MAX, otherwise)]
            for earliest, behind, code in marked:
                for at in range(start, stop):
                    sample = &self._samples[at]
                    if sample.context != CALENDAR:
                        continue
                    time = _time_of(sample)
                    if earliest <= time < behind:
                        sample.context = code
            start = stop
        return 0

    cdef void _part_contexts(self) noexcept nogil:
        """Sorts the samples of an organization's hour by what a block has one of."""
        cdef Py_ssize_t start = 0, stop
        cdef bint is_mixed
        cdef Sample *first
        while start < self._count:
            first, stop, is_mixed = &self._samples[start], start + 1, False
            while stop < self._count and self._samples[stop].place == first.place:
                is_mixed |= not _is_alike(first, &self._samples[stop])
                stop += 1
            if is_mixed:
                self._sort(start, stop, True)
            start = stop

    cdef object _packed(self):
        cdef Py_ssize_t at, start = 0, blocks = 0, nth = 0
        cdef Sample *samples = self._samples
        cdef Sample *first
        cdef int64_t first_ms, last_ms, time
        cdef list owners = []
        for at in range(self._count):
            blocks += at == 0 or not _is_one_block(&samples[at - 1], &samples[at])
        cdef bytes earliest = _array(blocks, 8, TIMESTAMPTZ_OID)
        cdef bytes latest = _array(blocks, 8, TIMESTAMPTZ_OID)
        cdef bytes start_ats = _array(blocks, 4, INT4_OID)
        cdef bytes stop_ats = _array(blocks, 4, INT4_OID)
        cdef bytes context_ats = _array(blocks, 4, INT4_OID)
        cdef bytes source_ats = _array(blocks, 4, INT4_OID)
        cdef bytes series_ids = _array(self._count, 4, INT4_OID)
        cdef bytes offsets_ms = _array(self._count, 4, INT4_OID)
        cdef bytes values = _array(self._count, 8, FLOAT8_OID)
        cdef uint64_t bits
        while start < self._count:
            first, at = &samples[start], start
            first_ms, last_ms = INT64_MAX, INT64_MIN
            while at < self._count and _is_one_block(first, &samples[at]):
                time = _time_of(&samples[at])
                first_ms, last_ms = min(first_ms, time), max(last_ms, time)
                at += 1
            owners.append(first.place >> 32)
            _put64(earliest, nth, (first_ms - POSTGRES_EPOCH_MS) * 1000)
            _put64(latest, nth, (last_ms - POSTGRES_EPOCH_MS) * 1000)
            _put32(start_ats, nth, start + 1)
            _put32(stop_ats, nth, at)
            _put32(context_ats, nth, first.context + 1)
            _put32(source_ats, nth, first.source + 1)
            nth += 1
            while start < at:
                _put32(series_ids, start, samples[start].within >> 22)
                _put32(offsets_ms, start, _time_of(&samples[start]) - first_ms)
                memcpy(&bits, &samples[start].value, sizeof(bits))
                _put64(values, start, bits)
                start += 1
        return Cut(
            owners, earliest, latest, series_ids, offsets_ms, values, start_ats, stop_ats,
            context_ats, source_ats,
        )

    cdef void _sort(self, Py_ssize_t start, Py_ssize_t stop, bint by_context) noexcept nogil:
        """Puts samples in order, and leaves those that are alike in theirs.

        By merging what is in order already: a sender's samples come so, mostly.
        """
        cdef Py_ssize_t *ends = self._runs
        cdef Py_ssize_t runs = 0, at, nth, left
        cdef Sample *samples = self._samples
        cdef Sample *merged = self._spare
        for at in range(start + 1, stop + 1):
            if at == stop or _is_before(&samples[at], &samples[at - 1], by_context):
                ends[runs] = at
                runs += 1
        while runs > 1:
            left, nth = start, 0
            while nth + 1 < runs:
                _merge(samples, merged, left, ends[nth], ends[nth + 1], by_context)
                left = ends[nth + 1]
                ends[nth // 2] = left
                nth += 2
            if nth < runs:
                memcpy(merged + left, samples + left, (stop - left) * sizeof(Sample))
                ends[nth // 2] = stop
            runs = (runs + 1) // 2
            samples, merged = merged, samples
        if samples != self._samples:
            memcpy(self._samples + start, samples + start, (stop - start) * sizeof(Sample))


cdef inline bint _is_before(const Sample *one, const Sample *other, bint by_context) noexcept nogil:
    if by_context:
        if one.context != other.context:
            return one.context < other.context
        return one.source < other.source
    if one.place != other.place:
        return one.place < other.place
    return one.within < other.within


cdef void _merge(
    const Sample *samples, Sample *merged, Py_ssize_t left, Py_ssize_t middle, Py_ssize_t stop,
    bint by_context,
) noexcept nogil:
    cdef Py_ssize_t right = middle, at
    for at in range(left, stop):
        if right == stop or (
            left < middle and not _is_before(&samples[right], &samples[left], by_context)
        ):
            merged[at] = samples[left]
            left += 1
        else:
            merged[at] = samples[right]
            right += 1


cdef inline bint _is_alike(const Sample *one, const Sample *other) noexcept nogil:
    return one.context == other.context and one.source == other.source


cdef inline bint _is_one_block(const Sample *one, const Sample *other) noexcept nogil:
    return one.place == other.place and _is_alike(one, other)


cdef inline int64_t _time_of(const Sample *sample) noexcept nogil:
    cdef int64_t hour = <int64_t><uint32_t>sample.place - MOST_HOURS
    return hour * HOUR_MS + <int64_t>(sample.within & IN_HOUR)


cdef bytes _array(Py_ssize_t count, uint32_t size, uint32_t oid):
    """Room for an array of at least one element, behind its head."""
    cdef Py_ssize_t at
    cdef bytes made = PyBytes_FromStringAndSize(NULL, HEAD + count * (4 + size))
    cdef char *to = _put_head(PyBytes_AS_STRING(made), 0, oid, count)
    size = swapped32(size)
    for at in range(count):
        memcpy(to, &size, 4)
        to += 4 + swapped32(size)
    return made


cdef inline void _put32(bytes array, Py_ssize_t place, uint32_t number) noexcept:
    number = swapped32(number)
    memcpy(PyBytes_AS_STRING(array) + HEAD + 8 * place + 4, &number, 4)


cdef inline void _put64(bytes array, Py_ssize_t place, uint64_t number) noexcept:
    number = swapped64(number)
    memcpy(PyBytes_AS_STRING(array) + HEAD + 12 * place + 4, &number, 8)
