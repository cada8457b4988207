"""Heartbeats: the list, one of them, its form and its address."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.heartbeats import store
from wedsync_apm.heartbeats.model import address, make_token
from wedsync_apm.types import Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.edits import carried, compare, lines_of, opened
from wedsync_apm.web.build.heartbeats import (
    LABELS,
    build_row,
    coming,
    facts,
    form_of,
    pings,
    read_form,
    refused,
    severity_choices,
    taken,
    unit_choices,
)
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.store import lock
from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.heartbeat import (
    HeartbeatForm,
    HeartbeatFormView,
    HeartbeatsView,
    HeartbeatView,
)
from wedsync_apm.web.words import say as words

MOST: Final = 200
MANAGERS: Final = (Role.OWNER, Role.ADMIN)


@get("/heartbeats")
async def heartbeats_page(request: PageRequest) -> Html:
    """Which jobs are heard of, and which are not."""
    async with visit(request) as here:
        rows = await store.HEARTBEATS.list_rows(
            here.cx, organization_ids=[here.organization_id], before=None, limit=MOST
        )
        worst = ("down", "late", "new", "started", "up", "paused")
        rows = sorted(rows, key=lambda row: (worst.index(row["state"]), row["name"]))
        view = HeartbeatsView(
            tuple(build_row(row, here.at, here.zone) for row in rows),
            may_edit=here.role in MANAGERS,
            refusal="" if here.role in MANAGERS else words("heartbeats.only"),
        )
        return here.page("heartbeats.html", "heartbeats", view)


async def _find(here: Visit, heartbeat_id: UUID, *, to_change: bool = False) -> Row:
    row = await store.HEARTBEATS.find_row(here.cx, heartbeat_id)
    if row is None or row["organization_id"] != here.organization_id:
        raise NotFound
    if to_change and here.role not in MANAGERS:
        raise Forbidden
    return row


def _view(here: Visit, row: Row, url: str = "") -> HeartbeatView:
    return HeartbeatView(
        row=build_row(row, here.at, here.zone),
        description=row["description"],
        facts=facts(row, here.at, here.zone),
        pings=pings(row),
        count=words("heartbeat.count", n=row["heard_count"]) if row["heard_count"] else "",
        coming=coming(row, here.at),
        may_edit=here.role in MANAGERS,
        refusal="" if here.role in MANAGERS else words("heartbeats.only"),
        is_active=row["is_active"],
        address=url,
    )


@get("/heartbeats/{heartbeat_id:uuid}")
async def heartbeat_page(request: PageRequest, heartbeat_id: FromPath[UUID]) -> Html:
    """One heartbeat, with the last times that it was heard of."""
    async with visit(request) as here:
        row = await _find(here, heartbeat_id)
        return here.page("heartbeat.html", "heartbeats", _view(here, row))


def _form_page(
    here: Visit,
    form: HeartbeatForm,
    heartbeat_id: UUID | None = None,
    *,
    stood: Stood = NEW,
    status: int = 200,
) -> Html:
    view = HeartbeatFormView(heartbeat_id, form, unit_choices(), severity_choices(), stood)
    return here.page("heartbeat_form.html", "heartbeats", view, status=status)


@get("/heartbeats/new")
async def new_heartbeat_page(request: PageRequest) -> Html:
    """The form of a heartbeat."""
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        return _form_page(here, HeartbeatForm(time_zone=here.zone))


@get("/heartbeats/{heartbeat_id:uuid}/edit")
async def edit_heartbeat_page(request: PageRequest, heartbeat_id: FromPath[UUID]) -> Html:
    """The form of a heartbeat as it stands."""
    async with visit(request) as here:
        row = await _find(here, heartbeat_id, to_change=True)
        form = form_of(row, here.zone)
        return _form_page(here, form, heartbeat_id, stood=opened(form))


@post("/heartbeats/new", status_code=200)
async def make_heartbeat(request: PageRequest) -> Html:
    """A new heartbeat; its address stands in this answer and nowhere else ever."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        form, values = read_form(sent, here.at)
        if not form.errors:
            token = make_token()
            try:
                async with trying(here):
                    made = await store.HEARTBEATS.create_row(
                        here.cx,
                        organization_id=here.organization_id,
                        created_by=here.subject,
                        values=values | {"is_active": True},
                    )
                    await store.set_token(here.cx, made["id"], token)
                row = await _find(here, made["id"])
                url = address(here.web.settings.base_url, token)
                return here.page("heartbeat.html", "heartbeats", _view(here, row, url))
            except NotValid as exc:
                form = refused(form, exc)
            except Conflict:
                form = taken(form)
        return _form_page(here, form, status=422)


@post("/heartbeats/{heartbeat_id:uuid}/edit", status_code=200)
async def save_heartbeat(request: PageRequest, heartbeat_id: FromPath[UUID]) -> Html:
    """Saves the form; a fault is shown beside its field with everything kept as typed."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await _find(here, heartbeat_id, to_change=True)
        form, values = read_form(sent, here.at)
        stood = carried(sent)
        if not form.errors:
            await lock(here.cx, "heartbeat", heartbeat_id)
            stands = form_of(await _find(here, heartbeat_id, to_change=True), here.zone)
            stood = compare(
                sent,
                stands,
                mine=lines_of(form, LABELS),
                theirs=lines_of(stands, LABELS),
                href=f"/heartbeats/{heartbeat_id}/edit",
            )
            if stood.clash:
                return _form_page(here, form, heartbeat_id, stood=stood, status=409)
            try:
                async with trying(here):
                    await _change(here, heartbeat_id, values)
                return see(f"/heartbeats/{heartbeat_id}", said="heartbeat_saved")
            except NotValid as exc:
                form = refused(form, exc)
            except Conflict:
                form = taken(form)
        return _form_page(here, form, heartbeat_id, stood=stood, status=422)


async def _change(here: Visit, heartbeat_id: UUID, values: dict[str, Any]) -> None:
    if await store.HEARTBEATS.update_row(here.cx, heartbeat_id, values) is None:
        raise Forbidden


@post(
    ["/heartbeats/{heartbeat_id:uuid}/pause", "/heartbeats/{heartbeat_id:uuid}/resume"],
    status_code=200,
)
async def pause_heartbeat(request: PageRequest, heartbeat_id: FromPath[UUID]) -> Html:
    """Listens no more, or again."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    is_active = request.url.path.endswith("/resume")
    async with visit(request) as here:
        await _find(here, heartbeat_id, to_change=True)
        await _change(here, heartbeat_id, {"is_active": is_active})
    said = "heartbeat_resumed" if is_active else "heartbeat_paused"
    return see(f"/heartbeats/{heartbeat_id}", said=said)


@post("/heartbeats/{heartbeat_id:uuid}/rotate", status_code=200)
async def rotate_address(request: PageRequest, heartbeat_id: FromPath[UUID]) -> Html:
    """A new address, shown in this answer; the old one is good no more."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        row = await _find(here, heartbeat_id, to_change=True)
        token = make_token()
        await store.set_token(here.cx, heartbeat_id, token)
        url = address(here.web.settings.base_url, token)
        return here.page("heartbeat.html", "heartbeats", _view(here, row, url))


@post("/heartbeats/{heartbeat_id:uuid}/delete", status_code=200)
async def delete_heartbeat(request: PageRequest, heartbeat_id: FromPath[UUID]) -> Html:
    """Gone; a problem that it has open ends."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await _find(here, heartbeat_id, to_change=True)
        if not await store.HEARTBEATS.delete_row(here.cx, heartbeat_id):
            raise Forbidden
    return see("/heartbeats", said="heartbeat_deleted")


HANDLERS: Final[Sequence[Any]] = (
    heartbeats_page,
    new_heartbeat_page,
    make_heartbeat,
    heartbeat_page,
    edit_heartbeat_page,
    save_heartbeat,
    pause_heartbeat,
    rotate_address,
    delete_heartbeat,
)
