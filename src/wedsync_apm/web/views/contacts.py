"""How people are reached: the list, one contact, and the form of a new one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A contact in the list; `whose` is empty for the reader's own."""

    id: UUID
    name: str
    address: str
    channel: str
    icon: str
    status: Status
    whose: str
    quiet: str


@dataclass(frozen=True, slots=True)
class Way:
    """One of the ways to reach a person, in the order in which they are tried; `above` is the one
    before it, empty for the first."""

    id: UUID
    name: str
    channel: str
    icon: str
    note: str
    above: str
    is_this: bool


@dataclass(frozen=True, slots=True)
class ContactsView:
    """The reader's contacts, and for owners and admins the team's; None where he may not see."""

    verdict: Status
    headline: str
    body: str
    own: tuple[ContactRow, ...]
    team: tuple[ContactRow, ...] | None
    may_add: bool
    may_see: bool
    refusal: str


@dataclass(frozen=True, slots=True)
class QuietForm:
    """When a contact is not to be disturbed, as typed."""

    start: str = "22:00"
    end: str = "07:00"
    time_zone: str = ""
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proof:
    """A code or a test that was sent, and what became of it."""

    what: str
    at: datetime
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class ContactView:
    """One contact. `code_until` is set while a code is out; `key` only in the answer that made
    a webhook."""

    row: ContactRow
    is_on: bool
    is_proven: bool
    code_until: datetime | None
    proofs: tuple[Proof, ...]
    quiet: str
    quiet_next: str
    has_quiet: bool
    form: QuietForm
    days: tuple[tuple[int, str], ...]
    may_manage: bool
    may_administer: bool
    refusal: str
    ways: tuple[Way, ...] = ()
    """All ways to reach its person; none where it is the only one."""
    hears: str = ""
    """What it hears of, where there is an address for that: slack or pagerduty."""
    callback: str = ""
    """That address, where it was asked for."""
    off: str = ""
    """Since when and why nothing is sent to it."""
    code_error: str = ""
    problem: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class ContactForm:
    """A new contact as typed."""

    name: str = ""
    channel: str = "email"
    address: str = ""
    url: str = ""
    bot_token: str = ""
    channel_id: str = ""
    signing_secret: str = ""
    routing_key: str = ""
    webhook_secret: str = ""
    whose: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContactFormView:
    """The form of a new contact."""

    form: ContactForm
    channels: tuple[tuple[str, str], ...]
    people: tuple[tuple[str, str], ...]
