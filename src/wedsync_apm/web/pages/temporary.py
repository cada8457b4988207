"""A rota put aside for a while, and taken up again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.escalation.schedules import store
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.holding import wall
from wedsync_apm.web.build.people import People
from wedsync_apm.web.build.temporary import read_temporary, with_spare
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.on_call import MANAGERS, find_schedule
from wedsync_apm.web.pages.people import read_contacts, read_people
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.ladder import TemporaryForm, TemporaryView
from wedsync_apm.web.words import say as words


def _refuse_others(here: Visit) -> None:
    if here.role not in MANAGERS:
        raise Forbidden


def _page(here: Visit, schedule: Row, form: TemporaryForm, people: People) -> Html:
    view = TemporaryView(
        schedule_id=schedule["id"],
        schedule_name=schedule["name"],
        form=with_spare(form),
        people=tuple((str(user_id), name) for user_id, name in people.names.items()),
        zone=here.zone,
    )
    return here.page("temporary.html", "oncall", view, status=422 if form.errors else 200)


@get("/on-call/{schedule_id:uuid}/temporary")
async def temporary_page(request: PageRequest, schedule_id: FromPath[UUID]) -> Html:
    """The form, from now on for a day."""
    async with visit(request) as here:
        schedule = await find_schedule(here, schedule_id)
        _refuse_others(here)
        people = await read_people(here, await read_contacts(here))
        form = TemporaryForm(wall(here.at, here.zone), wall(here.at + timedelta(days=1), here.zone))
        return _page(here, schedule, form, people)


@post("/on-call/{schedule_id:uuid}/temporary", status_code=200)
async def make_temporary(request: PageRequest, schedule_id: FromPath[UUID]) -> Html:
    """Its shifts count instead of the rotations."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        schedule = await find_schedule(here, schedule_id)
        _refuse_others(here)
        people = await read_people(here, await read_contacts(here))
        form, values = read_temporary(sent, people, here.zone, here.at)
        if not form.errors:
            try:
                async with trying(here):
                    await store.TEMPORARY_SCHEDULES.create_row(
                        here.cx,
                        organization_id=here.organization_id,
                        created_by=here.subject,
                        values=values | {"schedule_id": str(schedule_id)},
                    )
                return see("/on-call", said="temporary_made")
            except Conflict:
                form = replace(form, errors={"ends_at": words("temporary.taken")})
            except NotValid as exc:
                people_fault = any(one.field == "shifts" for one in exc.errors)
                key = "cover.person" if people_fault else "cover.time"
                form = replace(form, errors={"lines": words(key)})
        return _page(here, schedule, form, people)


@post("/on-call/temporary/{temporary_id:uuid}/undo", status_code=200)
async def undo_temporary(request: PageRequest, temporary_id: FromPath[UUID]) -> Html:
    """The rotations count again."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        row = await store.TEMPORARY_SCHEDULES.find_row(here.cx, temporary_id)
        if row is None or row["organization_id"] != here.organization_id:
            raise NotFound
        if not await store.TEMPORARY_SCHEDULES.delete_row(here.cx, temporary_id):
            raise Forbidden
    return see("/on-call", said="temporary_undone")


HANDLERS: Final[Sequence[Any]] = (temporary_page, make_temporary, undo_temporary)
