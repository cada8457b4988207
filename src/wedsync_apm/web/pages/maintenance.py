"""Planned work: its form with what it means, and the second person's yes."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.silences import store
from wedsync_apm.types import Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.edits import carried, compare, opened
from wedsync_apm.web.build.holding import (
    build_preview,
    in_the_way,
    label_choices,
    operator_choices,
    with_spare,
)
from wedsync_apm.web.build.maintenance import (
    day_choices,
    facts,
    form_of,
    lines_of_work,
    new_form,
    note,
    read_form,
    refused,
    sentence,
    span_words,
    status_of,
)
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.silences import may_answer, read_couples, read_names, role_in, trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.store import lock
from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.holding import HoldingView, Preview, WorkForm, WorkFormView
from wedsync_apm.web.words import say as words

MANAGERS: Final = (Role.OWNER, Role.ADMIN)
MOST_WHY: Final = 1000


def _refuse_others(here: Visit) -> None:
    if here.role not in MANAGERS:
        raise Forbidden


async def _find(here: Visit, window_id: UUID) -> Row:
    row = await store.MAINTENANCE_WINDOWS.find_row(here.cx, window_id)
    if row is None:
        raise NotFound
    return row


async def _find_own(here: Visit, window_id: UUID) -> Row:
    row = await _find(here, window_id)
    if row["organization_id"] != here.organization_id:
        raise NotFound
    _refuse_others(here)
    return row


@get("/planned-work/new")
async def new_work_page(request: PageRequest) -> Html:
    """The form of planned work."""
    async with visit(request) as here:
        _refuse_others(here)
        view = _form_view(here, None, new_form(here.at, here.zone), None)
        return here.page("planned_work.html", "silences", view)


@post("/planned-work/new", status_code=200)
async def make_work(request: PageRequest) -> Html:
    """Saves what was seen; else shows what it means first."""
    return await _save(request, None)


@get("/planned-work/{window_id:uuid}/edit")
async def edit_work_page(request: PageRequest, window_id: FromPath[UUID]) -> Html:
    """The form of planned work as it stands."""
    async with visit(request) as here:
        row = await _find_own(here, window_id)
        zone = row["time_zone"] or here.zone
        form = form_of(row, zone)
        view = _form_view(here, window_id, form, None, opened(form))
        return here.page("planned_work.html", "silences", view)


@post("/planned-work/{window_id:uuid}/edit", status_code=200)
async def save_work(request: PageRequest, window_id: FromPath[UUID]) -> Html:
    """Saves what was seen; else shows what it means first."""
    return await _save(request, window_id)


async def _save(request: PageRequest, window_id: UUID | None) -> Html:
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        if window_id is None:
            _refuse_others(here)
        else:
            await _find_own(here, window_id)
        form, values = read_form(sent, here.zone)
        preview: Preview | None = None
        stood = carried(sent)
        if not form.errors:
            if window_id is not None:
                stood = await _compare(here, sent, window_id, form)
                if stood.clash:
                    view = _form_view(here, window_id, form, None, stood)
                    return here.page("planned_work.html", "silences", view, status=409)
            try:
                async with trying(here):
                    preview = await _preview(here, values)
                if sent.get("seen") == preview.mark:
                    async with trying(here):
                        saved_id, waits = await _write(here, window_id, values)
                    return see(f"/planned-work/{saved_id}", said="asked" if waits else "work_saved")
            except NotValid as exc:
                form = refused(form, exc)
        view = _form_view(here, window_id, form, preview, stood)
        return here.page("planned_work.html", "silences", view, status=422 if form.errors else 200)


async def _compare(here: Visit, sent: Any, window_id: UUID, form: WorkForm) -> Stood:
    await lock(here.cx, "work", window_id)
    row = await _find_own(here, window_id)
    stands = form_of(row, row["time_zone"] or here.zone)
    return compare(
        sent,
        stands,
        mine=lines_of_work(form),
        theirs=lines_of_work(stands),
        href=f"/planned-work/{window_id}/edit",
    )


async def _write(here: Visit, window_id: UUID | None, values: dict[str, Any]) -> tuple[UUID, bool]:
    noun = store.MAINTENANCE_WINDOWS
    row = (
        await noun.create_row(
            here.cx,
            organization_id=here.organization_id,
            created_by=here.subject,
            values=values,
        )
        if window_id is None
        else await noun.update_row(here.cx, window_id, values)
    )
    if row is None:
        raise Forbidden
    return row["id"], row["needs_approval"]


async def _preview(here: Visit, values: dict[str, Any]) -> Preview:
    found = await store.preview_maintenance(here.cx, here.organization_id, values)
    weddings = found["weddings"] if values["is_active"] else []
    return build_preview(
        matchers=values["matchers"],
        matched=await store.list_matched(here.cx, here.organization_id, values["matchers"]),
        weddings=weddings,
        couples=await read_couples(here) if weddings else {},
        zone=here.zone,
        warning=words("work.waits", n=len(weddings)) if weddings else "",
        spans=span_words(found["spans"], values["time_zone"] or here.zone),
    )


def _form_view(
    here: Visit,
    window_id: UUID | None,
    form: WorkForm,
    preview: Preview | None,
    stood: Stood = NEW,
) -> WorkFormView:
    lines = with_spare(form.matchers)
    button = "silence.form.check"
    if preview is not None:
        button = "work.form.save_ask" if preview.warning else "work.form.save"
    return WorkFormView(
        id=window_id,
        form=form,
        lines=lines,
        preview=preview,
        labels=label_choices(lines),
        operators=operator_choices(),
        days=day_choices(),
        zone=here.zone,
        button=words(button),
        stood=stood,
    )


@get("/planned-work/{window_id:uuid}")
async def work_page(request: PageRequest, window_id: FromPath[UUID]) -> Html:
    """Planned work as it stands, with its next times; for the second person, the question."""
    async with visit(request) as here:
        return here.page("holding.html", "silences", await _view(here, window_id))


async def _view(here: Visit, window_id: UUID, why: str = "", fault: str = "") -> HoldingView:
    row = await _find(here, window_id)
    is_here = row["organization_id"] == here.organization_id
    may = row["needs_approval"] and may_answer(here, row["organization_id"], is_own=row["is_own"])
    may_edit = is_here and role_in(here, row["organization_id"]) in MANAGERS
    names = await read_names(here) if is_here else {}
    return HoldingView(
        id=row["id"],
        path=f"/planned-work/{row['id']}",
        title=words("silences.title"),
        status=status_of(row),
        sentence=sentence(row, names, here.at, here.zone),
        facts=facts(row, names, here.at, here.zone),
        weddings=in_the_way(row["weddings"], await read_couples(here), here.zone),
        spans=span_words(row["next_spans"], row["time_zone"] or here.zone)
        or (words("work.next_none"),),
        asks=words("approve.ask") if row["needs_approval"] else "",
        may_answer=may,
        answer_note="" if may else words("approve.own" if row["is_own"] else "approve.viewer"),
        may_end=False,
        may_edit=may_edit,
        end_words=words("work.delete"),
        note=note(row),
        asks_why=True,
        why=why,
        fault=fault,
    )


@post("/planned-work/{window_id:uuid}/approve", status_code=200)
async def approve_work(request: PageRequest, window_id: FromPath[UUID]) -> Html:
    """The second person says yes; whoever was slower is shown how it stands."""
    form = await request.form()
    check_form(web_of(request), request, form)
    said = "approved"
    try:
        async with visit(request) as here:
            await store.approve_maintenance_window(here.cx, window_id)
    except Conflict:
        said = "answered"
    return see(f"/planned-work/{window_id}", said=said)


@post("/planned-work/{window_id:uuid}/refuse", status_code=200)
async def refuse_work(request: PageRequest, window_id: FromPath[UUID]) -> Html:
    """The second person says no, and why; whoever was slower is shown how it stands."""
    form = await request.form()
    check_form(web_of(request), request, form)
    reason = str(form.get("reason") or "").strip()[:MOST_WHY]
    said = "refused"
    try:
        async with visit(request) as here:
            await store.refuse_maintenance_window(here.cx, window_id, reason)
    except Conflict:
        said = "answered"
    except NotValid:
        async with visit(request) as here:
            view = await _view(here, window_id, reason, words("approve.why_empty"))
            return here.page("holding.html", "silences", view, status=422)
    return see(f"/planned-work/{window_id}", said=said)


@post("/planned-work/{window_id:uuid}/delete", status_code=200)
async def delete_work(request: PageRequest, window_id: FromPath[UUID]) -> Html:
    """Gone; what it held back is told."""
    form = await request.form()
    check_form(web_of(request), request, form)
    async with visit(request) as here:
        await _find_own(here, window_id)
        if not await store.MAINTENANCE_WINDOWS.delete_row(here.cx, window_id):
            raise Forbidden
    return see("/silences", said="work_deleted")


HANDLERS: Final[Sequence[Any]] = (
    new_work_page,
    make_work,
    edit_work_page,
    save_work,
    work_page,
    approve_work,
    refuse_work,
    delete_work,
)
