"""Checks: the list, the catalogue, one of them, its form, a look at once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.checks.members import store
from wedsync_apm.checks.members.looking import look, take_look
from wedsync_apm.checks.templates import TEMPLATES
from wedsync_apm.errors import Conflict, Forbidden, NotFound, RateLimited
from wedsync_apm.metrics import store as metrics
from wedsync_apm.types import Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.charts import choose_range
from wedsync_apm.web.build.check_form import (
    new_values,
)
from wedsync_apm.web.build.checks import (
    build_row,
    cadence,
    cause_href,
    cause_name,
    facts,
    offers,
    outages,
    past,
    ran_words,
    result,
    strip,
    table,
)
from wedsync_apm.web.pages import check_forms
from wedsync_apm.web.pages.check_forms import MANAGERS, change_check, find_check
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.gather import (
    MOST_CHECKS,
    MOST_METRICS,
    figure_of,
    read_metric,
    read_services,
    read_weddings,
)
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.chart import Figure
from wedsync_apm.web.views.check import (
    CatalogueView,
    ChecksView,
    CheckView,
)
from wedsync_apm.web.views.shell import Kind
from wedsync_apm.web.words import say as words

MOST_STATUSES: Final = 12
_WORST: Final = ("crit", "warn", "none", "info", "ok")


async def _list(here: Visit) -> list[Row]:
    found: list[Row] = list(
        await store.HEALTH_CHECKS.list_rows(
            here.cx, organization_ids=[here.organization_id], before=None, limit=MOST_CHECKS
        )
    )
    return found


def _as_measured(row: Row) -> Row:
    """With the metric that its looks leave behind, where it has none of its own."""
    own = f"service_health.{row['service_name']}"
    return {**row, "source_metric": row["source_metric"] or own}


@get("/checks")
async def checks_page(request: PageRequest) -> Html:
    """Whether what the day hangs on is there; trouble of one provider is told once."""
    async with visit(request) as here:
        rows = await _list(here)
        services = await read_services(here, [_as_measured(row) for row in rows])
        built = [
            build_row(row, service, here.at, here.zone)
            for row, service in zip(rows, services, strict=True)
        ]
        built.sort(key=lambda r: (r.is_paused, _WORST.index(r.service.status.kind), r.service.name))
        may_edit = here.role in MANAGERS
        view = ChecksView(
            outages(rows), tuple(built), may_edit, "" if may_edit else words("checks.only")
        )
        return here.page("checks.html", "checks", view)


async def _view(here: Visit, row: Row, ran: str = "", ran_kind: Kind = "info") -> CheckView:
    (service,) = await read_services(here, [_as_measured(row)])
    course = await store.list_course(here.cx, row["id"])
    starts = [card.phases[0].begins for card in await read_weddings(here) if card.phases]
    coming = [at - here.at for at in starts if at > here.at]
    limits = row["limits"] or {}
    cause = row["caused_by"] or ""
    rows = await _list(here) if cause else []
    is_own = cause in ("", f"service:{row['shared_key']}")
    return CheckView(
        id=row["id"],
        service=service,
        result=result(row, here.at, here.zone),
        cadence=cadence(
            row,
            starts_in=min(coming) if coming else None,
            is_wedding=bool(limits.get("is_wedding")) or here.is_wedding,
            is_guarded=_is_guarded(row, min(coming) if coming else None),
        ),
        cause=(
            words("check.cause_self")
            if is_own
            else words("check.cause", name=cause_name(cause, rows))
        )
        if cause
        else "",
        cause_href=cause_href(cause) if cause else "",
        hours=strip(course, "hour", here.zone),
        days=strip(course, "day", here.zone),
        figures=table(await store.list_windows(here.cx, row["id"])),
        facts=facts(row),
        past=past(
            await store.list_statuses(here.cx, row["organization_id"], row["id"], MOST_STATUSES),
            here.at,
            here.zone,
        ),
        figure=await _figure(here, row),
        may_run=here.role is not Role.VIEWER and row["is_active"],
        may_edit=here.role in MANAGERS,
        refusal="" if here.role in MANAGERS else words("checks.only"),
        is_active=row["is_active"],
        ran=ran,
        ran_kind=ran_kind,
    )


def _is_guarded(row: Row, starts_in: timedelta | None) -> bool:
    """Whether it is looked at more often than the calendar alone would want."""
    every = row["effective_interval"]
    return every is not None and (starts_in is None or starts_in > timedelta(days=30))


async def _figure(here: Visit, row: Row) -> Figure | None:
    wanted = _as_measured(row)["source_metric"]
    known = await metrics.list_metrics(here.cx, here.organization_id, limit=MOST_METRICS)
    metric = next((m for m in known if f"{m.service_name}.{m.metric_name}" == wanted), None)
    if metric is None:
        return None
    chosen = choose_range("1h")
    reading = await read_metric(here, metric, chosen, all_rules=())
    return figure_of(here, reading, chosen, technical=here.is_engineer)


@get("/checks/{check_id:uuid}")
async def check_page(request: PageRequest, check_id: FromPath[UUID]) -> Html:
    """One check: how it is and was, and how often it is looked at."""
    async with visit(request) as here:
        row = await find_check(here, check_id)
        return here.page("check.html", "checks", await _view(here, row))


@post("/checks/{check_id:uuid}/run", status_code=200)
async def run_check(request: PageRequest, check_id: FromPath[UUID]) -> Html:
    """A look at once, outside any transaction; the page says what it saw."""
    sent = await request.form()
    web = web_of(request)
    check_form(web, request, sent)
    ran: tuple[str, Kind] = ("", "info")
    try:
        async with visit(request) as here:
            await find_check(here, check_id)
            permit = await take_look(here.cx, check_id)
        ran = ran_words(permit.row, await look(web.egress, permit, web.settings.wedding_factor))
    except RateLimited as exc:
        seconds = max(1, round(exc.retry_after or 1))
        ran = (words("check.ran_soon", seconds=seconds), "warn")
    async with visit(request) as here:
        row = await find_check(here, check_id)
        return here.page("check.html", "checks", await _view(here, row, *ran))


@get("/checks/new")
async def catalogue_page(request: PageRequest) -> Html:
    """What can be checked with one tap."""
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        shared, own = offers(await _list(here))
        return here.page("check_catalogue.html", "checks", CatalogueView(shared, own))


@post("/checks/adopt/{key:str}", status_code=200)
async def adopt_service(request: PageRequest, key: FromPath[str]) -> Html:
    """Checks a shared service of the catalogue."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    template = TEMPLATES.get(key)
    async with visit(request) as here:
        if here.role not in MANAGERS:
            raise Forbidden
        if template is None or not template.is_shared:
            raise NotFound
        values = new_values({**template.as_values(), "shared_key": template.key})
        try:
            async with trying(here):
                made = await store.HEALTH_CHECKS.create_row(
                    here.cx,
                    organization_id=here.organization_id,
                    created_by=here.subject,
                    values=values,
                )
        except Conflict:
            shared, own = offers(await _list(here))
            view = CatalogueView(shared, own, words("check.form.name_taken"))
            return here.page("check_catalogue.html", "checks", view, status=422)
    return see(f"/checks/{made['id']}", said="check_made")


@post(["/checks/{check_id:uuid}/pause", "/checks/{check_id:uuid}/resume"], status_code=200)
async def pause_check(request: PageRequest, check_id: FromPath[UUID]) -> Html:
    """Looks no more, or again."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    is_active = request.url.path.endswith("/resume")
    async with visit(request) as here:
        await find_check(here, check_id, to_change=True)
        await change_check(here, check_id, {"is_active": is_active})
    return see(f"/checks/{check_id}", said="check_resumed" if is_active else "check_paused")


@post("/checks/{check_id:uuid}/delete", status_code=200)
async def delete_check(request: PageRequest, check_id: FromPath[UUID]) -> Html:
    """Gone, with its history."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await find_check(here, check_id, to_change=True)
        if not await store.HEALTH_CHECKS.delete_row(here.cx, check_id):
            raise Forbidden
    return see("/checks", said="check_deleted")


HANDLERS: Final[Sequence[Any]] = (
    checks_page,
    catalogue_page,
    adopt_service,
    check_page,
    run_check,
    pause_check,
    delete_check,
    *check_forms.HANDLERS,
)
