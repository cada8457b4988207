"""Silences: the list, making one, and the second person's yes or no."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.checks.members.store import HEALTH_CHECKS
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.incidents import store as incidents
from wedsync_apm.incidents.model import Incident
from wedsync_apm.rules import store as rules
from wedsync_apm.silences import store
from wedsync_apm.types import Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.holding import (
    Couples,
    Names,
    build_preview,
    in_the_way,
    label_choices,
    matchers_of,
    operator_choices,
    with_spare,
)
from wedsync_apm.web.build.maintenance import build_work_row
from wedsync_apm.web.build.silences import (
    SHORT,
    build_held,
    build_row,
    facts,
    matchers_of_incident,
    new_form,
    note,
    read_form,
    refused,
    sentence,
    status_of,
    wedding_warning,
)
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.gather import MOST_CHECKS, read_weddings
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.holding import (
    Held,
    HoldingGroup,
    HoldingView,
    NewSilenceView,
    Preview,
    SilenceForm,
    SilencesView,
    Waiting,
)
from wedsync_apm.web.words import say as words

MOST: Final = 200
PAST: Final = timedelta(days=30)


@asynccontextmanager
async def trying(here: Visit) -> AsyncIterator[None]:
    """A part of the transaction that may be refused without an end to the rest."""
    with wrap_database_errors():
        async with here.cx.transaction():
            yield


def role_in(here: Visit, organization_id: UUID) -> Role | None:
    """The person's role in a business, whichever he looks at; None for a stranger."""
    found = next((m for m in here.memberships if m.organization_id == organization_id), None)
    return Role(found.role) if found else None


def may_answer(here: Visit, organization_id: UUID, *, is_own: bool) -> bool:
    """Whether the person may be the second one: a member, or the operator on call; not whoever
    asked, himself or by a key."""
    role = role_in(here, organization_id)
    may_act = role is not Role.VIEWER if role else here.operator_role == "oncall"
    return may_act and not is_own


async def read_names(here: Visit) -> Names:
    """What people call the services of the business."""
    rows = await HEALTH_CHECKS.list_rows(
        here.cx, organization_ids=[here.organization_id], before=None, limit=MOST_CHECKS
    )
    return {row["service_name"]: row["display_name"] for row in rows}


async def read_couples(here: Visit) -> Couples:
    """The couples by name, as far as the person may read them."""
    return {card.id: card.couple for card in await read_weddings(here)}


async def read_waiting(here: Visit) -> Waiting | None:
    """What waits for this person's yes or no; None where nothing does."""
    rows = [
        row
        for row in await store.list_waiting(
            here.cx,
            [m.organization_id for m in here.memberships],
            everywhere=here.operator_role == "oncall",
        )
        if may_answer(here, row["organization_id"], is_own=row["is_own"])
    ]
    if not rows:
        return None
    kinds = {"silence": "/silences/{}", "maintenance": "/planned-work/{}"}
    href = kinds[rows[0]["kind"]].format(rows[0]["id"]) if len(rows) == 1 else "/silences"
    return Waiting(words("approve.waiting", n=len(rows)), href, rows[0]["asked_at"])


async def read_held(here: Visit, incident: Incident, *, is_engineer: bool) -> Held | None:
    """What keeps people from being told of an incident now."""
    if not incident.is_live:
        return None
    held = await incidents.find_held_back(here.cx, incident)
    return build_held(held, here.at, here.zone, is_engineer=is_engineer) if held else None


@get("/silences")
async def silences_page(request: PageRequest) -> Html:
    """Who is not told of what, now, soon and lately."""
    async with visit(request) as here:
        names = await read_names(here)
        organizations = await _organizations(here)
        found = await store.list_silences(
            here.cx, organization_ids=organizations, state=None, before=None, limit=MOST
        )
        work = await store.MAINTENANCE_WINDOWS.list_rows(
            here.cx, organization_ids=organizations, before=None, limit=MOST
        )
        own = here.organization_id

        def rows(*states: str) -> list[Any]:
            made = [
                build_row(row, names, here.at, here.zone)
                for row in found
                if row["state"] in states
                and (row["organization_id"] == own or row["state"] == "needs_approval")
                and (row["state"] != "ended" or row["ends_at"] > here.at - PAST)
            ]
            planned = [
                build_work_row(row, names, here.at, here.zone)
                for row in work
                if row["state"] in states
                and row["organization_id"] == own
                # stands among what waits already
                and not (row["needs_approval"] and row["state"] == "scheduled")
            ]
            return made + planned

        asking = [
            build_work_row(row, names, here.at, here.zone) for row in work if row["needs_approval"]
        ]
        waiting = tuple(rows("needs_approval") + asking)
        groups = (
            *((_group("waiting", waiting),) if waiting else ()),
            _group("now", tuple(rows("active", "open"))),
            _group("coming", tuple(rows("scheduled"))),
            _group("past", tuple(rows("ended", "off"))),
        )
        view = SilencesView(
            groups,
            may_ask=here.role is not Role.VIEWER,
            may_plan=here.role in (Role.OWNER, Role.ADMIN),
            refusal=words("silences.viewer") if here.role is Role.VIEWER else "",
        )
        return here.page("silences.html", "silences", view)


async def _organizations(here: Visit) -> list[UUID]:
    """The businesses whose requests he may have to answer: an operator's are everybody's."""
    own = [m.organization_id for m in here.memberships]
    if here.operator_role != "oncall":
        return own
    waiting = await store.list_waiting(here.cx, [], everywhere=True)
    return list({*own, *(row["organization_id"] for row in waiting)})


def _group(key: str, rows: tuple[Any, ...]) -> HoldingGroup:
    empty = "" if key == "waiting" else words(f"silences.{key}_none")
    return HoldingGroup(words(f"silences.{key}"), rows, empty)


@get("/silences/new")
async def new_silence_page(request: PageRequest) -> Html:
    """The form of a silence; `?incident=` begins with what says exactly that incident."""
    async with visit(request) as here:
        _refuse_viewers(here)
        wanted = request.query_params.get("incident", "")
        incident = await _find_incident(here, wanted) if wanted else None
        fields = await _matchers_of(here, incident) if incident else ()
        form = new_form(fields, here.at, here.zone, str(incident.id) if incident else "")
        _, starts, ends = read_form(_Typed(form), here.at, here.zone)
        preview = await _preview(here, form, starts, ends) if fields else None
        return here.page("silence_new.html", "silences", _new_view(here, form, preview, incident))


@post("/silences/new", status_code=200)
async def make_silence(request: PageRequest) -> Html:
    """Saves what was seen; else shows what it does, with the weddings in its way, first."""
    form = await request.form()
    check_form(web_of(request), request, form)
    async with visit(request) as here:
        _refuse_viewers(here)
        typed, starts, ends = read_form(form, here.at, here.zone)
        incident = await _find_incident(here, typed.incident) if typed.incident else None
        preview: Preview | None = None
        if not typed.errors and ends is not None:
            try:
                async with trying(here):
                    preview = await _preview(here, typed, starts, ends)
                if preview is not None and form.get("seen") == preview.mark:
                    async with trying(here):
                        made = await store.create_silence(
                            here.cx,
                            here.organization_id,
                            matchers=matchers_of(typed.matchers),
                            starts_at=starts,
                            ends_at=ends,
                            reason=typed.reason,
                            owner=typed.owner or None,
                        )
                    said = "asked" if made["state"] == "needs_approval" else "silenced"
                    return see(f"/silences/{made['id']}", said=said)
            except NotValid as exc:
                typed = refused(typed, exc)
        view = _new_view(here, typed, preview, incident)
        return here.page("silence_new.html", "silences", view, status=422 if typed.errors else 200)


class _Typed:
    """A form that nobody has sent, read like one."""

    def __init__(self, form: SilenceForm) -> None:
        self._form = form

    def get(self, name: str) -> Any:
        return getattr(self._form, name, "")

    def getall(self, name: str, default: list[str]) -> list[str]:
        return [getattr(one, name) for one in self._form.matchers] or default


def _refuse_viewers(here: Visit) -> None:
    if here.role is Role.VIEWER:
        raise Forbidden


async def _find_incident(here: Visit, wanted: str) -> Incident:
    try:
        incident = await incidents.find_incident(here.cx, UUID(wanted))
    except ValueError as exc:
        raise NotFound from exc
    if incident.organization_id != here.organization_id:
        raise NotFound
    return incident


async def _matchers_of(here: Visit, incident: Incident) -> tuple[Any, ...]:
    name: str | None = None
    if incident.alert_id:
        name = (await rules.find_rule(here.cx, incident.alert_id)).alert_name
    return matchers_of_incident(incident, name)


async def _preview(
    here: Visit, form: SilenceForm, starts: datetime | None, ends: datetime | None
) -> Preview | None:
    begins = starts or here.at
    if ends is None or ends <= begins:
        return None
    matchers = matchers_of(form.matchers)
    weddings = await store.list_weddings_in_the_way(here.cx, here.organization_id, begins, ends)
    return build_preview(
        matchers=matchers,
        matched=await store.list_matched(here.cx, here.organization_id, matchers),
        weddings=weddings,
        couples=await read_couples(here) if weddings else {},
        zone=here.zone,
        warning=wedding_warning(weddings, begins, ends, here.at, here.zone),
    )


def _new_view(
    here: Visit, form: SilenceForm, preview: Preview | None, incident: Incident | None
) -> NewSilenceView:
    button = "silence.form.check"
    if preview is not None:
        asks = preview.warning and _is_short(form, here)
        button = "silence.form.ask" if asks else "silence.form.save"
    lines = with_spare(form.matchers)
    shown = SilenceForm(
        lines,
        form.starts_at,
        form.ends_at,
        form.reason,
        form.owner,
        form.incident,
        form.errors,
    )
    return NewSilenceView(
        form=shown,
        preview=preview,
        labels=label_choices(lines),
        operators=operator_choices(),
        zone=here.zone,
        incident=(incident.title if here.is_engineer else incident.headline) if incident else "",
        button=words(button),
    )


def _is_short(form: SilenceForm, here: Visit) -> bool:
    _, starts, ends = read_form(_Typed(form), here.at, here.zone)
    return ends is not None and ends - (starts or here.at) <= SHORT


@get("/silences/{silence_id:uuid}")
async def silence_page(request: PageRequest, silence_id: FromPath[UUID]) -> Html:
    """One silence as it stands; for the second person, the question."""
    async with visit(request) as here:
        row = await store.find_silence(here.cx, silence_id)
        return here.page("holding.html", "silences", await _view(here, row))


async def _view(here: Visit, row: Row) -> HoldingView:
    names = await read_names(here) if row["organization_id"] == here.organization_id else {}
    role = role_in(here, row["organization_id"])
    is_waiting = row["state"] == "needs_approval"
    may = is_waiting and may_answer(here, row["organization_id"], is_own=row["is_own"])
    may_end = row["state"] in ("active", "scheduled", "needs_approval") and (
        role not in (None, Role.VIEWER) or here.operator_role == "oncall"
    )
    return HoldingView(
        id=row["id"],
        path=f"/silences/{row['id']}",
        title=words("silences.title"),
        status=status_of(row),
        sentence=sentence(row, names, here.at, here.zone),
        facts=facts(row, names, here.at, here.zone),
        weddings=in_the_way(row["weddings"], await read_couples(here), here.zone),
        spans=(),
        asks=words("approve.ask") if is_waiting else "",
        may_answer=may,
        answer_note="" if may else words("approve.own" if row["is_own"] else "approve.viewer"),
        may_end=may_end and not may,
        may_edit=False,
        end_words=words("silence.withdraw" if is_waiting else "silence.end"),
        note=note(row, here.at, here.zone),
    )


Act = Callable[[Visit, UUID], Awaitable[object]]


async def _approve(here: Visit, silence_id: UUID) -> object:
    return await store.approve_silence(here.cx, silence_id)


async def _end(here: Visit, silence_id: UUID) -> object:
    return await store.expire_silence(here.cx, silence_id)


_ACTS: Final[dict[str, tuple[Act, str]]] = {
    "approve": (_approve, "approved"),
    "refuse": (_end, "refused"),
    "end": (_end, "quiet_ended"),
}


@post([f"/silences/{{silence_id:uuid}}/{name}" for name in _ACTS], status_code=200)
async def act_on_silence(request: PageRequest, silence_id: FromPath[UUID]) -> Html:
    """Yes, no, or an end; whoever was slower is shown how it stands."""
    form = await request.form()
    check_form(web_of(request), request, form)
    act, said = _ACTS[request.url.path.rsplit("/", 1)[1]]
    try:
        async with visit(request) as here:
            await act(here, silence_id)
    except Conflict:
        said = "answered"
    return see(f"/silences/{silence_id}", said=said)


HANDLERS: Final[Sequence[Any]] = (
    silences_page,
    new_silence_page,
    make_silence,
    silence_page,
    act_on_silence,
)
