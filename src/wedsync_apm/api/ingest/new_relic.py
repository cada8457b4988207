"""`POST /metric/v1`: New Relic's Metric API, at the path that its clients have built in."""

from typing import Any, Final
from uuid import uuid4

from wedsync_apm.api.ingest.receive import Answer, Door, Incoming, Routes, encode, endpoint, listed
from wedsync_apm.errors import Forbidden, NotValid, Unauthorized, UnsupportedMedia, WedSyncError
from wedsync_apm.ingest import new_relic

PATHS: Final = ("/metric/v1", "/newrelic/metric/v1")
KEY_HEADERS: Final = ("api-key", "x-license-key", "x-insert-key")
KEY_PARAMETER: Final = "Api-Key"


def routes(door: Door) -> Routes:
    """202 if anything was stored, with what was not; 400 if nothing was."""

    async def take(request: Incoming) -> Answer:
        grant = await door.admit(request, key_of(request))
        if request.media_type != "application/json":
            raise UnsupportedMedia("Content-Type must be application/json.")
        receipt = await door.take(request, grant, new_relic.decode)
        rejections = receipt.rejections
        if not rejections.count:
            return _answer(202)
        return _answer(
            202 if receipt.accepted else 400,
            accepted=receipt.accepted,
            rejected=rejections.count,
            errors=listed(rejections.listed),
        )

    app = endpoint(take, _refuse)
    return {("POST", path): app for path in PATHS}


def key_of(request: Incoming) -> str | None:
    """The key from one of New Relic's headers or the address; None where it stands as it does in
    all our other protocols. Raises Forbidden for two that differ."""
    found = [request.headers[name] for name in KEY_HEADERS if name in request.headers]
    if KEY_PARAMETER in request.query:
        found.append(request.query[KEY_PARAMETER])
    if len(set(found)) > 1:
        raise Forbidden("The key in the header is not that in the address.")
    return found[0] if found else None


def _answer(status: int, **told: Any) -> Answer:
    return Answer(status, encode({"requestId": str(uuid4())} | told))


def _refuse(exc: WedSyncError) -> Answer:
    # As New Relic has it: a body of another shape is 400, a key that is none 403.
    status = {NotValid: 400, Unauthorized: 403}.get(type(exc), exc.status)
    return _answer(status, error=exc.detail)
