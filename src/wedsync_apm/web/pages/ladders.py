"""Ladders: who is called now and at a wedding, the list, and the form."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.escalation.members import store
from wedsync_apm.escalation.schedules import store as schedules
from wedsync_apm.incidents.store import find_incident
from wedsync_apm.types import EscalationLevel, Role, Severity
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.calendar import couple_of
from wedsync_apm.web.build.contacts import day_choices
from wedsync_apm.web.build.edits import carried, compare, opened
from wedsync_apm.web.build.inbox import recipient_name
from wedsync_apm.web.build.ladder_form import (
    NEW_STEP,
    UNITS,
    form_of,
    ladder_lines,
    new_form,
    read_ladder,
    refused,
    values_of,
)
from wedsync_apm.web.build.ladders import (
    SEVERITIES,
    Known,
    build_calls,
    build_card,
    build_faults,
    channel_word,
    known_of,
)
from wedsync_apm.web.build.people import People
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.gather import read_deliveries
from wedsync_apm.web.pages.people import read_contacts, read_people
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.store import lock
from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.ladder import (
    CallsView,
    LadderForm,
    LadderFormView,
    LaddersView,
)
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.store import list_weddings

MANAGERS: Final = (Role.OWNER, Role.ADMIN)
MOST: Final = 100
AHEAD_DAYS: Final = 60
SHOWN_WEDDINGS: Final = 6


async def _read_known(here: Visit) -> tuple[Known, Sequence[Row]]:
    contacts = await read_contacts(here)
    people = await read_people(here, contacts)
    rotas = await schedules.SCHEDULES.list_rows(
        here.cx, organization_ids=[here.organization_id], before=None, limit=MOST
    )
    return known_of(people, contacts, rotas), contacts


async def _read_ladders(here: Visit) -> list[Row]:
    rows = await store.ESCALATION_POLICIES.list_rows(
        here.cx, organization_ids=[here.organization_id], before=None, limit=MOST
    )
    return sorted(rows, key=lambda row: (not row["is_default"], row["name"].casefold()))


def ask_words(people: People) -> str:
    """Whom a member asks for another ladder."""
    return words("ladders.ask", name=people.owner) if people.owner else words("ladders.ask_none")


def _read_at(text: str | None, now: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return now
    if found.tzinfo is None or not now <= found <= now + timedelta(days=400):
        return now
    return found


@get("/ladders")
async def ladders_page(request: PageRequest) -> Html:
    """Who would be called now, or at a wedding; and the ladders."""
    async with visit(request) as here:
        known, _ = await _read_known(here)
        ladders = await _read_ladders(here)
        asked = request.query_params.get("at")
        at = _read_at(asked, here.at)
        severity = request.query_params.get("severity", "")
        if severity not in SEVERITIES:
            severity = Severity.CRITICAL
        rows = await store.preview_ladder(
            here.cx, here.organization_id, policy_id=None, severity=Severity(severity), at=at
        )
        couples, moments = await _read_moments(here)
        faults = await store.list_ladder_faults(
            here.cx, [here.organization_id], here.at, AHEAD_DAYS
        )
        may_manage = here.role in MANAGERS
        refusal = ""
        if not may_manage:
            is_viewer = here.role is Role.VIEWER
            refusal = words("ladders.viewer") if is_viewer else ask_words(known.people)
        view = LaddersView(
            calls=build_calls(rows, here.at, here.zone, is_now=at == here.at),
            moments=moments,
            moment=asked or "" if at != here.at else "",
            severities=tuple((one.value, words(f"ladders.severity.{one}")) for one in SEVERITIES),
            severity=severity,
            faults=build_faults(faults, couples, here.at),
            cards=tuple(build_card(row, known) for row in ladders),
            may_manage=may_manage,
            refusal=refusal,
        )
        return here.page("ladders.html", "ladders", view)


async def _read_moments(here: Visit) -> tuple[dict[UUID, str], tuple[tuple[str, str], ...]]:
    today = here.at.date()
    weddings = await list_weddings(
        here.cx,
        organization_ids=[here.organization_id],
        earliest=today - timedelta(days=3),
        latest=today + timedelta(days=AHEAD_DAYS + 1),
        before=None,
        limit=MOST,
    )
    couples = {row["id"]: couple_of(row) for row in weddings}
    cover = await schedules.list_wedding_cover(here.cx, [here.organization_id], here.at, AHEAD_DAYS)
    starts = {row["wedding_id"]: row["starts_at"] for row in cover if row["starts_at"] > here.at}
    moments = [("", words("ladders.moment_now"))]
    moments += [
        (
            at.isoformat(),
            words(
                "ladders.moment_wedding",
                couple=couples.get(wedding_id, words("wedding.unnamed")),
                time=say.when(at, here.at, here.zone),
            ),
        )
        for wedding_id, at in list(starts.items())[:SHOWN_WEDDINGS]
    ]
    return couples, tuple(moments)


@get("/incidents/{incident_id:uuid}/calls")
async def calls_page(request: PageRequest, incident_id: FromPath[UUID]) -> Html:
    """Who will be called for one incident, and how."""
    async with visit(request) as here:
        incident = await find_incident(here.cx, incident_id)
        rows = await store.preview_incident(here.cx, incident_id, here.at)
        called: dict[str, None] = {}
        if here.role is not Role.VIEWER or here.is_operator:
            for row in await read_deliveries(
                here.cx, incident.organization_id, incident_id=incident_id
            ):
                if row["kind"] in ("page", "reopened"):
                    called[recipient_name(row)] = None
        view = CallsView(
            title=incident.title if here.is_engineer else incident.headline,
            href=f"/incidents/{incident_id}",
            calls=build_calls(rows, here.at, here.zone, is_now=False, was_called=bool(called))
            if rows
            else None,
            called=", ".join(reversed(called)),
        )
        return here.page("calls.html", "incidents", view)


def _refuse_others(here: Visit) -> None:
    if here.role not in MANAGERS:
        raise Forbidden


async def _find_ladder(here: Visit, ladder_id: UUID) -> Row:
    row = await store.ESCALATION_POLICIES.find_row(here.cx, ladder_id)
    if row is None or row["organization_id"] != here.organization_id:
        raise NotFound
    return row


def _page(
    here: Visit,
    form: LadderForm,
    known: Known,
    contacts: Sequence[Row],
    *,
    row: Row | None = None,
    stood: Stood = NEW,
    spare: int = 1,
) -> Html:
    """The form with empty steps at its end."""
    shown = replace(form, steps=(*form.steps, *(NEW_STEP for _ in range(spare))))

    def named(one: Row) -> tuple[str, str]:
        return str(one["id"]), f"{one['name']}, {channel_word(one['channel'])}"

    view = LadderFormView(
        id=row["id"] if row else None,
        name=row["name"] if row else "",
        form=shown,
        people=tuple((str(one), name) for one, name in known.people.names.items()),
        rotas=tuple(known.rotas.items()),
        systems=tuple(named(one) for one in contacts if one["user_id"] is None),
        contacts=tuple(named(one) for one in contacts if one["user_id"] is not None),
        levels=tuple((one.value, words(f"ladder.level.{one}")) for one in EscalationLevel),
        units=tuple((one, words(f"ladder.unit.{one}")) for one in UNITS),
        severities=tuple((one, words(f"ladder.severity.{one}")) for one in ("", *Severity)),
        days=tuple((str(number), name) for number, name in day_choices()),
        spare=spare,
        stood=stood,
        delete_note=words(
            "ladder.delete_default" if row and row["is_default"] else "ladder.delete_other"
        ),
    )
    status = 409 if stood.clash else 422 if form.errors else 200
    return here.page("ladder_form.html", "ladders", view, status=status)


@get("/ladders/new")
async def new_ladder_page(request: PageRequest) -> Html:
    """The form of a ladder."""
    async with visit(request) as here:
        _refuse_others(here)
        known, contacts = await _read_known(here)
        ladders = await _read_ladders(here)
        form = new_form(any(row["is_default"] for row in ladders))
        return _page(here, form, known, contacts)


@get("/ladders/{ladder_id:uuid}/edit")
async def edit_ladder_page(request: PageRequest, ladder_id: FromPath[UUID]) -> Html:
    """The form of a ladder as it stands."""
    async with visit(request) as here:
        row = await _find_ladder(here, ladder_id)
        _refuse_others(here)
        known, contacts = await _read_known(here)
        form = form_of(row)
        return _page(here, form, known, contacts, row=row, stood=opened(form))


@post("/ladders/new", status_code=200)
async def make_ladder(request: PageRequest) -> Html:
    """A new ladder; the buttons that change the form alone save nothing."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        _refuse_others(here)
        return await _save(here, sent, None)


@post("/ladders/{ladder_id:uuid}/edit", status_code=200)
async def save_ladder(request: PageRequest, ladder_id: FromPath[UUID]) -> Html:
    """Another ladder in its place."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        row = await _find_ladder(here, ladder_id)
        _refuse_others(here)
        return await _save(here, sent, row)


async def _save(here: Visit, sent: Any, row: Row | None) -> Html:
    known, contacts = await _read_known(here)
    form, stood = read_ladder(sent, known), carried(sent)
    if sent.get("up") or sent.get("more"):
        shown = replace(form, errors={})
        spare = 2 if sent.get("more") else 1
        return _page(here, shown, known, contacts, row=row, stood=stood, spare=spare)
    if form.errors:
        return _page(here, form, known, contacts, row=row, stood=stood)
    if row is not None:
        await lock(here.cx, "ladder", row["id"])
        stands = form_of(await _find_ladder(here, row["id"]))
        count = max(len(form.steps), len(stands.steps))
        stood = compare(
            sent,
            stands,
            mine=ladder_lines(form, known, count),
            theirs=ladder_lines(stands, known, count),
            href=f"/ladders/{row['id']}/edit",
        )
        if stood.clash:
            return _page(here, form, known, contacts, row=row, stood=stood)
    values = values_of(form)
    try:
        async with trying(here):
            if row is None:
                await store.ESCALATION_POLICIES.create_row(
                    here.cx,
                    organization_id=here.organization_id,
                    created_by=here.subject,
                    values=values,
                )
            elif await store.ESCALATION_POLICIES.update_row(here.cx, row["id"], values) is None:
                raise Forbidden
        return see("/ladders", said="ladder_saved")
    except NotValid as exc:
        form = refused(form, exc)
    except Conflict:
        form = replace(form, errors=await _taken(here, form, row))
    return _page(here, form, known, contacts, row=row, stood=stood)


async def _taken(here: Visit, form: LadderForm, row: Row | None) -> dict[str, str]:
    """Of the two things that only one ladder may be, which another one is."""
    own = row["id"] if row else None
    names = {one["name"] for one in await _read_ladders(here) if one["id"] != own}
    if form.name in names:
        return {"name": words("ladder.name_taken")}
    return {"is_default": words("ladder.default_taken")}


@post("/ladders/{ladder_id:uuid}/delete", status_code=200)
async def delete_ladder(request: PageRequest, ladder_id: FromPath[UUID]) -> Html:
    """Gone with its steps; what is climbed already goes on."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await _find_ladder(here, ladder_id)
        _refuse_others(here)
        if not await store.ESCALATION_POLICIES.delete_row(here.cx, ladder_id):
            raise Forbidden
    return see("/ladders", said="ladder_deleted")


HANDLERS: Final[Sequence[Any]] = (
    ladders_page,
    calls_page,
    new_ladder_page,
    edit_ladder_page,
    make_ladder,
    save_ladder,
    delete_ladder,
)
