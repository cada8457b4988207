"""What people do to weddings: enter, change, move, cancel, share, link, look again."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.web import say
from wedsync_apm.web.build.calendar import read_day
from wedsync_apm.web.build.edits import carried, compare, opened
from wedsync_apm.web.build.wedding_form import (
    empty_form,
    form_of,
    form_of_client,
    lines_of_wedding,
    read_form,
    read_id,
    with_fault_of_form,
    with_faults,
)
from wedsync_apm.web.build.wedding_page import with_fault
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.weddings import may_edit, read_wedding
from wedsync_apm.web.session import check_form
from wedsync_apm.web.store import lock
from wedsync_apm.web.views.wedding_page import Person, RevealView, WeddingForm
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings import store
from wedsync_apm.weddings.model import WeddingStatus
from wedsync_apm.weddings.readiness import store as readiness


@get("/weddings/new")
async def new_wedding_page(request: PageRequest) -> Html:
    """An empty form; `date` fills in the day, `client` what the host's client says."""
    query = request.query_params
    async with visit(request) as here:
        _require_editor(here)
        form = empty_form(here.zone, read_day(query.get("date")))
        if client := read_id(query.get("client", "")):
            row = await store.find_wedding(here.cx, client)
            if row["is_host_row"] and row["organization_id"] == here.organization_id:
                form = form_of_client(row, here.zone)
        return here.page("wedding_form.html", "weddings", form)


@post("/weddings/new", status_code=200)
async def create_wedding(request: PageRequest) -> Html:
    """Enters it; a fault is shown beside its field with everything kept as typed."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    typed: WeddingForm | None = None
    try:
        async with visit(request) as here:
            _require_editor(here)
            form = replace(empty_form(here.zone), client_id=str(sent.get("client_id") or "")[:40])
            draft, typed = read_form(form, None, sent)
            if draft is None:
                return _refuse(here, typed)
            made = await store.create_wedding(here.cx, here.organization_id, draft)
    except (NotValid, Conflict) as exc:
        return await _refuse_anew(request, typed, exc)
    return see(f"/weddings/{made['id']}", said="wedding_made")


@get("/weddings/{wedding_id:uuid}/edit")
async def edit_wedding_page(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """The form with what stands."""
    async with visit(request) as here:
        row = await _find_own(here, wedding_id)
        _require_editor(here)
        form = form_of(row, store.draft_of(row), here.zone)
        form = replace(form, stood=opened(form))
        return here.page("wedding_form.html", "weddings", form)


@post("/weddings/{wedding_id:uuid}/edit", status_code=200)
async def save_wedding(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """Changes times and people; the date moves by an action of its own."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    typed: WeddingForm | None = None
    try:
        async with visit(request) as here:
            await _find_own(here, wedding_id)
            _require_editor(here)
            await lock(here.cx, "wedding", wedding_id)
            row = await _find_own(here, wedding_id)
            present = store.draft_of(row)
            stands = form_of(row, present, here.zone)
            draft, typed = read_form(stands, present, sent)
            typed = replace(typed, stood=carried(sent))
            if draft is None:
                return _refuse(here, typed)
            stood = compare(
                sent,
                stands,
                mine=lines_of_wedding(typed),
                theirs=lines_of_wedding(stands),
                href=f"/weddings/{wedding_id}/edit",
            )
            if stood.clash:
                return _refuse(here, replace(typed, stood=stood), status=409)
            await store.update_wedding(here.cx, wedding_id, draft)
    except (NotValid, Conflict) as exc:
        return await _refuse_anew(request, typed, exc)
    return see(f"/weddings/{wedding_id}", said="wedding_saved")


async def _refuse_anew(
    request: PageRequest, typed: WeddingForm | None, exc: NotValid | Conflict
) -> Html:
    """What only the database saw, some of it at the end: the form once more, as typed."""
    if typed is None:
        raise exc
    faults = list(exc.errors) if isinstance(exc, NotValid) else []
    form = with_faults(typed, faults) if faults else with_fault_of_form(typed, exc.detail)
    async with visit(request) as here:
        return _refuse(here, form)


def _refuse(here: Visit, form: WeddingForm, status: int = 422) -> Html:
    return here.page("wedding_form.html", "weddings", form, status=status)


def _require_editor(here: Visit) -> None:
    if not may_edit(here):
        raise Forbidden


async def _find_own(here: Visit, wedding_id: UUID) -> dict[str, Any]:
    row = await store.find_wedding(here.cx, wedding_id)
    if row["organization_id"] != here.organization_id or row["is_host_row"]:
        raise NotFound("There is no such wedding to change.")
    return row


Act = Callable[[Visit, dict[str, Any], Mapping[str, Any]], Awaitable[None]]


async def _move(here: Visit, row: dict[str, Any], sent: Mapping[str, Any]) -> None:
    day = read_day(str(sent.get("date") or "").strip())
    if day is None:
        raise NotValid(words("wedding_form.bad_date"))
    await store.update_wedding(here.cx, row["id"], store.draft_of(row).moved_to(day))


def _become(status: WeddingStatus) -> Act:
    async def act(here: Visit, row: dict[str, Any], _: Mapping[str, Any]) -> None:
        await store.update_wedding(here.cx, row["id"], replace(store.draft_of(row), status=status))

    return act


async def _link(here: Visit, row: dict[str, Any], sent: Mapping[str, Any]) -> None:
    client = read_id(str(sent.get("client_id") or ""))
    found = await store.find_wedding(here.cx, client) if client else None
    if found is None or not found["is_host_row"]:
        raise NotFound("There is no such client.")
    if (found["organization_id"], found["wedding_date"]) != (
        row["organization_id"],
        row["wedding_date"],
    ):
        raise Conflict("The client's wedding is on another day.")
    draft = replace(store.draft_of(row), client_id=found["client_id"])
    await store.update_wedding(here.cx, row["id"], draft)


async def _join(here: Visit, row: dict[str, Any], sent: Mapping[str, Any]) -> None:
    await store.join_wedding(here.cx, row["id"], str(sent.get("code") or "")[:100])


async def _leave(here: Visit, row: dict[str, Any], _: Mapping[str, Any]) -> None:
    await store.leave_wedding(here.cx, row["id"])


_ACTS: Final[Mapping[str, tuple[Act, str, str]]] = {
    "move": (_move, "wedding_moved", "date"),
    "cancel": (_become(WeddingStatus.CANCELLED), "wedding_cancelled", ""),
    "restore": (_become(WeddingStatus.BOOKED), "wedding_restored", ""),
    "link": (_link, "wedding_linked", ""),
    "join": (_join, "wedding_joined", "code"),
    "leave": (_leave, "wedding_left", ""),
}
"""What it does, what is said afterwards, and the field that a refusal stands beside."""


@post([f"/weddings/{{wedding_id:uuid}}/{name}" for name in _ACTS], status_code=200)
async def act_on_wedding(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """One change by an owner or admin."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    act, said, field = _ACTS[request.url.path.rsplit("/", 1)[1]]
    try:
        async with visit(request) as here:
            await _find_own(here, wedding_id)
            _require_editor(here)
            await act(here, await store.find_to_change(here.cx, wedding_id), sent)
    except NotValid as exc:
        if not field:
            raise
        fault = exc.errors[0].reason if exc.errors else exc.detail
        async with visit(request) as here:
            view = await read_wedding(here, wedding_id)
            view = with_fault(view, field, fault, typed=str(sent.get(field) or "")[:100])
            return here.page("wedding.html", "weddings", view, status=422)
    return see(f"/weddings/{wedding_id}", said=said)


@post("/weddings/{wedding_id:uuid}/share", status_code=200)
async def share_wedding(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """A code for another vendor, in the answer alone."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await _find_own(here, wedding_id)
        _require_editor(here)
        code = await store.share_wedding(here.cx, wedding_id)
        view = replace(
            await read_wedding(here, wedding_id),
            code=code.text,
            code_until=words(
                "wedding.code_until", time=say.when(code.expires_at, here.at, here.zone)
            ),
        )
        return here.page("wedding.html", "weddings", view)


@post("/weddings/{wedding_id:uuid}/ready", status_code=200)
async def look_again(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """Has the readiness report made anew."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    said = "ready_asked"
    try:
        async with visit(request) as here:
            row = await store.find_wedding(here.cx, wedding_id)
            if row["organization_id"] != here.organization_id:
                raise NotFound("It belongs to another business.")
            await readiness.ask_again(here.cx, wedding_id)
    except Conflict:
        said = "ready_early"
    return see(f"/weddings/{wedding_id}", said=said)


@post("/weddings/{wedding_id:uuid}/reveal", status_code=200)
async def reveal_wedding(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """Names and numbers for an operator who says why; the audit log has it in the same breath."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    reason = str(sent.get("reason") or "").strip()
    async with visit(request) as here:
        if not here.is_operator:
            raise Forbidden
        try:
            row = await store.reveal_wedding(here.cx, wedding_id, reason)
        except NotValid:
            view = RevealView(wedding_id, reason[:600], words("reveal.short"))
        except NotFound:
            view = RevealView(wedding_id, reason, words("reveal.none"))
        else:
            on = row["wedding_date"]
            view = RevealView(
                wedding_id,
                couple=row["couple_names"] or words("wedding.unnamed"),
                on=f"{on:%A} {on.day} {on:%B %Y}",
                venue=row["venue_name"] or "",
                contacts=tuple(
                    Person(
                        str(c.get("name") or ""),
                        str(c.get("role") or ""),
                        str(c.get("phone") or ""),
                    )
                    for c in row["contacts"]
                ),
                is_told=True,
            )
        return here.page("wedding_reveal.html", "weddings", view, status=422 if view.error else 200)


HANDLERS: Final = (
    new_wedding_page,
    create_wedding,
    edit_wedding_page,
    save_wedding,
    act_on_wedding,
    share_wedding,
    look_again,
    reveal_wedding,
)
