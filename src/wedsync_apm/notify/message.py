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

# The other side may have acted on a request whose answer we did not get.
_AMBIGUOUS: Final = frozenset({Failure.TIMEOUT, Failure.RESET, Failure.PROTOCOL})


@dataclass(frozen=True, slots=True)
class Rendered:
    """The words as they are stored before they are sent; everything else is derived from them."""

    subject: str
    body: str


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

    def split_links(self, line: str) -> tuple[str, str] | None:
        """(label, address) of a line that is one of our links; None for any other line."""
        match = re.fullmatch(r"([^:]+): (https?://\S+)", line)
        if match is None or not match[2].startswith(self.base_url + "/"):
            return None
        return match[1], match[2]


@dataclass(frozen=True, slots=True)
class Tools:
    """What channels reach the world with. Without a mail server e-mail stays in the inbox."""

    egress: EgressClient
    mail: MailServer | None = None


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
