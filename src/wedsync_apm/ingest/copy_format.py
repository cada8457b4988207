"""Packs blocks as PostgreSQL's binary COPY format, and as binary arrays for INSERT.

All samples of a flush are written once, as structured numpy arrays in the byte order of the wire;
the arrays of a block are then slices of those bytes, so that Python's work is per block.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.model import Blocks, Ints, OrganizationForms

INT4_OID: Final = 23
FLOAT8_OID: Final = 701
TIMESTAMPTZ_OID: Final = 1184
UUID_OID: Final = 2950
ELEMENTS: Final = {INT4_OID: ">i4", FLOAT8_OID: ">f8", TIMESTAMPTZ_OID: ">i8", UUID_OID: "V16"}
"""What an element of a type is on the wire, by the type's OID."""

COLUMNS: Final = (
    "organization_id",
    "timestamp",
    "ends_at",
    "series_ids",
    "offsets_ms",
    "metric_values",
    "wedding_context",
    "apm_source",
)
"""Of `apm_metrics`, in the order in which a packed row has them."""

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER: Final = struct.pack(">h", -1)
_POSTGRES_EPOCH_MS: Final = 946_684_800_000
_NULL: Final = struct.pack(">i", -1)
# dimensions, has nulls, element type, length, lower bound
_ARRAY_HEAD: Final = struct.Struct(">iiiii")
# fields; organization: length, bytes; timestamp and ends_at: length, microseconds since 2000
_ROW_HEAD: Final = struct.Struct(">hi16siqiq")
_LENGTH: Final = struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class PackedBlocks:
    """Blocks with what their codes stand for."""

    blocks: Blocks
    organizations: Sequence[OrganizationForms]
    contexts: Sequence[str | None]
    sources: Sequence[str]


def pack_copy(packed: Iterable[PackedBlocks]) -> bytes:
    """What COPY apm_metrics (`COLUMNS`) FROM STDIN (FORMAT BINARY) takes."""
    parts: list[bytes | memoryview] = [_HEADER]
    for one in packed:
        _pack_rows(one, parts)
    parts.append(_TRAILER)
    return b"".join(parts)


def _pack_rows(packed: PackedBlocks, parts: list[bytes | memoryview]) -> None:
    blocks = packed.blocks
    ids = _elements(blocks.series_ids, ELEMENTS[INT4_OID])
    offsets = _elements(blocks.offsets_ms, ELEMENTS[INT4_OID])
    values = _elements(blocks.values, ELEMENTS[FLOAT8_OID])
    context_fields = [_context_field(context) for context in packed.contexts]
    source_fields = [_text_field(source) for source in packed.sources]
    starts = blocks.starts.tolist()
    for organization, context, source, first, last, start, stop in zip(
        blocks.organization.tolist(),
        blocks.context.tolist(),
        blocks.source.tolist(),
        postgres_microseconds(blocks.first_ms).tolist(),
        postgres_microseconds(blocks.last_ms).tolist(),
        starts[:-1],
        starts[1:],
        strict=True,
    ):
        count = stop - start
        int4_head = _ARRAY_HEAD.pack(1, 0, INT4_OID, count, 1)
        int4_length = _LENGTH.pack(20 + 8 * count)
        organization_id = packed.organizations[organization].data
        parts += (
            _ROW_HEAD.pack(len(COLUMNS), 16, organization_id, 8, first, 8, last),
            int4_length,
            int4_head,
            ids[8 * start : 8 * stop],
            int4_length,
            int4_head,
            offsets[8 * start : 8 * stop],
            _LENGTH.pack(20 + 12 * count),
            _ARRAY_HEAD.pack(1, 0, FLOAT8_OID, count, 1),
            values[12 * start : 12 * stop],
            context_fields[context],
            source_fields[source],
        )


def postgres_microseconds(timestamps_ms: Ints) -> Ints:
    """Unix milliseconds as a timestamptz has them on the wire."""
    return (timestamps_ms - _POSTGRES_EPOCH_MS) * 1000


def pack_array(values: NDArray[np.generic], oid: int) -> bytes:
    """A one-dimensional array as a binary parameter, of elements of one of `ELEMENTS`' types."""
    if not len(values):
        return struct.pack(">iii", 0, 0, oid)
    return _ARRAY_HEAD.pack(1, 0, oid, len(values), 1) + _elements(values, ELEMENTS[oid])


def _elements(values: NDArray[np.generic], kind: str) -> memoryview:
    """Each value behind its length, as both formats want it."""
    packed = np.empty(len(values), np.dtype([("length", ">i4"), ("value", kind)]))
    packed["length"] = packed.dtype["value"].itemsize
    packed["value"] = values
    return memoryview(packed.tobytes())


def _context_field(context: str | None) -> bytes:
    if context is None:
        return _NULL
    text = b"\x01" + context.encode()  # the version of jsonb's format
    return _LENGTH.pack(len(text)) + text


def _text_field(text: str) -> bytes:
    return _LENGTH.pack(len(text.encode())) + text.encode()
