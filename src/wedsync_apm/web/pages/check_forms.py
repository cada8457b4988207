"""The form of a check: by an address of one's own, and of one that is there."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.checks.members import store
from wedsync_apm.checks.templates import TEMPLATES, Template
from wedsync_apm.checks.wanted import verify_address
from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.types import Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.check_form import (
    ADDRESS_FIELDS,
    INTERVALS,
    LABELS,
    WINDOWS,
    choices,
    form_of,
    form_of_template,
    new_values,
    read_form,
    refused,
    taken,
)
from wedsync_apm.web.build.edits import carried, compare, lines_of, opened
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.store import lock
from wedsync_apm.web.views.check import CheckForm, CheckFormView
from wedsync_apm.web.views.edit import NEW, Stood

MANAGERS: Final = (Role.OWNER, Role.ADMIN)


async def find_check(here: Visit, check_id: UUID, *, to_change: bool = False) -> Row:
    """A check of the business that is looked at. Raises NotFound for any other, and Forbidden for
    who may not change it."""
    row = await store.HEALTH_CHECKS.find_row(here.cx, check_id)
    if row is None or row["organization_id"] != here.organization_id:
        raise NotFound
    if to_change and here.role not in MANAGERS:
        raise Forbidden
    return row


async def change_check(here: Visit, check_id: UUID, values: dict[str, Any]) -> None:
    """Changes the named values. Raises Forbidden where the database has the caller not."""
    if await store.HEALTH_CHECKS.update_row(here.cx, check_id, values) is None:
        raise Forbidden


def _template_of(request: PageRequest, sent: Any = None) -> Template | None:
    key = str((sent or request.query_params).get("template") or "")
    template = TEMPLATES.get(key)
    return None if template is None or template.is_shared else template


def _form_page(
    here: Visit,
    form: CheckForm,
    *,
    row: Row | None = None,
    template: Template | None = None,
    stood: Stood = NEW,
    status: int = 200,
) -> Html:
    view = CheckFormView(
        id=row["id"] if row else None,
        form=form,
        template=template.key if template else "",
        example=(template.example_url or "") if template else "https://www.example.com/",
        has_address=row is None or row["endpoint_url"] is not None,
        intervals=choices(INTERVALS, "every", form.interval),
        windows=choices(WINDOWS, "over", form.judged_over),
        stood=stood,
    )
    return here.page("check_form.html", "checks", view, status=status)


@get("/checks/own")
async def own_check_page(request: PageRequest) -> Html:
    """The form of a check by an address of one's own; `?template=` begins with its limits."""
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        template = _template_of(request)
        form = form_of_template(template) if template else CheckForm()
        return _form_page(here, form, template=template)


@post("/checks/own", status_code=200)
async def make_check(request: PageRequest) -> Html:
    """A new check; where its address leads is looked at before it is saved."""
    sent = await request.form()
    web = web_of(request)
    check_form(web, request, sent)
    template = _template_of(request, sent)
    form, values = read_form(sent, has_address=True)
    form = await _verified(request, form)
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        if not form.errors:
            base = template.as_values() if template else {}
            base.pop("service_name", None)
            try:
                async with trying(here):
                    made = await store.HEALTH_CHECKS.create_row(
                        here.cx,
                        organization_id=here.organization_id,
                        created_by=here.subject,
                        values=new_values({**base, **values}),
                    )
                return see(f"/checks/{made['id']}", said="check_made")
            except NotValid as exc:
                form = refused(form, exc)
            except Conflict:
                form = taken(form)
        return _form_page(here, form, template=template, status=422)


async def _verified(request: PageRequest, form: CheckForm) -> CheckForm:
    """Looks where the address leads, for somebody who may save it, outside any transaction."""
    if form.errors or not form.endpoint_url:
        return form
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
    try:
        await verify_address(web_of(request).egress, form.endpoint_url)
    except NotValid as exc:
        return refused(form, exc)
    return form


@get("/checks/{check_id:uuid}/edit")
async def edit_check_page(request: PageRequest, check_id: FromPath[UUID]) -> Html:
    """The form of a check as it stands."""
    async with visit(request) as here:
        row = await find_check(here, check_id, to_change=True)
        form = form_of(row)
        return _form_page(here, form, row=row, stood=opened(form))


@post("/checks/{check_id:uuid}/edit", status_code=200)
async def save_check(request: PageRequest, check_id: FromPath[UUID]) -> Html:
    """Saves the form; a fault is shown beside its field with everything kept as typed."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        row = await find_check(here, check_id, to_change=True)
    has_address = row["endpoint_url"] is not None
    form, values = read_form(sent, has_address=has_address)
    if has_address and form.endpoint_url != row["endpoint_url"]:
        form = await _verified(request, form)
    async with visit(request) as here:
        row = await find_check(here, check_id, to_change=True)
        stood = carried(sent)
        if not form.errors:
            await lock(here.cx, "check", check_id)
            row = await find_check(here, check_id, to_change=True)
            stood = _compare(sent, row, form)
            if stood.clash:
                return _form_page(here, form, row=row, stood=stood, status=409)
            try:
                async with trying(here):
                    await change_check(here, check_id, values)
                return see(f"/checks/{check_id}", said="check_saved")
            except NotValid as exc:
                form = refused(form, exc)
            except Conflict:
                form = taken(form)
        return _form_page(here, form, row=row, stood=stood, status=422)


def _compare(sent: Any, row: Row, form: CheckForm) -> Stood:
    stands = form_of(row)
    labels = LABELS
    if row["endpoint_url"] is None:
        labels = {name: one for name, one in LABELS.items() if name not in ADDRESS_FIELDS}
    return compare(
        sent,
        stands,
        mine=lines_of(form, labels),
        theirs=lines_of(stands, labels),
        href=f"/checks/{row['id']}/edit",
    )


HANDLERS: Final[Sequence[Any]] = (own_check_page, make_check, edit_check_page, save_check)
