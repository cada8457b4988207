"""Emergency contacts of a wedding: who is called in its hours whatever the ladder says."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get, put
from litestar.params import JSONBody

from wedsync_apm.api.requests import ApiRequest, Id, Page, shape
from wedsync_apm.types import Channel
from wedsync_apm.weddings.emergency import store

PATH: Final = "/api/v1/weddings/{id:uuid}/emergency-contacts"


class EmergencyContact(msgspec.Struct, kw_only=True):
    """One of them; a disabled one is not called."""

    contact_method_id: UUID
    name: str
    channel: Channel
    address: str
    verified_at: datetime | None
    disabled_at: datetime | None


class EmergencyContactsInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Contacts of the organization, in the order in which they are shown."""

    contact_method_ids: Annotated[list[UUID], msgspec.Meta(max_length=100)]


@get(PATH, tags=["weddings"])
async def list_emergency_contacts(request: ApiRequest, id: Id) -> Page[EmergencyContact]:
    """List who is called in a wedding's hours beside the people on the ladder."""
    async with request.tenant() as cx:
        rows = await store.list_contacts(cx, id)
    return Page([shape(EmergencyContact, row) for row in rows], None)


@put(PATH, tags=["weddings"])
async def set_emergency_contacts(
    request: ApiRequest, id: Id, data: JSONBody[EmergencyContactsInput]
) -> Page[EmergencyContact]:
    """Say who is called in a wedding's hours beside the people on the ladder."""
    async with request.tenant() as cx:
        rows = await store.set_contacts(cx, id, data.contact_method_ids)
    return Page([shape(EmergencyContact, row) for row in rows], None)


HANDLERS: Final = (list_emergency_contacts, set_emergency_contacts)
