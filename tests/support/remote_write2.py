"""Remote write 2.0 requests as senders make them, written out byte by byte from the published
message (prometheus/prompb/io/prometheus/write/v2): the decoder under test must not be judged by
its own generated code."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.remote_write import Sample, sample, varint
from tests.support.remote_write import field as encoded

HEADERS = {
    "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "2.0.0",
}
COUNTER, GAUGE, HISTOGRAM, GAUGE_HISTOGRAM, SUMMARY, INFO, STATE_SET = range(1, 8)


@dataclass
class Request:
    """A request that grows by series; its symbols stand in order of first use."""

    symbols: list[bytes] = field(default_factory=lambda: [b""])
    parts: list[bytes] = field(default_factory=list)

    def symbol(self, text: str | bytes) -> int:
        """The position of a symbol."""
        raw = text.encode() if isinstance(text, str) else text
        if raw not in self.symbols:
            self.symbols.append(raw)
        return self.symbols.index(raw)

    def references(self, labels: Mapping[str, str] | Iterable[tuple[bytes, bytes]]) -> list[int]:
        """The labels as positions; a mapping is sorted as senders do."""
        pairs = sorted(labels.items()) if isinstance(labels, Mapping) else labels
        return [self.symbol(text) for pair in pairs for text in pair]

    def series(
        self,
        labels: Mapping[str, str] | Iterable[tuple[bytes, bytes]] | None = None,
        *samples: Sample,
        references: Sequence[int] | None = None,
        kind: int = 0,
        unit: str = "",
        help_text: str = "",
        created_ms: int = 0,
        exemplars: Sequence[bytes] = (),
        histograms: Sequence[bytes] = (),
    ) -> "Request":
        """Adds a series, by its labels or by `references` as they are."""
        if references is None:
            references = self.references(labels or {})
        message = encoded(1, b"".join(map(varint, references))) if references else b""
        created = b"\x18" + varint(created_ms) if created_ms else b""
        message += b"".join(encoded(2, sample(*one) + created) for one in samples)
        message += b"".join(encoded(3, one) for one in histograms)
        message += b"".join(encoded(4, one) for one in exemplars)
        if kind or unit or help_text:
            metadata = b"\x08" + varint(kind)
            metadata += b"\x18" + varint(self.symbol(help_text))
            metadata += b"\x20" + varint(self.symbol(unit))
            message += encoded(5, metadata)
        self.parts.append(encoded(5, message))
        return self

    def exemplar(self, labels: Mapping[str, str], value: float, timestamp_ms: int) -> bytes:
        """An Exemplar message."""
        references = encoded(1, b"".join(map(varint, self.references(labels))))
        return references + b"\x11" + struct.pack("<d", value) + b"\x18" + varint(timestamp_ms)

    @property
    def body(self) -> bytes:
        """The message, unpacked."""
        return b"".join(encoded(4, one) for one in self.symbols) + b"".join(self.parts)


def histogram(timestamp_ms: int, *, count: int = 1) -> bytes:
    """A native Histogram message with one positive bucket."""
    span = encoded(11, b"\x08\x00\x10" + varint(1))
    return (
        b"\x08" + varint(count)
        + b"\x19" + struct.pack("<d", 1.0)
        + span
        + encoded(12, varint(count << 1))
        + b"\x78" + varint(timestamp_ms)
    )  # fmt: skip
