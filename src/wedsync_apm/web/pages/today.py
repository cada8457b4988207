"""Today."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from litestar import get

from wedsync_apm.incidents import store as incidents
from wedsync_apm.incidents.model import Incident
from wedsync_apm.metrics import store as metrics
from wedsync_apm.metrics.store import Metric
from wedsync_apm.rules import store as rules
from wedsync_apm.rules.limits import rule_for
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.rules.patterns import full_name
from wedsync_apm.types import IncidentStatus
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.charts import choose_range
from wedsync_apm.web.build.today import build_contacts, build_today, week_words
from wedsync_apm.web.keeping import KEPT
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, visit
from wedsync_apm.web.pages.gather import (
    MOST_METRICS,
    contacts_of_weddings,
    figure_of,
    list_weddings,
    read_checks,
    read_metric,
    read_rule_figure,
    read_services,
    read_weddings,
    unit_among,
    watched_of,
)
from wedsync_apm.web.pages.silences import read_waiting
from wedsync_apm.web.pages.started import read_card
from wedsync_apm.web.pages.weddings import read_tomorrow
from wedsync_apm.web.views.chart import Figure

SHOWN_PROBLEMS: Final = 5


@get("/")
async def today_page(request: PageRequest) -> Html:
    """Is everything all right for today's wedding, and if not, what do I do?"""
    async with visit(request) as here:
        live = await incidents.list_live_incidents(here.cx, here.organization_id)
        week = await incidents.list_incidents(
            here.cx,
            organization_id=here.organization_id,
            statuses=(IncidentStatus.RESOLVED, IncidentStatus.CLOSED),
            limit=100,
        )
        all_rules = {r.id: r for r in await rules.list_rules(here.cx, here.organization_id)}
        catalogue = await metrics.list_metrics(here.cx, here.organization_id, limit=MOST_METRICS)
        shown = live[:SHOWN_PROBLEMS]
        calls = await incidents.list_next_calls(here.cx, here.organization_id, shown)
        units: dict[str, str | None] = {}
        patterns: dict[str, str] = {}
        for incident in shown:
            rule = all_rules.get(incident.alert_id) if incident.alert_id else None
            if rule:
                patterns[str(incident.id)] = rule.metric_pattern
                units[str(incident.id)] = unit_among(catalogue, rule)
        checks = await read_checks(here.cx, here.organization_id, all_rules.values())
        services = await read_services(here, checks)
        weddings = await read_weddings(here)
        near = await list_weddings(here, timedelta(days=1), timedelta(days=2))
        view = build_today(
            live=live,
            services=services,
            weddings=weddings,
            scene=here.scene,
            next_at={str(incident_id): at for incident_id, at in calls.items()},
            units=units,
            watched=watched_of(checks, services),
            patterns=patterns,
            contacts=build_contacts(here.membership.help_line, contacts_of_weddings(here, near)),
            week=week_words([*live, *week.incidents], here.at),
            figure=await _figure(here, live, all_rules, checks, catalogue),
            phone=here.membership.help_line or "",
        )
        view = replace(
            view,
            waiting=await read_waiting(here),
            tomorrow=await read_tomorrow(here, near),
            started=None if live else await read_card(here),
        )
        return here.page("today.html", "today", view, kept_until=here.at + KEPT)


async def _figure(
    here: Visit,
    live: Sequence[Incident],
    all_rules: Mapping[UUID, AlertRule],
    checks: Sequence[Row],
    catalogue: Sequence[Metric],
) -> Figure | None:
    """The chart of the first problem, else of the service that a wedding hangs on most, else of
    the first metric that a rule watches."""
    for incident in live:
        rule = all_rules.get(incident.alert_id) if incident.alert_id else None
        if rule:
            return await read_rule_figure(here, rule, is_engineer=here.is_engineer, known=catalogue)
    chosen = choose_range("1h")
    first = [row["source_metric"] for row in checks if row["source_metric"]]
    active = [rule for rule in all_rules.values() if rule.is_active]

    def rank(metric: Metric) -> int:
        name = full_name(metric.service_name, metric.metric_name)
        return first.index(name) if name in first else len(first)

    for metric in sorted(catalogue, key=rank):
        if rule_for(active, metric.service_name, metric.metric_name):
            reading = await read_metric(here, metric, chosen, all_rules=active)
            return figure_of(here, reading, chosen, technical=here.is_engineer)
    return None
