"""The database's health, the whole report and the backups, for the platform's own people."""

import asyncio
from dataclasses import replace
from typing import Final

from litestar import get

from wedsync_apm.backups.standing import stand
from wedsync_apm.backups.store import read_overview
from wedsync_apm.errors import Forbidden
from wedsync_apm.health.report import Member, read_report
from wedsync_apm.health.store import read_sizes
from wedsync_apm.organizations.identity import actor_of
from wedsync_apm.web.build.backups import build_backups
from wedsync_apm.web.build.report import build_database, build_guard, build_report
from wedsync_apm.web.pages.frame import Html, PageRequest, visit, web_of
from wedsync_apm.web.session import identify
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.guard.store import find_guard_mode

ONE_AT_A_TIME: Final = asyncio.Semaphore(1)
"""A report asks a lot: two readers wait for each other."""


@get("/platform/database")
async def database_page(request: PageRequest) -> Html:
    """Can I trust this database now? Verdict, key figures, what failed."""
    return await _page(request, "database")


@get("/platform/report")
async def report_page(request: PageRequest) -> Html:
    """Every line of the report with the statement that measured it."""
    return await _page(request, "report")


@get("/platform/backups")
async def backups_page(request: PageRequest) -> Html:
    """Could everything be given back, how much would be lost, and how long would it take?"""
    async with visit(request) as here:
        if not here.is_operator:
            raise Forbidden
        view = build_backups(stand(await read_overview(here.cx)), here.zone)
        return here.page("report.html", "backups", view)


async def _page(request: PageRequest, active: str) -> Html:
    web = web_of(request)
    async with visit(request) as here:
        if not here.is_operator:
            raise Forbidden
        member = Member(actor_of(await identify(web, request)), here.organization_id)
    # Outside of the page's own transaction: the report takes connections of its own.
    async with ONE_AT_A_TIME:
        report = await read_report(web.pool, member)
        sizes = await read_sizes(web.pool)
    async with visit(request) as here:
        title = words(f"{active}.title")
        if active == "report":
            view = build_report(report, title, here.zone)
        else:
            view = build_database(report, title, here.zone, sizes)
        guard = build_guard(await find_guard_mode(here.cx), here.at, here.zone)
        return here.page("report.html", active, replace(view, guard=guard))
