"""What several pages read together from the rooms."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from wedsync_apm.checks.members.store import HEALTH_CHECKS
from wedsync_apm.db.pool import Connection
from wedsync_apm.incidents.works import Watched
from wedsync_apm.metrics import store as metrics
from wedsync_apm.metrics.drawing import unit_of
from wedsync_apm.metrics.range_questions import query_range
from wedsync_apm.metrics.ranges import Aggregation, RangeAnswer
from wedsync_apm.metrics.store import Metric
from wedsync_apm.notify.members import store as messages
from wedsync_apm.rules.limits import rule_for
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.patterns import full_name
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.charts import (
    Range,
    build_figure,
    choose_range,
    function_for,
    limit_of,
    read_series,
    sentence_of,
    title_of,
    window_of,
)
from wedsync_apm.web.build.today import ENGINE_SILENCE, build_service
from wedsync_apm.web.build.weddings import build_card, when_words, whole_day
from wedsync_apm.web.pages.frame import Visit, is_engine_alive
from wedsync_apm.web.views.chart import Figure, Limit
from wedsync_apm.web.views.today import Service
from wedsync_apm.web.views.wedding import WeddingCard
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings import store as weddings
from wedsync_apm.weddings.model import is_time_zone
from wedsync_apm.weddings.twins import find_twins

MOST_METRICS: Final = 500
MOST_WEDDINGS: Final = 200
MOST_CHECKS: Final = 200
MOST_MESSAGES: Final = 50


async def read_checks(
    cx: Connection, organization_id: UUID, all_rules: Iterable[AlertRule] = ()
) -> list[Row]:
    """The watched services: those that a wedding hangs on first, among them those whose failing
    weighs most on a wedding day."""
    watching = [rule for rule in all_rules if rule.is_active]

    def weight(row: Row) -> int:
        service, _, metric = (row["source_metric"] or row["service_name"]).partition(".")
        return max(
            (
                (rule.wedding_day_severity or rule.severity).rank
                for rule in watching
                if rule.watches(service, metric, dict(rule.tag_filter))
            ),
            default=-1,
        )

    rows = await HEALTH_CHECKS.list_rows(
        cx, organization_ids=[organization_id], before=None, limit=MOST_CHECKS
    )
    return sorted(
        (row for row in rows if row["is_active"]),
        key=lambda row: (not row["wedding_critical"], -weight(row), row["display_name"]),
    )


def watched_of(checks: Sequence[Row], services: Sequence[Service]) -> tuple[Watched, ...]:
    """The checks with what their freshest look says, for the words about what still works."""
    return tuple(
        Watched(
            service.name, row["service_name"], row["source_metric"], service.status.kind == "ok"
        )
        for row, service in zip(checks, services, strict=True)
        if row["vendor_facing"]
    )


async def read_services(here: Visit, checks: Sequence[Row]) -> tuple[Service, ...]:
    """The services as people read them, with the last hour of those that one metric stands for."""
    alive = await is_engine_alive(here.web, ENGINE_SILENCE.total_seconds())
    found: list[Service] = []
    for row in checks:
        spark: tuple[float | None, ...] = ()
        if row["source_metric"]:
            chosen = choose_range("1h")
            begin, end = window_of(chosen, here.at)
            answer = await query_range(
                here.cx,
                here.organization_id,
                row["source_metric"],
                begin,
                end,
                step=timedelta(minutes=2),
                group_by=(),
            )
            spark = read_series(answer, chosen=chosen, now=here.at).spark
        found.append(build_service(row, here.at, is_engine_alive=alive, spark=spark))
    return tuple(found)


async def read_deliveries(
    cx: Connection,
    organization_id: UUID,
    *,
    incident_id: UUID | None = None,
) -> list[dict[str, Any]]:
    """The newest messages, of one incident where it is named."""
    return await messages.list_deliveries(
        cx,
        organization_ids=[organization_id],
        incident_id=incident_id,
        before=None,
        limit=MOST_MESSAGES,
    )


@dataclass(frozen=True, slots=True)
class Contacts:
    """Who may be called: names by id, and which of them are the reader himself."""

    names: dict[UUID, str]
    mine: frozenset[UUID]


async def read_contact_names(cx: Connection, organization_id: UUID, subject: UUID) -> Contacts:
    """The business's contacts; empty for those who may not see them."""
    rows = await messages.list_contact_methods(
        cx, organization_ids=[organization_id], before=None, limit=MOST_CHECKS
    )
    return Contacts(
        {row["id"]: row["name"] for row in rows},
        frozenset(row["id"] for row in rows if row["user_id"] == subject),
    )


async def read_watched_metric(cx: Connection, rule: AlertRule) -> Metric | None:
    """The first metric of the catalogue that a rule watches."""
    known = await metrics.list_metrics(cx, rule.organization_id, limit=MOST_METRICS)
    return _watched_among(known, rule)


def _watched_among(known: Iterable[Metric], rule: AlertRule) -> Metric | None:
    return next(
        (one for one in known if rule.watches(one.service_name, one.metric_name, rule.tag_filter)),
        None,
    )


async def read_rule_unit(cx: Connection, rule: AlertRule) -> str | None:
    """The unit of a rule's figures; a share and a count have none."""
    return unit_among(
        await metrics.list_metrics(cx, rule.organization_id, limit=MOST_METRICS), rule
    )


def unit_among(known: Iterable[Metric], rule: AlertRule) -> str | None:
    """The same from a catalogue that is read already."""
    if rule.rule_kind is RuleKind.CHANGE:
        return "%"
    if rule.rule_kind is RuleKind.RATIO:
        return "ratio"
    if rule.rule_kind.is_grouped:
        return None
    metric = _watched_among(known, rule)
    if metric is None:
        return None
    if rule.rule_kind is RuleKind.DEADLINE or rule.aggregation.value == "increase":
        return metric.shown_unit
    # What a lower limit means depends on the unit that was declared, and on nothing else.
    unit = metric.shown_unit if rule.comparison_operator.is_upper else metric.unit
    return unit_of(unit, function_for(metric, rule))


@dataclass(frozen=True, slots=True)
class MetricReading:
    """One metric over one range, with the rule whose limit belongs to it."""

    metric: Metric
    answer: RangeAnswer
    aggregation: Aggregation
    rule: AlertRule | None
    limit: Limit | None
    unit: str

    @property
    def name(self) -> str:
        """service.metric"""
        return full_name(self.metric.service_name, self.metric.metric_name)


_OF_WHOLE_STEPS: Final = frozenset({Aggregation.RATE, Aggregation.SUM, Aggregation.COUNT})
"""What grows while a step goes on: of one that has just begun they would show a fall."""


_SHORTEST_OF_RATES: Final = timedelta(minutes=1)
"""What a counter rises between two samples is shown in the step of the later one: in steps shorter
than its sender's rhythm it would seem to rise faster, and then not at all."""


def last_whole_step(end: datetime, step: timedelta) -> datetime:
    """Where the last step ends that is over at `end`."""
    return end - (end - datetime.fromtimestamp(0, UTC)) % step


async def read_metric(
    here: Visit,
    metric: Metric,
    chosen: Range,
    *,
    all_rules: Sequence[AlertRule],
    step: timedelta | None = None,
) -> MetricReading:
    """One metric's values over a range."""
    rule = rule_for(all_rules, metric.service_name, metric.metric_name)
    aggregation = function_for(metric, rule)
    begin, end = window_of(chosen, here.at)
    step = step or chosen.step
    if aggregation is Aggregation.RATE:
        step = max(step, _SHORTEST_OF_RATES)
    if aggregation in _OF_WHOLE_STEPS:
        begin, end = last_whole_step(begin, step), last_whole_step(end, step)
    answer = await query_range(
        here.cx,
        here.organization_id,
        full_name(metric.service_name, metric.metric_name),
        begin,
        end,
        step=step,
        aggregation=aggregation,
    )
    declared = unit_of(metric.unit, aggregation)
    factor = here.web.settings.wedding_factor
    unit = unit_of(metric.shown_unit, aggregation)
    limit = limit_of(rule, declared, unit, is_wedding=here.is_wedding, factor=factor)
    return MetricReading(metric, answer, aggregation, rule, limit, unit)


def figure_of(here: Visit, reading: MetricReading, chosen: Range, *, technical: bool) -> Figure:
    """The figure around one metric's chart."""
    series = read_series(reading.answer, chosen=chosen, now=here.at)
    return build_figure(
        metric=reading.name,
        title=title_of(reading.metric.service_name, reading.metric.metric_name),
        aggregation=reading.aggregation,
        chosen=chosen,
        zone=here.zone,
        sentence=sentence_of(
            series,
            unit=reading.unit,
            limit=reading.limit,
            now=here.at,
            zone=here.zone,
            step=reading.answer.step_seconds,
            is_plain=not here.is_engineer,
        ),
        technical=reading.name if technical else "",
    )


async def read_rule_figure(
    here: Visit, rule: AlertRule, *, is_engineer: bool, known: Iterable[Metric] | None = None
) -> Figure | None:
    """The chart of what a rule watches, over the last hour; None where nothing has come in. The
    catalogue is read where it is not `known`."""
    if rule.organization_id != here.organization_id:
        return None
    metric = (
        _watched_among(known, rule)
        if known is not None
        else await read_watched_metric(here.cx, rule)
    )
    if metric is None:
        return None
    chosen = choose_range("1h")
    reading = await read_metric(here, metric, chosen, all_rules=[rule])
    return figure_of(here, reading, chosen, technical=is_engineer)


async def read_weddings(here: Visit) -> list[WeddingCard]:
    """The weddings from a month back to half a year ahead."""
    return [
        _card(here, row)
        for row in _that_take_place(
            await list_weddings(here, timedelta(days=31), timedelta(days=183))
        )
    ]


def contacts_of_weddings(here: Visit, rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Name, role and telephone number of the people of the weddings around today."""
    latest = here.at.date() + timedelta(days=1)
    return [
        (str(one.get("name") or ""), str(one.get("role") or ""), str(one.get("phone") or ""))
        for row in _that_take_place(rows)
        for one in row["contacts"] or ()
        if row["wedding_date"] <= latest
    ]


async def list_weddings(here: Visit, back: timedelta, ahead: timedelta) -> Sequence[Row]:
    """The business's weddings from so long before today to so long after, cancelled ones too."""
    today = here.at.date()
    return await weddings.list_weddings(
        here.cx,
        organization_ids=[here.organization_id],
        earliest=today - back,
        latest=today + ahead,
        before=None,
        limit=MOST_WEDDINGS,
    )


def _that_take_place(rows: Sequence[Row]) -> list[Row]:
    doubled = {twin.client_id for twin in find_twins(rows) if twin.is_sure}
    return [row for row in rows if row["status"] != "cancelled" and row["id"] not in doubled]


def _card(here: Visit, row: Row) -> WeddingCard:
    zone = row["time_zone"] or here.zone
    if not is_time_zone(zone):
        zone = here.zone
    windows = [
        (
            str(one["phase"]),
            datetime.fromisoformat(one["starts_at"]),
            datetime.fromisoformat(one["ends_at"]),
        )
        for one in row["windows"]
    ]
    card = build_card(
        wedding_id=row["id"],
        # A viewer may not read the names, and a wedding may have none yet.
        couple=row["couple_names"] or row["couple_initials"] or words("wedding.unnamed"),
        venue=row["venue_name"],
        zone=zone,
        windows=windows or [whole_day(row["wedding_date"], zone)],
        now=here.at,
    )
    return replace(card, when=when_words(card, here.at))
