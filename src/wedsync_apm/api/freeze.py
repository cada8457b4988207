"""Whether something may be changed now: what a pipeline asks, and who agreed all the same."""

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from wedsync_apm.api.guard import Minutes, Plan, Why
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Organization,
    Page,
    choose,
    earlier_answer,
    page_of,
    read_cursor,
    remember_answer,
    shape,
    visible_organizations,
)
from wedsync_apm.api.samples_out import read_time
from wedsync_apm.errors import NotValid
from wedsync_apm.organizations.store import find_standing
from wedsync_apm.weddings.guard import store
from wedsync_apm.weddings.guard.model import (
    Approval,
    Decision,
    Emergency,
    Reason,
    find_order_faults,
)

MOST_WEDDINGS: Final = 100
MOST_ORGANIZATIONS: Final = 100
"""Listed by name; all are counted."""

ServiceName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*\S[^\x00]*$")
]


class FreezeWedding(msgspec.Struct, kw_only=True):
    """A wedding that is a reason, as far as members may know it: initials, never names."""

    wedding_id: UUID
    organization_id: UUID
    initials: str | None
    wedding_date: date
    time_zone: str
    starts_at: datetime
    ends_at: datetime


class FreezeOrganization(msgspec.Struct, kw_only=True):
    """How many of the weddings are this organization's."""

    organization_id: UUID
    name: str
    weddings: int


class FreezeLift(msgspec.Struct, kw_only=True):
    """The approval that lifts a reason."""

    id: UUID
    who: str
    why: str
    until: datetime


class FreezeReason(msgspec.Struct, kw_only=True):
    """One thing that stands in the way; with `approval`, it would but for that.

    `weddings` is empty for whoever asks for the whole platform.
    """

    code: str
    decision: Decision
    text: str
    until: datetime | None
    wedding_count: int
    weddings: list[FreezeWedding]
    organizations: list[FreezeOrganization]
    approval: FreezeLift | None


class Freeze(msgspec.Struct, kw_only=True):
    """`until`: when the reasons of this decision are over; of "allow", when the next one begins.
    Null: unknown. Without an organization the answer is about all that the caller can see."""

    service: str
    organization_id: UUID | None
    organization_name: str | None
    at: datetime
    decision: Decision
    reasons: list[FreezeReason]
    until: datetime | None


class FreezeApprovalInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An agreement from now, for eight hours at most. Without `service` it is for all of them.

    A ban is lifted by an emergency alone, which needs a way back.
    """

    reason: Why
    minutes: Minutes
    service: ServiceName | None = None
    emergency: Emergency | None = None
    rollback_plan: Plan | None = None


class FreezeApproval(msgspec.Struct, kw_only=True):
    """Who agreed, why and until when. Without `organization_id` it is the platform's."""

    id: UUID
    organization_id: UUID | None
    service: str | None
    reason: str
    emergency: Emergency | None
    rollback_plan: str | None
    starts_at: datetime
    ends_at: datetime
    created_by: UUID | None
    created_by_name: str
    ended_at: datetime | None
    ended_by: UUID | None
    ended_by_name: str | None


def freeze_of(service: str, organization_id: UUID | None, answer: store.FreezeAnswer) -> Freeze:
    """The answer, as the API and the command give it."""
    verdict = answer.verdict
    return Freeze(
        service=service,
        organization_id=organization_id,
        organization_name=answer.organization_name,
        at=answer.at,
        decision=verdict.decision,
        reasons=[_reason(reason) for reason in verdict.reasons],
        until=verdict.until,
    )


def _reason(reason: Reason) -> FreezeReason:
    counts = Counter((one.organization_id, one.organization_name) for one in reason.weddings)
    return FreezeReason(
        code=reason.code,
        decision=reason.decision,
        text=reason.text,
        until=reason.until,
        wedding_count=len(reason.weddings),
        weddings=[
            FreezeWedding(
                wedding_id=one.wedding_id,
                organization_id=one.organization_id,
                initials=one.initials,
                wedding_date=one.wedding_date,
                time_zone=one.time_zone,
                starts_at=one.starts_at,
                ends_at=one.ends_at,
            )
            for one in reason.weddings[:MOST_WEDDINGS]
            if one.wedding_id is not None
        ],
        organizations=[
            FreezeOrganization(organization_id=organization_id, name=name, weddings=count)
            for (organization_id, name), count in counts.most_common(MOST_ORGANIZATIONS)
        ],
        approval=_lift(reason.approval) if reason.approval is not None else None,
    )


def _lift(approval: Approval) -> FreezeLift:
    return FreezeLift(
        id=approval.id,
        who=approval.created_by_name,
        why=approval.reason,
        until=approval.ends_at,
    )


@get("/api/v1/freeze", tags=["freeze"])
async def read_freeze(
    request: ApiRequest,
    service: Annotated[str, QueryParameter(min_length=1, max_length=200)],
    at: FromQuery[str | None] = None,
    organization_id: Organization = None,
) -> Freeze:
    """Ask whether a service may be changed at `at` (now).

    Members are answered by the platform's calendar and their own weddings; operators and the
    platform's reading keys by all weddings, which they see as counts.
    """
    moment = read_time("at", at)
    async with request.tenant() as cx:
        answer = await store.ask_freeze(cx, service, moment, organization_id)
    return freeze_of(service, organization_id, answer)


@get("/api/v1/freeze/approvals", tags=["freeze"])
async def list_approvals(
    request: ApiRequest,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[FreezeApproval]:
    """List who agreed to changes, the newest first: operators, and your organizations' admins."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        if organization_id is not None and not request.identity.is_platform:
            await visible_organizations(cx, organization_id)
        rows = await store.list_approvals(
            cx,
            organization_id=organization_id,
            before=place.at if place else None,
            limit=limit + 1,
        )
    return page_of(FreezeApproval, rows, limit, at="starts_at")


@post("/api/v1/freeze/approvals", tags=["freeze"])
async def create_approval(
    request: ApiRequest, data: JSONBody[FreezeApprovalInput], organization_id: Organization = None
) -> FreezeApproval:
    """Agree to changes from now: with `organization_id` its owner or admin, for what its own
    weddings forbid; without, an operator, for the whole platform. A key cannot."""
    faults = find_order_faults(data.reason, data.minutes, data.emergency, data.rollback_plan)
    if faults:
        raise NotValid(errors=faults)
    async with request.tenant() as cx:
        standing = await find_standing(cx)
        if organization_id is not None or standing.operator_role is None:
            organization_id = choose(standing, organization_id)
        # Where a repeat is remembered: the platform's own have no other place than its operators'.
        owner = organization_id or next(iter(standing.organization_ids), None)
        if owner is not None:
            earlier, request_hash = await earlier_answer(cx, request, owner)
            if earlier is not None:
                return msgspec.convert(earlier.body, FreezeApproval)
        made = await store.create_approval(
            cx,
            organization_id=organization_id,
            service=data.service,
            reason=data.reason,
            length=timedelta(minutes=data.minutes),
            emergency=data.emergency,
            rollback_plan=data.rollback_plan,
        )
        shown = shape(FreezeApproval, await store.find_approval(cx, made))
        if owner is not None:
            await remember_answer(cx, request, owner, request_hash, shown)
    return shown


@get("/api/v1/freeze/approvals/{id:uuid}", tags=["freeze"])
async def read_approval(request: ApiRequest, id: Id) -> FreezeApproval:
    """Read an approval."""
    async with request.tenant() as cx:
        return shape(FreezeApproval, await store.find_approval(cx, id))


@delete("/api/v1/freeze/approvals/{id:uuid}", tags=["freeze"])
async def withdraw_approval(request: ApiRequest, id: Id) -> None:
    """Take an approval back. The list goes on showing it."""
    async with request.tenant() as cx:
        await store.withdraw_approval(cx, id)


HANDLERS: Final = (
    read_freeze,
    list_approvals,
    create_approval,
    read_approval,
    withdraw_approval,
)
