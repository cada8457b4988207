"""The channels that this product can really send on, one folder each, all of the same shape.

`config` reads where a contact is and what is secret of it; `render` writes the words; `send` makes
one attempt and says what came of it. A channel without a folder here cannot be chosen.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.channels import apprise, email, pagerduty, push, slack, sms, voice, webhook
from wedsync_apm.notify.channels.fields import Given, ReadFields
from wedsync_apm.notify.message import Message, Rendered, Tools
from wedsync_apm.notify.model import Outcome
from wedsync_apm.notify.words import Facts
from wedsync_apm.types import Channel

Target = TypeVar("Target")


def _always_ready(tools: Tools) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Sender(Generic[Target]):
    """One channel: `configure(address, secret)` and `read_fields` raise NotValid, the others never
    fail.

    `unready` tells why this installation cannot send on it at all; None when it can.
    """

    configure: Callable[[str, str | None], Target]
    render: Callable[[Facts], Rendered]
    send: Callable[[Message, Target, Tools, datetime], Awaitable[Outcome]]
    unready: Callable[[Tools], str | None] = _always_ready
    fields: tuple[str, ...] = ()
    """What people give of a contact instead of an address."""
    read_fields: ReadFields | None = None
    fields_of: Callable[[Target], Given] | None = None
    """The fields again, where they may be changed one by one."""
    is_edited: bool = False
    """Whether a message is changed in place when the state changes."""
    is_looked_up: bool = False
    """Whether the other side is asked for a message that it may have taken."""


SENDERS: Final[Mapping[Channel, Sender[Any]]] = {
    Channel.EMAIL: Sender(email.configure, email.render, email.send, email.unready),
    Channel.SMS: Sender(sms.configure, sms.render, sms.send, sms.unready, is_looked_up=True),
    Channel.VOICE: Sender(
        voice.configure, voice.render, voice.send, voice.unready, is_looked_up=True
    ),
    Channel.WEBHOOK: Sender(
        webhook.configure,
        webhook.render,
        webhook.send,
        fields=webhook.FIELDS,
        read_fields=webhook.read_fields,
    ),
    Channel.SLACK: Sender(
        slack.configure,
        slack.render,
        slack.send,
        fields=slack.FIELDS,
        read_fields=slack.read_fields,
        fields_of=slack.fields_of,
        is_edited=True,
    ),
    Channel.PAGERDUTY: Sender(
        pagerduty.configure,
        pagerduty.render,
        pagerduty.send,
        fields=pagerduty.FIELDS,
        read_fields=pagerduty.read_fields,
        fields_of=pagerduty.fields_of,
    ),
    Channel.PUSH: Sender(
        push.configure,
        push.render,
        push.send,
        push.unready,
        fields=push.FIELDS,
        read_fields=push.read_fields,
    ),
    Channel.APPRISE: Sender(
        apprise.configure,
        apprise.render,
        apprise.send,
        apprise.unready,
        fields=apprise.FIELDS,
        read_fields=apprise.read_fields,
    ),
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
