"""The database's health and the health report."""

from dataclasses import dataclass
from datetime import datetime

from wedsync_apm.web.views.chart import Tile
from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class Line:
    """A measured figure with its limit and the statement that measured it."""

    name: str
    figure: str
    limit: str
    status: Status
    measured_at: datetime
    took: str
    statement: str
    reason: str = ""
    remedy: str = ""
    """What to do about it, where there is something to do."""
    since: str = ""
    """Since when it has not been well."""


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under one heading."""

    heading: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class ReportView:
    """Verdict, then failures, then passes."""

    title: str
    verdict: Status
    body: str
    measured_at: datetime | None
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    guard: str = ""
    """How closely the platform watches, by whom and until when."""
