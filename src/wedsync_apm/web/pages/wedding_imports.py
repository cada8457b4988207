"""Weddings from files: first what a file would do, then, when somebody has said so, doing it."""

from typing import Final

from litestar import get, post
from litestar.datastructures import UploadFile

from wedsync_apm.errors import Forbidden, NotValid
from wedsync_apm.organizations.store import list_members
from wedsync_apm.web.build.imports import (
    LARGEST_FILE,
    Sent,
    build_preview,
    build_run,
    kind_of,
    read_sent,
    why_not,
)
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.weddings import MOST_MEMBERS, may_edit
from wedsync_apm.web.session import check_form, check_origin, identify
from wedsync_apm.web.views.imports import ImportView, Preview, Run
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.imports import store
from wedsync_apm.weddings.imports.apart import readers_of
from wedsync_apm.weddings.imports.model import FileKind, Reading

MOST_RUNS: Final = 20
IMPORT_BODY_BYTES: Final = LARGEST_FILE * 4 // 3 + 64 * 1024
"""A file of the largest size as text of a form, and the rest of the form."""


@get("/weddings/import")
async def import_page(request: PageRequest) -> Html:
    """The form, and what files did so far; for owners and admins."""
    async with visit(request) as here:
        _require_importer(here)
        return here.page("wedding_import.html", "weddings", ImportView(runs=await _runs(here)))


@post("/weddings/import", status_code=200, request_max_body_size=IMPORT_BODY_BYTES)
async def look_at_file(request: PageRequest) -> Html:
    """What the file would do. Nothing is changed."""
    sent = await _read_form(request)
    kind, reading, error = await _read_file(request, sent)
    async with visit(request) as here:
        _require_importer(here)
        preview: Preview | None = None
        if reading is not None:
            report = await store.import_weddings(
                here.cx, here.organization_id, kind, reading, is_dry_run=True
            )
            preview = build_preview(kind, reading, report, sent.body)
        view = ImportView(
            text="" if preview else sent.text,
            date_order=sent.date_order or "",
            matching=sent.matching,
            preview=preview,
            runs=await _runs(here),
            errors={"text": error} if error else {},
        )
        return here.page("wedding_import.html", "weddings", view, status=422 if error else 200)


@post("/weddings/import/confirm", status_code=200, request_max_body_size=IMPORT_BODY_BYTES)
async def import_file(request: PageRequest) -> Html:
    """Does what was shown, by the calendar as it is now."""
    sent = await _read_form(request)
    kind, reading, error = await _read_file(request, sent)
    async with visit(request) as here:
        _require_importer(here)
        if reading is None:
            view = ImportView(runs=await _runs(here), errors={"text": error})
            return here.page("wedding_import.html", "weddings", view, status=422)
        await store.import_weddings(here.cx, here.organization_id, kind, reading, is_dry_run=False)
    return see("/weddings/import", said="wedding_imported")


async def _read_form(request: PageRequest) -> Sent:
    """The form of somebody who is signed in: nobody else's megabyte is taken apart."""
    web = web_of(request)
    check_origin(web, request)
    await identify(web, request)
    form = await request.form()
    check_form(web, request, form)
    file = form.get("file")
    return read_sent(form, await file.read() if isinstance(file, UploadFile) else b"")


async def _read_file(request: PageRequest, sent: Sent) -> tuple[FileKind, Reading | None, str]:
    """What the file says, or why it cannot be taken. No connection is held while it is read."""
    kind = kind_of(sent.body)
    async with visit(request) as here:
        _require_importer(here)
        habits = await store.read_habits(
            here.cx,
            here.organization_id,
            date_order=sent.date_order,
            matching=sent.matching or None,
        )
    if not sent.body.strip():
        return kind, None, words("import.none")
    if len(sent.body) > LARGEST_FILE:
        return kind, None, words("import.large")
    try:
        return kind, await readers_of(request.app.state).read(kind, sent.body, habits), ""
    except NotValid as exc:
        return kind, None, why_not(exc.errors, exc.detail)


def _require_importer(here: Visit) -> None:
    if not may_edit(here):
        raise Forbidden


async def _runs(here: Visit) -> tuple[Run, ...]:
    rows = await store.list_runs(here.cx, here.organization_id, MOST_RUNS)
    if not rows:
        return ()
    members = await list_members(
        here.cx, organization_ids=[here.organization_id], before=None, limit=MOST_MEMBERS
    )
    names = {member["user_id"]: member["name"] for member in members if member.get("name")}
    return tuple(build_run(row, names, here.at, here.zone) for row in rows)


HANDLERS: Final = (import_page, look_at_file, import_file)
