"""Unpacks request bodies without ever holding more than the limit.

A few kilobytes can unpack to gigabytes. So the size that a format declares is looked at before
anything is unpacked, and a format that declares none is unpacked into room of the limit's size.
"""

import zlib
from typing import Final

import cramjam

from wedsync_apm.errors import MalformedBody, TooLarge, UnsupportedMedia

ENCODINGS: Final = ("identity", "gzip", "deflate", "zstd")
"""What `Content-Encoding` may say where nothing else is fixed by a protocol."""

ROOM_BYTES: Final = 1024 * 1024
"""Of a body that is unpacked where others were: two thousand series of ten labels need half."""

_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
# Each member copies what is left: a body of a million empty ones would keep us busy for hours.
_MOST_MEMBERS: Final = 100


def unpack(encoding: str, body: bytes, limit: int) -> bytes:
    """The body behind a `Content-Encoding`.

    Raises UnsupportedMedia for an encoding (or a chain of them) that we do not read, TooLarge for
    more than `limit` bytes, and MalformedBody for what is not of that encoding.
    """
    match encoding.strip().lower():
        case "" | "identity":
            if len(body) > limit:
                raise _too_large(limit)
            return body
        case "gzip" | "x-gzip":
            return _inflate(body, _GZIP_OR_ZLIB, limit)
        case "deflate":
            return _deflate(body, limit)
        case "zstd":
            return _zstd(body, limit)
        case other:
            known = ", ".join(ENCODINGS)
            raise UnsupportedMedia(f"Content-Encoding {other!r} is not one of {known}.")


class Room:
    """Where one snappy block after the other is unpacked.

    What is larger than a few pages is given back to the system when it is not needed: fetching the
    pages anew for each body cost more than unpacking into them. One thread at a time may use it,
    and whoever has `most_packed` bytes or more is left to another one.
    """

    def __init__(self, most_packed: int, size: int = ROOM_BYTES) -> None:
        self._most_packed, self._size = most_packed, size
        self._bytes = bytearray()

    def unpack(self, body: bytes, limit: int) -> bytes | memoryview:
        """As `unpack_snappy_block`; what it gives back is good until the next call.

        A body that would not fit is unpacked for itself.
        """
        if len(body) >= self._most_packed:
            return unpack_snappy_block(body, limit)
        try:
            declared = cramjam.snappy.decompress_raw_len(body)
        except cramjam.DecompressionError as exc:
            raise _no_snappy() from exc
        if not declared or declared > min(limit, self._size):
            return unpack_snappy_block(body, limit)
        if declared > len(self._bytes):
            # not larger in place: somebody may still hold what he was given
            self._bytes = bytearray(min(2 * declared, self._size))
        try:
            written = cramjam.snappy.decompress_raw_into(body, self._bytes)
        except cramjam.DecompressionError as exc:
            raise _no_snappy() from exc
        return memoryview(self._bytes)[:written].toreadonly()


def unpack_snappy_block(body: bytes, limit: int) -> bytes:
    """The body behind snappy's block format, which is what Prometheus means by "snappy".

    Raises TooLarge and MalformedBody as `unpack` does.
    """
    try:
        declared = cramjam.snappy.decompress_raw_len(body)
        if declared > limit:
            raise _too_large(limit)
        return bytes(cramjam.snappy.decompress_raw(body)) if declared else b""
    except cramjam.DecompressionError as exc:
        raise _no_snappy() from exc


def _deflate(body: bytes, limit: int) -> bytes:
    # HTTP's "deflate" is the zlib format (RFC 9110), yet some clients send it without its header.
    try:
        return _inflate(body, _GZIP_OR_ZLIB, limit)
    except MalformedBody:
        return _inflate(body, _RAW_DEFLATE, limit)


def _inflate(body: bytes, window_bits: int, limit: int) -> bytes:
    unpacked = bytearray()
    rest, members = body, 0
    while rest:  # a gzip stream may consist of several members
        members += 1
        if members > _MOST_MEMBERS:
            raise MalformedBody("The compressed body consists of too many members.")
        stream = zlib.decompressobj(window_bits)
        try:
            unpacked += stream.decompress(rest, limit - len(unpacked) + 1)
        except zlib.error as exc:
            raise MalformedBody("The body cannot be decompressed.") from exc
        if len(unpacked) > limit:
            raise _too_large(limit)
        if not stream.eof:
            raise MalformedBody("The compressed body is cut short.")
        rest = stream.unused_data
    return bytes(unpacked)


def _zstd(body: bytes, limit: int) -> bytes:
    # A frame need not declare its size. Pages of this buffer that are never written cost nothing.
    room = bytearray(limit + 1)
    try:
        size = cramjam.zstd.decompress_into(body, room) if body else 0
    except cramjam.DecompressionError as exc:
        if "failed to write whole buffer" in str(exc):
            raise _too_large(limit) from exc
        raise MalformedBody("The body cannot be decompressed.") from exc
    if size > limit:
        raise _too_large(limit)
    return bytes(memoryview(room)[:size])


def _no_snappy() -> MalformedBody:
    return MalformedBody("The body is not a snappy block.")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes after decompression.")
