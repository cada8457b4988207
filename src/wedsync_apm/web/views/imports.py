"""Weddings from files: what a file would do, and what files did."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the file, or a wedding that it no longer has."""

    place: str
    couple: str
    day: str
    changes: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """What happens to some entries; `more` are not listed."""

    status: Status
    items: tuple[Item, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What the file would do. `body` is the file itself, for the form that confirms it."""

    headline: str
    counts: tuple[Status, ...]
    groups: tuple[Group, ...]
    note: str
    body: str
    button: str


@dataclass(frozen=True, slots=True)
class Run:
    """A file that was taken."""

    when: str
    who: str
    counts: str
    refused: Status | None
    faults: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class ImportView:
    """The page, with what was typed."""

    text: str = ""
    date_order: str = ""
    matching: str = ""
    preview: Preview | None = None
    runs: tuple[Run, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
