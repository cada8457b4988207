"""What each panel of a dashboard says, in the reader's words. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from wedsync_apm.dashboards.answers import (
    Answer,
    Countdown,
    Heat,
    Lines,
    Mark,
    Number,
    Refused,
    Services,
    Table,
    Text,
    Troubles,
)
from wedsync_apm.dashboards.data import Data
from wedsync_apm.dashboards.model import (
    IncidentsPanel,
    Level,
    Panel,
    ServicesPanel,
    Which,
    figures_in,
)
from wedsync_apm.dashboards.showing import checks_of, troubles_of
from wedsync_apm.metrics.ranges import Aggregation
from wedsync_apm.web import say
from wedsync_apm.web.build.board_rule import is_watched
from wedsync_apm.web.build.charts import function_words
from wedsync_apm.web.build.incidents import Scene, build_row
from wedsync_apm.web.build.today import build_service
from wedsync_apm.web.build.weddings import nearest_first
from wedsync_apm.web.views.board import (
    Cells,
    Content,
    Field,
    Gauge,
    HeatRow,
    PanelView,
    Stat,
)
from wedsync_apm.web.views.board import Countdown as CountdownView
from wedsync_apm.web.views.board import Heat as HeatView
from wedsync_apm.web.views.chart import Figure
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.views.wedding import WeddingCard
from wedsync_apm.web.words import say as words

GRADES: Final = 6
_KINDS: Final[Mapping[Level, Kind]] = {Level.WARNING: "warn", Level.CRITICAL: "crit"}


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks at which dashboard, and what pages know beside its data. `query` is what of the
    address every link keeps."""

    board_id: UUID
    data: Data
    window: str
    query: Mapping[str, str]
    is_plain: bool
    is_engine_alive: bool
    weddings: Sequence[WeddingCard] = ()
    path: str = ""
    """Where the dashboard is, if not at its own address."""
    may_make_rules: bool = False

    @property
    def home(self) -> str:
        """Its address."""
        return self.path or f"/dashboards/{self.board_id}"

    @property
    def now(self) -> datetime:
        """The moment of the data."""
        return self.data.material.setting.at

    @property
    def zone(self) -> str:
        """The business's time zone."""
        return self.data.material.setting.zone

    def figure(self, value: float | None, unit: str) -> str:
        """A figure as this reader knows it."""
        return say.plain_figure(value, unit) if self.is_plain else say.figure(value, unit)

    def url(self, path: str = "", **more: str) -> str:
        """A page of this dashboard that keeps what was chosen."""
        query = urlencode({**self.query, **more})
        return f"{self.home}{path}{'?' if query else ''}{query}"

    def clock(self, at: float | datetime) -> str:
        """A moment as it is shown."""
        moment = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
        return say.when(moment, self.now, self.zone)


def build_panel(panel: Panel, reader: Reader) -> PanelView:
    """One panel with what it says."""
    answer = reader.data.panels[panel.key]
    content, empty = _CONTENTS[type(answer)](panel, answer, reader)
    at = panel.at
    kind = "none" if content is None else str(type(panel).__struct_config__.tag)
    is_table = bool(figures_in(panel)) and not isinstance(answer, Refused)
    return PanelView(
        key=panel.key,
        kind=kind,
        title=panel.title,
        note=panel.note,
        place=f"x{at.x} y{at.y} w{at.w} h{at.h}",
        content=content,
        empty=empty,
        table=reader.url(f"/panels/{panel.key}") if is_table else "",
        csv=reader.url(f"/panels/{panel.key}", **{"as": "csv"}) if is_table else "",
        rule=reader.url(f"/panels/{panel.key}/rule")
        if reader.may_make_rules and is_watched(panel)
        else "",
    )


Said = tuple[Content, str]


def _series(panel: Panel, answer: Lines, reader: Reader) -> Said:
    if not answer.lines:
        names = {one.metric for one in figures_in(panel)}
        return None, words("board.no_samples", metric=", ".join(sorted(names)))
    aggs = {one.agg for one in answer.lines}
    function = say.sentence(function_words(Aggregation(aggs.pop()))) if len(aggs) == 1 else ""
    caption = words("board.caption", function=function, window=reader.window)
    figure = Figure(
        key=panel.key,
        title=panel.title,
        caption=caption if function else say.sentence(reader.window),
        sentence=sentence_of(answer, reader),
        source=reader.url("/feed"),
        table=reader.url(f"/panels/{panel.key}"),
    )
    return figure, ""


def sentence_of(answer: Lines, reader: Reader) -> str:
    """The line that stands highest now, in words, for those who cannot see it."""
    instants = answer.x if answer.x is not None else reader.data.instants
    step = answer.step or reader.data.shown.step.total_seconds()
    newest: list[tuple[float, float, float]] = []
    for line in answer.lines:
        known = [(at, v) for at, v in zip(instants, line.values, strict=True) if v is not None]
        if known and not line.is_before:
            newest.append((known[-1][0], known[-1][1], median(v for _, v in known)))
    if not newest:
        return words("charts.none")
    latest = max(at for at, _, _ in newest)
    if reader.now.timestamp() - latest > max(5 * step, 60):
        return words("board.old", time=reader.clock(latest))
    _, value, usual = max((one for one in newest if one[0] >= latest - step), key=lambda o: o[1])
    gaps = {"figure": reader.figure(value, answer.unit), "usual": reader.figure(usual, answer.unit)}
    if not answer.limits:
        return words("charts.now", **gaps)
    limit = reader.figure(answer.limits[0].value, answer.unit)
    return words("charts.now_limit", **gaps, limit=limit)


def limit_words(mark: Mark, agg: str, unit: str, reader: Reader) -> str:
    """The words on a limit's line."""
    if mark.label:
        return mark.label
    figure = reader.figure(mark.value, unit)
    if mark.agg and mark.agg != agg:
        known = mark.agg in set(Aggregation)
        function = function_words(Aggregation(mark.agg)) if known else mark.agg
        return words("board.limit_of", figure=figure, function=function)
    return words("charts.limit_today" if mark.is_today else "charts.limit", figure=figure)


def _number(panel: Panel, answer: Number, reader: Reader) -> Said:
    if answer.value is None or answer.at is None:
        names = ", ".join(one.metric for one in figures_in(panel))
        return None, words("board.no_samples", metric=names)
    level = None
    if answer.level is not None and not answer.is_old:
        level = Status(_KINDS[answer.level], words(f"board.level.{answer.level.value}"))
    value = reader.figure(answer.value, answer.unit)
    if answer.least is not None and answer.most is not None:
        return _gauge(answer, reader, level), ""
    note = words(
        "board.usual",
        function=function_words(Aggregation(answer.agg)),
        figure=reader.figure(answer.usual, answer.unit),
    )
    if answer.is_old:
        note = words("board.old", time=reader.clock(answer.at))
    before = ""
    if answer.before is not None:
        before = words("board.before_figure", figure=reader.figure(answer.before, answer.unit))
    return Stat(value, note, before, answer.spark, level), ""


def _gauge(answer: Number, reader: Reader, level: Status | None) -> Gauge:
    least, most = answer.least or 0.0, answer.most or 0.0

    def place(value: float) -> int:
        return round(1000 * min(1.0, max(0.0, (value - least) / (most - least))))

    return Gauge(
        value=reader.figure(answer.value, answer.unit),
        share=None if answer.value is None or answer.is_old else place(answer.value),
        marks=tuple((place(one.value), _KINDS[one.level]) for one in answer.limits),
        least=reader.figure(least, answer.unit),
        most=reader.figure(most, answer.unit),
        level=level,
    )


def _table(panel: Panel, answer: Table, reader: Reader) -> Said:
    if not answer.rows:
        names = sorted({one.metric for one in figures_in(panel)})
        return None, words("board.no_samples", metric=", ".join(names))
    has_before = any(row.before is not None for row in answer.rows)
    names = ["name", "now", "usual", "highest", *(["before"] if has_before else [])]
    rows = []
    for row in answer.rows:
        values = [row.now, row.usual, row.highest, *([row.before] if has_before else [])]
        name = row.name or say.sentence(say.noun(row.metric.rpartition(".")[2]))
        rows.append((name, *(reader.figure(value, row.unit) for value in values)))
    more = words("board.more", n=answer.more) if answer.more else ""
    return Cells(tuple(words(f"board.column.{name}") for name in names), tuple(rows), more), ""


def _heat(panel: Panel, answer: Heat, reader: Reader) -> Said:
    low, high = answer.lowest, answer.highest
    if low is None or high is None:
        names = ", ".join(one.metric for one in figures_in(panel))
        return None, words("board.no_samples", metric=names)
    width = 1000 / len(answer.columns)
    span = (high - min(low, 0.0)) or 1.0

    def column(n: int) -> str:
        at = answer.columns[n]
        return f"{int(at):02}:00" if answer.is_by_hour else reader.clock(at)

    rows, top = [], ("", "")
    for row in answer.rows:
        name = _day(row.name) if answer.is_by_hour else row.name or panel.title
        fields = []
        for n, value in enumerate(row.values):
            if value is None:
                continue
            told = f"{name}, {column(n)}: {reader.figure(value, answer.unit)}"
            grade = min(GRADES - 1, int((value - min(low, 0.0)) / span * GRADES))
            fields.append(Field(round(n * width, 1), round(width - 1.5, 1), grade, told))
            if value == high:
                top = (name, column(n))
        rows.append(HeatRow(name, tuple(fields)))
    places = range(0, len(answer.columns), max(1, len(answer.columns) // 6))
    marks = tuple((round(n * width), column(n).rpartition(" ")[2]) for n in places)
    figure = reader.figure(high, answer.unit)
    sentence = words("board.heat", figure=figure, where=", ".join(filter(None, top)))
    return HeatView(tuple(rows), marks, sentence), ""


def _day(iso: str) -> str:
    day = datetime.fromisoformat(iso)
    return f"{day:%a} {day.day} {day:%b}"


def _services(panel: Panel, _: Answer, reader: Reader) -> Said:
    assert isinstance(panel, ServicesPanel)  # noqa: S101 the answer is this panel's
    rows = checks_of(panel, reader.data.material)
    found = tuple(
        build_service(dict(row), reader.now, is_engine_alive=reader.is_engine_alive) for row in rows
    )
    return (found or None), words("board.no_services")


def _troubles(panel: Panel, _: Answer, reader: Reader) -> Said:
    assert isinstance(panel, IncidentsPanel)  # noqa: S101 the answer is this panel's
    scene = Scene(reader.now, reader.zone)
    found = tuple(build_row(one, scene) for one in troubles_of(panel, reader.data.material))
    is_open = panel.which is Which.OPEN
    return (found or None), words("board.no_incidents" if is_open else "board.no_incidents_range")


def _countdown(_: Panel, __: Answer, reader: Reader) -> Said:
    ahead = nearest_first(reader.weddings, reader.now)
    if not ahead or ahead[0].milestone is None:
        return None, words("board.no_wedding_ahead")
    left = ahead[0].milestone.at - reader.now
    figure = words("board.in", length=say.length(left))
    return CountdownView(ahead[0], figure, left < timedelta(days=1)), ""


def _text(_: Panel, answer: Text, reader: Reader) -> Said:
    parts = tuple(one.strip() for one in answer.text.split("\n\n") if one.strip())
    return parts or ("",), ""


def _refused(_: Panel, answer: Refused, reader: Reader) -> Said:
    if answer.code == "mixed_units":
        named = [words("board.number") if one == "number" else one for one in answer.units]
        return None, words("board.mixed_units", units=words("board.and").join(named))
    return None, words("board.not_valid", reason=answer.reason)


_CONTENTS: Final[Mapping[type[Answer], Callable[[Any, Any, Reader], Said]]] = {
    Lines: _series,
    Number: _number,
    Table: _table,
    Heat: _heat,
    Services: _services,
    Troubles: _troubles,
    Countdown: _countdown,
    Text: _text,
    Refused: _refused,
}
