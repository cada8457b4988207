"""The file format of the queue: records one after the other, each with its length and checksum.

A record is `WSQ1`, the payload's length, the number of its samples and a CRC-32 of these and the
payload (three unsigned 32-bit integers, little-endian), then the payload. A file is only ever
appended to. A process that is killed leaves at most its last record incomplete; a machine that
loses power may leave anything after what was synced. So reading ends at the first record that is
not whole, and gives back nothing that was not written.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from wedsync_apm.client.samples import Packed

MAGIC: Final = b"WSQ1"
MOST_PAYLOAD_BYTES: Final = 64 * 1024 * 1024
_HEADER: Final = struct.Struct("<4sIII")
HEADER_BYTES: Final = _HEADER.size


@dataclass(frozen=True, slots=True)
class Found:
    """A whole record: where it begins and ends, and how many samples it has."""

    offset: int
    end: int
    count: int


def encode(batch: Packed) -> bytes:
    """The batch as a record."""
    length = len(batch.body)
    return _HEADER.pack(MAGIC, length, batch.count, _checksum(length, batch)) + batch.body


def read(file: BinaryIO) -> tuple[Packed, int] | None:
    """The record at the file's position and its size; None if there is none that is whole."""
    head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        return None
    magic, length, count, checksum = _HEADER.unpack(head)
    if magic != MAGIC or length > MOST_PAYLOAD_BYTES:
        return None
    batch = Packed(count, file.read(length))
    if len(batch.body) < length or _checksum(length, batch) != checksum:
        return None
    return batch, HEADER_BYTES + length


def scan(file: BinaryIO) -> Iterator[Found]:
    """The whole records from the file's beginning on."""
    offset = 0
    while (found := read(file)) is not None:
        batch, size = found
        yield Found(offset, offset + size, batch.count)
        offset += size


def _checksum(length: int, batch: Packed) -> int:
    return zlib.crc32(batch.body, zlib.crc32(struct.pack("<II", length, batch.count)))
