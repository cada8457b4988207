"""Dashboards as pages show them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wedsync_apm.web.views.chart import Figure, Option, Point
from wedsync_apm.web.views.incident import IncidentRow
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.views.today import Service
from wedsync_apm.web.views.wedding import WeddingCard


@dataclass(frozen=True, slots=True)
class Stat:
    """The newest figure; `level` says in a word that a limit is passed."""

    value: str
    note: str
    before: str
    spark: tuple[Point, ...]
    level: Status | None


@dataclass(frozen=True, slots=True)
class Gauge:
    """The newest figure on an arc; `share` and the marks are thousandths of it."""

    value: str
    share: int | None
    marks: tuple[tuple[int, Kind], ...]
    least: str
    most: str
    level: Status | None


@dataclass(frozen=True, slots=True)
class Cells:
    """Lines as figures: the first cell of a row is its name."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a heat map: where it begins and how wide it is in thousandths, how high of six
    its figure is, and the figure in words."""

    left: float
    width: float
    grade: int
    words: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """Fields side by side."""

    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Heat:
    """Rows of fields under marks, which stand at thousandths of the width."""

    rows: tuple[HeatRow, ...]
    marks: tuple[tuple[int, str], ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Countdown:
    """The wedding whose next part begins first; near: within a day, when minutes are counted."""

    wedding: WeddingCard
    figure: str
    is_near: bool


Content = (
    Figure
    | Stat
    | Gauge
    | Cells
    | Heat
    | tuple[Service, ...]
    | tuple[IncidentRow, ...]
    | Countdown
    | tuple[str, ...]
    | None
)


@dataclass(frozen=True, slots=True)
class PanelView:
    """A panel: what it shows, or in `empty` why it shows nothing. `place` are its classes on the
    grid; `table` leads to its figures, `csv` to the same as a file, `rule` to a rule like it."""

    key: str
    kind: str
    title: str
    note: str
    place: str
    content: Content
    empty: str = ""
    table: str = ""
    csv: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable: a drop-down of values, the chosen one marked."""

    name: str
    label: str
    options: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True, slots=True)
class BoardView:
    """A whole dashboard."""

    id: UUID
    title: str
    sub: str
    ranges: tuple[Option, ...]
    compares: tuple[Option, ...]
    compared: str
    choices: tuple[Choice, ...]
    kept: tuple[tuple[str, str], ...]
    """What the form of the variables carries along."""
    panels: tuple[PanelView, ...]
    others: tuple[Option, ...]
    may_edit: bool
    is_kiosk: bool
    kiosk: str
    share: str
    """Where a link to it as it is looked at is made."""
    pdf: str
    png: str
    """Where it is drawn as it is looked at."""
    mails: str
    """Where it is sent by mail as it is looked at."""


@dataclass(frozen=True, slots=True)
class BoardLine:
    """A dashboard in the list."""

    href: str
    name: str
    description: str
    note: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A template that is not there yet."""

    key: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class BoardsView:
    """All dashboards of a business, and what else can be had."""

    boards: tuple[BoardLine, ...]
    offers: tuple[Offer, ...]
    may_edit: bool
    file: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BoardTable:
    """The figures behind one panel, or the samples behind one figure."""

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    links: tuple[str, ...]
    """To the samples of each row; as many as there are rows, or none."""
    csv: str
    back: str
    ranges: tuple[Option, ...] = ()
    empty: str = ""


@dataclass(frozen=True, slots=True)
class EditView:
    """A dashboard while it is changed: its document is the field's text."""

    id: UUID
    title: str
    document: str
    version: int
    metrics: tuple[str, ...]
    labels: str
    """What the editor says, as JSON."""
    faults: tuple[str, ...] = ()
    clash: str = ""
    """Who has changed it meanwhile, and when."""


@dataclass(frozen=True, slots=True)
class SharedLink:
    """A link that was just made: it is shown once."""

    name: str
    url: str
    expires_at: datetime
    back: str
    again: str
    """Where another one is made that websites may show within their pages."""
    origins: str = ""
    frame: str = ""
    """What goes into a page of those websites."""


@dataclass(frozen=True, slots=True)
class MailLine:
    """Somebody who gets a dashboard by mail, and when."""

    id: UUID
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class MailsView:
    """To whom a dashboard goes out. `people` and `days` are values with their words; `query` is how
    it is looked at."""

    id: UUID
    title: str
    lines: tuple[MailLine, ...]
    people: tuple[tuple[str, str], ...]
    days: tuple[tuple[str, str], ...]
    zone: str
    query: str
