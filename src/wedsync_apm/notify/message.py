"""What every channel takes and gives."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from wedsync_apm.egress import EgressClient, EgressFailed, Failure
from wedsync_apm.notify.mail_server import MailServer
from wedsync_apm.notify.model import Kind, Outcome, Result
from wedsync_apm.notify.telephone.accounts import Telephone
from wedsync_apm.notify.vapid import Vapid

# The other side may have acted on a request whose answer we did not get.
_AMBIGUOUS: Final = frozenset({Failure.TIMEOUT, Failure.RESET, Failure.PROTOCOL})


@dataclass(frozen=True, slots=True)
class Rendered:
    """The words as they are stored before they are sent; everything else is derived from them."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A PDF that goes with a message where its channel takes such a thing."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way. The same delivery sent twice makes the same message."""

    delivery_id: UUID
    incident_id: UUID | None
    kind: Kind
    subject: str
    body: str
    created_at: datetime
    base_url: str
    """Only addresses below it are made into links; any other is somebody's text."""
    may_have_arrived: bool = False
    """Whether an earlier try of it may have arrived."""
    tries: int = 0
    """How often it was tried before."""
    generation: int | None = None
    """Which coming of the trouble it is about."""
    earlier_ids: tuple[str, ...] = ()
    """Under which ids the other side knows what this contact has of the incident, newest first;
    only where messages are edited in place."""

    taken_ids: frozenset[str] = frozenset()
    """Which texts and calls at the provider are known to be other messages, or earlier tries of
    this one."""
    unknown_since: datetime | None = None
    unknown_until: datetime | None = None
    """When the tries were made of which nobody knows whether they arrived."""

    leave_url: str | None = None
    """Where its receiver ends such messages, with one POST; None where they are not his to end."""
    attachment: Attachment | None = None
    receipt_token: str | None = None
    """What a browser signs its receipts with; only what is pushed has a use for it."""

    def split_links(self, line: str) -> tuple[str, str] | None:
        """(label, address) of a line that is one of our links; None for any other line."""
        match = re.fullmatch(r"([^:]+): (https?://\S+)", line)
        if match is None or not match[2].startswith(self.base_url + "/"):
            return None
        return match[1], match[2]


@dataclass(frozen=True, slots=True)
class Tools:
    """What channels reach the world with. What is None is not set up, and its messages stay in the
    inbox; the second mail server takes over where the first is in trouble."""

    egress: EgressClient
    """To what tenants name."""
    mail: MailServer | None = None
    second_mail: MailServer | None = None
    telephone: Telephone | None = None
    vapid: Vapid | None = None
    has_apprise: bool = True
    """Whether Apprise may be used."""
    named: EgressClient | None = None

    @property
    def to_named(self) -> EgressClient:
        """To the mail servers and telephone accounts, which the operator names and which may be
        within; no address of a tenant may be called with it."""
        return self.named or self.egress


def failed_call(error: EgressFailed) -> Outcome:
    """A call without an answer is tried again; it may have arrived if the request was out."""
    return Outcome(
        Result.RETRY,
        error.reason,
        provider_status=error.failure.value,
        may_have_arrived=error.failure in _AMBIGUOUS,
    )


def mapped_lines(
    message: Message, link: Callable[[str, str], str], text: Callable[[str], str]
) -> str:
    """The body with each line passed through `link` if it is one of ours, else `text`."""
    lines = []
    for line in message.body.splitlines():
        parts = message.split_links(line)
        lines.append(link(*parts) if parts else text(line))
    return "\n".join(lines)
