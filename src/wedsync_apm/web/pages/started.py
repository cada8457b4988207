"""The first five minutes: five steps, each measured, each on the page where it is done."""

from collections.abc import Sequence
from typing import Any, Final

from litestar import get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath

from wedsync_apm.errors import Forbidden, NotFound
from wedsync_apm.organizations.monitoring import store
from wedsync_apm.organizations.monitoring.model import CARD, PERSONAL, FirstSteps, StepName
from wedsync_apm.types import Role
from wedsync_apm.web.build.started import build_card, build_started
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.session import STARTING_COOKIE, Web, check_form
from wedsync_apm.web.views.started import StartedCard

STARTING_SECONDS: Final = 30 * 60
"""So long the pages that steps lead to show the way back."""


@get("/start")
async def started_page(request: PageRequest) -> Html:
    """What is left, and why does it matter?"""
    async with visit(request) as here:
        found = await store.read_first_steps(here.cx, here.organization_id, here.subject)
        view = build_started(found, here.role, here.zone)
        page = here.page("started.html", "started", view)
    page.cookies.append(_way_back(here.web, is_over=found.is_over))
    return page


async def read_card(here: Visit) -> StartedCard | None:
    """The card on Today."""
    if here.role is Role.VIEWER or here.is_engineer:
        return None
    found: FirstSteps = await store.read_first_steps(here.cx, here.organization_id, here.subject)
    return build_card(found, here.role)


@post("/start/card", status_code=200)
async def put_card_away(request: PageRequest) -> Html:
    """Takes the card off this person's Today."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await store.put_card_away(here.cx, here.organization_id, here.subject)
    return see("/", said="started_away")


@post(["/start/{step:str}/skip", "/start/{step:str}/take-up"], status_code=200)
async def skip_step(request: PageRequest, step: FromPath[str]) -> Html:
    """Leaves a step out, or wants it after all."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    if step == CARD or step not in set(StepName):
        raise NotFound
    name = StepName(step)
    is_skip = request.url.path.endswith("/skip")
    async with visit(request) as here:
        if name not in PERSONAL and here.role not in (Role.OWNER, Role.ADMIN):
            raise Forbidden
        if is_skip:
            reason = str(sent.get("reason") or "").strip()
            await store.skip_step(here.cx, here.organization_id, name, here.subject, reason)
        else:
            await store.take_up_step(here.cx, here.organization_id, name, here.subject)
    return see("/start", said="step_skipped" if is_skip else "step_taken_up")


def _way_back(web: Web, *, is_over: bool) -> Cookie:
    return Cookie(
        key=STARTING_COOKIE,
        value="" if is_over else "1",
        max_age=0 if is_over else STARTING_SECONDS,
        path="/",
        httponly=True,
        samesite="lax",
        secure=web.is_https,
    )


HANDLERS: Final[Sequence[Any]] = (started_page, put_card_away, skip_step)
