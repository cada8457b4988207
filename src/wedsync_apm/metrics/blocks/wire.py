"""PostgreSQL's binary arrays straight into numpy, for cursors that ask for it."""

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncCursor
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

_KINDS: Final = {21: ">i2", 23: ">i4", 20: ">i8", 701: ">f8"}
"""What an element is on the wire, by its type's OID."""
_ARRAY_OIDS: Final = {1005: 21, 1007: 23, 1016: 20, 1022: 701}
_BITS_OID: Final = 1562
# dimensions, has nulls, element type, length, lower bound
_HEAD: Final = struct.Struct(">iiiii")


def read_array(data: Buffer) -> NDArray[Any]:
    """A one-dimensional array of int2, int4, int8 or float8 without nulls, in native byte order.

    Raises ValueError for any other.
    """
    dimensions, has_nulls, oid = struct.unpack_from(">iii", data)
    kind = _KINDS[oid]
    if dimensions == 0:
        return np.zeros(0, kind[1:])
    _, _, _, count, _ = _HEAD.unpack_from(data)
    if dimensions != 1 or has_nulls:
        raise ValueError("an array of samples has one dimension and no nulls")
    # each element stands behind its length
    elements = np.frombuffer(data, np.dtype([("length", ">i4"), ("value", kind)]), count, 20)
    return elements["value"].astype(kind[1:])


class _ArrayLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> NDArray[Any]:
        return read_array(data)


class _BitsLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        # behind the number of bits
        return bytes(data[4:])


def read_arrays_as_numpy(cursor: AsyncCursor[Any]) -> None:
    """From here on the cursor, which must be a binary one, gives arrays as numpy has them."""
    for oid in _ARRAY_OIDS:
        cursor.adapters.register_loader(oid, _ArrayLoader)
    cursor.adapters.register_loader(_BITS_OID, _BitsLoader)
