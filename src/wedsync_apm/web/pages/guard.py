"""Guard modes for the platform's operators, and the freeze for everybody."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden, NotValid
from wedsync_apm.web.build.calendar import season_words
from wedsync_apm.web.build.guard import (
    OrderDraft,
    Question,
    build_freeze,
    build_guard_page,
    read_at,
    read_order,
    with_refusal,
)
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.weddings import may_edit
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.guard import FreezeView, GuardView, OrderForm
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.guard import store
from wedsync_apm.weddings.guard.model import Emergency

MOST_ORDERS: Final = 50
MOST_APPROVALS: Final = 30
LONGEST_SERVICE: Final = 200
NO_SERVICE: Final = "-"
"""Where none is named: then only approvals for all services count."""
ACTING: Final = ("oncall", "dba")
"""The operators who may order; an auditor looks."""


@get("/platform/guard")
async def guard_page(request: PageRequest) -> Html:
    """How closely does the platform watch, who said so, and until when?"""
    async with visit(request) as here:
        return here.page("guard.html", "guard", await _read_guard(here, OrderForm()))


async def _read_guard(here: Visit, form: OrderForm) -> GuardView:
    if not here.is_operator:
        raise Forbidden
    settings = await store.read_settings(here.cx)
    return build_guard_page(
        mode=await store.find_guard_mode(here.cx),
        settings=settings,
        orders=await store.list_overrides(here.cx, None, MOST_ORDERS),
        season=season_words(settings, here.at.date()),
        now=here.at,
        here=here.zone,
        form=form if here.operator_role in ACTING else None,
    )


@post("/platform/guard", status_code=200)
async def order_mode(request: PageRequest) -> Html:
    """Orders a mode from now, for everybody."""

    async def act(here: Visit, draft: OrderDraft) -> None:
        await store.create_override(
            here.cx,
            mode=draft.mode,
            reason=draft.reason,
            length=timedelta(minutes=draft.minutes),
            emergency=draft.emergency,
            rollback_plan=draft.rollback_plan,
        )

    async def again(here: Visit, form: OrderForm) -> Html:
        view = await _read_guard(here, form)
        return here.page("guard.html", "guard", view, status=422)

    return await _try(request, act, again, see("/platform/guard", said="guard_made"))


async def _try(
    request: PageRequest,
    act: Callable[[Visit, OrderDraft], Awaitable[None]],
    again: Callable[[Visit, OrderForm], Awaitable[Html]],
    done: Html,
) -> Html:
    """One order; a refusal shows the form once more with all that was typed."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    draft, form = read_order(sent)
    if draft is not None:
        try:
            async with visit(request) as here:
                await act(here, draft)
        except (NotValid, Conflict) as exc:
            errors = exc.errors if isinstance(exc, NotValid) else ()
            form = with_refusal(form, errors, exc.detail)
        else:
            return done
    async with visit(request) as here:
        return await again(here, form)


@post("/platform/guard/{order_id:uuid}/end", status_code=200)
async def end_order(request: PageRequest, order_id: FromPath[UUID]) -> Html:
    """Ends an order before its time; with an emergency where that lowers the mode."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    named = str(sent.get("emergency") or "")
    emergency = Emergency(named) if named in set(Emergency) else None
    reason = str(sent.get("reason") or "").strip()[:1000]
    try:
        async with visit(request) as here:
            await store.end_override(here.cx, order_id, reason, emergency)
    except NotValid as exc:
        typed = OrderForm(reason=reason, emergency=named)
        form = with_refusal(typed, exc.errors, exc.detail)
        async with visit(request) as here:
            view = await _read_guard(here, OrderForm())
            view = view.with_end(order_id, form)
            return here.page("guard.html", "guard", view, status=422)
    return see("/platform/guard", said="guard_ended")


@get("/freeze")
async def freeze_page(request: PageRequest) -> Html:
    """May this service be changed, and if not, what stands in the way?"""
    async with visit(request) as here:
        return here.page("freeze.html", "freeze", await _read_freeze(here, OrderForm()))


async def _read_freeze(here: Visit, form: OrderForm) -> FreezeView:
    query = here.request.query_params
    service = query.get("service", "").strip().replace("\x00", "")[:LONGEST_SERVICE]
    typed = query.get("at", "").strip()
    errors = {}
    at = None
    try:
        at = read_at(typed, here.zone)
    except ValueError:
        errors["at"] = words("freeze.bad_at")
    own = None if here.is_operator else here.organization_id
    verdict = (await store.ask_freeze(here.cx, service or NO_SERVICE, at, own)).verdict
    question = Question(
        service=service,
        typed_at=typed[:40],
        organization="" if here.is_operator else here.membership.name,
        now=here.at,
        here=here.zone,
    )
    may_see = here.is_operator or may_edit(here)
    approvals = (
        await store.list_approvals(here.cx, organization_id=own, limit=MOST_APPROVALS)
        if may_see
        else ()
    )
    return build_freeze(
        question,
        verdict,
        approvals=approvals,
        form=form if _may_approve(here) else None,
        errors=errors,
    )


def _may_approve(here: Visit) -> bool:
    return here.operator_role in ACTING if here.is_operator else may_edit(here)


@post("/freeze", status_code=200)
async def approve_change(request: PageRequest) -> Html:
    """Agrees to a change: an operator for the platform, an owner or admin for his own business."""

    async def act(here: Visit, draft: OrderDraft) -> None:
        await store.create_approval(
            here.cx,
            organization_id=None if here.is_operator else here.organization_id,
            service=draft.service,
            reason=draft.reason,
            length=timedelta(minutes=draft.minutes),
            emergency=draft.emergency,
            rollback_plan=draft.rollback_plan,
        )

    async def again(here: Visit, form: OrderForm) -> Html:
        if not _may_approve(here):
            raise Forbidden
        view = await _read_freeze(here, form)
        return here.page("freeze.html", "freeze", view, status=422)

    return await _try(request, act, again, see("/freeze", said="freeze_approved"))


@post("/freeze/approvals/{approval_id:uuid}/withdraw", status_code=200)
async def withdraw_approval(request: PageRequest, approval_id: FromPath[UUID]) -> Html:
    """Takes an approval back."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await store.withdraw_approval(here.cx, approval_id)
    return see("/freeze", said="freeze_withdrawn")


HANDLERS: Final = (
    guard_page,
    order_mode,
    end_order,
    freeze_page,
    approve_change,
    withdraw_approval,
)
