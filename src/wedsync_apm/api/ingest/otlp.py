"""`POST /v1/metrics` and `/otlp/v1/metrics`: OTLP over HTTP.

The answer has the encoding of the request. 200 also where points were refused: a partial success
says how many and why, and its sender does not send them again. Of the errors, a sender repeats
those with 429 and 503 only, so what may pass has one of these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from wedsync_apm.api.ingest.receive import (
    Answer,
    App,
    Door,
    Incoming,
    Receive,
    Routes,
    Scope,
    Send,
    encode,
    endpoint,
)
from wedsync_apm.errors import (
    DatabaseAway,
    FieldError,
    StorageFull,
    UnsupportedMedia,
    WedSyncError,
)
from wedsync_apm.ingest.intake import Receipt
from wedsync_apm.ingest.model import Decode
from wedsync_apm.ingest.otlp.json_body import JsonCodec
from wedsync_apm.ingest.otlp.mapping import decoder
from wedsync_apm.ingest.otlp.model import PointRejections
from wedsync_apm.ingest.otlp.protobuf_body import ProtobufCodec
from wedsync_apm.ingest.wire import otlp_pb2 as wire

PATHS: Final = ("/v1/metrics", "/otlp/v1/metrics")
DISK_FULL_SECONDS: Final = 60.0
MOST_TOLD: Final = 20
"""Refused points that the message of a partial success names; all are counted."""

_CODES: Final = {401: 16, 403: 7, 429: 8, 503: 14}
"""Of google.rpc.Code: UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAVAILABLE."""
_INVALID_ARGUMENT: Final = 3
_INTERNAL: Final = 13


@dataclass(frozen=True, slots=True)
class Encoding:
    """One of the two, in both directions."""

    media_type: str
    decode: Decode
    response: Callable[[int, str], bytes]
    """From a count of refused points and a message."""
    status: Callable[[int, str], bytes]
    """From a code of google.rpc.Code and a message."""

    def answer(self, receipt: Receipt) -> Answer:
        """Success, or partial success."""
        rejections = receipt.rejections
        if not rejections.count:
            return Answer(200, self.response(0, ""), self.media_type)
        refused = rejections.count
        if isinstance(rejections, PointRejections):
            refused = len(rejections.points)
        return Answer(200, self.response(refused, _told(rejections.listed)), self.media_type)

    def refuse(self, exc: WedSyncError) -> Answer:
        """An error as a `Status`."""
        code = _CODES.get(exc.status, _INTERNAL if exc.status >= 500 else _INVALID_ARGUMENT)
        return Answer(exc.status, self.status(code, exc.detail), self.media_type)


def _protobuf_response(refused: int, message: str) -> bytes:
    response = wire.MetricsResponse()
    if refused:
        response.partial_success.rejected_data_points = refused
        response.partial_success.error_message = message
    return response.SerializeToString()


def _json_response(refused: int, message: str) -> bytes:
    partial = {"rejectedDataPoints": str(refused), "errorMessage": message}
    return encode({"partialSuccess": partial} if refused else {})


def _protobuf_status(code: int, message: str) -> bytes:
    return wire.Status(code=code, message=message).SerializeToString()


def _json_status(code: int, message: str) -> bytes:
    return encode({"code": code, "message": message})


PROTOBUF: Final = Encoding(
    "application/x-protobuf", decoder(ProtobufCodec()), _protobuf_response, _protobuf_status
)
JSON: Final = Encoding("application/json", decoder(JsonCodec()), _json_response, _json_status)


def routes(door: Door) -> Routes:
    """200 with what was refused, else a `Status`."""
    encodings = {one.media_type: _endpoint(door, one) for one in (PROTOBUF, JSON)}
    unknown = endpoint(_unknown(door), JSON.refuse)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        media_type = Incoming(scope, receive).media_type
        await encodings.get(media_type, unknown)(scope, receive, send)

    return {("POST", path): app for path in PATHS}


def _endpoint(door: Door, encoding: Encoding) -> App:
    async def take(request: Incoming) -> Answer:
        grant = await door.admit(request)
        try:
            return encoding.answer(await door.take(request, grant, encoding.decode))
        except StorageFull as exc:
            # 507 would have the sender throw away what it may send once there is room again.
            raise DatabaseAway(exc.detail, retry_after=DISK_FULL_SECONDS) from exc

    return endpoint(take, encoding.refuse)


def _unknown(door: Door) -> Any:
    async def take(request: Incoming) -> Answer:
        await door.admit(request)
        known = f"{PROTOBUF.media_type} or {JSON.media_type}"
        raise UnsupportedMedia(f"Content-Type must be {known}.")

    return take


def _told(errors: list[FieldError]) -> str:
    """Which points were refused, and why."""
    lines = [
        ("" if error.index is None else f"data point {error.index}: ")
        + f"{error.field} {error.reason}"
        for error in errors[:MOST_TOLD]
    ]
    return "; ".join(lines) + ("; …" if len(errors) > MOST_TOLD else "")
