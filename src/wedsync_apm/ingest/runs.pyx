# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Reads WriteRequests of remote write 1.0, knowing series again by the bytes of their labels.

Every read is checked against the end of what it lies in: the bytes come from strangers.
"""

import os
import sys

import numpy as np

from wedsync_apm.ingest.columns import DEFAULT_SERVICE
from wedsync_apm.ingest.labels import METRIC as _METRIC, ORGANIZATION as _ORGANIZATION, PLAIN as _PLAIN
from wedsync_apm.ingest.labels import Named
from wedsync_apm.ingest.plain_runs import Scan, UnknownSeries

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from cpython.unicode cimport PyUnicode_Compare
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

# Keys of the protobuf wire format: field number and wire type.
cdef enum:
    TIMESERIES = 0x0A  # in a WriteRequest
    LABEL = 0x0A  # in a TimeSeries
    SAMPLE = 0x12
    HISTOGRAM = 0x22
    VALUE = 0x09  # in a Sample
    TIME = 0x10

cdef enum:
    MOST_LABELS = 80  # of a series that is taken apart here

cdef int METRIC = _METRIC, ORGANIZATION = _ORGANIZATION, PLAIN = _PLAIN

if sys.byteorder != "little":
    raise ImportError("numbers are read as they stand on the wire")

cdef uint64_t STALE_MARKER = 0x7FF0000000000002
cdef uint64_t FACTOR = 0x9E3779B97F4A7C15  # 2^64 by the golden ratio


cdef struct Run:
    Py_ssize_t start  # in the bytes of all runs
    Py_ssize_t length
    uint64_t hash
    int64_t handle
    Py_ssize_t next  # the run that came after this one when it was last seen


cdef struct Unknown:
    Py_ssize_t index  # of the series in the request
    Py_ssize_t start  # of its message in the body
    Py_ssize_t labels_stop  # the message's start, where it holds more than labels and samples
    Py_ssize_t stop
    Py_ssize_t first  # sample
    Py_ssize_t after  # its last sample


def known_series(bytes run not None, dict known not None, bint is_platform):
    """What the labels of a run say; None if `known` lacks one, and if one name is there twice."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(run)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(run)
    cdef uint64_t length
    cdef PyObject *labels[MOST_LABELS]  # which `known` keeps
    cdef PyObject *found
    cdef int count = 0, place, order
    while at < end:
        if at[0] != LABEL or count == MOST_LABELS:
            return None
        at = _varint(at + 1, end, &length)
        if at == NULL or length > <uint64_t>(end - at):
            return None
        found = PyDict_GetItem(known, PyBytes_FromStringAndSize(<const char *>at, length))
        if found == NULL:
            return None
        at += length
        place = count
        while place:  # mostly they come in order
            order = PyUnicode_Compare(_part(labels[place - 1], 0), _part(found, 0))
            if order == 0:
                return None
            if order < 0:
                break
            labels[place] = labels[place - 1]
            place -= 1
        labels[place] = found
        count += 1
    return _named(labels, count, is_platform)


cdef inline object _part(PyObject *label, Py_ssize_t part):
    """The name (0) or the value (1) of a label."""
    return <object>PyTuple_GET_ITEM(<object>PyTuple_GET_ITEM(<object>label, 0), part)


cdef object _named(PyObject **labels, int count, bint is_platform):
    cdef object organization = None, service_name = DEFAULT_SERVICE, metric_name = ""
    cdef list tags = []
    cdef int place, role, rank = PLAIN
    for place in range(count):
        role = <object>PyTuple_GET_ITEM(<object>labels[place], 1)
        if role == METRIC:
            metric_name = _part(labels[place], 1)
        elif role == ORGANIZATION and is_platform:
            organization = _part(labels[place], 1)
        elif len(<str>_part(labels[place], 1)):
            tags.append(<object>PyTuple_GET_ITEM(<object>labels[place], 0))
            if 0 <= role < rank:
                service_name, rank = _part(labels[place], 1), role
    return tuple.__new__(Named, (organization, service_name, metric_name, tuple(tags)))


def joined_members(tuple tags not None, dict known not None, make not None):
    """The texts of tags, between commas, in the order of their keys. `known` has key and text of
    each, as bytes; what it lacks is put in as `make` gives it. None for more than 80."""
    cdef PyObject *members[MOST_LABELS]  # which `known` keeps
    cdef PyObject *found
    cdef Py_ssize_t count = 0, place, size = 0
    cdef bytes joined
    cdef char *to
    if len(tags) > MOST_LABELS:
        return None
    for tag in tags:
        found = PyDict_GetItem(known, tag)
        if found == NULL:
            known[tag] = make(tag)
            found = PyDict_GetItem(known, tag)
        size += PyBytes_GET_SIZE(_of(found, 1)) + 2
        place = count
        while place and _of(found, 0) < _of(members[place - 1], 0):
            members[place] = members[place - 1]
            place -= 1
        members[place] = found
        count += 1
    joined = PyBytes_FromStringAndSize(NULL, size - 2 if count else 0)
    to = PyBytes_AS_STRING(joined)
    for place in range(count):
        if place:
            memcpy(to, b", ", 2)
            to += 2
        size = PyBytes_GET_SIZE(_of(members[place], 1))
        memcpy(to, PyBytes_AS_STRING(_of(members[place], 1)), size)
        to += size
    return joined


cdef inline bytes _of(PyObject *member, Py_ssize_t part):
    return <bytes?>PyTuple_GET_ITEM(<object>member, part)


cdef class Runs:
    """The runs of one tenant: the bytes of a series' labels, and what they stand for."""

    cdef uint8_t *_bytes
    cdef Py_ssize_t _used, _bytes_room
    cdef Run *_runs
    cdef Py_ssize_t _count, _runs_room
    cdef Py_ssize_t *_slots
    cdef Py_ssize_t _slots_count
    cdef Py_ssize_t _last
    cdef uint64_t _seed
    # What a scan finds; kept, so that each scan does not ask for memory anew.
    cdef int64_t *_handles
    cdef int64_t *_times
    cdef double *_values
    cdef Py_ssize_t _samples_room
    cdef Unknown *_unknown
    cdef Py_ssize_t _unknown_count, _unknown_room
    cdef int64_t _earliest, _latest

    def __cinit__(self):
        # Which runs meet in one slot is nobody's business.
        self._seed = int.from_bytes(os.urandom(8), "little")
        self._grow_runs()
        # Number 0 is no run: it stands before the first one.
        memset(self._runs, 0, sizeof(Run))
        self._runs[0].handle = -1
        self._count = 1
        self._set_slots(1024)

    def __dealloc__(self):
        free(self._bytes)
        free(self._runs)
        free(self._slots)
        free(self._handles)
        free(self._times)
        free(self._values)
        free(self._unknown)

    def remember(self, bytes run not None, int64_t handle):
        """Remembers what a run, which is not empty, stands for; gives back how many bytes more
        are remembered now."""
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(run)
        cdef Py_ssize_t length = PyBytes_GET_SIZE(run), number
        cdef uint64_t hashed
        if length == 0:
            raise ValueError("a run has bytes")
        hashed = self._hash(data, length)
        number = self._find(data, length, hashed)
        if number:
            self._runs[number].handle = handle
            return 0
        if self._count == self._runs_room:
            self._grow_runs()
        if 2 * self._count >= self._slots_count:
            self._set_slots(2 * self._slots_count)
        if self._used + length > self._bytes_room:
            self._grow_bytes(length)
        memcpy(self._bytes + self._used, data, length)
        number = self._count
        self._runs[number] = Run(self._used, length, hashed, handle, 0)
        self._used += length
        self._count += 1
        self._place(number)
        return length + <Py_ssize_t>sizeof(Run) + 2 * <Py_ssize_t>sizeof(Py_ssize_t)

    def scan(self, const uint8_t[::1] body not None, Py_ssize_t most):
        """What is in a body; of more than `most` series or samples the counts alone are right.

        Raises ValueError for what is no WriteRequest.
        """
        cdef Py_ssize_t size = len(body)
        cdef const uint8_t *start = &body[0] if size else NULL
        cdef Py_ssize_t series = 0, samples = 0, stale = 0, kept
        self._earliest, self._latest = INT64_MAX, INT64_MIN
        if self._scan(start, size, most, &series, &samples, &stale) < 0:
            raise ValueError("not a WriteRequest")
        kept = min(samples, most)
        handles, times, values = np.empty(kept, np.int64), np.empty(kept, np.int64), np.empty(kept)
        cdef int64_t[::1] to_handles = handles, to_times = times
        cdef double[::1] to_values = values
        if kept:
            memcpy(&to_handles[0], self._handles, kept * sizeof(int64_t))
            memcpy(&to_times[0], self._times, kept * sizeof(int64_t))
            memcpy(&to_values[0], self._values, kept * sizeof(double))
        return Scan(
            series,
            samples,
            handles,
            times,
            values,
            self._listed(kept),
            stale,
            self._earliest,
            self._latest,
        )

    cdef list _listed(self, Py_ssize_t samples):
        cdef list listed = []
        cdef Py_ssize_t at
        cdef Unknown one
        for at in range(self._unknown_count):
            one = self._unknown[at]
            # as UnknownSeries(...) gives it, at a third of the cost
            found = (
                one.index, one.start, one.labels_stop, one.stop, one.first, min(one.after, samples)
            )
            listed.append(tuple.__new__(UnknownSeries, found))
        return listed

    cdef int _scan(
        self, const uint8_t *body, Py_ssize_t size, Py_ssize_t most,
        Py_ssize_t *series, Py_ssize_t *samples, Py_ssize_t *stale,
    ) except? -2:
        """The whole body; -1 for what is no WriteRequest."""
        cdef const uint8_t *at = body
        cdef const uint8_t *end = body + size
        cdef uint64_t key, length
        self._unknown_count = 0
        while at < end:
            at = _varint(at, end, &key)
            if at == NULL:
                return -1
            if key != TIMESERIES:
                at = _skip(key, at, end)
                if at == NULL:
                    return -1
                continue
            at = _varint(at, end, &length)
            if at == NULL or length > <uint64_t>(end - at):
                return -1
            if self._scan_series(body, at, at + length, most, series[0], samples, stale) < 0:
                return -1
            at += length
            series[0] += 1
        return 0

    cdef int _scan_series(
        self, const uint8_t *body, const uint8_t *start, const uint8_t *end, Py_ssize_t most,
        Py_ssize_t index, Py_ssize_t *samples, Py_ssize_t *stale,
    ) except? -2:
        cdef Py_ssize_t number = self._runs[self._last].next, first = samples[0], place
        cdef Run *run = &self._runs[number]
        cdef const uint8_t *at = start
        cdef const uint8_t *samples_start
        cdef bint is_plain = True
        cdef uint64_t key, length, bits
        cdef int64_t handle, time
        cdef double value
        if (
            number == 0
            or run.length > end - start
            or memcmp(start, self._bytes + run.start, run.length)
            or (run.length < end - start and start[run.length] == LABEL)
        ):
            while at < end and at[0] == LABEL:
                at = _varint(at + 1, end, &length)
                if at == NULL or length > <uint64_t>(end - at):
                    return -1
                at += length
            number = 0
            if at > start:
                number = self._find(start, at - start, self._hash(start, at - start))
            self._runs[self._last].next = number
        else:
            at = start + run.length
        self._last = number
        samples_start = at
        handle = self._runs[number].handle
        while at < end:
            at = _varint(at, end, &key)
            if at == NULL:
                return -1
            if key == SAMPLE:
                at = _varint(at, end, &length)
                if at == NULL or length > <uint64_t>(end - at):
                    return -1
                if _read_sample(at, at + length, &value, &time) < 0:
                    return -1
                at += length
                place = samples[0]
                samples[0] += 1
                if place >= most:
                    continue
                if place >= self._samples_room:
                    self._grow_samples()
                self._handles[place], self._times[place], self._values[place] = handle, time, value
                self._earliest, self._latest = min(self._earliest, time), max(self._latest, time)
                memcpy(&bits, &value, sizeof(bits))
                stale[0] += bits == STALE_MARKER
                continue
            if key == LABEL or key == HISTOGRAM:
                is_plain = False
            at = _skip(key, at, end)
            if at == NULL:
                return -1
        if (number == 0 or not is_plain) and index < most and first <= most:
            if number:
                for place in range(first, min(samples[0], most)):
                    self._handles[place] = -1
            if self._unknown_count == self._unknown_room:
                self._grow_unknown()
            self._unknown[self._unknown_count] = Unknown(
                index,
                start - body,
                (samples_start if is_plain else start) - body,
                end - body,
                first,
                samples[0],
            )
            self._unknown_count += 1
        return 0

    cdef uint64_t _hash(self, const uint8_t *data, Py_ssize_t length) noexcept nogil:
        cdef uint64_t hashed = self._seed ^ <uint64_t>length, word
        cdef Py_ssize_t at = 0
        while at < length:
            word = 0
            memcpy(&word, data + at, min(length - at, 8))
            hashed = (hashed ^ word) * FACTOR
            hashed ^= hashed >> 32
            at += 8
        return hashed

    cdef Py_ssize_t _find(
        self, const uint8_t *data, Py_ssize_t length, uint64_t hashed
    ) noexcept nogil:
        """The number of a run, 0 for one that was not met."""
        cdef Py_ssize_t slot = hashed & (self._slots_count - 1), number
        cdef Run *run
        while True:
            number = self._slots[slot]
            if number == 0:
                return 0
            run = &self._runs[number]
            if (
                run.hash == hashed
                and run.length == length
                and not memcmp(self._bytes + run.start, data, length)
            ):
                return number
            slot = (slot + 1) & (self._slots_count - 1)

    cdef void _place(self, Py_ssize_t number) noexcept nogil:
        cdef Py_ssize_t slot = self._runs[number].hash & (self._slots_count - 1)
        while self._slots[slot]:
            slot = (slot + 1) & (self._slots_count - 1)
        self._slots[slot] = number

    cdef int _set_slots(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t number
        cdef Py_ssize_t *slots = <Py_ssize_t *>malloc(count * sizeof(Py_ssize_t))
        if slots == NULL:
            raise MemoryError
        memset(slots, 0, count * sizeof(Py_ssize_t))
        free(self._slots)
        self._slots, self._slots_count = slots, count
        for number in range(1, self._count):
            self._place(number)
        return 0

    cdef int _grow_runs(self) except -1:
        cdef Py_ssize_t room = max(2 * self._runs_room, 64)
        self._runs = <Run *>_enlarged(self._runs, room * sizeof(Run))
        self._runs_room = room
        return 0

    cdef int _grow_bytes(self, Py_ssize_t needed) except -1:
        cdef Py_ssize_t room = max(self._bytes_room + self._bytes_room // 2, 16384)
        room = max(room, self._used + needed)
        self._bytes = <uint8_t *>_enlarged(self._bytes, room)
        self._bytes_room = room
        return 0

    cdef int _grow_samples(self) except -1:
        cdef Py_ssize_t room = max(2 * self._samples_room, 1024)
        self._handles = <int64_t *>_enlarged(self._handles, room * sizeof(int64_t))
        self._times = <int64_t *>_enlarged(self._times, room * sizeof(int64_t))
        self._values = <double *>_enlarged(self._values, room * sizeof(double))
        self._samples_room = room
        return 0

    cdef int _grow_unknown(self) except -1:
        cdef Py_ssize_t room = max(2 * self._unknown_room, 64)
        self._unknown = <Unknown *>_enlarged(self._unknown, room * sizeof(Unknown))
        self._unknown_room = room
        return 0


cdef void *_enlarged(void *held, Py_ssize_t size) except NULL:
    cdef void *larger = realloc(held, size)
    if larger == NULL:
        raise MemoryError
    return larger


cdef const uint8_t *_varint(
    const uint8_t *at, const uint8_t *end, uint64_t *number
) noexcept nogil:
    """Reads a number; where it ends, or NULL for none of at most ten bytes."""
    cdef uint64_t found = 0
    cdef int shift = 0
    while at < end and shift < 70:
        found |= <uint64_t>(at[0] & 0x7F) << shift if shift < 64 else 0
        if at[0] < 0x80:
            number[0] = found
            return at + 1
        at += 1
        shift += 7
    return NULL


cdef const uint8_t *_skip(uint64_t key, const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Where a field ends that is not for us, or NULL for what no protobuf of today has."""
    cdef uint64_t length
    if key >> 3 == 0 or key >> 32:
        return NULL
    if key & 7 == 0:
        return _varint(at, end, &length)
    if key & 7 == 1:
        length = 8
    elif key & 7 == 5:
        length = 4
    elif key & 7 == 2:
        at = _varint(at, end, &length)
        if at == NULL:
            return NULL
    else:
        return NULL
    return at + length if length <= <uint64_t>(end - at) else NULL


cdef int _read_sample(
    const uint8_t *at, const uint8_t *end, double *value, int64_t *time
) noexcept nogil:
    cdef uint64_t key, number
    value[0], time[0] = 0, 0
    while at < end:
        at = _varint(at, end, &key)
        if at == NULL:
            return -1
        if key == VALUE and end - at >= 8:
            memcpy(value, at, 8)
            at += 8
        elif key == TIME:
            at = _varint(at, end, &number)
            if at == NULL:
                return -1
            time[0] = <int64_t>number
        else:
            at = _skip(key, at, end)
            if at == NULL:
                return -1
    return 0
