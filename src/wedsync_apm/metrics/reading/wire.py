"""The arrays of many rows at once, from PostgreSQL's binary format.

A dashboard reads a thousand rows of fifty samples: a row and a call for each array would cost more
than all else. So the database lays them together as the lines of one array, and of what repeats
from row to row, as the series do, it sends one line.
"""

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncCursor
from psycopg.types.string import ByteaBinaryLoader

from wedsync_apm.metrics.blocks.wire import BITS_OID, ELEMENTS, BitsLoader
from wedsync_apm.metrics.model import Ints

_ARRAYS: Final = {"int2": 1005, "int4": 1007, "int8": 1016, "float8": 1022}
_TWO_DIMENSIONS: Final = struct.Struct(">iiiiiii")
"""Dimensions, whether there are nulls, the elements' type; of each dimension size and bound."""


def keep_arrays_packed(cursor: AsyncCursor[Any]) -> None:
    """From here on the cursor, which must be a binary one, gives arrays of numbers as they came."""
    for oid in _ARRAYS.values():
        cursor.adapters.register_loader(oid, ByteaBinaryLoader)
    cursor.adapters.register_loader(BITS_OID, BitsLoader)


def read_lines(data: bytes) -> NDArray[Any]:
    """A two-dimensional array of int4, int8 or float8 without nulls, as it lies in the bytes.

    Raises ValueError for any other.
    """
    dimensions, has_nulls, oid, lines, _, length, _ = _TWO_DIMENSIONS.unpack_from(data)
    if dimensions != 2 or has_nulls:
        raise ValueError("an array of lines has two dimensions and no nulls")
    elements = np.frombuffer(data, ELEMENTS[oid], -1, _TWO_DIMENSIONS.size)
    return elements["value"].reshape(lines, length)


def line_numbers(numbers: Ints, is_new: NDArray[Any]) -> Ints:
    """Which of the lines that were sent each row has: its own where it is new, else that of the row
    whose number comes before. Nothing says in which order the database brings them."""
    new = numbers[is_new == 1]
    order = np.argsort(new)
    found: Ints = order[np.searchsorted(new[order], numbers, side="right") - 1]
    return found
