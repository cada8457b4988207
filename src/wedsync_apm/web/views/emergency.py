"""The emergency card of a wedding: one sheet for the pocket."""

from dataclasses import dataclass
from uuid import UUID

from wedsync_apm.web.views.wedding import Part


@dataclass(frozen=True, slots=True)
class Whom:
    """Somebody to ring; without a number only a name is known."""

    name: str
    role: str
    phone: str


@dataclass(frozen=True, slots=True)
class Workaround:
    """What to do while something does not work."""

    problem: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EmergencyCard:
    """Who, when, whom to ring, what to do; `made` says of when it is."""

    id: UUID
    couple: str
    when: str
    venue: str
    zone_note: str
    parts: tuple[Part, ...]
    is_assumed: bool
    whom: tuple[Whom, ...]
    whom_note: str
    problems: tuple[str, ...]
    workarounds: tuple[Workaround, ...]
    made: str
    address: str
    """Where the card stands now."""
    is_kept: bool
    """Whether the reader's own device keeps it."""
