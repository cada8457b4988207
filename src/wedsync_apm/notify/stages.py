"""What a message must pass before it is sent, in order. Nothing reaches a person past them.

Each stage keeps a message or says why not; its name and its words are stored with the message. They
ask about this moment: a stage runs right before the sending, not when the message was written.

Before them, when a message is written: `route` and `group` (the tree of rules and its groups, in
the database) decide whom an incident is told to and when. After them, where the words and the
buckets are at hand, the sender asks `unsaid` and `unthrottled`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from wedsync_apm.notify.channels import SENDERS
from wedsync_apm.notify.model import (
    OF_SETTING_UP,
    Delivery,
    Drop,
    Kind,
    State,
    expires_at,
    hold_back,
    no_longer_needed,
    wait_silenced,
)
from wedsync_apm.types import Channel

Stage = Callable[[Delivery, datetime], Drop | None]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message that a stage did not keep."""

    delivery: Delivery
    stage: str
    drop: Drop


@dataclass(frozen=True, slots=True)
class Sifted:
    """What the stages kept, and what they dropped and why."""

    kept: tuple[Delivery, ...]
    dropped: tuple[Dropped, ...]


def needed(delivery: Delivery, at: datetime) -> Drop | None:
    """Drops what somebody has in hand, what is over, and the end of what nobody was told."""
    return no_longer_needed(delivery)


def watched(delivery: Delivery, at: datetime) -> Drop | None:
    """Drops what would tell people of an organization that the platform does not watch."""
    if delivery.is_watched or delivery.kind in OF_SETTING_UP:
        return None
    return Drop(State.SUPPRESSED, "WedSync does not watch this business yet")


def unsilenced(delivery: Delivery, at: datetime) -> Drop | None:
    """Holds back what a silence, maintenance or another incident holds back at this moment."""
    return wait_silenced(delivery, at)


def in_time(delivery: Delivery, at: datetime) -> Drop | None:
    """Drops what comes too late to be of use."""
    if at < expires_at(delivery):
        return None
    return Drop(State.EXPIRED, "it could not be sent in time")


def addressed(delivery: Delivery, at: datetime) -> Drop | None:
    """Keeps in the inbox what has nowhere to go; drops what goes to a contact that is off.

    Without a contact only e-mail can be sent, to the address that stands in the message: that is
    how an owner is reached who has set nothing up.
    """
    if delivery.has_left:
        return Drop(State.SUPPRESSED, "this person has left since")
    if delivery.contact_method_id is None:
        if delivery.has_address and delivery.channel is Channel.EMAIL:
            return None
        return Drop(State.INBOX, "there is no contact to send it to, so it stays here")
    if not delivery.is_reachable:
        return Drop(State.SUPPRESSED, "this contact is switched off")
    return None


def sendable(delivery: Delivery, at: datetime) -> Drop | None:
    """Drops what no channel of ours can send; rules and contacts refuse such channels before."""
    if delivery.channel in SENDERS:
        return None
    return Drop(State.FAILED, f"nothing here can send {delivery.channel} messages")


# Slack has no id by which a repeat is known, so a repeat is a second message. For a call, a return
# and an end that is the smaller evil; for an update it is not.
_WORTH_REPEATING: Final = frozenset({Kind.PAGE, Kind.REOPENED, Kind.RESOLVED})


def unrepeated(delivery: Delivery, at: datetime) -> Drop | None:
    """Drops what may have arrived, where a second copy would do more harm than a missing one."""
    if (
        delivery.may_have_arrived
        and delivery.channel is Channel.SLACK
        and delivery.kind not in _WORTH_REPEATING
    ):
        return Drop(State.FAILED, "nobody knows whether it arrived, and it is not worth a repeat")
    return None


def undisturbed(delivery: Delivery, at: datetime) -> Drop | None:
    """Holds back what falls into its receiver's quiet hours, but for wedding emergencies."""
    return hold_back(delivery, at)


STAGES: Final[tuple[Stage, ...]] = (
    watched,
    needed,
    unsilenced,
    in_time,
    addressed,
    sendable,
    unrepeated,
    undisturbed,
)


UNTHROTTLED: Final = "unthrottled"
"""The stage that a contact's limits are: they are taken from, so they stand in the database."""


def unsaid(delivery: Delivery, said_before: str | None, body: str) -> Drop | None:
    """Drops an update whose receiver has been told the same, word for word, in this trouble."""
    if delivery.kind is Kind.UPDATE and said_before is not None and said_before == body:
        return Drop(State.SUPPRESSED, "its receiver was told exactly this before")
    return None


def is_throttled(delivery: Delivery, attempt: int) -> bool:
    """Whether a message counts among those that its contact takes: another try of one does not,
    nor does what its receiver waits for, or what a person asked for."""
    return (
        delivery.contact_method_id is not None
        and attempt == 0
        and delivery.kind not in (Kind.TEST, Kind.VERIFY)
        and not delivery.is_pressed
    )


def sift(deliveries: Iterable[Delivery], at: datetime) -> Sifted:
    """Passes the messages through the stages; the first stage that drops one names its reason."""
    kept: list[Delivery] = []
    dropped: list[Dropped] = []
    for delivery in deliveries:
        for stage in STAGES:
            drop = stage(delivery, at)
            if drop is not None:
                dropped.append(Dropped(delivery, stage.__name__, drop))
                break
        else:
            kept.append(delivery)
    return Sifted(tuple(kept), tuple(dropped))
