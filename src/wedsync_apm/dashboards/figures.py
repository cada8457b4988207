"""Panels of figures out of what was found for their questions. Pure.

Figures of different units never come into one: a panel that would do that is refused with the
reason.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

from wedsync_apm.dashboards.answers import (
    Answer,
    Heat,
    HeatRow,
    Line,
    Lines,
    Mark,
    Number,
    Refused,
    Row,
    Table,
)
from wedsync_apm.dashboards.material import Found, Material
from wedsync_apm.dashboards.model import (
    Figure,
    GaugePanel,
    HeatPanel,
    Level,
    Limit,
    Query,
    Rows,
    SeriesPanel,
    StatPanel,
    TablePanel,
    When,
)
from wedsync_apm.dashboards.window import Shown
from wedsync_apm.metrics.drawing import Point, grid, step_of, thin, unit_of
from wedsync_apm.metrics.ranges import Aggregation, RangeAnswer, RangeSeries
from wedsync_apm.rules.limits import resolve_limit, rule_for

MOST_LINES: Final = 6
MOST_ROWS: Final = 50
SPARK_POINTS: Final = 24
STALE_STEPS: Final = 5
OF_WHOLE_STEPS: Final = frozenset({Aggregation.RATE, Aggregation.SUM, Aggregation.COUNT})
"""What grows while a step goes on: of one that has just begun they would show a fall."""
_HEAT_COLUMNS: Final = 48


def _units(found: Iterable[tuple[Figure, Found]]) -> set[str]:
    """The units of the points. What has none is not known to be different."""
    return {
        unit_of(series.shown_unit, figure.agg)
        for figure, one in found
        for series in one.series
        if series.shown_unit or figure.agg is Aggregation.COUNT
    }


def _mixed(units: set[str]) -> Refused:
    shown = tuple(sorted(one or "number" for one in units))
    reason = f"its figures are in {' and '.join(shown)}; one panel has one unit"
    return Refused("mixed_units", reason, shown)


def _faults(found: Iterable[tuple[Figure, Found]]) -> Refused | None:
    fault = next((one.fault for _, one in found if one.fault), "")
    return Refused("not_valid", fault) if fault else None


def show_series(panel: SeriesPanel, material: Material) -> Answer:
    asked = [(query, material.answer_to(query)) for query in panel.queries]
    if refused := _faults(asked):
        return refused
    units = _units(asked)
    if len(units) > 1:
        return _mixed(units)
    shown = material.shown
    step = max((step_of(one.now) for _, one in asked if one.now), default=0.0)
    step = max(step, shown.step.total_seconds())
    pairs = [(query, one, series) for query, one in asked for series in _ranked(one.now)]
    drawn = []
    for query, one, series in pairs[:MOST_LINES]:
        drawn.append(_line(panel, query, series, material, step))
        if (before := _matching(one.before, series)) is not None:
            drawn.append(_line(panel, query, before, material, step, is_before=True))
    is_slower = step > shown.step.total_seconds()
    return Lines(
        unit=panel.unit or next(iter(units), ""),
        style=panel.style.value,
        lines=tuple(drawn),
        more=max(0, len(pairs) - MOST_LINES),
        limits=(*_marks(panel.limits), *_rule_marks(panel, asked, material)),
        x=tuple(_instants(shown, step)) if is_slower else None,
        step=step if is_slower else None,
        has_phases=panel.phases,
        has_events=panel.events,
    )


def _instants(shown: Shown, step: float) -> Iterable[float]:
    first = shown.begin.timestamp() // step
    return ((first + n) * step for n in range(_count(shown, step)))


def _count(shown: Shown, step: float) -> int:
    first = shown.begin.timestamp() // step
    return int(-(-shown.end.timestamp() // step) - first)


def _ranked(answer: RangeAnswer | None) -> list[RangeSeries]:
    """The lines that stand highest first, so that what is left out is the least of them."""
    if answer is None:
        return []
    return sorted(answer.series, key=lambda one: max(v for _, v in one.points), reverse=True)


def _matching(answer: RangeAnswer | None, series: RangeSeries) -> RangeSeries | None:
    return next((one for one in answer.series if one.tags == series.tags), None) if answer else None


def _line(
    panel: SeriesPanel,
    query: Query,
    series: RangeSeries,
    material: Material,
    step: float,
    *,
    is_before: bool = False,
) -> Line:
    shown = material.shown
    back = material.back.total_seconds() if is_before and material.back else 0.0
    points = [(at + back, value) for at, value in _whole(series, query, material, is_before)]
    values = grid(points, shown.begin.timestamp() // step, step, _count(shown, step))
    return Line(
        name=_name(query, series),
        values=tuple(map(_rounded, values)),
        tags={key: str(value) for key, value in series.tags.items()},
        agg=query.agg.value,
        metric=query.metric,
        is_before=is_before,
    )


def _rounded(value: Point) -> Point:
    """Six digits: more than any screen has, and half the bytes."""
    return None if value is None else float(f"{value:.6g}")


def _whole(
    series: RangeSeries, query: Figure, material: Material, is_before: bool = False
) -> Sequence[tuple[float, float]]:
    """The points whose step is over, where an open one would show a fall."""
    if is_before or query.agg not in OF_WHOLE_STEPS:
        return series.points
    behind = material.setting.at.timestamp() - material.shown.step.total_seconds()
    return [point for point in series.points if point[0] <= behind]


def _name(query: Query, series: RangeSeries) -> str:
    """What tells the line from the others: its own name, its tags; empty: its function does."""
    tags = ", ".join(str(value) for value in series.tags.values() if value)[:60]
    if query.name:
        return f"{query.name}, {tags}" if tags and query.group_by != () else query.name
    return tags


def _marks(limits: Sequence[Limit]) -> tuple[Mark, ...]:
    return tuple(Mark(one.value, one.when, one.level, one.label) for one in limits)


def _rule_marks(
    panel: SeriesPanel, asked: Sequence[tuple[Figure, Found]], material: Material
) -> Iterable[Mark]:
    """The limit that holds now of the first rule that watches each metric."""
    if not panel.rule_limits:
        return
    seen: set[object] = set()
    for figure, one in asked:
        for series in one.series[:1]:
            rule = rule_for(material.rules, series.service_name, series.metric_name)
            if rule is None or rule.id in seen:
                continue
            seen.add(rule.id)
            limit = resolve_limit(
                rule,
                None,
                is_declared_wedding=material.setting.is_wedding,
                factor=material.setting.settings.wedding_factor,
                unit=unit_of(series.unit, figure.agg),
            )
            yield Mark(
                limit.value,
                When.ABOVE if rule.comparison_operator.is_upper else When.BELOW,
                rule=rule.alert_name,
                agg=rule.aggregation.value,
                is_today=limit.value != rule.threshold_value,
            )


def show_number(panel: StatPanel | GaugePanel, material: Material) -> Answer:
    one = material.answer_to(panel.query)
    asked = [(panel.query, one)]
    if refused := _faults(asked):
        return refused
    units = _units(asked)
    if len(units) > 1:
        return _mixed(units)
    found = Number(
        unit=panel.unit or next(iter(units), ""),
        agg=panel.query.agg.value,
        limits=_marks(panel.limits),
        least=panel.least if isinstance(panel, GaugePanel) else None,
        most=panel.most if isinstance(panel, GaugePanel) else None,
    )
    series = one.now.series[0] if one.now and one.now.series else None
    points = _whole(series, panel.query, material) if series else ()
    if one.now is None or series is None or not points:
        return found
    shown = material.shown
    step = max(step_of(one.now), shown.step.total_seconds())
    found.at, found.value = points[-1]
    found.is_old = material.setting.at.timestamp() - found.at > max(STALE_STEPS * step, 60)
    found.usual = median(value for _, value in points)
    if not found.is_old:
        found.level = level_of(panel.limits, found.value)
    if isinstance(panel, StatPanel) and panel.sparkline:
        values = grid(points, shown.begin.timestamp() // step, step, _count(shown, step))
        found.spark = thin(values, SPARK_POINTS)
    if (before := _matching(one.before, series)) is not None and material.back is not None:
        then = found.at - material.back.total_seconds()
        found.before = next((v for at, v in reversed(before.points) if at <= then), None)
    return found


def level_of(limits: Sequence[Limit], figure: float) -> Level | None:
    """The worst limit that a figure has passed."""
    passed = {limit.level for limit in limits if limit.is_passed(figure)}
    return next((one for one in (Level.CRITICAL, Level.WARNING) if one in passed), None)


def show_table(panel: TablePanel, material: Material) -> Answer:
    rows: list[Row] = []
    for query in panel.queries:
        one = material.answer_to(query)
        if refused := _faults([(query, one)]):
            return refused
        units = _units([(query, one)])
        if len(units) > 1:
            return _mixed(units)
        for series in _ranked(one.now):
            values = [value for _, value in _whole(series, query, material)]
            before = _matching(one.before, series)
            rows.append(
                Row(
                    name=_name(query, series),
                    metric=query.metric,
                    agg=query.agg.value,
                    unit=panel.unit or next(iter(units), ""),
                    now=_fresh(series, query, one.now, material),
                    usual=median(values) if values else None,
                    lowest=min(values, default=None),
                    highest=max(values, default=None),
                    before=median(v for _, v in before.points) if before else None,
                    tags={key: str(value) for key, value in series.tags.items()},
                )
            )
    return Table(tuple(rows[:MOST_ROWS]), max(0, len(rows) - MOST_ROWS))


def _fresh(
    series: RangeSeries, query: Query, answer: RangeAnswer | None, material: Material
) -> Point:
    """The newest value, if it is not old."""
    points = _whole(series, query, material)
    if not points or answer is None:
        return None
    at, value = points[-1]
    longest = max(STALE_STEPS * step_of(answer), 60)
    return value if material.setting.at.timestamp() - at <= longest else None


def show_heat(panel: HeatPanel, material: Material) -> Answer:
    one = material.answer_to(panel.query)
    asked = [(panel.query, one)]
    if refused := _faults(asked):
        return refused
    units = _units(asked)
    if len(units) > 1:
        return _mixed(units)
    lines = _ranked(one.now)
    found = _by_days if panel.rows is Rows.DAYS else _by_steps
    rows, columns = found(panel.query, lines, material)
    known = [value for row in rows for value in row.values if value is not None]
    return Heat(
        unit=panel.unit or next(iter(units), ""),
        rows=tuple(rows),
        columns=tuple(columns),
        is_by_hour=panel.rows is Rows.DAYS,
        lowest=min(known, default=None),
        highest=max(known, default=None),
        more=max(0, len(lines) - MOST_ROWS) if panel.rows is Rows.SERIES else 0,
    )


def _by_steps(
    query: Query, lines: Sequence[RangeSeries], material: Material
) -> tuple[list[HeatRow], list[float]]:
    shown = material.shown
    step = max((step_of(RangeAnswer([one], "", 0.0)) for one in lines), default=0.0)
    step = max(step, shown.step.total_seconds())
    step *= -(-_count(shown, step) // _HEAT_COLUMNS)
    rows = [
        HeatRow(
            _name(query, one),
            grid(
                _whole(one, query, material),
                shown.begin.timestamp() // step,
                step,
                _count(shown, step),
            ),
        )
        for one in lines[:MOST_ROWS]
    ]
    return rows, list(_instants(shown, step))


def _by_days(
    query: Query, lines: Sequence[RangeSeries], material: Material
) -> tuple[list[HeatRow], list[float]]:
    """The highest figure of each hour by the clock, or of as many hours as a step has."""
    zone = ZoneInfo(material.setting.zone)
    hours = max(1, round(material.shown.step.total_seconds() / 3600))
    columns = range(0, 24, hours)
    days: dict[str, list[Point]] = {}
    for one in lines:
        for at, value in _whole(one, query, material):
            local = datetime.fromtimestamp(at, UTC).astimezone(zone)
            fields = days.setdefault(local.date().isoformat(), [None] * len(columns))
            before = fields[local.hour // hours]
            fields[local.hour // hours] = value if before is None else max(before, value)
    rows = [HeatRow(day, tuple(fields)) for day, fields in sorted(days.items())]
    return rows, [float(hour) for hour in columns]
