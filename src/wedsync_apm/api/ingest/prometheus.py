"""`POST /prometheus/api/v1/write`: Prometheus remote write 1.0 and 2.0."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final, cast

from wedsync_apm.api.ingest.receive import (
    Answer,
    Door,
    Incoming,
    Routes,
    Unpack,
    endpoint,
    text_error,
)
from wedsync_apm.errors import UnsupportedMedia, WedSyncError
from wedsync_apm.ingest import remote_write, remote_write2
from wedsync_apm.ingest.compression import Room, unpack_snappy_block
from wedsync_apm.ingest.intake import Receipt
from wedsync_apm.ingest.json_samples import LARGE_BODY_BYTES
from wedsync_apm.ingest.model import Decode

PATH: Final = "/prometheus/api/v1/write"

MESSAGES: Final[Mapping[str, Decode]] = {
    "prometheus.WriteRequest": remote_write.decode,
    "io.prometheus.write.v2.Request": remote_write2.decode,
}
"""The protobuf messages that a body may be, by the parameter `proto` of its content type; the
first is what a content type without one means."""


def routes(door: Door) -> Routes:
    """204 if all was stored. If anything in it is not valid, 400 with the reasons as text, though
    the valid samples are stored: a sender drops what got 400."""

    # Its decoder takes any buffer, and has read it before anybody else gets a turn.
    in_room = cast(Unpack, Room(LARGE_BODY_BYTES).unpack)

    async def take(request: Incoming) -> Answer:
        grant = await door.admit(request)
        headers = request.headers
        decode = _negotiate(headers.get("content-type", ""), headers.get("content-encoding", ""))
        unpack = in_room if decode is remote_write.decode else unpack_snappy_block
        return _answer(await door.take(request, grant, decode, unpack))

    return {("POST", PATH): endpoint(take, _refuse)}


@lru_cache(maxsize=64)
def _negotiate(content_type: str, encoding: str) -> Decode:
    media_type, *parameters = [part.strip() for part in content_type.split(";")]
    if media_type.lower() != "application/x-protobuf":
        raise UnsupportedMedia("Content-Type must be application/x-protobuf.")
    message = next(iter(MESSAGES))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "proto":
            message = value.strip().strip('"')
    decode = MESSAGES.get(message)
    if decode is None:
        raise UnsupportedMedia(f"The message must be one of {', '.join(MESSAGES)}.")
    if encoding.strip().lower() != "snappy":
        raise UnsupportedMedia("Content-Encoding must be snappy (the block format).")
    return decode


def _written(samples: int) -> dict[str, str]:
    """What a sender of 2.0 reads, whatever the status: the counts of what is stored."""
    return {
        "X-Prometheus-Remote-Write-Samples-Written": str(samples),
        "X-Prometheus-Remote-Write-Histograms-Written": "0",
        "X-Prometheus-Remote-Write-Exemplars-Written": "0",
    }


def _refuse(exc: WedSyncError) -> Answer:
    return replace(text_error(exc), headers=_written(0))


@lru_cache(maxsize=1024)
def _stored(samples: int) -> Answer:
    return Answer(204, headers=_written(samples))


def _answer(receipt: Receipt) -> Answer:
    rejections = receipt.rejections
    if not rejections.count:
        return _stored(receipt.accepted)
    headers = _written(receipt.accepted)
    lines = [f"{receipt.accepted} samples were stored, {rejections.count} were not:"]
    for error in rejections.listed:
        series = "" if error.index is None else f"series {error.index}: "
        lines.append(f"{series}{error.field} {error.reason}")
    text = "\n".join(lines) + "\n"
    return Answer(400, text.encode(), "text/plain; charset=utf-8", headers)
