"""Rules as sentences, with a small form for owners and admins."""

from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Forbidden, NotValid
from wedsync_apm.organizations.store import list_members
from wedsync_apm.rules import store
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.types import Role
from wedsync_apm.web.build.rules import build_form, build_row, facts, read_form
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.gather import read_rule_figure, read_rule_unit
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.rule import RuleForm, RulesView, RuleView
from wedsync_apm.web.words import say as words

MOST_MEMBERS = 50


@get("/rules")
async def rules_page(request: PageRequest) -> Html:
    """All rules of the business."""
    async with visit(request) as here:
        found = await store.list_rules(here.cx, here.organization_id)
        rows = tuple(
            [
                build_row(rule, await read_rule_unit(here.cx, rule), here.at, here.zone)
                for rule in found
            ]
        )
        return here.page("rules.html", "rules", RulesView(rows, may_edit(here)))


@get("/rules/{rule_id:uuid}")
async def rule_page(request: PageRequest, rule_id: FromPath[UUID]) -> Html:
    """One rule."""
    async with visit(request) as here:
        rule = await store.find_rule(here.cx, rule_id)
        return here.page("rule.html", "rules", await read_rule(here, rule, build_form(rule)))


@post("/rules/{rule_id:uuid}", status_code=200)
async def save_rule(request: PageRequest, rule_id: FromPath[UUID]) -> Html:
    """Saves the form; a fault is shown beside its field with everything kept as typed."""
    form = await request.form()
    check_form(web_of(request), request, form)
    async with visit(request) as here:
        rule = await store.find_rule(here.cx, rule_id)
        if not may_edit(here):
            raise Forbidden
        changed, typed = read_form(rule, form)
        if not typed.errors:
            try:
                await store.update_rule(here.cx, rule_id, changed)
            except NotValid as exc:
                typed.errors["limit"] = exc.errors[0].reason if exc.errors else exc.detail
        if typed.errors:
            view = await read_rule(here, rule, typed)
            return here.page("rule.html", "rules", view, status=422)
    return see(f"/rules/{rule_id}", said="saved")


def may_edit(here: Visit) -> bool:
    """Owners and admins."""
    return here.role in (Role.OWNER, Role.ADMIN)


async def read_rule(here: Visit, rule: AlertRule, form: RuleForm) -> RuleView:
    """What the page of one rule shows."""
    unit = await read_rule_unit(here.cx, rule)
    refusal: str = ""
    if not may_edit(here):
        members = await list_members(
            here.cx, organization_ids=[rule.organization_id], before=None, limit=MOST_MEMBERS
        )
        owner = next((m for m in members if m["role"] == Role.OWNER and m.get("name")), None)
        refusal = words("rule.only", name=owner["name"]) if owner else words("rule.only_none")
    return RuleView(
        row=build_row(rule, unit, here.at, here.zone),
        unit=unit or "",
        form=form if may_edit(here) else None,
        refusal=refusal,
        figure=await read_rule_figure(here, rule, is_engineer=here.is_engineer),
        facts=facts(rule),
    )
