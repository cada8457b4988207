"""`/datadog/…`: the part of Datadog's API that clients and Agents send to.

Datadog's Agent gives a request up after 400, 403 or 413 and repeats it after any other error, 404
and 415 included. So what will never be taken is answered 400, and what it sends of processes, of
containers and of its own state is answered as it expects, and not kept.
"""

import math
import struct
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from wedsync_apm.annotations.model import Annotation
from wedsync_apm.api.ingest.receive import Answer, App, Door, Incoming, Routes, encode, endpoint
from wedsync_apm.clock import utcnow
from wedsync_apm.errors import (
    Forbidden,
    MalformedBody,
    NotValid,
    RateLimited,
    Unauthorized,
    UnsupportedMedia,
    WedSyncError,
)
from wedsync_apm.ingest.compression import unpack
from wedsync_apm.ingest.datadog.checks import decode_checks
from wedsync_apm.ingest.datadog.events import event_decoder, intake_decoder
from wedsync_apm.ingest.datadog.series import (
    decode_distributions,
    decode_v1,
    decode_v2,
    decode_v2_protobuf,
)
from wedsync_apm.ingest.datadog.sketches import decode_sketches
from wedsync_apm.ingest.intake import Receipt
from wedsync_apm.ingest.model import Decode, IngestGrant

PREFIX: Final = "/datadog"
PROTOBUF: Final = "application/x-protobuf"
MOST_PROTOBUF_BYTES: Final = 5 * 1024 * 1024
"""Of an Agent's body; it sends no more than 5,242,880 by itself."""
MOST_DRAINED_BYTES: Final = 64 * 1024 * 1024
"""Of a body that is not kept; whoever sends more is cut off."""

OK_V1: Final[Mapping[str, Any]] = {"status": "ok"}
"""Without `errors`: datadogpy raises for a body that has it, even if it is empty."""
OK_V2: Final[Mapping[str, Any]] = {"errors": []}

NOT_KEPT: Final = (
    ("/api/v1/metadata", 200, b"{}"),
    ("/api/v2/host_metadata", 202, b"{}"),
    ("/api/v2/orchmanif", 202, b"{}"),
    ("/api/v2/proclcycle", 202, b"{}"),
    ("/api/v2/contlcycle", 202, b"{}"),
    ("/api/v2/contimage", 202, b"{}"),
    ("/api/v2/sbom", 202, b"{}"),
    (
        "/support/flare",
        200,
        b'{"error":"Flares are not kept here; send this one to Datadog\'s support"}',
    ),
)
PROCESS_PATHS: Final = (
    "/api/v1/collector",
    "/api/v1/container",
    "/api/v1/connections",
    "/api/v1/discovery",
    "/api/v1/orchestrator",
    "/api/v2/orch",
)
"""What the process and cluster Agents send; they read a ResCollector from the answer."""
NOT_TAKEN: Final = {
    "/api/v2/events": "Only events of v1 are taken: leave use_v2_api.events off.",
    "/api/v2/service_checks": "Only checks of v1 are taken: leave use_v2_api.service_checks off.",
}

Take = Callable[[Incoming, IngestGrant], Awaitable[Answer]]


def routes(door: Door) -> Routes:
    """202 with what Datadog answers, though of a request in which something was not valid with
    `errors` that name it; 400 if nothing of it was stored."""

    def samples(decode: Decode, success: Mapping[str, Any], most_bytes: int | None = None) -> Take:
        async def take(request: Incoming, grant: IngestGrant) -> Answer:
            receipt = await door.take(request, grant, decode, _unpack(request, most_bytes))
            return _told(receipt, success)

        return take

    async def series_v2(request: Incoming, grant: IngestGrant) -> Answer:
        if request.media_type == PROTOBUF:
            return await samples(decode_v2_protobuf, OK_V2, MOST_PROTOBUF_BYTES)(request, grant)
        return await samples(decode_v2, OK_V2)(request, grant)

    async def event(request: Incoming, grant: IngestGrant) -> Answer:
        kept: list[Annotation] = []
        decode = event_decoder(door.annotate, kept)
        receipt = await door.take(request, grant, decode, _unpack(request))
        if receipt.rejections.count:
            return _told(receipt, OK_V1)
        return _json(202, {**OK_V1, "event": _shown(kept[0])})

    async def intake(request: Incoming, grant: IngestGrant) -> Answer:
        decode = intake_decoder(door.annotate)
        receipt = await door.take(request, grant, decode, _unpack(request))
        return _json(200, {"errors": _errors(receipt)} if receipt.rejections.count else {})

    async def validate(request: Incoming, grant: IngestGrant) -> Answer:
        return _json(200, {"valid": True})

    async def process(request: Incoming, grant: IngestGrant) -> Answer:
        await _drain(request)
        return Answer(202, _res_collector(), PROTOBUF)

    async def not_kept(status: int, body: bytes, request: Incoming, grant: IngestGrant) -> Answer:
        await _drain(request)
        return Answer(status, body)

    async def not_taken(reason: str, request: Incoming, grant: IngestGrant) -> Answer:
        await _drain(request)
        raise NotValid(reason)

    def known(take: Take) -> App:
        async def admitted(request: Incoming) -> Answer:
            key = request.headers.get("dd-api-key") or request.query.get("api_key")
            return await take(request, await door.admit(request, key))

        return endpoint(admitted, _refuse)

    posted: dict[str, Take] = {
        "/api/v1/series": samples(decode_v1, OK_V1),
        "/api/v2/series": series_v2,
        "/api/v1/distribution_points": samples(decode_distributions, OK_V1),
        "/api/beta/sketches": samples(decode_sketches, {}, MOST_PROTOBUF_BYTES),
        "/api/v1/check_run": samples(decode_checks, OK_V1),
        "/api/v1/events": event,
        "/intake": intake,
        **dict.fromkeys(PROCESS_PATHS, process),
        **{path: partial(not_kept, status, body) for path, status, body in NOT_KEPT},
        **{path: partial(not_taken, reason) for path, reason in NOT_TAKEN.items()},
    }
    found = {("POST", PREFIX + path): known(take) for path, take in posted.items()}
    return found | {
        ("GET", f"{PREFIX}/api/v1/validate"): known(validate),
        ("HEAD", f"{PREFIX}/support/flare"): known(partial(not_kept, 200, b"")),
    }


def _unpack(request: Incoming, most_bytes: int | None = None) -> Callable[[bytes, int], bytes]:
    encoding = request.headers.get("content-encoding", "").strip().lower()
    # Datadog's own name for the zstd that everybody else calls zstd.
    encoding = "zstd" if encoding == "zstd1" else encoding

    def unpacked(body: bytes, limit: int) -> bytes:
        return unpack(encoding, body, limit if most_bytes is None else min(limit, most_bytes))

    return unpacked


def _told(receipt: Receipt, success: Mapping[str, Any]) -> Answer:
    if not receipt.rejections.count:
        return _json(202, success)
    errors = {"errors": _errors(receipt)}
    return _json(202, {**success, **errors}) if receipt.accepted else _json(400, errors)


def _errors(receipt: Receipt) -> list[str]:
    rejections = receipt.rejections
    lines = [
        f"{'' if one.index is None else f'[{one.index}] '}{one.field} {one.reason}"
        for one in rejections.listed
    ]
    return [*lines, f"{rejections.count} not stored, {receipt.accepted} stored"]


def _refuse(exc: WedSyncError) -> Answer:
    headers: dict[str, str] = {}
    match exc:
        case Unauthorized():
            return _json(403, {"errors": ["Forbidden"]})
        case Forbidden():
            return _json(403, {"errors": ["Forbidden", exc.detail]})
        case NotValid() | MalformedBody() | UnsupportedMedia():
            status = 400
        case RateLimited():
            status = exc.status
            reset = str(math.ceil(exc.retry_after))
            headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
        case _:
            status = exc.status
    return Answer(status, encode({"errors": [exc.detail]}), headers=headers)


def _json(status: int, body: Mapping[str, Any]) -> Answer:
    return Answer(status, encode(body))


def _shown(one: Annotation) -> dict[str, Any]:
    return {
        # Datadog's ids are numbers of 63 bits; this one is made of ours, which stands beside it.
        "id": one.id.int >> 65,
        "id_str": str(one.id),
        "title": one.title,
        "text": one.text,
        "date_happened": int(one.occurred_at.timestamp()),
        "alert_type": one.alert_type,
        "priority": one.priority,
        "host": one.host,
        "tags": [f"{key}:{value}" for key, value in one.tags.items()],
    }


def _res_collector() -> bytes:
    """What the process Agent reads (DataDog/agent-payload, process/message.go and agent.proto).

    A header of 16 bytes: version 3, encoding protobuf, type 23, and the time; then ResCollector
    with its header {type: 23} and its status {interval: 2}, which keeps real-time mode off.
    """
    head = struct.pack("<BBBBiq", 3, 0, 23, 0, 0, int(utcnow().timestamp()))
    return head + b"\x0a\x02\x20\x17" + b"\x1a\x02\x10\x02"


async def _drain(request: Incoming) -> None:
    held, more = 0, True
    while more and held <= MOST_DRAINED_BYTES:
        message = await request.receive()
        held += len(message.get("body", b""))
        more = message.get("more_body", False)
