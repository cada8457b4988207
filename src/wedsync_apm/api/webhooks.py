"""The door for what providers tell us: receipts, answers, buttons.

`POST /api/v1/webhooks/{configuration_id}/{token}`. The first part says who speaks: `twilio` is the
platform's own account, `push` a browser that shows our notifications, an id is a tenant's contact.
Nothing is believed before its signature fits, and whoever is refused is not told why.
"""

from collections.abc import Mapping
from typing import Final

from litestar import Response, post
from litestar.params import FromPath

from wedsync_apm.api import contact_callbacks, push_receipts, telephone
from wedsync_apm.api.authentication import PUBLIC
from wedsync_apm.api.inbound import Arrival, Handler
from wedsync_apm.api.requests import ApiRequest
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import NotFound, WedSyncError
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

PATH: Final = "/api/v1/webhooks"
LONGEST: Final = 300
HEARD = Counter(
    "wedsync_apm_webhooks_heard_total",
    "Calls from providers, by who called and what was answered.",
    ("kind", "status"),
)

BY_NAME: Final[Mapping[str, Handler]] = {"twilio": telephone.hear, "push": push_receipts.hear}
"""Who speaks for the whole platform."""


@post(
    PATH + "/{configuration_id:str}/{token:str}",
    opt={PUBLIC: True},
    status_code=200,
    tags=["webhooks"],
)
async def hear(
    request: ApiRequest, configuration_id: FromPath[str], token: FromPath[str]
) -> Response[bytes]:
    """Take a provider's callback. 404 for an address of nobody's, 401 for a wrong signature."""
    kind = configuration_id if configuration_id in BY_NAME else "other"
    try:
        handler = BY_NAME.get(configuration_id, contact_callbacks.hear)
        if len(token) > LONGEST:
            raise NotFound
        with wrap_database_errors():
            reply = await handler(await _arrival(request, configuration_id, token))
    except WedSyncError as exc:
        HEARD.inc(kind=kind, status=str(exc.status))
        log.info(
            "a provider's call was refused: %s",
            exc.detail,
            extra={"action": "hear_webhook", "kind": kind, "status": exc.status},
        )
        raise
    HEARD.inc(kind=kind, status=str(reply.status))
    return Response(
        reply.body,
        status_code=reply.status,
        media_type=reply.content_type,
        headers={"cache-control": "no-store"},
    )


async def _arrival(request: ApiRequest, configuration_id: str, token: str) -> Arrival:
    query = request.scope["query_string"].decode("latin-1")
    path = f"{PATH}/{configuration_id}/{token}" + (f"?{query}" if query else "")
    return Arrival(
        configuration_id,
        token,
        request.services.settings.base_url + path,
        await request.body(),
        {name.lower(): value for name, value in request.headers.items()},
        request.services,
    )


HANDLERS: Final = (hear,)
