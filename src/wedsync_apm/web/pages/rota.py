"""A rota is made, changed and removed; what it comes to is seen before it is saved."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden, NotValid
from wedsync_apm.escalation.schedules import store
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.edits import carried, compare, opened
from wedsync_apm.web.build.people import People
from wedsync_apm.web.build.rota import (
    build_preview,
    form_of,
    mark_of,
    new_form,
    read_rota,
    refused,
    rota_lines,
    values_of,
    with_spare,
)
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.on_call import MANAGERS, find_schedule
from wedsync_apm.web.pages.people import read_contacts, read_people
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.store import lock
from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.on_call import RotaForm, RotaPreview, RotaView
from wedsync_apm.web.words import say as words


def _refuse_others(here: Visit) -> None:
    if here.role not in MANAGERS:
        raise Forbidden


def _page(
    here: Visit,
    form: RotaForm | None,
    people: People,
    *,
    row: Row | None = None,
    preview: RotaPreview | None = None,
    stood: Stood = NEW,
) -> Html:
    view = RotaView(
        id=row["id"] if row else None,
        name=row["name"] if row else "",
        form=form,
        people=tuple((str(user_id), name) for user_id, name in people.names.items()),
        lines=with_spare(form.people) if form else (),
        weekend_lines=with_spare(form.weekend_people) if form else (),
        preview=preview,
        stood=stood,
    )
    status = 409 if stood.clash else 422 if form and form.errors else 200
    return here.page("rota.html", "oncall", view, status=status)


@get("/on-call/new")
async def new_rota_page(request: PageRequest) -> Html:
    """The form of a rota."""
    async with visit(request) as here:
        _refuse_others(here)
        people = await read_people(here, await read_contacts(here))
        return _page(here, new_form(here.at, here.zone, here.subject), people)


@get("/on-call/{schedule_id:uuid}/edit")
async def edit_rota_page(request: PageRequest, schedule_id: FromPath[UUID]) -> Html:
    """The form of a rota as it stands."""
    async with visit(request) as here:
        row = await find_schedule(here, schedule_id)
        _refuse_others(here)
        people = await read_people(here, await read_contacts(here))
        form = form_of(row)
        stood = opened(form) if form else NEW
        return _page(here, form, people, row=row, stood=stood)


@post("/on-call/new", status_code=200)
async def make_rota(request: PageRequest) -> Html:
    """Saves what was seen; else shows what it comes to first."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        _refuse_others(here)
        return await _save(here, sent, None)


@post("/on-call/{schedule_id:uuid}/edit", status_code=200)
async def save_rota(request: PageRequest, schedule_id: FromPath[UUID]) -> Html:
    """The same for a rota that is there."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        row = await find_schedule(here, schedule_id)
        _refuse_others(here)
        return await _save(here, sent, row)


async def _save(here: Visit, sent: Any, row: Row | None) -> Html:
    people = await read_people(here, await read_contacts(here))
    form, stood = read_rota(sent, people), carried(sent)
    if form.errors:
        return _page(here, form, people, row=row, stood=stood)
    values = values_of(form)
    if sent.get("show") or sent.get("seen") != mark_of(values):
        preview = build_preview(values, people, here.subject, here.at)
        return _page(here, form, people, row=row, preview=preview, stood=stood)
    if row is not None:
        await lock(here.cx, "rota", row["id"])
        stands = form_of(await find_schedule(here, row["id"]))
        if stands is not None:
            stood = compare(
                sent,
                stands,
                mine=rota_lines(form, people),
                theirs=rota_lines(stands, people),
                href=f"/on-call/{row['id']}/edit",
            )
        if stood.clash:
            return _page(here, form, people, row=row, stood=stood)
    try:
        async with trying(here):
            if row is None:
                await store.SCHEDULES.create_row(
                    here.cx,
                    organization_id=here.organization_id,
                    created_by=here.subject,
                    values=values,
                )
            elif await store.SCHEDULES.update_row(here.cx, row["id"], values) is None:
                raise Forbidden
        return see("/on-call", said="rota_saved")
    except NotValid as exc:
        form = refused(form, exc)
    except Conflict:
        form = replace(form, errors={"name": words("rota.name_taken")})
    return _page(here, form, people, row=row, stood=stood)


@post("/on-call/{schedule_id:uuid}/delete", status_code=200)
async def delete_rota(request: PageRequest, schedule_id: FromPath[UUID]) -> Html:
    """Gone with its swaps; a ladder that named it goes on without."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await find_schedule(here, schedule_id)
        _refuse_others(here)
        if not await store.SCHEDULES.delete_row(here.cx, schedule_id):
            raise Forbidden
    return see("/on-call", said="rota_deleted")


HANDLERS: Final[Sequence[Any]] = (
    new_rota_page,
    make_rota,
    edit_rota_page,
    save_rota,
    delete_rota,
)
