"""What contacts need to work with other systems: keys that change over, addresses for callbacks."""

from dataclasses import asdict
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from litestar import get, post

from wedsync_apm.api.requests import ApiRequest, Id
from wedsync_apm.api.secrets import require_admin
from wedsync_apm.clock import utcnow
from wedsync_apm.errors import Conflict, NotFound
from wedsync_apm.notify.members import store, vault
from wedsync_apm.notify.members.callbacks import callback_address
from wedsync_apm.notify.vapid import read_vapid
from wedsync_apm.types import Channel

_WITH_CALLBACKS: Final = frozenset({Channel.SLACK.value, Channel.PAGERDUTY.value})


class RotatedKey(msgspec.Struct, kw_only=True):
    """A webhook's new key, shown this once. Until `previous_until` the one before signs too."""

    signing_key: str
    fingerprint: str
    previous_fingerprint: str
    previous_until: datetime


class CallbackAddress(msgspec.Struct, kw_only=True):
    """Where Slack or PagerDuty tells us what people do there."""

    url: str


class PushKey(msgspec.Struct, kw_only=True):
    """What a browser subscribes with (`applicationServerKey`), in base64url."""

    public_key: str


@post("/api/v1/contact-methods/{id:uuid}/rotate-key", status_code=200, tags=["contact-methods"])
async def rotate_key(request: ApiRequest, id: Id) -> RotatedKey:
    """Give a webhook a new key. Its receiver stays verified, and for a day messages are signed with
    both keys."""
    await _administered(
        request, id, frozenset({Channel.WEBHOOK.value}), "Only a webhook has a key."
    )
    async with request.services.pool.connection() as api:
        rotated = await vault.rotate_key(api, request.services.keyring, id, utcnow())
    if rotated is None:
        raise NotFound("There is no such contact.")
    async with request.tenant() as cx:
        await store.rotate_contact_secret(cx, id, rotated.ciphertext, rotated.secret_fingerprint)
    return msgspec.convert(asdict(rotated.told), RotatedKey)


@get("/api/v1/contact-methods/{id:uuid}/callback", tags=["contact-methods"])
async def read_callback(request: ApiRequest, id: Id) -> CallbackAddress:
    """Read the address for the interactivity of a Slack app, or for a PagerDuty webhook."""
    await _administered(request, id, _WITH_CALLBACKS, "Nothing is heard from this channel.")
    services = request.services
    async with services.pool.connection() as api:
        url = await callback_address(api, services.keyring, services.settings.base_url, id)
    return CallbackAddress(url=url)


@get("/api/v1/push/public-key", tags=["contact-methods"])
async def read_push_key(request: ApiRequest) -> PushKey:
    """Read the key that a browser subscribes with."""
    return PushKey(public_key=read_vapid(request.services.settings).public_key)


async def _administered(
    request: ApiRequest, contact_method_id: UUID, channels: frozenset[str], otherwise: str
) -> None:
    async with request.tenant() as cx:
        row = await store.find_contact_method(cx, contact_method_id)
        if row is None:
            raise NotFound("There is no such contact.")
        await require_admin(cx, row["organization_id"])
    if row["channel"] not in channels:
        raise Conflict(otherwise)


HANDLERS: Final = (rotate_key, read_callback, read_push_key)
