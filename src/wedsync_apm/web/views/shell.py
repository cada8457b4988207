"""What surrounds every page: who looks, at which business, how fresh it is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

Theme = Literal["system", "light", "dark", "sunlight"]
Kind = Literal["ok", "warn", "crit", "info", "none"]
THEMES: tuple[Theme, ...] = ("system", "light", "dark", "sunlight")


@dataclass(frozen=True, slots=True)
class Status:
    """A state as shape (by `kind`, or by an icon of its own), word and colour."""

    kind: Kind
    word: str
    icon: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the businesses that the person may look at."""

    id: UUID
    name: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Said:
    """What the last action did, shown once above the page."""

    kind: Kind
    words: str


@dataclass(frozen=True, slots=True)
class Shell:
    """The frame of a signed-in page. Clock times are in `zone`, an IANA name."""

    at: datetime
    zone: str
    theme: Theme
    csrf: str
    person: str
    organization: str
    active: str
    choices: tuple[Choice, ...] = ()
    open_incidents: int = 0
    is_engineer: bool = False
    is_operator: bool = False
    is_demo: bool = False
    said: Said | None = None
    is_watched: bool = True
    is_starting: bool = False
    """Whether the person is in the middle of the first steps."""
    place: str = ""
    """From which on a live connection tells what is newer than the page."""


@dataclass(frozen=True, slots=True)
class Bare:
    """The frame of a page without a person: sign-in, one-tap acknowledge, errors."""

    at: datetime
    theme: Theme
    zone: str = "UTC"
    csrf: str = ""
