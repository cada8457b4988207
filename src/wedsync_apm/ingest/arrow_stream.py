"""Reads an Arrow IPC stream of which nothing is believed.

A message declares the size that each of its buffers will have once it is unpacked. These are added
up before anything is unpacked, so that a bomb is refused at the cost of reading its sizes. Then
every array is validated in full: offsets that lead outside, and text that is not UTF-8.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
from pyarrow import ipc

from wedsync_apm.errors import FieldError, MalformedBody, NotValid, TooLarge
from wedsync_apm.ingest.limits import IngestLimits

MOST_MESSAGES: Final = 1_000
MOST_METADATA_BYTES: Final = 64 * 1024
"""Of a message, which describes fields and buffers."""

WORDS_A_SAMPLE: Final = 10
"""Entries of dictionaries: some have many that no row uses."""

# The tables and fields of Message.fbs that are read here, by their position.
_HEADER_TYPE, _HEADER, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 2, 3
_LENGTH, _BUFFERS, _COMPRESSION, _DATA = 0, 2, 3, 1


def read_stream(body: bytes, names: Sequence[str], limits: IngestLimits) -> Iterator[Any]:
    """The record batches, with those columns of these names that there are.

    Raises pyarrow's errors and MalformedBody for what is no stream, NotValid for a column that is
    there twice, and TooLarge.
    """
    _check_sizes(body, limits)
    reader: Any = ipc.open_stream(pa.py_buffer(body))
    found = []
    for name in names:
        places = reader.schema.get_all_field_indices(name)
        if len(places) > 1:
            raise NotValid(errors=[FieldError(name, "is there twice")])
        found += places
    options = ipc.IpcReadOptions(use_threads=False, included_fields=sorted(found))
    if not found:
        raise NotValid(errors=[FieldError("columns", f"none is one of {', '.join(names)}")])
    for batch in ipc.open_stream(pa.py_buffer(body), options=options):
        batch.validate(full=True)
        yield batch


def _check_sizes(body: bytes, limits: IngestLimits) -> None:
    unpacked = rows = words = 0
    messages: Any = ipc.MessageReader.open_stream(pa.py_buffer(body))
    for number, message in enumerate(messages):
        if number >= MOST_MESSAGES or len(message.metadata) > MOST_METADATA_BYTES:
            raise TooLarge("The stream has too many batches or fields.")
        try:
            kind, length, size = _declared(message.metadata.to_pybytes(), message.body)
        except (struct.error, IndexError) as exc:
            raise MalformedBody("A message of the stream cannot be read.") from exc
        unpacked += size
        if unpacked > limits.body_bytes:
            raise TooLarge(f"The stream is larger than {limits.body_bytes} bytes when unpacked.")
        if kind == _RECORD_BATCH:
            rows += length
            limits.check_samples(rows)
        elif kind == _DICTIONARY_BATCH:
            words += length
            if words > WORDS_A_SAMPLE * limits.samples:
                raise TooLarge(f"The dictionaries of the stream have {words} entries and more.")


def _declared(metadata: bytes, body: Any) -> tuple[int, int, int]:
    """A message's kind, its rows, and the bytes that its buffers take when unpacked."""
    root = _u32(metadata, 0)
    kind_at = _field(metadata, root, _HEADER_TYPE)
    kind = metadata[kind_at] if kind_at else 0
    if kind not in (_RECORD_BATCH, _DICTIONARY_BATCH):
        return kind, 0, 0
    table = _pointed(metadata, _field(metadata, root, _HEADER))
    if kind == _DICTIONARY_BATCH:
        table = _pointed(metadata, _field(metadata, table, _DATA))
    length_at = _field(metadata, table, _LENGTH)
    length = struct.unpack_from("<q", metadata, length_at)[0] if length_at else 0
    is_packed = bool(_field(metadata, table, _COMPRESSION))
    size = 0
    buffers_at = _field(metadata, table, _BUFFERS)
    if buffers_at:
        vector = _pointed(metadata, buffers_at)
        count = _u32(metadata, vector)
        raw = memoryview(body) if body is not None else memoryview(b"")
        for start, packed in struct.iter_unpack(
            "<qq", metadata[vector + 4 : vector + 4 + 16 * count]
        ):
            if start < 0 or packed < 0:
                raise IndexError
            size += _unpacked(raw, start, packed) if is_packed and packed else packed
    if length < 0:
        raise IndexError
    return kind, length, size


def _unpacked(body: memoryview, start: int, packed: int) -> int:
    declared: int = struct.unpack_from("<q", body, start)[0]
    if declared < -1:
        raise IndexError
    return packed if declared == -1 else declared  # -1: this buffer is not packed


def _field(raw: bytes, table: int, index: int) -> int:
    """Where a table has a field, 0 if it has not."""
    vtable = table - int(struct.unpack_from("<i", raw, table)[0])
    at = 4 + 2 * index
    if at >= struct.unpack_from("<H", raw, vtable)[0]:
        return 0
    offset: int = struct.unpack_from("<H", raw, vtable + at)[0]
    return table + offset if offset else 0


def _pointed(raw: bytes, at: int) -> int:
    """The table or vector that an offset leads to."""
    return at + _u32(raw, at)


def _u32(raw: bytes, at: int) -> int:
    found: int = struct.unpack_from("<I", raw, at)[0]
    return found
