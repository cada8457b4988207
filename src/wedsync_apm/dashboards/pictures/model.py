"""What is drawn: a dashboard in words and places, with nothing left to be decided. Pure.

It is made by whoever knows the words (the pages), and travels to the process that draws.
"""

from enum import StrEnum
from uuid import UUID

import msgspec

Point = float | None


class Form(StrEnum):
    """As what a dashboard is drawn."""

    PDF = "pdf"
    PNG = "png"

    @property
    def media_type(self) -> str:
        """As HTTP says it."""
        return "application/pdf" if self is Form.PDF else "image/png"


class Sign(msgspec.Struct):
    """A state: its word, and the shape and colour that go with it."""

    kind: str
    word: str


class Body(msgspec.Struct, tag_field="kind"):
    """What a panel shows."""


class Nothing(Body, tag="nothing"):
    """Why it shows nothing."""

    words: str


class Curve(msgspec.Struct):
    """A line of a chart; `colour` is the number of its colour."""

    name: str
    values: tuple[Point, ...]
    colour: int
    is_before: bool = False


class Rule(msgspec.Struct):
    """A limit."""

    value: float
    words: str


class Stretch(msgspec.Struct):
    """A phase of a wedding, in Unix seconds."""

    begins: float
    ends: float
    name: str


class Moment(msgspec.Struct):
    """An incident or an event, in Unix seconds."""

    at: float
    name: str


class Notch(msgspec.Struct):
    """A mark at an axis."""

    at: float
    words: str


class Chart(Body, tag="chart"):
    """A course in time."""

    caption: str
    sentence: str
    style: str
    begins: float
    ends: float
    now: float
    lowest: float
    highest: float
    x: tuple[float, ...]
    step: float
    curves: tuple[Curve, ...]
    notches: tuple[Notch, ...]
    hours: tuple[Notch, ...]
    limits: tuple[Rule, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    moments: tuple[Moment, ...] = ()
    more: str = ""


class Big(Body, tag="stat"):
    """The newest figure."""

    value: str
    note: str
    before: str
    sign: Sign | None
    spark: tuple[Point, ...]


class Dial(Body, tag="gauge"):
    """The newest figure on an arc; shares of it are thousandths."""

    value: str
    share: int | None
    marks: tuple[tuple[int, str], ...]
    least: str
    most: str
    sign: Sign | None


class Cells(Body, tag="table"):
    """Figures in rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str


class Fields(Body, tag="heat"):
    """Fields that are the darker the higher they are: where each begins, how wide, which grade."""

    sentence: str
    rows: tuple[tuple[str, tuple[tuple[float, float, int], ...]], ...]
    marks: tuple[tuple[int, str], ...]


class Line(msgspec.Struct):
    """A service or an incident."""

    sign: Sign
    title: str
    detail: str


class Lines(Body, tag="lines"):
    """Services or incidents."""

    lines: tuple[Line, ...]


class Ahead(Body, tag="countdown"):
    """How long it is until the next part of a wedding."""

    figure: str
    what: str
    who: str


class Prose(Body, tag="text"):
    """Paragraphs."""

    parts: tuple[str, ...]


AnyBody = Nothing | Chart | Big | Dial | Cells | Fields | Lines | Ahead | Prose


class Tile(msgspec.Struct):
    """A panel on the grid of twelve columns."""

    x: int
    y: int
    w: int
    h: int
    title: str
    note: str
    body: AnyBody


class Sheet(msgspec.Struct):
    """A whole dashboard. `facts` say which time, which variables and when it was measured; `foot`
    stands on every page, and `page` is how a page's number is said."""

    title: str
    sub: str
    facts: tuple[str, ...]
    foot: str
    page: str
    tiles: tuple[Tile, ...]


class Job(msgspec.Struct):
    """What the process that draws is asked for."""

    form: Form
    sheet: Sheet


def file_name(board_id: UUID, form: Form) -> str:
    """Under which name it is saved: letters that every system takes."""
    return f"dashboard-{str(board_id)[:8]}.{form.value}"
