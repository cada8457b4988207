"""Rollups and write batches as PostgreSQL sends and takes them: binary, and without a Python loop
over series or samples."""

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

from wedsync_apm.metrics.rollups.model import Entries, Ints, row_starts
from wedsync_apm.metrics.sketch import ENTRY, Sketches

BYTEA, INT4, INT8, FLOAT8, BYTEAS, INT4S, INT8S, FLOAT8S = 17, 23, 20, 701, 1001, 1007, 1016, 1022
_BOOL, _UUID, _TIMESTAMPTZ = 16, 2950, 1184
_HEAD: Final = struct.Struct(">iiiii")
"""Of an array: dimensions, has nulls, element type, length, lower bound."""
_KINDS: Final = {INT4: ">i4", INT8: ">i8", FLOAT8: ">f8"}
_FIELD: Final = struct.Struct(">ii")
_POSTGRES_EPOCH_MS: Final = 946_684_800_000


class RawLoader(Loader):
    """Hands over a value as it came."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        """The bytes, which outlive the row."""
        return bytes(data)


def join_arrays(arrays: Sequence[bytes], element: int) -> NDArray[Any]:
    """The elements of many arrays without nulls, none of them empty, one behind the other."""
    kind = _KINDS[element]
    body = b"".join([array[20:] for array in arrays])
    # each element stands behind its length
    return np.frombuffer(body, np.dtype([("length", ">i4"), ("value", kind)]))["value"].astype(
        kind[1:]
    )


def count_elements(arrays: Sequence[bytes]) -> Ints:
    """How long each array is."""
    return np.array([int.from_bytes(array[12:16], "big") for array in arrays], np.int64)


def join_sketches(arrays: Sequence[bytes], counts: Ints) -> Sketches:
    """The sketches of many arrays, of which the lengths are known."""
    body = np.frombuffer(b"".join([array[20:] for array in arrays]), np.uint8)
    lengths = np.array([len(array) - 20 for array in arrays], np.int64)
    at = np.cumsum(lengths) - lengths
    first = np.cumsum(counts) - counts
    starts = np.empty(counts.sum(), np.int64)
    sizes = np.empty(counts.sum(), np.int64)
    # the nth sketch of every array at once: where it ends, the next one begins
    for n in range(int(counts.max(initial=0))):
        if n:
            has_more = counts > n
            at, first, counts = at[has_more], first[has_more], counts[has_more]
        length = body[at[:, None] + np.arange(4)].view(">i4")[:, 0].astype(np.int64)
        starts[first + n], sizes[first + n] = at + 4, length
        at = at + 4 + length
    is_entry = np.ones(len(body), np.bool_)
    is_entry[(starts[:, None] - 4 + np.arange(4)).ravel()] = False
    return Sketches.from_entries(
        sizes // ENTRY.itemsize, np.frombuffer(body[is_entry].tobytes(), ENTRY)
    )


def encode_rows(entries: Entries, organizations: Sequence[UUID]) -> list[bytes]:
    """Each bucket as a value of the type `apm_private.rollup_row`."""
    starts = row_starts(entries.organization, entries.bucket_ms)
    bounds = np.append(starts, len(entries)).tolist()
    columns = [
        (INT4S, INT4, _elements(entries.series, INT4)),
        (INT8S, INT8, _elements(entries.sample_counts, INT8)),
        *(
            (FLOAT8S, FLOAT8, _elements(values, FLOAT8))
            for values in (
                entries.sums,
                entries.minima,
                entries.maxima,
                entries.firsts,
                entries.lasts,
                entries.increases,
                *entries.percentiles.T,
            )
        ),
    ]
    sketches = _sketch_elements(entries.sketches)
    sketch_ends = np.append(0, np.cumsum(4 + entries.sketches.sizes * ENTRY.itemsize)).tolist()
    is_wedding_day = np.logical_or.reduceat(entries.is_wedding_day, starts).tolist()
    parts = np.bitwise_or.reduceat(entries.parts, starts).tolist()
    organization = entries.organization[starts].tolist()
    at = ((entries.bucket_ms[starts] - _POSTGRES_EPOCH_MS) * 1000).tolist()
    rows = []
    for row, (start, end) in enumerate(pairwise(bounds)):
        pieces = [
            struct.pack(">i", 5 + len(columns)),
            _field(_UUID, organizations[organization[row]].bytes),
            _field(_TIMESTAMPTZ, struct.pack(">q", at[row])),
        ]
        for oid, element, body in columns:
            size = len(body) // len(entries)
            pieces += _array(oid, element, end - start, body[start * size : end * size])
        pieces += _array(
            BYTEAS, BYTEA, end - start, sketches[sketch_ends[start] : sketch_ends[end]]
        )
        pieces.append(_field(_BOOL, b"\1" if is_wedding_day[row] else b"\0"))
        pieces.append(_field(INT4, struct.pack(">i", parts[row])))
        rows.append(b"".join(pieces))
    return rows


def encode_array(rows: Sequence[bytes], row_type: int) -> bytes:
    """An array of such values; `row_type` is the OID of their type."""
    head = _HEAD.pack(1, 0, row_type, len(rows), 1)
    return head + b"".join([struct.pack(">i", len(row)) + row for row in rows])


def _elements(values: NDArray[Any], element: int) -> bytes:
    kind = np.dtype(_KINDS[element])
    elements = np.empty(len(values), np.dtype([("length", ">i4"), ("value", kind)]))
    elements["length"] = kind.itemsize
    elements["value"] = values
    return elements.tobytes()


def _sketch_elements(sketches: Sketches) -> bytes:
    lengths = sketches.sizes * ENTRY.itemsize
    ends = np.cumsum(4 + lengths)
    body = np.empty(int(ends[-1]), np.uint8)
    heads = ((ends - lengths - 4)[:, None] + np.arange(4)).ravel()
    is_entry = np.ones(len(body), np.bool_)
    is_entry[heads] = False
    body[heads] = lengths.astype(">i4").view(np.uint8)
    body[is_entry] = sketches.to_entries().view(np.uint8)
    return body.tobytes()


def _field(oid: int, data: bytes) -> bytes:
    return _FIELD.pack(oid, len(data)) + data


def _array(oid: int, element: int, count: int, body: bytes) -> tuple[bytes, bytes, bytes]:
    return _FIELD.pack(oid, 20 + len(body)), _HEAD.pack(1, 0, element, count, 1), body
