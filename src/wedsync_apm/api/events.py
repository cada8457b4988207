"""The event stream: `GET /api/v1/events`."""

import time
from typing import Annotated, Final

from litestar import get
from litestar.params import QueryParameter
from litestar.response import Stream

from wedsync_apm.api.live import TOPICS, Audience, stream
from wedsync_apm.api.requests import ApiRequest
from wedsync_apm.clock import utcnow
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.errors import FieldError, Forbidden, NotValid, Unauthorized
from wedsync_apm.organizations import store
from wedsync_apm.organizations.identity import actor_of

Topics = Annotated[
    str | None,
    QueryParameter(
        required=False, description=f"Comma-separated, of {', '.join(sorted(TOPICS))}; all if none"
    ),
]


async def audience_of(request: ApiRequest) -> Audience:
    """What the caller may hear now. Raises Unauthorized for a credential that is good no more,
    Forbidden for one that opens nothing."""
    identity = await request.services.authenticator.authenticate(request.credential)
    async with tenant_tx(request.services.pool, actor_of(identity)) as cx:
        standing = await store.find_standing(cx)
    audience = Audience(
        frozenset(standing.organization_ids), is_operator=standing.operator_role is not None
    )
    if not audience.organization_ids and not audience.is_operator:
        raise Forbidden("You belong to no organization.")
    return audience


def read_topics(text: str | None) -> frozenset[str]:
    """The topics asked for. Raises NotValid, naming those that there are."""
    if text is None:
        return TOPICS
    wanted = frozenset(part.strip() for part in text.split(",") if part.strip())
    if unknown := wanted - TOPICS:
        reason = f"{min(unknown)[:50]!r} is none of {', '.join(sorted(TOPICS))}"
        raise NotValid(errors=[FieldError("topics", reason)])
    return wanted


@get("/api/v1/events", tags=["live"], media_type="text/event-stream")
async def follow_events(request: ApiRequest, topics: Topics = None) -> Stream:
    """Follow what changes, as Server-Sent Events. Each event says who, what and which one; fetch
    the content with the other paths. After `resync` or `hello`, read everything you show anew."""
    wanted = read_topics(topics)
    if request.identity.only_sends_samples:
        raise Forbidden("This key may only send samples.")
    audience = await audience_of(request)
    ends_at = None
    if request.identity.expires_at is not None:
        left = (request.identity.expires_at - utcnow()).total_seconds()
        if left <= 0:
            raise Unauthorized("The token has expired.")
        ends_at = time.monotonic() + left

    async def recheck() -> Audience:
        return await audience_of(request)

    return Stream(
        stream(
            request.services.hub,
            audience=audience,
            topics=wanted,
            last_event_id=request.headers.get("last-event-id"),
            ends_at=ends_at,
            recheck=recheck,
        ),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


HANDLERS: Final = (follow_events,)
