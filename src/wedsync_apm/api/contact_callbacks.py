"""What Slack and PagerDuty tell us of what people do there, by the id of their contact."""

from uuid import UUID

from wedsync_apm.api.inbound import Arrival, Reply
from wedsync_apm.clock import utcnow
from wedsync_apm.errors import NotFound
from wedsync_apm.notify.members.callbacks import hear_callback


async def hear(arrival: Arrival) -> Reply:
    """Raises NotFound, Unauthorized and NotValid as `hear_callback`."""
    try:
        contact_method_id = UUID(arrival.configuration_id)
    except ValueError:
        raise NotFound from None
    async with arrival.services.pool.connection() as cx:
        await hear_callback(
            cx,
            arrival.services.keyring,
            contact_method_id,
            token=arrival.token,
            body=arrival.body,
            headers=arrival.headers,
            at=utcnow(),
        )
    return Reply()
