"""Drills: the last one with a bar for each person, how fast people are, and the link's own page."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.drills import store
from wedsync_apm.drills.model import LAST
from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid, RateLimited
from wedsync_apm.types import Role
from wedsync_apm.web import say
from wedsync_apm.web.build.contacts import day_choices
from wedsync_apm.web.build.drills import (
    build_answer,
    build_card,
    form_of,
    read_schedule,
    rhythm_choices,
    speeds,
)
from wedsync_apm.web.headers import ACK_HEADERS
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, answer, see, visit, web_of
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.pages.taps import tell, wants_words
from wedsync_apm.web.render import render
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.drill import DrillsView, DrillView, ScheduleForm
from wedsync_apm.web.views.shell import Bare
from wedsync_apm.web.words import say as words

MANAGERS: Final = (Role.OWNER, Role.ADMIN)


async def _page(
    here: Visit, *, form: ScheduleForm | None = None, fault: str = "", status: int = 200
) -> Html:
    rows = await store.list_drills(here.cx, [here.organization_id], limit=LAST + 1)
    drills = await store.with_people(here.cx, here.organization_id, rows)
    schedule = await store.find_schedule(here.cx, here.organization_id)
    cards = [build_card(one, here.at, here.zone) for one in drills]
    ended = min(sum(one.row["ended_at"] is not None for one in drills), LAST)
    view = DrillsView(
        last=cards[0] if cards else None,
        before=tuple(cards[1:]),
        speed=words("drills.speed", n=ended),
        speeds=speeds(drills),
        may_manage=here.role in MANAGERS,
        sees_names=here.role is not Role.VIEWER,
        is_running=bool(rows) and rows[0]["ended_at"] is None,
        refusal="" if here.role in MANAGERS else words("drills.only"),
        fault=fault,
        planned=words(
            "drills.schedule_next",
            time=say.when(schedule["next_at"], here.at, schedule["time_zone"]),
        )
        if schedule
        else words("drills.schedule_off"),
        held=words(f"drills.held.{schedule['held_by']}")
        if schedule and schedule["held_by"]
        else "",
        is_planned=schedule is not None,
        form=form or form_of(schedule, here.zone),
        rhythms=rhythm_choices(),
        days=day_choices(),
    )
    return here.page("drills.html", "drills", view, status=status)


@get("/drills")
async def drills_page(request: PageRequest) -> Html:
    """The drills of a business."""
    async with visit(request) as here:
        return await _page(here)


@get("/drills/{drill_id:uuid}")
async def drill_page(request: PageRequest, drill_id: FromPath[UUID]) -> Html:
    """One drill with its people."""
    async with visit(request) as here:
        drill = await store.find_drill(here.cx, drill_id)
        if drill.row["organization_id"] != here.organization_id:
            raise NotFound
        card = build_card(drill, here.at, here.zone)
        view = DrillView(card, here.role is not Role.VIEWER)
        return here.page("drill.html", "drills", view)


@post("/drills/start", status_code=200)
async def start_drill(request: PageRequest) -> Html:
    """Calls everybody now."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        try:
            async with trying(here):
                reason = str(sent.get("reason") or "").strip()[:1000]
                await store.start_drill(here.cx, here.organization_id, reason=reason)
        except (Conflict, RateLimited) as exc:
            return await _page(here, fault=exc.detail, status=exc.status)
    return see("/drills", said="drill_started")


@post("/drills/schedule", status_code=200)
async def set_schedule(request: PageRequest) -> Html:
    """Holds them by themselves; a fault is shown beside its field with everything kept as typed."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        form, values = read_schedule(sent)
        if values:
            try:
                async with trying(here):
                    await store.set_schedule(here.cx, here.organization_id, **values)
                return see("/drills", said="drill_planned")
            except NotValid:
                form = replace(form, errors={"time_zone": words("drills.zone_wrong")})
        return await _page(here, form=form, status=422)


@post("/drills/schedule/off", status_code=200)
async def clear_schedule(request: PageRequest) -> Html:
    """Holds none by themselves any more."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        await store.clear_schedule(here.cx, here.organization_id)
    return see("/drills", said="drill_unplanned")


@get("/drill/{token:str}")
async def answer_page(request: PageRequest, token: FromPath[str]) -> Html:
    """What it is, and one large button. Looking changes nothing: scanners of mail look, too."""
    return await _answer(request, token, None)


@post("/drill/{token:str}", status_code=200)
async def answer_drill(request: PageRequest, token: FromPath[str]) -> Html:
    """Answers, once."""
    web = web_of(request)
    with wrap_database_errors():
        async with web.pool.connection() as cx:
            outcome = await store.use_link(cx, token)
    return await _answer(request, token, outcome)


async def _answer(request: PageRequest, token: str, outcome: str | None) -> Html:
    with wrap_database_errors():
        async with web_of(request).pool.connection() as cx:
            found = await store.look_up_link(cx, token)
    zone = found["time_zone"] if found else "UTC"
    view = build_answer(found, outcome)
    status = 404 if found is None or outcome == "unknown" else 200
    if wants_words(request):
        return tell(view.state, view.words, status=status)
    html = render("drill_answer.html", Bare(utcnow(), "system", zone), view)
    return answer(request, html, status=status, headers=ACK_HEADERS)


HANDLERS: Final[Sequence[Any]] = (
    drills_page,
    drill_page,
    start_drill,
    set_schedule,
    clear_schedule,
    answer_page,
    answer_drill,
)
