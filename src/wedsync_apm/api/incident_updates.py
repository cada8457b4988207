"""What is said about an incident and to whom: updates, its two texts, and what it is part of."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import post, put
from litestar.params import JSONBody

from wedsync_apm.api.incident_bodies import IncidentOut, Note, VendorText, incident_out
from wedsync_apm.api.requests import ApiRequest, Id
from wedsync_apm.clock import utcnow
from wedsync_apm.incidents import store


class MergeInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The live incident that this one is a part of."""

    into: UUID
    message: Note = ""


class UpdateInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A word to everyone who was told, and when the next one comes (null: as the settings say)."""

    message: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    next_update_at: datetime | None = None


class PromiseInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When the next update comes; null takes the promise back."""

    next_update_at: datetime | None


class TextsInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is broken, for the engineer and for the vendor."""

    engineer_text: Annotated[str, msgspec.Meta(max_length=2000)]
    vendor_text: VendorText


@post("/api/v1/incidents/{id:uuid}/merge", status_code=200, tags=["incidents"])
async def merge_incident(request: ApiRequest, id: Id, data: JSONBody[MergeInput]) -> IncidentOut:
    """It is a part of another one: this one is closed, whoever was told hears where it goes on, and
    what comes again counts there."""
    async with request.tenant() as cx:
        return incident_out(await store.merge(cx, id, data.into, data.message))


@post("/api/v1/incidents/{id:uuid}/updates", status_code=200, tags=["incidents"])
async def tell_update(request: ApiRequest, id: Id, data: JSONBody[UpdateInput]) -> IncidentOut:
    """Send a word to everyone who was told, and promise the next one."""
    async with request.tenant() as cx:
        told = await store.tell_update(
            cx, id, data.message, at=utcnow(), next_update_at=data.next_update_at
        )
        return incident_out(told)


@put("/api/v1/incidents/{id:uuid}/promise", tags=["incidents"])
async def promise_update(request: ApiRequest, id: Id, data: JSONBody[PromiseInput]) -> IncidentOut:
    """Promise the next update by a time, without a word now."""
    async with request.tenant() as cx:
        return incident_out(await store.promise_update(cx, id, data.next_update_at, at=utcnow()))


@put("/api/v1/incidents/{id:uuid}/texts", tags=["incidents"])
async def change_texts(request: ApiRequest, id: Id, data: JSONBody[TextsInput]) -> IncidentOut:
    """Write both texts anew: for the engineer, and for the vendor."""
    async with request.tenant() as cx:
        changed = await store.change_texts(
            cx,
            id,
            engineer_text=data.engineer_text,
            vendor_text=msgspec.to_builtins(data.vendor_text),
        )
        return incident_out(changed)


HANDLERS: Final = (merge_incident, tell_update, promise_update, change_texts)
