"""The first steps of a business, and the operators' switch: who is watched, who is set up."""

import base64
import binascii
from datetime import date, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Limit,
    Organization,
    one_organization,
)
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import FieldError, Forbidden, NotValid
from wedsync_apm.organizations import store as organizations
from wedsync_apm.organizations.monitoring import store
from wedsync_apm.organizations.monitoring.model import (
    Counts,
    FirstSteps,
    Monitoring,
    Outcome,
    Place,
    StepName,
    StepState,
    Wanted,
)

Reason = Annotated[str, msgspec.Meta(min_length=3, max_length=1000)]
GroupName = Annotated[str, msgspec.Meta(max_length=100)]


class FirstStep(msgspec.Struct, kw_only=True):
    """A step as it stands, measured from what is there. `unknown`: it cannot be known, and `code`
    says why."""

    step: StepName
    state: StepState
    code: str
    detail: dict[str, Any]


class GettingStarted(msgspec.Struct, kw_only=True):
    """The caller's first steps. `is_watched` false: the platform has not switched monitoring on
    for the organization; samples are kept, nothing is judged and nobody is told."""

    organization_id: UUID
    is_watched: bool
    done: int
    steps: list[FirstStep]


class SkipInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why it is left out."""

    reason: Annotated[str, msgspec.Meta(max_length=300)] = ""


class MonitoredOrganization(msgspec.Struct, kw_only=True):
    """An organization in the operators' list; `rank` 0 has a wedding near and is not set up."""

    organization_id: UUID
    name: str
    vendor_type: str
    state: Monitoring
    group_name: str
    reason: str | None
    changed_at: datetime | None
    changed_by_name: str | None
    done: int
    is_set_up: bool
    open_steps: list[StepName]
    next_on: date | None
    is_near: bool
    rank: int


class MonitoringList(msgspec.Struct, kw_only=True):
    """A page; the counts are of all that match the filter."""

    counts: Counts
    default: Monitoring
    items: list[MonitoredOrganization]
    next_cursor: str | None = None


class SwitchInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom to switch, by id or all of a group, to what, and why. `group_name` puts them into a
    group, '' out of theirs. Off is refused while an incident lives, and with a wedding in the next
    48 hours unless `is_near_ok`."""

    organization_ids: Annotated[list[UUID], msgspec.Meta(max_length=500)] = msgspec.field(
        default_factory=list
    )
    group: GroupName | None = None
    state: Monitoring
    reason: Reason
    group_name: GroupName | None = None
    is_near_ok: bool = False


class Switched(msgspec.Struct, kw_only=True):
    """What came of it for one organization."""

    organization_id: UUID
    outcome: Outcome


class SwitchResult(msgspec.Struct, kw_only=True):
    """What came of it for each."""

    items: list[Switched]


class DefaultInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What organizations to come begin with; those that are there stay as they are."""

    state: Monitoring
    reason: Reason


class DefaultResult(msgspec.Struct, kw_only=True):
    """`kept` organizations had what they had written down by it."""

    state: Monitoring
    kept: int


class MonitoringGroup(msgspec.Struct, kw_only=True):
    """Organizations that are switched together."""

    name: str
    members: int
    off: int
    beta: int
    on: int


class MonitoringGroups(msgspec.Struct, kw_only=True):
    """All groups, by name."""

    items: list[MonitoringGroup]


def started_of(owner: UUID, found: FirstSteps) -> GettingStarted:
    """The first steps as the API shows them."""
    return GettingStarted(
        organization_id=owner,
        is_watched=found.is_watched,
        done=found.done,
        steps=[
            FirstStep(step=one.name, state=one.state, code=one.code, detail=dict(one.detail))
            for one in found.steps
        ],
    )


@get("/api/v1/getting-started", tags=["getting started"])
async def read_getting_started(
    request: ApiRequest, organization_id: Organization = None
) -> GettingStarted:
    """How far the caller is with the first steps, each measured from what is there."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        return started_of(owner, await store.read_first_steps(cx, owner, request.identity.subject))


@put("/api/v1/getting-started/{step:str}/skip", tags=["getting started"])
async def skip_first_step(
    request: ApiRequest,
    step: FromPath[StepName],
    data: JSONBody[SkipInput],
    organization_id: Organization = None,
) -> GettingStarted:
    """Leave a step out: one's own phone, test and installation for oneself, the others for the
    organization (owners and admins)."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        subject = request.identity.subject
        await store.skip_step(cx, owner, step, subject, data.reason)
        return started_of(owner, await store.read_first_steps(cx, owner, subject))


@delete("/api/v1/getting-started/{step:str}/skip", tags=["getting started"])
async def take_up_first_step(
    request: ApiRequest, step: FromPath[StepName], organization_id: Organization = None
) -> None:
    """Want it after all."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        await store.take_up_step(cx, owner, step, request.identity.subject)


@get("/api/v1/monitoring", tags=["platform"])
async def list_monitoring(
    request: ApiRequest,
    *,
    monitoring: Annotated[Monitoring | None, QueryParameter(name="state", required=False)] = None,
    set_up: Annotated[bool | None, QueryParameter(required=False)] = None,
    near: Annotated[bool, QueryParameter(required=False)] = False,
    group: Annotated[str | None, QueryParameter(required=False)] = None,
    name: Annotated[str, QueryParameter(required=False)] = "",
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> MonitoringList:
    """List all organizations with their monitoring and first steps, for operators: those first
    that have a wedding near and are not set up."""
    after = read_place(cursor)
    wanted = Wanted(monitoring, set_up, group, near, name)
    async with request.tenant() as cx:
        await _require_operator(cx)
        found = await store.list_set_up(cx, wanted, limit=limit, after=after)
        default = await store.find_default(cx)
    return MonitoringList(
        counts=found.counts,
        default=default or Monitoring.ON,
        items=[
            msgspec.convert(one, MonitoredOrganization, from_attributes=True)
            for one in found.businesses
        ],
        next_cursor=write_place(found.following) if found.following else None,
    )


@get("/api/v1/monitoring/groups", tags=["platform"])
async def list_monitoring_groups(request: ApiRequest) -> MonitoringGroups:
    """List the groups, for operators."""
    async with request.tenant() as cx:
        await _require_operator(cx)
        rows = await store.list_groups(cx)
    return MonitoringGroups(items=msgspec.convert(rows, list[MonitoringGroup]))


@post("/api/v1/monitoring/switch", tags=["platform"], status_code=200)
async def switch_monitoring(request: ApiRequest, data: JSONBody[SwitchInput]) -> SwitchResult:
    """Switch organizations off, to beta or on, for operators on call and DBAs. Audited."""
    if bool(data.organization_ids) == bool(data.group):
        raise NotValid(
            errors=[FieldError("organization_ids", "name organizations or a group, not both")]
        )
    async with request.tenant() as cx:
        await _require_operator(cx)
        ids = data.organization_ids
        if data.group:
            ids = await store.list_group_members(cx, data.group)
        came = await store.switch_monitoring(
            cx,
            ids,
            data.state,
            reason=data.reason,
            group_name=data.group_name,
            is_near_ok=data.is_near_ok,
        )
    return SwitchResult(
        items=[Switched(organization_id=one, outcome=what) for one, what in came.items()]
    )


@put("/api/v1/monitoring/default", tags=["platform"])
async def set_monitoring_default(
    request: ApiRequest, data: JSONBody[DefaultInput]
) -> DefaultResult:
    """Say what organizations to come begin with, off or on. Audited."""
    if data.state is Monitoring.BETA:
        raise NotValid(errors=[FieldError("state", "new organizations begin off or on")])
    async with request.tenant() as cx:
        await _require_operator(cx)
        kept = await store.set_default(cx, data.state, reason=data.reason)
    return DefaultResult(state=data.state, kept=kept)


async def _require_operator(cx: Connection) -> None:
    if (await organizations.find_standing(cx)).operator_role is None:
        raise Forbidden("Only an operator of the platform may see this.")


def write_place(place: Place) -> str:
    """The cursor that continues after it."""
    text = f"{place.rank} {place.next_on.isoformat()} {place.organization_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_place(cursor: str | None) -> Place | None:
    """The place that a cursor of ours names. Raises NotValid for any other text."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        rank, next_on, row = text.split(" ")
        return Place(int(rank), date.fromisoformat(next_on), UUID(row))
    except (binascii.Error, ValueError) as exc:
        raise NotValid(errors=[FieldError("cursor", "is none that we gave")]) from exc


HANDLERS: Final = (
    read_getting_started,
    skip_first_step,
    take_up_first_step,
    list_monitoring,
    list_monitoring_groups,
    switch_monitoring,
    set_monitoring_default,
)
