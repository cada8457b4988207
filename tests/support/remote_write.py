"""Remote write requests as senders make them, written out byte by byte: the decoder under test
must not be judged by its own generated code."""

import struct
from collections.abc import Iterable, Mapping

import cramjam

Sample = tuple[float, int]
"""Value, and Unix milliseconds."""

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""Prometheus' marker. Copying it about as a float keeps its bits."""

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def varint(number: int) -> bytes:
    """Negative numbers take ten bytes, as int64 has it."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def label(name: str | bytes, value: str | bytes) -> bytes:
    """One Label message, without its own field header."""
    raw = [one if isinstance(one, bytes) else one.encode() for one in (name, value)]
    return field(1, raw[0]) + field(2, raw[1])


def sample(value: float, timestamp_ms: int) -> bytes:
    """One Sample message; proto3 leaves zeros out."""
    raw = (
        b""
        if value == 0 and not struct.pack("<d", value)[7]
        else b"\x09" + struct.pack("<d", value)
    )
    return raw + (b"\x10" + varint(timestamp_ms) if timestamp_ms else b"")


def series(labels: Mapping[str, str] | Iterable[bytes], *samples: Sample) -> bytes:
    """One TimeSeries field; labels as a mapping, or as encoded messages."""
    encoded = (
        [label(name, value) for name, value in sorted(labels.items())]
        if isinstance(labels, Mapping)
        else list(labels)
    )
    return field(
        1,
        b"".join(field(1, one) for one in encoded)
        + b"".join(field(2, sample(*one)) for one in samples),
    )


def packed(*parts: bytes) -> bytes:
    """A request body: the parts as a snappy block."""
    return bytes(cramjam.snappy.compress_raw(b"".join(parts)))
