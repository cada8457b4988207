"""The channels that this product can really send on, one folder each, all of the same shape.

`config` reads where a contact is and what is secret of it; `render` writes the words; `send` makes
one attempt and says what came of it. A channel without a folder here cannot be chosen.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.channels import email, slack, webhook
from wedsync_apm.notify.message import Message, Rendered, Tools
from wedsync_apm.notify.model import Outcome
from wedsync_apm.notify.words import Facts
from wedsync_apm.types import Channel

Target = TypeVar("Target")


def _always_ready(tools: Tools) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Sender(Generic[Target]):
    """One channel: `configure(address, secret)` raises NotValid, the others never fail.

    `unready` tells why this installation cannot send on it at all; None when it can.
    """

    configure: Callable[[str, str | None], Target]
    render: Callable[[Facts], Rendered]
    send: Callable[[Message, Target, Tools, datetime], Awaitable[Outcome]]
    unready: Callable[[Tools], str | None] = _always_ready


SENDERS: Final[Mapping[Channel, Sender[Any]]] = {
    Channel.EMAIL: Sender(email.configure, email.render, email.send, email.unready),
    Channel.WEBHOOK: Sender(webhook.configure, webhook.render, webhook.send),
    Channel.SLACK: Sender(slack.configure, slack.render, slack.send),
}


def sender_for(channel: Channel) -> Sender[Any]:
    """The sender of a channel. Raises NotValid for a channel that we cannot send on."""
    try:
        return SENDERS[channel]
    except KeyError:
        possible = ", ".join(sorted(SENDERS))
        raise NotValid(
            errors=[FieldError("channel", f"cannot be sent to yet; choose one of {possible}")]
        ) from None
