"""`POST /prometheus/api/v1/write`: Prometheus remote write."""

from collections.abc import Mapping
from typing import Final

from wedsync_apm.api.ingest.receive import Answer, Door, Incoming, Routes, endpoint, text_error
from wedsync_apm.errors import UnsupportedMedia
from wedsync_apm.ingest import remote_write
from wedsync_apm.ingest.compression import unpack_snappy_block
from wedsync_apm.ingest.intake import Receipt

PATH: Final = "/prometheus/api/v1/write"


def routes(door: Door) -> Routes:
    """204 if all was stored. If anything in it is not valid, 400 with the reasons as text, though
    the valid samples are stored: a sender drops what got 400."""

    async def take(request: Incoming) -> Answer:
        grant = await door.admit(request)
        _check(request.headers)
        return _answer(await door.take(request, grant, remote_write.decode, unpack_snappy_block))

    return {("POST", PATH): endpoint(take, text_error)}


def _check(headers: Mapping[str, str]) -> None:
    content_type, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
    media_type, _, parameters = content_type.partition(";")
    message = parameters.strip().removeprefix("proto=").strip('"') or "prometheus.WriteRequest"
    if media_type.strip().lower() != "application/x-protobuf":
        raise UnsupportedMedia("Content-Type must be application/x-protobuf.")
    if message != "prometheus.WriteRequest":
        raise UnsupportedMedia("Only remote write 1.0 is taken: prometheus.WriteRequest.")
    if encoding.strip().lower() != "snappy":
        raise UnsupportedMedia("Content-Encoding must be snappy (the block format).")


def _answer(receipt: Receipt) -> Answer:
    rejections = receipt.rejections
    headers = {
        "X-Prometheus-Remote-Write-Samples-Written": str(receipt.accepted),
        "X-Prometheus-Remote-Write-Histograms-Written": "0",
        "X-Prometheus-Remote-Write-Exemplars-Written": "0",
    }
    if not rejections.count:
        return Answer(204, headers=headers)
    lines = [f"{receipt.accepted} samples were stored, {rejections.count} were not:"]
    for error in rejections.listed:
        series = "" if error.index is None else f"series {error.index}: "
        lines.append(f"{series}{error.field} {error.reason}")
    text = "\n".join(lines) + "\n"
    return Answer(400, text.encode(), "text/plain; charset=utf-8", headers)
