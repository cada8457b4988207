"""What browsers tell us of push messages: shown, opened. Nobody needs to be signed in for it."""

from typing import Final

import msgspec

from wedsync_apm.api.inbound import Arrival, Reply
from wedsync_apm.errors import NotFound, NotValid
from wedsync_apm.notify.channels.push.receipt import Seen, read_receipt_token
from wedsync_apm.notify.receipts import store

_STATUS: Final = {
    Seen.SHOWN: "shown on the device",
    Seen.OPENED: "opened on the device",
    Seen.REFUSED: "the device may not show it",
}


class Told(msgspec.Struct):
    """What became of it."""

    event: Seen


async def hear(arrival: Arrival) -> Reply:
    """One receipt. The first one of a code's message verifies its contact. Raises NotFound for a
    token that is not ours, NotValid for what cannot be read."""
    delivery_id = read_receipt_token(arrival.services.keyring, arrival.token)
    if delivery_id is None:
        raise NotFound
    try:
        seen = msgspec.json.decode(arrival.body, type=Told).event
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NotValid("This receipt cannot be read.") from None
    async with arrival.services.pool.connection() as cx, cx.transaction():
        came = await store.record_receipt(
            cx,
            delivery_id,
            seen.receipt,
            provider_id=str(delivery_id),
            provider_status=_STATUS[seen],
        )
        # "known" too: whoever opened it faster than its first receipt came has proven the same.
        if seen is not Seen.REFUSED and came != "unknown":
            await store.verify_by_receipt(cx, delivery_id)
    return Reply()
