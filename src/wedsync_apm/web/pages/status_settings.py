"""The vendor's own page about his status page."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from litestar import get, post

from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.status.members import store
from wedsync_apm.status.model import read_status
from wedsync_apm.types import Role
from wedsync_apm.web.build.edits import carried, compare, opened
from wedsync_apm.web.build.status import (
    build_status,
    choices_of,
    form_of,
    lines_of_settings,
    people_of,
    promises,
    read_note,
    read_settings,
)
from wedsync_apm.web.headers import STATUS_HEADERS
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, answer, see, visit, web_of
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.render import render
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.edit import Stood
from wedsync_apm.web.views.shell import Bare
from wedsync_apm.web.views.status import NoteForm, SettingsForm, SettingsView
from wedsync_apm.web.words import say as words

MANAGERS: Final = (Role.OWNER, Role.ADMIN)


async def _page(
    here: Visit,
    form: SettingsForm | None = None,
    note: NoteForm | None = None,
    *,
    stood: Stood | None = None,
    status: int = 200,
) -> Html:
    page = await store.find_status_page(here.cx, here.organization_id)
    rows = await store.list_status_choices(here.cx, here.organization_id)
    people = await store.list_status_subscribers(here.cx, here.organization_id)
    stands = form_of(page, here.membership.name, rows)
    shown = form or stands
    base = f"{here.web.settings.base_url}/status/"
    may_edit = here.role in MANAGERS
    view = SettingsView(
        form=shown,
        choices=choices_of(rows, shown),
        base=base,
        url=f"/status/{page['slug']}" if page else "",
        is_public=bool(page and page["is_public"]),
        subscribers=words("status_set.subscribers", n=page["subscribers"]) if page else "",
        may_edit=may_edit,
        refusal="" if may_edit else words("status_set.only"),
        note=note or NoteForm(),
        promises=promises(),
        people=people_of(people, here.at, here.zone),
        stood=stood or opened(stands),
    )
    return here.page("status_settings.html", "statuspage", view, status=status)


@get("/status-page")
async def settings_page(request: PageRequest) -> Html:
    """Whether everybody may see it, what it shows, and who gets mail."""
    async with visit(request) as here:
        return await _page(here)


@get("/status-page/preview")
async def preview_page(request: PageRequest) -> Html:
    """The page as everybody sees it, or would."""
    async with visit(request) as here:
        content = await store.preview_status_page(here.cx, here.organization_id)
        if content is None:
            raise NotFound
        status = read_status(content)
        html = render("status.html", Bare(status.at, "system", status.zone), build_status(status))
        return answer(request, html, headers=STATUS_HEADERS)


@post("/status-page", status_code=200)
async def save_settings(request: PageRequest) -> Html:
    """Saves the form; a fault is shown beside its field with everything kept as typed."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        rows = await store.list_status_choices(here.cx, here.organization_id)
        form, stood = read_settings(sent, rows), carried(sent)
        if not form.errors:
            await store.lock_status_page(here.cx, here.organization_id)
            page = await store.find_status_page(here.cx, here.organization_id)
            stands = form_of(page, here.membership.name, rows)
            stood = compare(
                sent,
                stands,
                mine=lines_of_settings(form, rows),
                theirs=lines_of_settings(stands, rows),
                href="/status-page",
            )
            if stood.clash:
                return await _page(here, form, stood=stood, status=409)
            try:
                async with trying(here):
                    await store.save_status_page(
                        here.cx,
                        here.organization_id,
                        slug=form.slug,
                        title=form.title,
                        intro=form.intro,
                        is_public=form.is_public,
                        is_indexed=form.is_indexed,
                        check_ids=form.check_ids,
                    )
                return see("/status-page", said="status_saved")
            except Conflict:
                form = replace(form, errors={"slug": words("status_set.slug_taken")})
            except NotValid:
                form = replace(form, errors={"show": words("status_set.shows_wrong")})
        return await _page(here, form, stood=stood, status=422)


@post("/status-page/notes", status_code=200)
async def say_something(request: PageRequest) -> Html:
    """Says something on the page, and to whoever gets mail."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        if await store.find_status_page(here.cx, here.organization_id) is None:
            raise NotFound
        note = read_note(sent)
        if note.error:
            return await _page(here, note=note, status=422)
        until = here.at + timedelta(minutes=int(note.next_in)) if note.next_in else None
        await store.post_status_note(here.cx, here.organization_id, note.body, until)
    return see("/status-page", said="status_said")


HANDLERS: Final[Sequence[Any]] = (settings_page, preview_page, save_settings, say_something)
