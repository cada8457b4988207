"""A metric as a chart: the grid with its gaps, the limits, the weddings, the sentence."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Final
from urllib.parse import urlencode

from wedsync_apm.incidents.model import Incident
from wedsync_apm.metrics.drawing import grid, step_of, thin, unit_of
from wedsync_apm.metrics.ranges import Aggregation, RangeAnswer, RangeSeries
from wedsync_apm.metrics.store import Metric
from wedsync_apm.rules.limits import WEDDING_FACTOR, LimitSource, resolve_limit
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.web import say
from wedsync_apm.web.views.chart import (
    Band,
    ChartData,
    Figure,
    Limit,
    Line,
    Option,
    Point,
    TableView,
    Tick,
    Tile,
)
from wedsync_apm.web.views.wedding import WeddingCard
from wedsync_apm.web.words import say as words

MOST_LINES: Final = 4
YOUNG: Final = timedelta(minutes=5)
AHEAD: Final = timedelta(minutes=60)
SPARK_POINTS: Final = 24


@dataclass(frozen=True, slots=True)
class Range:
    """How far back a chart looks, and in which steps."""

    key: str
    span: timedelta
    step: timedelta
    label: str
    window: str


RANGES: Final = (
    Range("15m", timedelta(minutes=15), timedelta(seconds=10), "15 min", "last 15 min"),
    Range("1h", timedelta(hours=1), timedelta(seconds=30), "1 h", "last hour"),
    Range("6h", timedelta(hours=6), timedelta(minutes=5), "6 h", "last 6 h"),
    Range("24h", timedelta(hours=24), timedelta(minutes=15), "24 h", "last 24 h"),
    Range("7d", timedelta(days=7), timedelta(hours=1), "7 d", "last 7 days"),
)


def choose_range(key: str | None) -> Range:
    """The range of that name, else the hour."""
    return next((one for one in RANGES if one.key == key), RANGES[1])


def window_of(chosen: Range, now: datetime) -> tuple[datetime, datetime]:
    """From and to, on whole steps, so that one step is one point."""
    step = chosen.step.total_seconds()
    end = (now.timestamp() // step + 1) * step
    begin = end - chosen.span.total_seconds()
    return datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(end, UTC)


_SHOWN_AS: Final = {
    "increase": Aggregation.RATE,
    "p90": Aggregation.P95,
    "stddev": Aggregation.AVG,
}
"""What rules know and charts do not, as the nearest that they draw."""


def function_for(metric: Metric, rule: AlertRule | None) -> Aggregation:
    """How a metric's steps become points: as its rule judges it, else as its kind asks."""
    if rule is not None:
        return _SHOWN_AS.get(rule.aggregation.value) or Aggregation(rule.aggregation.value)
    if metric.metric_type == "counter":
        return Aggregation.RATE
    if metric.unit in ("ms", "s", "us", "seconds", "milliseconds"):
        return Aggregation.P95
    return Aggregation.AVG


def function_words(aggregation: Aggregation) -> str:
    """The function as people say it."""
    return words(f"function.{aggregation.value}")


def title_of(service: str, metric: str) -> str:
    """The chart's title: the metric first, its service behind it."""
    return f"{say.sentence(say.noun(metric))}, {say.noun(service)}"


def limit_of(
    rule: AlertRule | None,
    declared: str | None,
    unit: str | None,
    *,
    is_wedding: bool,
    factor: float = WEDDING_FACTOR,
) -> Limit | None:
    """The limit that holds now, with its words."""
    if rule is None:
        return None
    found = resolve_limit(rule, None, is_declared_wedding=is_wedding, factor=factor, unit=declared)
    key = "charts.limit" if found.source is LimitSource.RULE else "charts.limit_today"
    return Limit(found.value, words(key, figure=say.figure(found.value, unit)))


def line_name(series: RangeSeries, aggregation: Aggregation) -> str:
    """What tells the lines of one chart apart."""
    if not series.tags:
        return function_words(aggregation)
    return ", ".join(str(value) for value in series.tags.values())[:60]


def build_data(
    answer: RangeAnswer,
    *,
    chosen: Range,
    now: datetime,
    zone: str,
    aggregation: Aggregation,
    unit: str | None,
    limit: Limit | None = None,
    weddings: Sequence[WeddingCard] = (),
    incidents: Iterable[Incident] = (),
    is_plain: bool = False,
) -> ChartData:
    """The JSON of a chart: one value a step, None where nothing was measured."""
    begin, end = window_of(chosen, now)
    step = step_of(answer)
    first = begin.timestamp() // step
    count = math.ceil(end.timestamp() / step - first)
    x = tuple((first + index) * step for index in range(count))
    ranked = sorted(answer.series, key=lambda one: max(abs(v) for _, v in one.points), reverse=True)
    lines = tuple(
        Line(line_name(one, aggregation), grid(one.points, first, step, count))
        for one in ranked[:MOST_LINES]
    )
    bands = tuple(
        Band(phase.begins.timestamp(), phase.ends.timestamp(), phase.name)
        for wedding in weddings[:1]
        for phase in wedding.phases
        if phase.name != str(words("phase.set_up")) and phase.ends > begin
    )
    ahead = [
        wedding.milestone.at
        for wedding in weddings
        if wedding.milestone and wedding.milestone.at - now <= AHEAD
    ]
    ends = end.timestamp()
    if ahead and chosen.span <= timedelta(hours=6):
        ends = min(ahead).timestamp() + 180
    return ChartData(
        unit=unit_of(unit, aggregation),
        zone=zone,
        begins=first_shown(answer, begin, end),
        ends=ends,
        now=now.timestamp(),
        step=step,
        x=x,
        lines=lines,
        more=max(0, len(ranked) - MOST_LINES),
        limits=(limit,) if limit else (),
        bands=bands,
        ticks=tuple(
            Tick(i.began_at.timestamp(), i.headline) for i in incidents if i.began_at > begin
        ),
        is_share=(unit or "") in ("%", "percent", "ratio") and _is_high(lines),
        is_plain=is_plain,
    )


def first_shown(answer: RangeAnswer, begin: datetime, end: datetime) -> float:
    """Where the axis begins: with a metric that is younger than the range, shortly before it."""
    span = (end - begin).total_seconds()
    youngest = min((one.points[0][0] for one in answer.series), default=begin.timestamp())
    latest = end.timestamp() - min(span, YOUNG.total_seconds())
    if youngest - begin.timestamp() < span / 2:
        return begin.timestamp()
    return min(youngest - span / 60, latest)


def _is_high(lines: Iterable[Line]) -> bool:
    known = [v for line in lines for v in line.values if v is not None]
    return bool(known) and min(known) > 90


@dataclass(frozen=True, slots=True)
class Reading:
    """What the newest of a chart's lines says: its last value, and its middle value."""

    now: float | None
    usual: float | None
    last_at: float | None
    spark: tuple[Point, ...]


def read_series(answer: RangeAnswer, *, chosen: Range, now: datetime) -> Reading:
    """The line that stands highest now, in figures; None where nothing was measured lately."""
    if not answer.series:
        return Reading(None, None, None, ())
    newest = max(point[0] for one in answer.series for point in one.points[-1:])
    recent = [one for one in answer.series if one.points[-1][0] >= newest - answer.step_seconds]
    top = max(recent, key=lambda one: one.points[-1][1])
    begin, end = window_of(chosen, now)
    step = step_of(answer)
    count = math.ceil((end - begin).total_seconds() / step)
    values = grid(top.points, begin.timestamp() // step, step, count)
    drawn = next((value for value in reversed(values) if value is not None), None)
    return Reading(
        # what the drawing ends with, so that both say the same
        now=top.points[-1][1] if drawn is None else drawn,
        usual=median(value for _, value in top.points),
        last_at=newest,
        spark=thin(values, SPARK_POINTS),
    )


def sentence_of(
    reading: Reading,
    *,
    unit: str | None,
    limit: Limit | None,
    now: datetime,
    zone: str,
    step: float,
    is_plain: bool = False,
) -> str:
    """The chart in words, for those who cannot see it."""
    if reading.now is None or reading.last_at is None or reading.usual is None:
        return words("charts.none")
    if now.timestamp() - reading.last_at > max(5 * step, 60):
        return words(
            "charts.old", time=say.when(datetime.fromtimestamp(reading.last_at, UTC), now, zone)
        )
    figure = say.plain_figure if is_plain else say.figure
    gaps = {"figure": figure(reading.now, unit), "usual": figure(reading.usual, unit)}
    if limit is None:
        return words("charts.now", **gaps)
    return words("charts.now_limit", **gaps, limit=figure(limit.value, unit))


def series_url(metric: str, chosen: Range, form: str) -> str:
    """Where a chart's values are, as json, table or csv."""
    query = urlencode({"metric": metric, "range": chosen.key, "as": form})
    return f"/charts/series?{query}"


def build_figure(
    *,
    metric: str,
    title: str,
    aggregation: Aggregation,
    chosen: Range,
    zone: str,
    sentence: str,
    technical: str = "",
) -> Figure:
    """The figure around a chart."""
    return Figure(
        key="".join(c if c.isalnum() else "-" for c in metric)[:80],
        title=title,
        caption=words(
            "charts.caption",
            function=say.sentence(function_words(aggregation)),
            window=chosen.window,
            zone=zone,
        ),
        sentence=sentence,
        source=series_url(metric, chosen, "json"),
        table=series_url(metric, chosen, "table"),
        technical=technical,
    )


def build_tile(
    title: str,
    reading: Reading,
    *,
    unit: str | None,
    limit: Limit | None,
    rule: AlertRule | None,
    is_plain: bool = False,
) -> Tile:
    """The figure of now with its limit, or with what is usual."""
    figure = say.plain_figure if is_plain else say.figure
    is_over = (
        rule is not None
        and limit is not None
        and reading.now is not None
        and rule.comparison_operator.is_breached(reading.now, limit.value)
    )
    if limit is not None:
        note: str = limit.words
    else:
        note = words("charts.usual", figure=figure(reading.usual, unit))
    return Tile(title, figure(reading.now, unit), note, reading.spark, is_over)


def range_options(chosen: Range, path: str, query: Mapping[str, str]) -> tuple[Option, ...]:
    """The ranges as links that keep everything else."""
    return tuple(
        Option(one.label, f"{path}?{urlencode({**query, 'range': one.key})}", one == chosen)
        for one in RANGES
    )


def build_table(
    data: ChartData,
    chart: Figure,
    *,
    ranges: tuple[Option, ...],
    csv: str,
    back: str,
    now: datetime,
) -> TableView:
    """The same values as a table, newest first."""
    figure = say.plain_figure if data.is_plain else say.figure
    rows = [
        (
            say.when(datetime.fromtimestamp(at, UTC), now, data.zone),
            tuple(figure(line.values[index], data.unit) for line in data.lines),
        )
        for index, at in enumerate(data.x)
        if any(line.values[index] is not None for line in data.lines)
    ]
    return TableView(
        chart.title,
        chart.caption,
        chart.sentence,
        tuple(line.name for line in data.lines),
        tuple(reversed(rows)),
        csv,
        back,
        ranges,
    )
