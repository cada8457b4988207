"""Incidents: the list, one with its timeline, and what a person does with it."""

import math
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from wedsync_apm.api.incident_bodies import (
    BlastRadius,
    HeldBack,
    IncidentDetail,
    IncidentInput,
    IncidentOut,
    NextStep,
    NoteInput,
    Part,
    Remark,
    TimelineEntry,
    entry_out,
    incident_out,
)
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Organization,
    Page,
    earlier_answer,
    one_organization,
    read_cursor,
    remember_answer,
    visible_organizations,
    write_cursor,
)
from wedsync_apm.clock import utcnow
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.incidents import store
from wedsync_apm.incidents.model import Action, blast_radius
from wedsync_apm.types import IncidentStatus, Severity

Sort = Annotated[
    Literal["newest", "urgency"],
    QueryParameter(
        required=False,
        description="`urgency`: what is not over, by priority, then by how soon a wedding's next "
        "part begins; all of it, without pages",
    ),
]
Statuses = Annotated[
    str | None,
    QueryParameter(
        name="status", required=False, description="Comma-separated: `open,acknowledged`"
    ),
]


def read_statuses(text: str | None) -> list[IncidentStatus] | None:
    """The statuses that a list asks for. Raises NotValid, naming those that there are."""
    if text is None:
        return None
    known = [status.value for status in IncidentStatus]
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    for name in wanted:
        if name not in known:
            reason = f"{name[:50]!r} is none of {', '.join(known)}"
            raise NotValid(errors=[FieldError("status", reason)])
    return [IncidentStatus(name) for name in wanted]


@get("/api/v1/incidents", tags=["incidents"])
async def list_incidents(
    request: ApiRequest,
    *,
    organization_id: Organization = None,
    status: Statuses = None,
    alert_id: FromQuery[UUID | None] = None,
    severity_min: FromQuery[Severity | None] = None,
    sort: Sort = "newest",
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[IncidentOut]:
    """List incidents, newest first, or what is not over by its urgency."""
    place = read_cursor(cursor)
    statuses = read_statuses(status)
    async with request.tenant() as cx:
        if organization_id is not None:
            await visible_organizations(cx, organization_id)
        if sort == "urgency":
            live = await store.list_live_incidents(cx, organization_id)
            shown = [
                one
                for one in live
                if (not statuses or one.status in statuses)
                and (alert_id is None or one.alert_id == alert_id)
                and (severity_min is None or one.severity.rank >= severity_min.rank)
            ]
            return Page([incident_out(one) for one in shown], None)
        page = await store.list_incidents(
            cx,
            organization_id=organization_id,
            statuses=statuses,
            alert_id=alert_id,
            severity_min=severity_min,
            before=(place.at, place.id) if place else None,
            limit=limit,
        )
    following = write_cursor(*page.next_before) if page.next_before else None
    return Page([incident_out(one) for one in page.incidents], following)


@post("/api/v1/incidents", tags=["incidents"])
async def create_incident(
    request: ApiRequest, data: JSONBody[IncidentInput], organization_id: Organization = None
) -> IncidentOut:
    """Report an incident by hand; its ladder starts at once."""
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            return msgspec.convert(earlier.body, IncidentOut)
        incident = await store.create_incident(
            cx,
            owner,
            title=data.title,
            severity=data.severity,
            at=utcnow(),
            vendor_text=msgspec.to_builtins(data.vendor_text),
        )
        if data.description.strip():
            await store.add_note(cx, incident.id, data.description)
        made = incident_out(incident)
        await remember_answer(cx, request, owner, request_hash, made)
    return made


@get("/api/v1/incidents/{id:uuid}", tags=["incidents"])
async def read_incident(request: ApiRequest, id: Id) -> IncidentDetail:
    """Read an incident with its timeline."""
    async with request.tenant() as cx:
        incident = await store.find_incident(cx, id)
        events = await store.list_events(cx, incident)
        step = await store.find_next_step(cx, incident)
        held = await store.find_held_back(cx, incident)
        parts = await store.list_parts(cx, incident)
    blast = blast_radius(incident, utcnow())
    left = blast.time_left
    return IncidentDetail(
        **msgspec.structs.asdict(incident_out(incident)),
        timeline=[entry_out(event) for event in events],
        next_step=None if step is None else msgspec.convert(step, NextStep, from_attributes=True),
        held_back=None if held is None else msgspec.convert(held, HeldBack, from_attributes=True),
        blast_radius=BlastRadius(
            weddings=blast.weddings,
            phase=blast.phase,
            next_milestone_at=blast.next_milestone_at,
            next_phase=blast.next_phase,
            ceremony_at=blast.ceremony_at,
            minutes_to_next_milestone=None
            if left is None
            else math.ceil(left.total_seconds() / 60),
        ),
        parts=[msgspec.convert(part, Part, from_attributes=True) for part in parts],
    )


async def _act(request: ApiRequest, incident_id: UUID, action: Action, data: Remark) -> IncidentOut:
    async with request.tenant() as cx:
        return incident_out(await store.act(cx, incident_id, action, data.message))


@post("/api/v1/incidents/{id:uuid}/acknowledge", status_code=200, tags=["incidents"])
async def acknowledge_incident(
    request: ApiRequest, id: Id, data: JSONBody[Remark | None] = None
) -> IncidentOut:
    """I have it in hand: the ladder stops."""
    return await _act(request, id, Action.ACKNOWLEDGE, data or Remark())


@post("/api/v1/incidents/{id:uuid}/investigate", status_code=200, tags=["incidents"])
async def investigate_incident(
    request: ApiRequest, id: Id, data: JSONBody[Remark | None] = None
) -> IncidentOut:
    """I am working on it."""
    return await _act(request, id, Action.INVESTIGATE, data or Remark())


@post("/api/v1/incidents/{id:uuid}/resolve", status_code=200, tags=["incidents"])
async def resolve_incident(
    request: ApiRequest, id: Id, data: JSONBody[Remark | None] = None
) -> IncidentOut:
    """It is over: whoever was told of it is told so."""
    return await _act(request, id, Action.RESOLVE, data or Remark())


@post("/api/v1/incidents/{id:uuid}/close", status_code=200, tags=["incidents"])
async def close_incident(
    request: ApiRequest, id: Id, data: JSONBody[Remark | None] = None
) -> IncidentOut:
    """Done with for good."""
    return await _act(request, id, Action.CLOSE, data or Remark())


@post("/api/v1/incidents/{id:uuid}/reopen", status_code=200, tags=["incidents"])
async def reopen_incident(
    request: ApiRequest, id: Id, data: JSONBody[Remark | None] = None
) -> IncidentOut:
    """It is not over after all: the ladder starts anew."""
    return await _act(request, id, Action.REOPEN, data or Remark())


@post("/api/v1/incidents/{id:uuid}/escalate", status_code=200, tags=["incidents"])
async def escalate_incident(
    request: ApiRequest, id: Id, data: JSONBody[Remark | None] = None
) -> IncidentOut:
    """Do not wait: the ladder's next step is due now."""
    async with request.tenant() as cx:
        await store.escalate(cx, id)
        if data is not None and data.message.strip():
            await store.add_note(cx, id, data.message)
        return incident_out(await store.find_incident(cx, id))


@post("/api/v1/incidents/{id:uuid}/notes", tags=["incidents"])
async def add_note(request: ApiRequest, id: Id, data: JSONBody[NoteInput]) -> TimelineEntry:
    """Write a note into the timeline."""
    async with request.tenant() as cx:
        incident = await store.find_incident(cx, id)
        earlier, request_hash = await earlier_answer(cx, request, incident.organization_id)
        if earlier is not None:
            return msgspec.convert(earlier.body, TimelineEntry)
        entry = entry_out(await store.add_note(cx, id, data.message))
        await remember_answer(cx, request, incident.organization_id, request_hash, entry)
    return entry


@post("/api/v1/incidents/{id:uuid}/seen", tags=["incidents"])
async def mark_seen(request: ApiRequest, id: Id) -> TimelineEntry:
    """I have seen it, without taking it in hand."""
    async with request.tenant() as cx:
        return entry_out(await store.mark_seen(cx, id))


HANDLERS: Final = (
    list_incidents,
    create_incident,
    read_incident,
    acknowledge_incident,
    investigate_incident,
    resolve_incident,
    close_incident,
    reopen_incident,
    escalate_incident,
    add_note,
    mark_seen,
)
