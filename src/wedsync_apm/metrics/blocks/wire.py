"""PostgreSQL's binary arrays and strings of bits from and to numpy, for cursors that ask for it."""

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncCursor
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader, PyFormat
from psycopg.pq import Format

_KINDS: Final = {21: ">i2", 23: ">i4", 20: ">i8", 701: ">f8", 1184: ">i8"}
"""What an element is on the wire, by its type's OID: int2, int4, int8, float8, timestamptz."""
ELEMENTS: Final = {
    oid: np.dtype([("length", ">i4"), ("value", kind)]) for oid, kind in _KINDS.items()
}
"""Each stands behind its length; by the OID of its type."""
_NATIVE: Final = {oid: np.dtype(kind).newbyteorder("=") for oid, kind in _KINDS.items()}
_ARRAY_OIDS: Final = {1005: 21, 1007: 23, 1016: 20, 1022: 701}
BITS_OID: Final = 1562
# dimensions, has nulls, element type, length, lower bound
_HEAD: Final = struct.Struct(">iiiii")
_PREFIX: Final = struct.Struct(">iii")


def read_array(data: Buffer) -> NDArray[Any]:
    """A one-dimensional array of int2, int4, int8 or float8 without nulls, in native byte order.

    Raises ValueError for any other.
    """
    dimensions, has_nulls, oid = _PREFIX.unpack_from(data)
    if dimensions == 0:
        return np.zeros(0, _NATIVE[oid])
    if dimensions != 1 or has_nulls:
        raise ValueError("an array of samples has one dimension and no nulls")
    return np.frombuffer(data, ELEMENTS[oid], -1, _HEAD.size)["value"].astype(_NATIVE[oid])


def pack_array(values: NDArray[Any], oid: int) -> bytes:
    """A one-dimensional array as the server takes it, of elements of one of the types of
    `ELEMENTS`."""
    if not len(values):
        return _PREFIX.pack(0, 0, oid)
    packed = np.empty(len(values), ELEMENTS[oid])
    packed["length"] = _NATIVE[oid].itemsize
    packed["value"] = values
    return _HEAD.pack(1, 0, oid, len(values), 1) + packed.tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """A value that is packed already."""

    oid: int
    data: bytes


def array_parameter(values: NDArray[Any], array_oid: int) -> Parameter:
    """An array of int2 (1005), int4 (1007), int8 (1016) or float8 (1022)."""
    return Parameter(array_oid, pack_array(values, _ARRAY_OIDS[array_oid]))


def bits_parameter(bits: bytes, count: int) -> Parameter:
    """The first `count` bits as a `bit varying`."""
    return Parameter(BITS_OID, struct.pack(">i", count) + bits)


class _ArrayLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> NDArray[Any]:
        return read_array(data)


class BitsLoader(Loader):
    """A `bit varying` as its bytes."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        # behind the number of bits
        return bytes(data[4:])


class _ParameterDumper(Dumper):
    format = Format.BINARY

    def __init__(self, cls: type, context: Any = None, oid: int = 0) -> None:
        super().__init__(cls, context)
        self.oid = oid

    def get_key(self, obj: Parameter, format: PyFormat) -> tuple[type, int]:  # type: ignore[override]
        return (self.cls, obj.oid)

    def upgrade(self, obj: Parameter, format: PyFormat) -> Dumper:
        return type(self)(self.cls, oid=obj.oid)

    def dump(self, obj: Parameter) -> Buffer:
        return obj.data


def speak_numpy(cursor: AsyncCursor[Any]) -> None:
    """From here on the cursor, which must be a binary one, gives arrays as numpy has them and
    takes a `Parameter`."""
    for oid in _ARRAY_OIDS:
        cursor.adapters.register_loader(oid, _ArrayLoader)
    cursor.adapters.register_loader(BITS_OID, BitsLoader)
    cursor.adapters.register_dumper(Parameter, _ParameterDumper)
