"""Incidents: the list, one of them for vendor and engineer, what people do with it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, NotValid
from wedsync_apm.incidents import store
from wedsync_apm.incidents.model import Incident, Part
from wedsync_apm.incidents.reviews import store as reviews
from wedsync_apm.incidents.reviews.model import figures
from wedsync_apm.incidents.works import Watched, works_beside
from wedsync_apm.rules import store as rules
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.types import IncidentStatus, Role
from wedsync_apm.web.build.inbox import build_told
from wedsync_apm.web.build.incident_actions import (
    build_actions,
    build_figures,
    build_merge,
    build_update,
)
from wedsync_apm.web.build.incidents import (
    SEVERITY_KINDS,
    STATUS_KINDS,
    Scene,
    build_facts,
    build_list,
    build_problem,
    build_timeline,
    next_step_words,
    path_of,
    short_words,
    wedding_words,
)
from wedsync_apm.web.keeping import KEPT
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.gather import (
    read_checks,
    read_contact_names,
    read_deliveries,
    read_rule_figure,
    read_rule_unit,
    read_services,
    watched_of,
)
from wedsync_apm.web.pages.silences import read_held
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.incident import Action, IncidentView, PartRow
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.words import say as words

OVER: Final = (IncidentStatus.RESOLVED, IncidentStatus.CLOSED)
SHOWN_OVER: Final = 20
SHOWN_FIGURES: Final = timedelta(days=30)


@get("/incidents")
async def list_page(request: PageRequest) -> Html:
    """What is open, and what is nobody doing?"""
    async with visit(request) as here:
        # The platform's people answer for every business; others see their own.
        where = None if here.is_operator else here.organization_id
        live = await store.list_live_incidents(here.cx, where)
        over = await store.list_incidents(
            here.cx, organization_id=where, statuses=OVER, limit=SHOWN_OVER
        )
        names = {}
        if len(here.memberships) > 1 or here.is_operator:
            names = {str(m.organization_id): m.name for m in here.memberships}
        view = build_list(live, over.incidents, here.scene, names)
        spells = await reviews.list_spells(
            here.cx, at=here.at, start=here.at - SHOWN_FIGURES, end=here.at, organization_id=where
        )
        due = await reviews.list_actions(here.cx, organization_id=where, only_open=True)
        view = replace(
            view,
            figures=build_figures(figures(spells)),
            actions_due=words("incidents.actions", n=len(due)) if due else "",
        )
        return here.page("incidents.html", "incidents", view, kept_until=here.at + KEPT)


@get("/incidents/{incident_id:uuid}")
async def incident_page(request: PageRequest, incident_id: FromPath[UUID]) -> Html:
    """One incident, in the words of whoever looks."""
    async with visit(request) as here:
        view = await read_incident(here, incident_id)
        return here.page("incident.html", "incidents", view, kept_until=here.at + KEPT)


async def read_incident(here: Visit, incident_id: UUID) -> IncidentView:
    """Everything that the page of one incident shows."""
    incident = await store.find_incident(here.cx, incident_id)
    events = await store.list_events(here.cx, incident)
    step = await store.find_next_step(here.cx, incident)
    wanted = here.request.query_params.get("view")
    is_engineer = wanted == "engineer" if wanted else here.is_engineer
    rule: AlertRule | None = None
    if incident.alert_id and incident.organization_id == here.organization_id:
        rule = await rules.find_rule(here.cx, incident.alert_id)
    watched: tuple[Watched, ...] = ()
    if incident.is_live and incident.organization_id == here.organization_id:
        checks = await read_checks(here.cx, here.organization_id)
        watched = watched_of(checks, await read_services(here, checks))
    scene = Scene(
        here.at,
        here.zone,
        await read_rule_unit(here.cx, rule) if rule else None,
        step.at if step else None,
        here.name,
        watched,
        rule.metric_pattern if rule else None,
    )
    deliveries: list[dict[str, Any]] = []
    if here.role is not Role.VIEWER or here.is_operator:
        deliveries = await read_deliveries(
            here.cx, incident.organization_id, incident_id=incident.id
        )
    own_contacts = await read_contact_names(here.cx, incident.organization_id, here.subject)
    was_paged = any(row["contact_method_id"] in own_contacts.mine for row in deliveries)
    has_seen = any(e.kind == "seen" and e.actor_id == here.subject for e in events)
    may_act = here.may_act_on(incident.organization_id)
    primary, actions = build_actions(
        incident,
        may_act=may_act,
        is_engineer=is_engineer and here.is_engineer,
        was_paged=was_paged,
        has_seen=has_seen,
    )
    parts = await store.list_parts(here.cx, incident)
    live = await store.list_live_incidents(here.cx, incident.organization_id)
    has_it = incident.acknowledged_by == here.subject
    is_at_work = may_act and incident.is_live and (is_engineer or was_paged or has_it)
    fix: Action | None = None
    if is_at_work and incident.status is not IncidentStatus.OPEN:
        # It stands by itself then, beside the word to everyone.
        fix = next((one for one in actions if one.url.endswith("/resolve")), None)
        actions = tuple(one for one in actions if one is not fix)
    base = f"/incidents/{incident.id}"
    note = Action(f"{base}/notes", words("problem.note_button"), "", words("problem.note_label"))
    path = path_of(incident, events, scene)
    names = ", ".join(
        own_contacts.names[one]
        for one in (step.contact_method_ids if step else ())
        if one in own_contacts.names
    )
    kind = SEVERITY_KINDS[incident.severity]
    return IncidentView(
        problem=build_problem(incident, scene),
        is_engineer=is_engineer,
        other_view=f"{base}?view={'vendor' if is_engineer else 'engineer'}",
        headline=incident.title if is_engineer else incident.headline,
        badges=(
            (kind, incident.severity.value.capitalize()),
            (
                "crit" if incident.status is IncidentStatus.OPEN else "none",
                words(f"incident.engineer.{incident.status.value}"),
            ),
            ("accent", words("engineer.priority", priority=incident.priority.value)),
        ),
        path=path,
        primary=primary,
        actions=actions,
        note=note if may_act else None,
        seen=has_seen,
        steps=incident.vendor_text.what_to_do,
        works=works_beside(watched, scene.pattern),
        figure=await read_rule_figure(here, rule, is_engineer=is_engineer) if rule else None,
        timeline=build_timeline(events, scene, is_engineer=is_engineer),
        told=build_told(deliveries, is_engineer=is_engineer) if is_engineer or deliveries else (),
        next_step=next_step_words(incident, step, names, scene),
        facts=build_facts(
            incident,
            scene,
            rule_name=rule.alert_name if rule else "",
            normal=rule.threshold_value if rule else None,
            metric=rule.metric_pattern if rule else "",
        )
        if is_engineer
        else (),
        wedding=wedding_words(incident, scene),
        phone=here.membership.help_line or "",
        subject=short_words(incident),
        engineer_text=incident.engineer_text
        if is_engineer and incident.engineer_text != incident.title
        else "",
        expires_at=incident.ack_expires_at if incident.is_live and is_at_work else None,
        update=build_update(incident) if is_at_work else None,
        fix=fix,
        merge=build_merge(incident, live) if is_at_work else None,
        joined=words("problem.joined")
        if incident.is_live and any(part.incident_id == incident.id for part in parts)
        else "",
        parts=tuple(_part(part, here) for part in parts if part.whole_id == incident.id),
        postmortem=f"{base}/postmortem" if not incident.is_live else "",
        into=f"/incidents/{incident.merged_into}" if incident.merged_into else "",
        held=await read_held(here, incident, is_engineer=is_engineer),
        silence=f"/silences/new?incident={incident.id}"
        if incident.is_live
        and incident.organization_id == here.organization_id
        and here.role is not Role.VIEWER
        else "",
    )


def _part(part: Part, here: Visit) -> PartRow:
    names = {m.organization_id: m.name for m in here.memberships}
    name = part.organization_name or names.get(part.organization_id) or words("parts.unnamed")
    status = part.status or IncidentStatus.CLOSED
    return PartRow(
        f"/incidents/{part.incident_id}",
        name,
        part.title or "",
        Status(STATUS_KINDS[status], words(f"incident.{status.value}")),
    )


Act = Callable[[Any, UUID, str], Awaitable[object]]


async def _escalate(cx: Any, incident_id: UUID, _: str) -> object:
    await store.escalate(cx, incident_id)
    return None


async def _seen(cx: Any, incident_id: UUID, _: str) -> object:
    return await store.mark_seen(cx, incident_id)


_ACTS: Final[Mapping[str, tuple[Act, str]]] = {
    "acknowledge": (store.acknowledge, "taken"),
    "investigate": (store.investigate, "started"),
    "resolve": (store.resolve, "resolved"),
    "reopen": (store.reopen, "reopened"),
    "notes": (store.add_note, "note"),
    "seen": (_seen, "seen"),
    "escalate": (_escalate, "escalated"),
}


@post("/incidents/{incident_id:uuid}/updates", status_code=200)
async def tell_update(request: PageRequest, incident_id: FromPath[UUID]) -> Html:
    """A word to everyone who was told, and when the next one comes."""
    typed, choice = await _sent(request)
    minutes = int(choice) if choice.isdecimal() and len(choice) < 5 else 0
    try:
        async with visit(request) as here:
            await store.tell_update(
                here.cx,
                incident_id,
                typed,
                at=here.at,
                next_update_at=here.at + timedelta(minutes=minutes) if minutes else None,
            )
    except Conflict:
        return see(f"/incidents/{incident_id}", said="moved")
    except NotValid:
        return await refuse(request, incident_id, typed)
    return see(f"/incidents/{incident_id}", said="told")


@post("/incidents/{incident_id:uuid}/merge", status_code=200)
async def merge_incident(request: PageRequest, incident_id: FromPath[UUID]) -> Html:
    """It is a part of another problem of the same business."""
    _, choice = await _sent(request)
    try:
        into = UUID(choice)
    except ValueError:
        return see(f"/incidents/{incident_id}")
    try:
        async with visit(request) as here:
            await store.merge(here.cx, incident_id, into)
    except Conflict:
        return see(f"/incidents/{incident_id}", said="moved")
    return see(f"/incidents/{into}", said="merged")


async def _sent(request: PageRequest) -> tuple[str, str]:
    form = await request.form()
    check_form(web_of(request), request, form)
    body, choice = form.get("body"), form.get("choice")
    return (
        body.strip() if isinstance(body, str) else "",
        choice if isinstance(choice, str) else "",
    )


@post(
    [f"/incidents/{{incident_id:uuid}}/{name}" for name in _ACTS],
    status_code=200,
)
async def act_on_incident(request: PageRequest, incident_id: FromPath[UUID]) -> Html:
    """One step by one person; a second tap or somebody faster is told, never an error."""
    web = web_of(request)
    form = await request.form()
    check_form(web, request, form)
    act, said = _ACTS[request.url.path.rsplit("/", 1)[1]]
    body = form.get("body")
    words_sent = body.strip() if isinstance(body, str) else ""
    try:
        async with visit(request) as here:
            before: Incident = await store.find_incident(here.cx, incident_id)
            await act(here.cx, incident_id, words_sent)
            is_late = said == "taken" and before.status is not IncidentStatus.OPEN
    except Conflict:
        return see(f"/incidents/{incident_id}", said="moved")
    except NotValid:
        return await refuse(request, incident_id, words_sent)
    return see(f"/incidents/{incident_id}", said="moved" if is_late else said)


async def refuse(request: PageRequest, incident_id: UUID, typed: str) -> Html:
    """The page once more, with what was typed and why it does not fit."""
    url = request.url.path
    error = words("problem.note_empty")
    if typed:
        error = words("problem.note_long", n=f"{len(typed):,}", most=f"{store.LONGEST_NOTE:,}")

    def marked(action: Action) -> Action:
        return replace(action, typed=typed, error=error) if action.url == url else action

    async with visit(request) as here:
        view = await read_incident(here, incident_id)
        view = replace(
            view,
            actions=tuple(marked(action) for action in view.actions),
            note=marked(view.note) if view.note else None,
            update=marked(view.update) if view.update else None,
            fix=marked(view.fix) if view.fix else None,
            is_refused=True,
        )
        return here.page("incident.html", "incidents", view, status=422)


HANDLERS: Final = (list_page, incident_page, tell_update, merge_incident, act_on_incident)
