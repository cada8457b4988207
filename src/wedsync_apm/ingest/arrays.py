"""Blocks as arrays of PostgreSQL's binary format, which the database takes without parsing.

All samples of a flush are one array a column, written by numpy in the byte order of the wire; the
database cuts the blocks out of them, so that Python's work does not grow with their number.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.model import Blocks, Ints, OrganizationForms

INT4_OID: Final = 23
TEXT_OID: Final = 25
FLOAT8_OID: Final = 701
TIMESTAMPTZ_OID: Final = 1184
UUID_OID: Final = 2950
ELEMENTS: Final = {INT4_OID: ">i4", FLOAT8_OID: ">f8", TIMESTAMPTZ_OID: ">i8", UUID_OID: "V16"}
"""What an element of a type is on the wire, by the type's OID."""

_POSTGRES_EPOCH_MS: Final = 946_684_800_000
_NULL: Final = struct.pack(">i", -1)
_UUID_LENGTH: Final = struct.pack(">i", 16)
# dimensions, has nulls, element type, length, lower bound
_HEAD: Final = struct.Struct(">iiiii")
_LENGTH: Final = struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class PackedBlocks:
    """Blocks with what their codes stand for."""

    blocks: Blocks
    organizations: Sequence[OrganizationForms]
    contexts: Sequence[str | None]
    sources: Sequence[str]


def pack_array(values: NDArray[np.generic], oid: int) -> bytes:
    """A one-dimensional array as a binary parameter, of elements of one of `ELEMENTS`' types."""
    if not len(values):
        return struct.pack(">iii", 0, 0, oid)
    packed = np.empty(len(values), np.dtype([("length", ">i4"), ("value", ELEMENTS[oid])]))
    packed["length"] = packed.dtype["value"].itemsize
    packed["value"] = values
    return _HEAD.pack(1, 0, oid, len(values), 1) + packed.tobytes()


def pack_times(timestamps_ms: Ints) -> bytes:
    """Unix milliseconds as a timestamptz[]."""
    return pack_array((timestamps_ms - _POSTGRES_EPOCH_MS) * 1000, TIMESTAMPTZ_OID)


def pack_uuids(ids: Sequence[bytes]) -> bytes:
    """The sixteen bytes of each, at least one, as a uuid[]."""
    head = _HEAD.pack(1, 0, UUID_OID, len(ids), 1)
    return b"".join((head, _UUID_LENGTH, _UUID_LENGTH.join(ids)))


def pack_texts(texts: Sequence[str | None]) -> bytes:
    """At least one text, or null, as a text[]."""
    parts = [_HEAD.pack(1, int(None in texts), TEXT_OID, len(texts), 1)]
    for text in texts:
        if text is None:
            parts.append(_NULL)
        else:
            data = text.encode()
            parts += (_LENGTH.pack(len(data)), data)
    return b"".join(parts)
