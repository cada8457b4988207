"""Whether a contact reaches anybody: a code that comes back, and a test message."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import post
from litestar.params import JSONBody

from wedsync_apm.api.paging import ContactMethod
from wedsync_apm.api.requests import ApiRequest, Id, shape
from wedsync_apm.errors import NotFound
from wedsync_apm.notify.members import store
from wedsync_apm.notify.members.proofs import check_said, give_code, send_code
from wedsync_apm.notify.members.proofs import send_test as put_test


class SentCode(msgspec.Struct):
    """A code is on its way; `delivery_id` says among the deliveries what became of it."""

    delivery_id: UUID
    expires_at: datetime


class Code(msgspec.Struct, forbid_unknown_fields=True):
    """The six digits that came."""

    code: Annotated[str, msgspec.Meta(pattern="^[0-9]{6}$")]


class SentTest(msgspec.Struct):
    """A test message is on its way."""

    delivery_id: UUID


@post("/api/v1/contact-methods/{id:uuid}/verify/start", status_code=202, tags=["contact-methods"])
async def start_verification(request: ApiRequest, id: Id) -> SentCode:
    """Send a code of six digits to a contact; the one before is void."""
    async with request.tenant() as cx:
        delivery_id, expires_at = await send_code(cx, request.services.keyring, id)
    return SentCode(delivery_id, expires_at)


@post("/api/v1/contact-methods/{id:uuid}/verify", status_code=200, tags=["contact-methods"])
async def verify_contact(request: ApiRequest, id: Id, data: JSONBody[Code]) -> ContactMethod:
    """Give the code back: the contact is verified. After five wrong ones the code is void."""
    async with request.tenant() as cx:
        said = await give_code(cx, request.services.keyring, id, data.code)
        row = await store.find_contact_method(cx, id)
    # Outside of the transaction, so that a wrong code has been counted.
    check_said(said)
    if row is None:
        raise NotFound("There is no such contact.")
    return shape(ContactMethod, row)


@post("/api/v1/contact-methods/{id:uuid}/test", status_code=202, tags=["contact-methods"])
async def send_test(request: ApiRequest, id: Id) -> SentTest:
    """Send a test message to a contact."""
    async with request.tenant() as cx:
        return SentTest(await put_test(cx, id))


HANDLERS: Final = (start_verification, verify_contact, send_test)
