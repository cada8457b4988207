"""`POST /api/v1/metrics`: our own JSON, NDJSON and Arrow IPC stream."""

import asyncio
from functools import cache
from typing import Final

from wedsync_apm.api.ingest.receive import (
    Answer,
    Door,
    Incoming,
    Routes,
    encode,
    endpoint,
    listed,
    problem,
)
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.ingest import json_samples
from wedsync_apm.ingest.intake import Receipt
from wedsync_apm.ingest.model import Arrival, Decode, Decoded

PATH: Final = "/api/v1/metrics"
ARROW_TYPE: Final = "application/vnd.apache.arrow.stream"


def routes(door: Door) -> Routes:
    """202 if at least one sample was stored, 422 if none was, both with the list of what was
    not."""

    async def take(request: Incoming) -> Answer:
        grant = await door.admit(request)
        return _answer(await door.take(request, grant, _decoder(request.media_type)))

    return {("POST", PATH): endpoint(take, problem)}


def _decoder(media_type: str) -> Decode:
    return _decode_arrow if media_type == ARROW_TYPE else json_samples.decoder(media_type)


async def _decode_arrow(body: bytes, arrival: Arrival) -> Decoded:
    decode = await asyncio.to_thread(_load_arrow)
    return await decode(body, arrival)


@cache
def _load_arrow() -> Decode:
    # Some thirty megabytes and a tenth of a second, for those who send columns.
    from wedsync_apm.ingest import arrow  # noqa: PLC0415

    return arrow.decode


def _answer(receipt: Receipt) -> Answer:
    rejections = receipt.rejections
    counts = {"accepted": receipt.accepted, "rejected": rejections.count}
    if receipt.accepted:
        return Answer(202, encode(counts | {"errors": listed(rejections.listed)}))
    errors = rejections.listed or [FieldError("samples", "there are none")]
    return problem(NotValid("No sample was stored.", errors), **counts)
