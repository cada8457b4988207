"""Charts: every metric of a business, live; each also as JSON, table and CSV."""

import csv
import io
from collections.abc import Sequence, Set
from datetime import UTC, datetime
from typing import Final

import msgspec
from litestar import Response, get
from markupsafe import Markup

from wedsync_apm.errors import NotFound
from wedsync_apm.incidents import store as incidents
from wedsync_apm.metrics import store as metrics
from wedsync_apm.metrics.store import Metric
from wedsync_apm.rules import store as rules
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.rules.patterns import full_name
from wedsync_apm.web import say
from wedsync_apm.web.build.charts import (
    Range,
    build_data,
    build_table,
    build_tile,
    choose_range,
    range_options,
    read_series,
    series_url,
)
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, visit
from wedsync_apm.web.pages.gather import (
    MOST_METRICS,
    MetricReading,
    figure_of,
    read_checks,
    read_metric,
    read_weddings,
)
from wedsync_apm.web.views.chart import ChartData, ChartsView, Option
from wedsync_apm.web.words import say as words

MOST_FIGURES: Final = 12
TILES: Final = 4


@get("/charts")
async def charts_page(request: PageRequest) -> Html:
    """The metrics of one service, or the first of all, the most important first."""
    async with visit(request) as here:
        chosen = choose_range(request.query_params.get("range"))
        catalogue = await metrics.list_metrics(here.cx, here.organization_id, limit=MOST_METRICS)
        all_rules = await rules.list_rules(here.cx, here.organization_id)
        services = sorted({metric.service_name for metric in catalogue})
        wanted = request.query_params.get("service", "")
        shown = [m for m in catalogue if not wanted or m.service_name == wanted]
        watched = {
            (m.service_name, m.metric_name)
            for m in shown
            for r in all_rules
            if r.is_active and r.watches(m.service_name, m.metric_name, dict(r.tag_filter))
        }
        checks = await read_checks(here.cx, here.organization_id, all_rules)
        live = await incidents.list_live_incidents(here.cx, here.organization_id)
        shown = by_importance(
            shown,
            troubled=[r for i in live for r in all_rules if r.id == i.alert_id],
            first=[row["source_metric"] for row in checks if row["source_metric"]],
            watched=watched,
        )
        readings = [
            await read_metric(here, metric, chosen, all_rules=all_rules)
            for metric in shown[:MOST_FIGURES]
        ]
        query = {"service": wanted} if wanted else {}
        view = ChartsView(
            title=words("charts.title"),
            sub=words("charts.sub", zone=here.zone),
            ranges=range_options(chosen, "/charts", query),
            services=service_options(services, wanted, chosen),
            tiles=tuple(
                build_tile(
                    say.sentence(say.noun(one.metric.metric_name)),
                    read_series(one.answer, chosen=chosen, now=here.at),
                    unit=one.unit,
                    limit=one.limit,
                    rule=one.rule,
                    is_plain=not here.is_engineer,
                )
                for one in readings[:TILES]
            ),
            figures=tuple(
                figure_of(here, one, chosen, technical=here.is_engineer) for one in readings
            ),
        )
        return here.page("charts.html", "charts", view)


def by_importance(
    catalogue: Sequence[Metric],
    *,
    troubled: Sequence[AlertRule],
    first: Sequence[str],
    watched: Set[tuple[str, str]],
) -> list[Metric]:
    """What is in trouble first, then what the services of Today stand on, in their order, then
    what a rule watches, then the rest."""

    def rank(metric: Metric) -> tuple[bool, int, bool]:
        service, name = metric.service_name, metric.metric_name
        full = full_name(service, name)
        is_calm = not any(r.watches(service, name, dict(r.tag_filter)) for r in troubled)
        place = first.index(full) if full in first else len(first)
        return is_calm, place, (service, name) not in watched

    return sorted(catalogue, key=rank)


def service_options(services: Sequence[str], wanted: str, chosen: Range) -> tuple[Option, ...]:
    """All services, and each alone."""
    options = [Option(words("charts.every"), f"/charts?range={chosen.key}", not wanted)]
    for service in services[:12]:
        query = range_options(chosen, "/charts", {"service": service})
        current = next(one for one in query if one.is_current)
        options.append(Option(say.sentence(say.noun(service)), current.href, service == wanted))
    return tuple(options)


@get("/charts/series")
async def series(request: PageRequest) -> Html | Response[bytes]:
    """One metric's values: for the drawing, as a table, or as CSV."""
    name = request.query_params.get("metric", "")
    form = request.query_params.get("as", "table")
    chosen = choose_range(request.query_params.get("range"))
    async with visit(request) as here:
        reading = await find_reading(here, name, chosen)
        data = await read_data(here, reading, chosen)
        if form == "json":
            return Response(
                msgspec.json.encode(data, enc_hook=unmarked),
                media_type="application/json",
                headers={"cache-control": "no-store"},
            )
        if form == "csv":
            return Response(
                to_csv(data),
                media_type="text/csv; charset=utf-8",
                headers={
                    "cache-control": "no-store",
                    "content-disposition": 'attachment; filename="series.csv"',
                },
            )
        view = build_table(
            data,
            figure_of(here, reading, chosen, technical=False),
            ranges=range_options(chosen, "/charts/series", {"metric": name, "as": "table"}),
            csv=series_url(name, chosen, "csv"),
            back=f"/charts?range={chosen.key}",
            now=here.at,
        )
        return here.page("table.html", "charts", view)


async def find_reading(here: Visit, name: str, chosen: Range) -> MetricReading:
    """The metric of that name over the range. Raises NotFound for one that is not there."""
    metric = await find_metric(here, name)
    all_rules = await rules.list_rules(here.cx, here.organization_id)
    return await read_metric(here, metric, chosen, all_rules=all_rules)


async def find_metric(here: Visit, name: str) -> Metric:
    """The line of the catalogue. Raises NotFound."""
    found = await metrics.list_metrics(here.cx, here.organization_id, search=name, limit=50)
    for metric in found:
        if full_name(metric.service_name, metric.metric_name) == name:
            return metric
    raise NotFound


async def read_data(here: Visit, reading: MetricReading, chosen: Range) -> ChartData:
    """What the drawing needs, weddings and incidents included."""
    lately = await incidents.list_incidents(here.cx, organization_id=here.organization_id, limit=20)
    return build_data(
        reading.answer,
        chosen=chosen,
        now=here.at,
        zone=here.zone,
        aggregation=reading.aggregation,
        unit=reading.metric.shown_unit,
        limit=reading.limit,
        weddings=[one for one in await read_weddings(here) if one.marker is not None],
        incidents=[i for i in lately.incidents if reading.rule and i.alert_id == reading.rule.id],
        is_plain=not here.is_engineer,
    )


def unmarked(value: object) -> str:
    """The catalogue's words as plain text: the canvas and the script need no escapes."""
    if isinstance(value, Markup):
        return value.unescape()
    raise NotImplementedError


def to_csv(data: ChartData) -> bytes:
    """Times in RFC 3339 UTC, one column a series, empty where nothing was measured."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    unit = f" ({data.unit})" if data.unit else ""
    writer.writerow(["time", *(f"{safe_cell(line.name)}{unit}" for line in data.lines)])
    for index, at in enumerate(data.x):
        moment = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
        cells = (line.values[index] for line in data.lines)
        writer.writerow([moment, *("" if v is None else repr(v) for v in cells)])
    return out.getvalue().encode()


def safe_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
