"""A chart: the figure around it, and the one JSON shape that `chart.js` draws."""

from dataclasses import dataclass

Point = float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One series; `values` has one entry a step, None where nothing was measured."""

    name: str
    values: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """A rule's limit, in the series' unit, with the words on its line."""

    value: float
    words: str


@dataclass(frozen=True, slots=True)
class Band:
    """A wedding phase, in unix seconds."""

    begins: float
    ends: float
    name: str


@dataclass(frozen=True, slots=True)
class Tick:
    """An incident or a deployment, in unix seconds."""

    at: float
    name: str


@dataclass(frozen=True, slots=True)
class ChartData:
    """Everything that `chart.js` needs. Times in unix seconds, values in `unit`."""

    unit: str
    zone: str
    begins: float
    ends: float
    now: float
    step: float
    x: tuple[float, ...]
    lines: tuple[Line, ...]
    more: int = 0
    limits: tuple[Limit, ...] = ()
    bands: tuple[Band, ...] = ()
    ticks: tuple[Tick, ...] = ()
    is_share: bool = False
    is_plain: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """The figure around a chart; complete for readers without a script or without sight."""

    key: str
    title: str
    caption: str
    sentence: str
    source: str
    table: str
    technical: str = ""
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """One large figure with its window; `spark` is the recent course, oldest first."""

    title: str
    value: str
    note: str
    spark: tuple[Point, ...] = ()
    is_over: bool = False
    href: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """A link in a row of choices, one of which is current."""

    label: str
    href: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class ChartsView:
    """The metrics of a business over one range."""

    title: str
    sub: str
    ranges: tuple[Option, ...]
    services: tuple[Option, ...]
    tiles: tuple[Tile, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class TableView:
    """The values of one chart as a table; `rows` are a time and one text a column."""

    title: str
    caption: str
    sentence: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    csv: str
    back: str
    ranges: tuple[Option, ...] = ()
