"""Looking back: post-mortems, what was decided in them, figures, and reports by wedding and day."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from litestar import get, put
from litestar.params import FromQuery, JSONBody, QueryParameter

from wedsync_apm.api.requests import ApiRequest, Id, Organization, Page, visible_organizations
from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.incidents import store as incidents
from wedsync_apm.incidents.model import Incident
from wedsync_apm.incidents.reviews import model, store
from wedsync_apm.incidents.reviews.reports import day_report, wedding_report
from wedsync_apm.types import Severity

Text = Annotated[str, msgspec.Meta(max_length=10_000)]
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
Lines = Annotated[list[Line], msgspec.Meta(max_length=50)]


class ActionItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What was decided: by whom and by when."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    owner: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    due_on: date
    id: UUID | None = None
    """As it was read; without one a new action is made."""
    is_done: bool = False


class PostmortemInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is written down; what is left out becomes empty."""

    summary: Text = ""
    root_cause: Text = ""
    contributing_factors: Lines = []
    went_well: Lines = []
    went_wrong: Lines = []
    preventive_measures: Lines = []
    customers_affected: Annotated[int, msgspec.Meta(ge=0, le=2_000_000_000)] | None = None
    data_loss: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    financial_impact_pounds: Annotated[float, msgspec.Meta(ge=0, le=9_999_999_999)] | None = None
    is_false_positive: bool = False
    is_approved: bool = False
    """Owners and admins only; what is changed afterwards has to be approved again."""
    actions: Annotated[list[ActionItem], msgspec.Meta(max_length=200)] = []


class Measured(msgspec.Struct, kw_only=True):
    """What the timeline says, in seconds, without the time in which it was silenced."""

    acknowledge: float | None
    resolve: float | None
    downtime: float
    times_back: int
    called: int


class TrackedAction(msgspec.Struct, kw_only=True):
    """What was decided, and whether it is done."""

    id: UUID | None
    organization_id: UUID | None
    incident_id: UUID | None
    number: int | None
    incident_title: str
    title: str
    owner: str
    due_on: date
    is_done: bool
    done_at: datetime | None
    is_overdue: bool


class PostmortemOut(msgspec.Struct, kw_only=True):
    """A post-mortem; a draft is what the timeline says before anybody has written."""

    incident_id: UUID
    is_draft: bool
    summary: str
    root_cause: str
    contributing_factors: list[str]
    went_well: list[str]
    went_wrong: list[str]
    preventive_measures: list[str]
    customers_affected: int | None
    data_loss: str
    financial_impact_pounds: float | None
    is_false_positive: bool
    is_approved: bool
    approved_by_name: str | None
    approved_at: datetime | None
    updated_at: datetime | None
    measured: Measured
    actions: list[TrackedAction]


class Times(msgspec.Struct, kw_only=True):
    """Seconds, without silenced time; null where there is nothing to count."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None


class Figures(msgspec.Struct, kw_only=True):
    """Time to acknowledge (MTTA) and to resolve (MTTR) over the stretches of one scope."""

    scope: model.Scope
    spells: int
    acknowledge: Times
    resolve: Times


class FiguresOut(msgspec.Struct, kw_only=True):
    """Figures over a range: of all, of those that began in a wedding, and of the others."""

    start: datetime
    end: datetime
    figures: list[Figures]


class Spell(msgspec.Struct, kw_only=True):
    """One stretch of trouble."""

    organization_id: UUID
    incident_id: UUID
    number: int
    headline: str
    severity: Severity
    phase: str | None
    began_at: datetime
    acknowledged_at: datetime | None
    ended_at: datetime | None
    called: int


class ReportOut(msgspec.Struct, kw_only=True):
    """What befell a wedding or a day; `is_final` 36 hours after its end."""

    starts_at: datetime
    ends_at: datetime
    is_final: bool
    impact_seconds: float
    called: int
    spells: list[Spell]
    figures: list[Figures]


def postmortem_out(
    incident_id: UUID, found: model.Postmortem, measured: model.Measured, today: date
) -> PostmortemOut:
    """As answers show it."""
    return PostmortemOut(
        incident_id=incident_id,
        is_draft=found.is_draft,
        summary=found.summary,
        root_cause=found.root_cause,
        contributing_factors=list(found.contributing_factors),
        went_well=list(found.went_well),
        went_wrong=list(found.went_wrong),
        preventive_measures=list(found.preventive_measures),
        customers_affected=found.customers_affected,
        data_loss=found.data_loss,
        financial_impact_pounds=found.financial_impact_pounds,
        is_false_positive=found.is_false_positive,
        is_approved=found.is_approved,
        approved_by_name=found.approved_by_name,
        approved_at=found.approved_at,
        updated_at=found.updated_at,
        measured=msgspec.convert(measured, Measured, from_attributes=True),
        actions=[action_out(action, today) for action in found.actions],
    )


def action_out(action: model.ActionItem, today: date) -> TrackedAction:
    """As answers show it."""
    return TrackedAction(
        id=action.id,
        organization_id=action.organization_id,
        incident_id=action.incident_id,
        number=action.number,
        incident_title=action.incident_title,
        title=action.title,
        owner=action.owner,
        due_on=action.due_on,
        is_done=action.is_done,
        done_at=action.done_at,
        is_overdue=action.is_overdue(today),
    )


def report_out(found: model.Report) -> ReportOut:
    """As answers show it."""
    return ReportOut(
        starts_at=found.starts_at,
        ends_at=found.ends_at,
        is_final=found.is_final,
        impact_seconds=found.impact_seconds,
        called=found.called,
        spells=[msgspec.convert(spell, Spell, from_attributes=True) for spell in found.spells],
        figures=_figures(found.figures),
    )


def _figures(found: Sequence[model.Figures]) -> list[Figures]:
    return [msgspec.convert(one, Figures, from_attributes=True) for one in found]


async def _spells_of(cx: Connection, incident: Incident, at: datetime) -> list[model.Spell]:
    return await store.list_spells(
        cx,
        at=at,
        start=datetime.min.replace(tzinfo=UTC),
        end=datetime.max.replace(tzinfo=UTC),
        organization_id=incident.organization_id,
        incident_id=incident.id,
    )


@get("/api/v1/incidents/{id:uuid}/postmortem", tags=["incidents"])
async def read_postmortem(request: ApiRequest, id: Id) -> PostmortemOut:
    """Read the post-mortem; before anybody has written one, what the timeline says."""
    now = utcnow()
    async with request.tenant() as cx:
        incident = await incidents.find_incident(cx, id)
        spells = await _spells_of(cx, incident, now)
        found = await store.find_postmortem(cx, incident)
        if found is None:
            found = model.draft(incident, await incidents.list_events(cx, incident), spells)
    return postmortem_out(id, found, model.measure(spells, now), now.date())


@put("/api/v1/incidents/{id:uuid}/postmortem", tags=["incidents"])
async def write_postmortem(
    request: ApiRequest, id: Id, data: JSONBody[PostmortemInput]
) -> PostmortemOut:
    """Write the post-mortem, in place of what stood there."""
    now = utcnow()
    written = model.Postmortem(
        summary=data.summary,
        root_cause=data.root_cause,
        contributing_factors=tuple(data.contributing_factors),
        went_well=tuple(data.went_well),
        went_wrong=tuple(data.went_wrong),
        preventive_measures=tuple(data.preventive_measures),
        customers_affected=data.customers_affected,
        data_loss=data.data_loss,
        financial_impact_pounds=data.financial_impact_pounds,
        is_false_positive=data.is_false_positive,
        actions=tuple(
            model.ActionItem(one.title, one.owner, one.due_on, one.id, one.is_done)
            for one in data.actions
        ),
    )
    async with request.tenant() as cx:
        incident = await incidents.find_incident(cx, id)
        stored = await store.store_postmortem(cx, incident, written, is_approved=data.is_approved)
        spells = await _spells_of(cx, incident, now)
    return postmortem_out(id, stored, model.measure(spells, now), now.date())


@get("/api/v1/postmortem-actions", tags=["incidents"])
async def list_actions(
    request: ApiRequest,
    *,
    organization_id: Organization = None,
    status: FromQuery[Literal["open", "all"]] = "open",
) -> Page[TrackedAction]:
    """List what was decided in post-mortems and is not done, the most overdue first."""
    today = utcnow().date()
    async with request.tenant() as cx:
        if organization_id is not None:
            await visible_organizations(cx, organization_id)
        found = await store.list_actions(
            cx, organization_id=organization_id, only_open=status == "open"
        )
    return Page([action_out(one, today) for one in found], None)


@get("/api/v1/incident-figures", tags=["incidents"])
async def read_figures(
    request: ApiRequest,
    *,
    organization_id: Organization = None,
    start: Annotated[datetime | None, QueryParameter(name="from", required=False)] = None,
    end: Annotated[datetime | None, QueryParameter(name="to", required=False)] = None,
) -> FiguresOut:
    """Read how fast people answered and how long it took, from the timelines alone; the last 30
    days unless `from` and `to` say otherwise. Silenced time does not count."""
    now = utcnow()
    until = end or now
    since = start or until - timedelta(days=30)
    if since.tzinfo is None or until.tzinfo is None or since >= until:
        raise NotValid(errors=[FieldError("from", "needs an offset, and to be before `to`")])
    async with request.tenant() as cx:
        if organization_id is not None:
            await visible_organizations(cx, organization_id)
        spells = await store.list_spells(
            cx, at=now, start=since, end=until, organization_id=organization_id
        )
    return FiguresOut(start=since, end=until, figures=_figures(model.figures(spells)))


@get("/api/v1/weddings/{id:uuid}/report", tags=["weddings"])
async def read_wedding_report(request: ApiRequest, id: Id) -> ReportOut:
    """Read what befell a wedding: every trouble of its hours, how long, and who was called."""
    now = utcnow()
    async with request.tenant() as cx:
        return report_out(await wedding_report(cx, id, now))


@get("/api/v1/day-report", tags=["weddings"])
async def read_day_report(
    request: ApiRequest,
    day: Annotated[date, QueryParameter(name="date")],
    organization_id: Organization = None,
) -> ReportOut:
    """Read what befell a day, such as a Saturday: of one organization, or of all that you see."""
    now = utcnow()
    async with request.tenant() as cx:
        if organization_id is not None:
            await visible_organizations(cx, organization_id)
        return report_out(await day_report(cx, day, organization_id, now))


HANDLERS: Final = (
    read_postmortem,
    write_postmortem,
    list_actions,
    read_figures,
    read_wedding_report,
    read_day_report,
)
