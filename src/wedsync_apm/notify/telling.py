"""How the sender tells what becomes of a message: on the incident's timeline, and in its log."""

from typing import Final

from wedsync_apm.notify.model import State
from wedsync_apm.notify.store import Leased
from wedsync_apm.types import Channel

_CHANNEL_WORDS: Final = {
    Channel.APPRISE: "Message by Apprise",
    Channel.EMAIL: "E-mail",
    Channel.PAGERDUTY: "PagerDuty event",
    Channel.PUSH: "Notification",
    Channel.SLACK: "Slack message",
    Channel.SMS: "Text message",
    Channel.VOICE: "Telephone call",
    Channel.WEBHOOK: "Webhook",
}
LONGEST_NAME: Final = 200
_STATE_WORDS: Final = {
    State.PENDING: "held back by quiet hours",
    State.SENT: "sent",
    State.RETRY: "did not go through, is tried again",
    State.FAILED: "could not be sent",
    State.INBOX: "kept in the inbox",
}


def timeline_words(leased: Leased, state: State) -> str:
    """One line for the timeline."""
    channel = _CHANNEL_WORDS.get(leased.delivery.channel, str(leased.delivery.channel))
    return f"{channel} to {leased.receiver[:LONGEST_NAME]}: {_STATE_WORDS[state]}"


def extras(leased: Leased, action: str, state: State) -> dict[str, str]:
    """What a line of the log carries along."""
    return {
        "action": action,
        "delivery_id": str(leased.delivery.id),
        "organization_id": str(leased.delivery.organization_id),
        "channel": str(leased.delivery.channel),
        "state": str(state),
    }
