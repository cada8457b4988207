"""A dashboard as a document: panels on a grid, their questions, variables, and its range of time.

The same document is stored, sent by the API and kept in files. It holds nothing that changes by
itself: no ids, no dates, no numbers of versions but that of its own format.
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from wedsync_apm.metrics.ranges import Aggregation

SCHEMA: Final = "wedsync.dashboard/1"
"""The format's name and version."""
COLUMNS: Final = 12
ROWS: Final = 200
MOST_HEIGHT: Final = 24
MOST_PANELS: Final = 60
MOST_VARIABLES: Final = 12
MOST_BYTES: Final = 256 * 1024
"""Of a document as compact JSON."""


class Span(StrEnum):
    """How far back a dashboard looks."""

    QUARTER = "15m"
    HOUR = "1h"
    SIX_HOURS = "6h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"

    @property
    def length(self) -> timedelta:
        """From its beginning to now."""
        return _SPANS[self][0]

    @property
    def step(self) -> timedelta:
        """How far its points lie apart."""
        return _SPANS[self][1]


_SPANS: Final[Mapping[Span, tuple[timedelta, timedelta]]] = {
    Span.QUARTER: (timedelta(minutes=15), timedelta(seconds=30)),
    Span.HOUR: (timedelta(hours=1), timedelta(minutes=1)),
    Span.SIX_HOURS: (timedelta(hours=6), timedelta(minutes=5)),
    Span.DAY: (timedelta(hours=24), timedelta(minutes=5)),
    Span.WEEK: (timedelta(days=7), timedelta(hours=1)),
    Span.MONTH: (timedelta(days=30), timedelta(hours=3)),
}


class Compare(StrEnum):
    """Which earlier time is drawn beside the present one."""

    NONE = "none"
    LAST_WEDDING = "last_wedding"
    LAST_SATURDAY = "last_saturday"


class Style(StrEnum):
    """How a time series is drawn."""

    LINE = "line"
    AREA = "area"
    BAR = "bar"


class When(StrEnum):
    """On which side of a limit things are bad."""

    ABOVE = "above"
    BELOW = "below"


class Level(StrEnum):
    """How bad it is behind a limit."""

    WARNING = "warning"
    CRITICAL = "critical"


class Rows(StrEnum):
    """What the rows of a heat map are."""

    SERIES = "series"  # one for each line, the steps side by side
    DAYS = "days"  # one for each day, its hours side by side


class Which(StrEnum):
    """Which incidents a list shows."""

    OPEN = "open"
    ALL = "all"


Title = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Label = Annotated[str, msgspec.Meta(max_length=120)]
Key = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,29}$")]
MetricName = Annotated[str, msgspec.Meta(min_length=3, max_length=2049)]
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Value = Annotated[str, msgspec.Meta(max_length=1024)]
Tags = Annotated[dict[Tag, Value], msgspec.Meta(max_length=8)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the document. What has its usual value is left out when it is written."""


class At(_Part, frozen=True, kw_only=True):
    """Where a panel lies: the grid has 12 columns, and rows as many as it needs."""

    x: Annotated[int, msgspec.Meta(ge=0, le=COLUMNS - 1)]
    y: Annotated[int, msgspec.Meta(ge=0, le=ROWS - 1)]
    w: Annotated[int, msgspec.Meta(ge=1, le=COLUMNS)]
    h: Annotated[int, msgspec.Meta(ge=1, le=MOST_HEIGHT)]


class Figure(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A question with one line as its answer: all series of a metric together.

    `metric` is `service.metric`. `$name` stands for a variable, in it and in the tags' values.
    """

    metric: MetricName
    agg: Aggregation
    tags: Tags = msgspec.field(default_factory=dict)


class Query(Figure, frozen=True, kw_only=True, omit_defaults=True):
    """A question with a line for each series, or for each combination of the tags of `group_by`;
    an empty list puts all into one line."""

    group_by: Annotated[tuple[Tag, ...], msgspec.Meta(max_length=4)] | None = None
    name: Label = ""


class Limit(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A number that matters, in the unit of the figures."""

    value: float
    when: When = When.ABOVE
    level: Level = Level.CRITICAL
    label: Label = ""

    def is_passed(self, figure: float) -> bool:
        """Whether a figure lies on the bad side."""
        return figure > self.value if self.when is When.ABOVE else figure < self.value


Unit = Annotated[str, msgspec.Meta(max_length=20)]
"""What the figures are in, in place of what their metrics say."""

Limits = Annotated[tuple[Limit, ...], msgspec.Meta(max_length=4)]


class PanelBase(_Part, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What every panel has. Its key is its name in addresses and in files."""

    key: Key
    title: Title
    at: At
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class SeriesPanel(PanelBase, frozen=True, kw_only=True, omit_defaults=True, tag="series"):
    """A course in time, with limits, the phases of weddings, incidents and deployments."""

    queries: Annotated[tuple[Query, ...], msgspec.Meta(min_length=1, max_length=6)]
    unit: Unit = ""
    style: Style = Style.LINE
    limits: Limits = ()
    rule_limits: bool = True
    phases: bool = True
    events: bool = True


class StatPanel(PanelBase, frozen=True, kw_only=True, omit_defaults=True, tag="stat"):
    """The newest figure, with its recent course."""

    query: Figure
    unit: Unit = ""
    limits: Limits = ()
    sparkline: bool = True


class GaugePanel(PanelBase, frozen=True, kw_only=True, omit_defaults=True, tag="gauge"):
    """The newest figure between the least and the most that it can be."""

    query: Figure
    least: float
    most: float
    unit: Unit = ""
    limits: Limits = ()


class TablePanel(PanelBase, frozen=True, kw_only=True, omit_defaults=True, tag="table"):
    """A row for each line: its newest, usual, lowest and highest figure."""

    queries: Annotated[tuple[Query, ...], msgspec.Meta(min_length=1, max_length=12)]
    unit: Unit = ""


class HeatPanel(PanelBase, frozen=True, kw_only=True, omit_defaults=True, tag="heat"):
    """Figures as fields that are the darker the higher they are."""

    query: Query
    unit: Unit = ""
    rows: Rows = Rows.SERIES


class ServicesPanel(PanelBase, frozen=True, kw_only=True, omit_defaults=True, tag="services"):
    """How the watched services stand; all of them where none is named."""

    services: Annotated[tuple[Tag, ...], msgspec.Meta(max_length=50)] = ()
    couple_facing_only: bool = False


class IncidentsPanel(PanelBase, frozen=True, kw_only=True, omit_defaults=True, tag="incidents"):
    """Incidents, the newest first."""

    which: Which = Which.OPEN
    most: Annotated[int, msgspec.Meta(ge=1, le=50)] = 10


class CountdownPanel(PanelBase, frozen=True, kw_only=True, omit_defaults=True, tag="countdown"):
    """How long it is until the next part of a wedding."""


class TextPanel(PanelBase, frozen=True, kw_only=True, omit_defaults=True, tag="text"):
    """Plain text; an empty line begins a new paragraph."""

    text: Annotated[str, msgspec.Meta(max_length=4000)]


Panel = (
    SeriesPanel
    | StatPanel
    | GaugePanel
    | TablePanel
    | HeatPanel
    | ServicesPanel
    | IncidentsPanel
    | CountdownPanel
    | TextPanel
)
KINDS: Final[Mapping[str, type[PanelBase]]] = {
    str(one.__struct_config__.tag): one
    for one in (
        SeriesPanel,
        StatPanel,
        GaugePanel,
        TablePanel,
        HeatPanel,
        ServicesPanel,
        IncidentsPanel,
        CountdownPanel,
        TextPanel,
    )
}


class Variable(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A choice for whoever looks: one of `values`, or a value that a tag has.

    Without a default, a tag's variable begins with all of its values.
    """

    name: Name
    label: Label = ""
    values: Annotated[tuple[Value, ...], msgspec.Meta(max_length=100)] = ()
    tag: Annotated[str, msgspec.Meta(max_length=128)] = ""
    default: Value = ""


class Window(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """The time that a dashboard shows when it is opened."""

    span: Span = Span.DAY
    compare: Compare = Compare.NONE


class Document(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A whole dashboard."""

    schema: str
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    description: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    time: Window = Window()
    variables: Annotated[tuple[Variable, ...], msgspec.Meta(max_length=MOST_VARIABLES)] = ()
    panels: Annotated[tuple[Panel, ...], msgspec.Meta(max_length=MOST_PANELS)] = ()

    def panel(self, key: str) -> Panel | None:
        """The panel of that key."""
        return next((one for one in self.panels if one.key == key), None)


def figures_in(panel: Panel) -> tuple[Figure, ...]:
    """What a panel asks of metrics; nothing for those that show something else."""
    if isinstance(panel, SeriesPanel | TablePanel):
        return panel.queries
    if isinstance(panel, StatPanel | GaugePanel | HeatPanel):
        return (panel.query,)
    return ()


def schema_of_documents() -> dict[str, object]:
    """The format as JSON Schema, for editors and checks outside; what spans several fields is
    checked here alone."""
    return msgspec.json.schema(Document)
