"""A whole dashboard, read in one go: the range, the variables and what every panel shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from wedsync_apm.dashboards.answers import Answer, Band, Tick
from wedsync_apm.dashboards.material import Material, Setting, read_material
from wedsync_apm.dashboards.model import Compare, Document, Span
from wedsync_apm.dashboards.reading import read_columns
from wedsync_apm.dashboards.showing import answer_panel, bands_of, ticks_of
from wedsync_apm.dashboards.variables import choose
from wedsync_apm.dashboards.window import Shown, show
from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import NotFound


@dataclass(frozen=True, slots=True)
class Asked:
    """What whoever looks has chosen; the document decides the rest. `panel` is a key."""

    span: Span | None = None
    compare: Compare | None = None
    fixed: tuple[datetime, datetime] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    panel: str | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """What a dashboard shows."""

    material: Material
    panels: Mapping[str, Answer]
    bands: Sequence[Band]
    ticks: Sequence[Tick]

    @property
    def shown(self) -> Shown:
        """The time."""
        return self.material.shown

    @property
    def instants(self) -> tuple[float, ...]:
        """When each step begins, in Unix seconds."""
        begin, step = self.shown.begin.timestamp(), self.shown.step.total_seconds()
        return tuple(begin + n * step for n in range(self.shown.count))


def document_of(row: Row) -> Document:
    """The document in a row. Raises NotValid: older rows may hold anything."""
    return read_columns(row["name"], row["description"], row["layout"], row["variables"])


async def read_data(cx: Connection, setting: Setting, document: Document, asked: Asked) -> Data:
    """All panels, or the one that is asked for. Raises NotFound for one that is not there, and
    NotValid for a range that is none and for more than one process can hold."""
    panels = document.panels
    if asked.panel is not None:
        panel = document.panel(asked.panel)
        if panel is None:
            raise NotFound("There is no such panel on this dashboard.")
        panels = (panel,)
    shown = show(
        document.time, setting.at, span=asked.span, compare=asked.compare, fixed=asked.fixed
    )
    chosen = choose(document.variables, asked.variables)
    material = await read_material(cx, setting, panels, shown, chosen)
    return Data(
        material,
        {one.key: answer_panel(one, material) for one in panels},
        bands_of(material),
        ticks_of(material),
    )
