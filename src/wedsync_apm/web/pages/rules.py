"""Rules: all of them and those to begin with; one of them, where it stands, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden
from wedsync_apm.incidents import store as incidents
from wedsync_apm.metrics import store as metrics
from wedsync_apm.organizations.store import list_members
from wedsync_apm.rules import store
from wedsync_apm.rules.instances import Instances
from wedsync_apm.rules.live import SeriesWindow, list_windows
from wedsync_apm.rules.model import AlertRule, RuleDraft, RuleKind
from wedsync_apm.rules.starter import starter_rules
from wedsync_apm.rules.store import NamedSeries, Verdict
from wedsync_apm.types import Role
from wedsync_apm.web.build.rule_why import build_history, build_instance, newest_samples
from wedsync_apm.web.build.rules import build_offers, build_row, facts
from wedsync_apm.web.build.today import ENGINE_SILENCE
from wedsync_apm.web.pages.frame import (
    Html,
    PageRequest,
    Visit,
    is_engine_alive,
    see,
    visit,
    web_of,
)
from wedsync_apm.web.pages.gather import MOST_METRICS, read_rule_figure, unit_among
from wedsync_apm.web.pages.rule_editor import find_own_rule, may_edit, reader_of
from wedsync_apm.web.session import PLATFORM_TYPE, check_form
from wedsync_apm.web.views.rule import Instance, RulesView, RuleView
from wedsync_apm.web.words import say as words

MOST_MEMBERS: Final = 50
MOST_INSTANCES: Final = 20
MOST_SERIES: Final = 100
MOST_HISTORY: Final = 20
SAMPLES_OF: Final = (timedelta(minutes=10), timedelta(hours=1))
"""How far back samples are shown at least and at most; between them the rule's own window."""


@get("/rules")
async def rules_page(request: PageRequest) -> Html:
    """All rules of the business, and those that it could begin with."""
    async with visit(request) as here:
        found = await store.list_rules(here.cx, here.organization_id)
        known = await metrics.list_metrics(here.cx, here.organization_id, limit=MOST_METRICS)
        live = await incidents.list_live_incidents(here.cx, here.organization_id)
        wrong = {one.alert_id for one in live}
        offered = offered_to(here)
        view = RulesView(
            rules=tuple(
                build_row(
                    rule,
                    unit_among(known, rule),
                    here.at,
                    here.zone,
                    is_problem=rule.id in wrong,
                    is_plain=not here.is_engineer,
                    factor=here.web.settings.wedding_factor,
                )
                for rule in found
            ),
            may_edit=may_edit(here),
            offers=build_offers(offered, found, factor=here.web.settings.wedding_factor),
            offered=words("rules.starter"),
        )
        return here.page("rules.html", "rules", view)


def offered_to(here: Visit) -> tuple[RuleDraft, ...]:
    """The rules to begin with for the trade; the platform itself is no vendor."""
    if here.membership.vendor_type == PLATFORM_TYPE:
        return ()
    return starter_rules(here.membership.vendor_type or "")


@post("/rules/adopt", status_code=200)
async def adopt_rules(request: PageRequest) -> Html:
    """Makes the rules to begin with, all or one of them; those that are there stay as they are."""
    form = await request.form()
    check_form(web_of(request), request, form)
    async with visit(request) as here:
        if not may_edit(here):
            raise Forbidden
        offered = offered_to(here)
        wanted = form.get("name")
        if isinstance(wanted, str) and wanted:
            offered = tuple(one for one in offered if one.alert_name == wanted)
        made, _ = await store.adopt_rules(here.cx, here.organization_id, offered)
    return see("/rules", said="adopted" if made else "adopted_none")


@get("/rules/{rule_id:uuid}")
async def rule_page(request: PageRequest, rule_id: FromPath[UUID]) -> Html:
    """One rule."""
    async with visit(request) as here:
        rule = await find_own_rule(here, rule_id)
        return here.page("rule.html", "rules", await read_rule(here, rule))


@post(
    ["/rules/{rule_id:uuid}/pause", "/rules/{rule_id:uuid}/resume", "/rules/{rule_id:uuid}/delete"],
    status_code=200,
)
async def act_on_rule(request: PageRequest, rule_id: FromPath[UUID]) -> Html:
    """Pauses a rule, lets it go on, or deletes it."""
    form = await request.form()
    check_form(web_of(request), request, form)
    step = request.url.path.rsplit("/", 1)[1]
    async with visit(request) as here:
        rule = await find_own_rule(here, rule_id)
        if not may_edit(here):
            raise Forbidden
        if step == "delete":
            try:
                await store.delete_rule(here.cx, rule.id)
            except Conflict:
                return see(f"/rules/{rule_id}", said="counted")
            return see("/rules", said="deleted")
        await store.update_rule(here.cx, rule.id, replace(rule, is_active=step == "resume"))
    return see(f"/rules/{rule_id}", said="paused" if step == "pause" else "resumed")


async def read_rule(here: Visit, rule: AlertRule) -> RuleView:
    """What the page of one rule shows."""
    wanted = here.request.query_params.get("view")
    is_engineer = here.is_engineer and wanted != "vendor"
    known = await metrics.list_metrics(here.cx, here.organization_id, limit=MOST_METRICS)
    verdicts = await store.list_verdicts(here.cx, rule)
    past = await incidents.list_incidents(
        here.cx, organization_id=here.organization_id, alert_id=rule.id, limit=MOST_HISTORY
    )
    refusal: str = ""
    if not may_edit(here):
        members = await list_members(
            here.cx, organization_ids=[rule.organization_id], before=None, limit=MOST_MEMBERS
        )
        owner = next((m for m in members if m["role"] == Role.OWNER and m.get("name")), None)
        refusal = words("rule.only", name=owner["name"]) if owner else words("rule.only_none")
    other = ""
    if here.is_engineer:
        other = f"/rules/{rule.id}?view={'vendor' if is_engineer else 'engineer'}"
    more = len(verdicts) - MOST_INSTANCES
    return RuleView(
        row=build_row(
            rule,
            unit_among(known, rule),
            here.at,
            here.zone,
            is_problem=any(one.is_live for one in past.incidents),
            is_plain=not is_engineer,
            factor=here.web.settings.wedding_factor,
        ),
        is_active=rule.is_active,
        may_edit=may_edit(here),
        refusal=refusal,
        figure=await read_rule_figure(here, rule, is_engineer=is_engineer),
        instances=await read_instances(here, rule, verdicts[:MOST_INSTANCES], is_engineer),
        more_instances=words("why.more", n=more) if more > 0 else "",
        unseen=words("why.none" if rule.is_active else "why.none_paused"),
        history=build_history(past.incidents, replace(reader_of(here), is_engineer=is_engineer)),
        facts=facts(rule) if is_engineer else (),
        is_engineer=is_engineer,
        other_view=other,
    )


async def read_instances(
    here: Visit, rule: AlertRule, verdicts: Sequence[Verdict], is_engineer: bool
) -> tuple[Instance, ...]:
    """Where the instances stand, each with the newest samples that it was judged by."""
    if not verdicts:
        return ()
    series = {one.id: one for one in await store.list_series(here.cx, here.organization_id)}
    watched = watched_series(rule, series.values())
    wanted = [one for v in verdicts for one in watched.get(v.instance_key, ())][:MOST_SERIES]
    windows: dict[int, SeriesWindow] = {}
    if wanted:
        least, most = SAMPLES_OF
        since = here.at - min(max(rule.evaluation_window, least), most)
        windows = await list_windows(here.cx, here.organization_id, wanted, since, here.at)
    reader = replace(reader_of(here), is_engineer=is_engineer)
    alive = await is_engine_alive(here.web, ENGINE_SILENCE.total_seconds())
    return tuple(
        build_instance(
            rule,
            one,
            newest_samples(windows[i] for i in watched.get(one.instance_key, ()) if i in windows),
            reader,
            unit=next(
                (
                    series[i].unit
                    for i in watched.get(one.instance_key, ())
                    if i in series and series[i].unit
                ),
                None,
            ),
            is_known=alive,
        )
        for one in verdicts
    )


def watched_series(rule: AlertRule, series: Iterable[NamedSeries]) -> dict[str, tuple[int, ...]]:
    """The series of each instance, by its key."""
    if rule.rule_kind is RuleKind.COMPOSITE:
        return {}
    found = Instances(rule)
    for one in series:
        found.offer(one.id, one.service_name, one.metric_name, one.tags)
    return {one.key: one.all_series_ids for one in found}
