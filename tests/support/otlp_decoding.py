"""A process that OTLP is sent to, without a database, and what came of it."""

from typing import Final
from uuid import UUID

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests.support.otlp import JSON, PROTOBUF, encoded
from wedsync_apm.api.ingest import otlp as door
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded, IngestGrant
from wedsync_apm.ingest.otlp.model import PointRejections
from wedsync_apm.metrics.model import SeriesDirectory, SeriesKey

NOW: Final = 1_795_383_840_123
NANOS: Final = NOW * 1_000_000
ORGANIZATION: Final = UUID("0d7a3c3e-5a0f-4b0e-9a53-6f0a3f2d9b11")
OWN: Final = IngestGrant(ORGANIZATION)
PLATFORM: Final = IngestGrant(None)
POINT: Final = {"time_unix_nano": NANOS, "as_double": 1.5}
_ENCODINGS: Final = {PROTOBUF: door.PROTOBUF, JSON: door.JSON}


class Sender:
    """Sends to a decoder of one process."""

    def __init__(self, media_type: str, limits: IngestLimits | None = None) -> None:
        self.media_type = media_type
        self.directory = SeriesDirectory()
        self._limits = limits or IngestLimits()

    async def send(self, message: ExportMetricsServiceRequest, grant: IngestGrant = OWN) -> Decoded:
        """A message, in the encoding."""
        return await self.send_body(encoded(message, self.media_type), grant)

    async def send_body(self, body: bytes, grant: IngestGrant = OWN) -> Decoded:
        """A body as it is."""
        arrival = Arrival(grant, self.directory, self._limits, NOW)
        return await _ENCODINGS[self.media_type].decode(body, arrival)


def samples(decoded: Decoded) -> list[tuple[str, dict[str, str], int, float]]:
    """Name, tags, milliseconds and value of each sample."""
    batch = decoded.batch
    found = []
    for handle, at, value in zip(
        batch.series.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True
    ):
        key = batch.directory.keys[handle]
        found.append((key.metric_name, dict(key.tags), at, value))
    return found


def values(decoded: Decoded) -> dict[tuple[str, ...], float]:
    """By name and the values of the tags."""
    return {(name, *tags.values()): value for name, tags, _, value in samples(decoded)}


def keys(decoded: Decoded) -> dict[str, SeriesKey]:
    """By name and, of a histogram's parts, the bound."""
    found = {}
    for handle in decoded.batch.series.tolist():
        key = decoded.batch.directory.keys[handle]
        found[key.metric_name + dict(key.tags).get("le", "")] = key
    return found


def reasons(decoded: Decoded) -> list[tuple[int | None, str, str]]:
    """Place, field and reason of what was refused."""
    return [(one.index, one.field, one.reason) for one in decoded.rejections.listed]


def refused_points(decoded: Decoded) -> set[int]:
    """The places of the points that the sender is told of."""
    assert isinstance(decoded.rejections, PointRejections)
    return decoded.rejections.points
