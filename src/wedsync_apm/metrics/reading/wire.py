"""The arrays of many rows at once, from PostgreSQL's binary format.

A dashboard reads a thousand rows of fifty samples: a call for each array would cost more than all
else. So the arrays of a column stay bytes until they are laid end to end, and are decoded then.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncCursor
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.string import ByteaBinaryLoader

from wedsync_apm.metrics.model import Ints

_ARRAYS: Final = {"int2": 1005, "int4": 1007, "int8": 1016, "float8": 1022}
_VARBIT: Final = 1562
_HEAD_WORDS: Final = 5
"""Dimensions, whether there are nulls, the elements' type, how many, the lower bound."""
_WORDS: Final = {">i4": 2, ">i8": 3, ">f8": 3}
"""Of an element with the length before it."""


_TWO_DIMENSIONS: Final = struct.Struct(">iiiiiii")
"""Dimensions, whether there are nulls, the elements' type; of each dimension size and bound."""
_ELEMENTS: Final = {
    oid: np.dtype([("length", ">i4"), ("value", kind)]) for oid, kind in ((23, ">i4"), (701, ">f8"))
}


class _BitsLoader(Loader):
    format = Format.BINARY

    def load(self, data: Any) -> bytes:
        # behind the number of bits
        return bytes(data[4:])


def keep_arrays_packed(cursor: AsyncCursor[Any]) -> None:
    """From here on the cursor, which must be a binary one, gives arrays of numbers as they came."""
    for oid in _ARRAYS.values():
        cursor.adapters.register_loader(oid, ByteaBinaryLoader)
    cursor.adapters.register_loader(_VARBIT, _BitsLoader)


def read_lines(data: bytes) -> NDArray[Any]:
    """A two-dimensional array of int4 or float8 without nulls, as it lies in the bytes.

    Raises ValueError for any other.
    """
    dimensions, has_nulls, oid, lines, _, length, _ = _TWO_DIMENSIONS.unpack_from(data)
    if dimensions != 2 or has_nulls:
        raise ValueError("an array of lines has two dimensions and no nulls")
    elements = np.frombuffer(data, _ELEMENTS[oid], -1, _TWO_DIMENSIONS.size)
    return elements["value"].reshape(lines, length)


@dataclass(frozen=True, slots=True, eq=False)
class PackedArrays:
    """The arrays of a column, one for each row, none of them empty, without nulls."""

    words: NDArray[np.uint32]
    starts: Ints
    counts: Ints
    kind: str

    @classmethod
    def of(cls, arrays: Sequence[bytes], kind: str) -> "PackedArrays":
        """Of elements of a kind (`>i4`, `>i8`, `>f8`). Raises ValueError for other arrays."""
        words = np.frombuffer(b"".join(arrays), ">u4")
        lengths = np.fromiter(map(len, arrays), np.int64, len(arrays)) // 4
        starts = np.cumsum(lengths) - lengths
        if len(arrays) and not ((words[starts] == 1) & (words[starts + 1] == 0)).all():
            raise ValueError("an array of samples has one dimension and no nulls")
        return cls(words, starts + _HEAD_WORDS, (lengths - _HEAD_WORDS) // _WORDS[kind], kind)

    def values(self, chosen: NDArray[Any] | None = None) -> NDArray[Any]:
        """All elements, or those of a mask or at positions, in the order of the rows."""
        size = _WORDS[self.kind]
        ends = np.cumsum(self.counts)
        place = np.arange(ends[-1] if len(ends) else 0, dtype=np.int64) * size
        # where a row begins, less what the elements before it take
        place += np.repeat(self.starts - (ends - self.counts) * size, self.counts) + 1
        if chosen is not None:
            place = place[chosen]
        if size == 2:
            narrow: NDArray[Any] = self.words[place].astype(np.uint32).view(np.int32)
            return narrow
        whole: NDArray[Any] = (
            self.words[place].astype(np.uint64) << np.uint64(32) | self.words[place + 1]
        )
        return whole.view(self.kind[1:])
