"""Changing a dashboard: its document in a form, which a script makes into a grid."""

import json
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.dashboards import files, store
from wedsync_apm.dashboards.data import document_of
from wedsync_apm.dashboards.model import SCHEMA, Document
from wedsync_apm.dashboards.reading import split
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import Conflict, Forbidden, MalformedBody, NotValid, TooLarge
from wedsync_apm.metrics import store as metrics
from wedsync_apm.web import say
from wedsync_apm.web.build.board_editor import build_editor
from wedsync_apm.web.build.boards import fault_lines
from wedsync_apm.web.pages.boards import Row, find_own, may_edit
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.gather import MOST_METRICS
from wedsync_apm.web.session import check_form
from wedsync_apm.web.words import say as words

FORM_BYTES: Final = 1024 * 1024
_MOST_COPIES: Final = 20


@get("/dashboards/{board_id:uuid}/edit")
async def edit_page(request: PageRequest, board_id: FromPath[UUID]) -> Html:
    """The form as the dashboard stands."""
    async with visit(request) as here:
        row = await find_own(here, board_id)
        if not may_edit(here):
            raise Forbidden
        try:
            text = files.write_json(document_of(row))
        except NotValid as exc:
            # An older program kept it: it can be mended as text.
            told = fault_lines([(one.field, one.reason) for one in exc.errors])
            return await show(here, row, _as_text(row), row["version"], faults=told)
        return await show(here, row, text, row["version"])


@post("/dashboards/{board_id:uuid}/edit", status_code=200, request_max_body_size=FORM_BYTES)
async def save_board(request: PageRequest, board_id: FromPath[UUID]) -> Html:
    """Keeps the document, or shows it again with what is wrong, or with who was faster."""
    form = await request.form()
    check_form(web_of(request), request, form)
    text = str(form.get("document") or "")
    async with visit(request) as here:
        row = await find_own(here, board_id)
        if not may_edit(here):
            raise Forbidden
        version = _version_of(form)
        try:
            document = files.read_file(text.encode(errors="replace"), files.JSON)
        except NotValid as exc:
            told = fault_lines([(one.field, one.reason) for one in exc.errors])
            return await show(here, row, text, version, faults=told, status=422)
        except (MalformedBody, TooLarge) as exc:
            told = (str(words("board_edit.unread", reason=exc.detail)),)
            return await show(here, row, text, version, faults=told, status=422)
        if form.get("do") == "copy":
            made = await keep_copy(here, document)
            return see(f"/dashboards/{made}", said="board_saved")
        try:
            with wrap_database_errors():
                async with here.cx.transaction():
                    values = _values(document) | {"version": version}
                    await store.DASHBOARDS.update_row(here.cx, board_id, values)
        except Conflict:
            row = await find_own(here, board_id)
            if row["version"] == version:
                told = (str(words("board_edit.taken")),)
                return await show(here, row, text, version, faults=told, status=422)
            clash = words(
                "board_edit.clash",
                name=row["changed_by"],
                time=say.when(row["updated_at"], here.at, here.zone),
            )
            return await show(here, row, text, version, clash=str(clash), status=409)
    return see(f"/dashboards/{board_id}", said="board_saved")


async def keep_copy(here: Visit, document: Document) -> UUID:
    """Keeps the document as another dashboard, under a name that is free."""
    taken = {row["name"] for row in await store.list_names(here.cx, here.organization_id)}
    names = (
        str(words("board_edit.copy_name", name=document.name[:180], n=n))
        for n in range(2, _MOST_COPIES)
    )
    name = next((one for one in names if one not in taken), None)
    if name is None:
        raise Conflict
    made = await store.DASHBOARDS.create_row(
        here.cx,
        organization_id=here.organization_id,
        created_by=here.subject,
        values=_values(document) | {"name": name},
    )
    found: UUID = made["id"]
    return found


def _values(document: Document) -> Row:
    layout, variables = split(document)
    return {
        "name": document.name,
        "description": document.description,
        "layout": layout,
        "variables": variables,
    }


def _as_text(row: Row) -> str:
    layout = row["layout"] if isinstance(row["layout"], dict) else {"panels": row["layout"]}
    head = {"schema": SCHEMA, "name": row["name"], "description": row["description"]}
    return json.dumps({**head, **layout, "variables": row["variables"]}, indent=2)


def _version_of(form: Any) -> int:
    """The version that was opened; none of ours where the field is missing or no number."""
    sent = str(form.get("version") or "")
    return int(sent) if sent.isdecimal() and len(sent) < 10 else 0


async def show(
    here: Visit,
    row: Row,
    text: str,
    version: int,
    *,
    faults: tuple[str, ...] = (),
    clash: str = "",
    status: int = 200,
) -> Html:
    """The form with what was typed."""
    catalogue = await metrics.list_metrics(here.cx, here.organization_id, limit=MOST_METRICS)
    view = build_editor(
        row["id"], row["name"], text, version, catalogue, faults=faults, clash=clash
    )
    return here.page("board_edit.html", "dashboards", view, status=status)


HANDLERS: Final = (edit_page, save_board)
