"""Whether everything is ready for a wedding."""

from datetime import date, datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import QueryParameter

from wedsync_apm.api.requests import ApiRequest, shape
from wedsync_apm.weddings.readiness import store
from wedsync_apm.weddings.readiness.model import Cause, Outcome

Wedding = Annotated[UUID, QueryParameter(name="wedding", description="The wedding's id")]
Now = Annotated[
    bool,
    QueryParameter(
        name="now", required=False, description="Look at this moment instead; nothing is kept"
    ),
]


class ReadinessLine(msgspec.Struct, kw_only=True):
    """One question with its answer in plain words."""

    key: str
    title: str
    outcome: Outcome
    reason: str


class Readiness(msgspec.Struct, kw_only=True):
    """A report. Without `id` it was made for this answer and is not kept. The wedding's date, and
    when the report is due, are for members."""

    id: UUID | None
    organization_id: UUID
    wedding_id: UUID
    wedding_date: date | None
    due_at: datetime | None
    cause: Cause
    made_at: datetime
    outcome: Outcome
    lines: list[ReadinessLine]


class Asked(msgspec.Struct, kw_only=True):
    """The engine makes the report within seconds; read it then."""

    wedding_id: UUID
    asked: bool = True


@get("/api/v1/readiness", tags=["readiness"])
async def read_readiness(request: ApiRequest, wedding: Wedding, now: Now = False) -> Readiness:
    """Read the last report of a wedding; before the first one, how it looks at this moment."""
    async with request.tenant() as cx:
        row = None if now else await store.find_report(cx, wedding)
        return shape(Readiness, row or await store.look_now(cx, wedding))


@post("/api/v1/readiness", status_code=202, tags=["readiness"])
async def ask_readiness(request: ApiRequest, wedding: Wedding) -> Asked:
    """Have a report made now, which ends the wedding's incident if nothing fails any more."""
    async with request.tenant() as cx:
        await store.ask_again(cx, wedding)
    return Asked(wedding_id=wedding)


HANDLERS: Final = (read_readiness, ask_readiness)
