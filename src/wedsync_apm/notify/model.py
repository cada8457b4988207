"""What a delivery is, what may become of it, and when it is tried again.

    pending ─┬─> leased ──> sending ─┬─> sent ──> delivered
    retry ───┤     │                 ├─> retry      (it was not taken; due_at says when)
    unknown ─┘     │                 ├─> failed     (it never will)
                   │                 └─> unknown    (the lease ran out: we cannot know)
                   ├─> cancelled | suppressed | expired | failed | inbox
                   └─> pending (the lease ran out before anything was sent, or it must wait: for
                                another sender, the end of quiet hours, or because its receiver has
                                had enough) ──> bundled (told in one message with others)

`sending` is committed before the network is touched. What is found in `sending` after its lease ran
out may have arrived or not, so it becomes `unknown`, never `pending`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from wedsync_apm.types import Channel, IncidentStatus, Severity


class Kind(StrEnum):
    """Why somebody gets a message."""

    PAGE = "page"
    UPDATE = "update"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    TEST = "test"
    VERIFY = "verify"
    GROUP = "group"
    """What a notification rule's group has; about several incidents, so about none."""
    REPORT = "report"
    DRILL = "drill"


ALWAYS_NEEDED: Final = frozenset({Kind.TEST, Kind.VERIFY, Kind.GROUP, Kind.REPORT, Kind.DRILL})
"""What makes sense without an incident, and is not made void by one."""
CALLS: Final = frozenset({Kind.PAGE, Kind.REOPENED})
OF_SETTING_UP: Final = frozenset({Kind.TEST, Kind.VERIFY, Kind.DRILL})
"""What goes out to people who are not watched yet: by it they get ready."""
URGENT: Final = 135
"""The priority from which a message has lanes of its own: critical at a wedding, an emergency."""


class State(StrEnum):
    """Where a delivery stands; the comment names what may follow."""

    PENDING = "pending"  # -> leased, bundled
    LEASED = "leased"  # -> sending, pending, cancelled, suppressed, expired, failed, inbox
    SENDING = "sending"  # -> sent, retry, failed, unknown
    SENT = "sent"  # -> delivered
    DELIVERED = "delivered"  # the end
    UNKNOWN = "unknown"  # -> leased
    RETRY = "retry"  # -> leased
    FAILED = "failed"  # the end
    SUPPRESSED = "suppressed"  # the end
    CANCELLED = "cancelled"  # the end
    EXPIRED = "expired"  # the end
    INBOX = "inbox"  # the end
    BUNDLED = "bundled"  # told in another message; -> pending, if that one fails


_DROPS: Final = frozenset({State.CANCELLED, State.SUPPRESSED, State.EXPIRED})
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.LEASED, State.BUNDLED}),
    State.BUNDLED: frozenset({State.PENDING}),
    State.RETRY: frozenset({State.LEASED}),
    State.UNKNOWN: frozenset({State.LEASED}),
    State.LEASED: frozenset({State.SENDING, State.PENDING, State.FAILED, State.INBOX}) | _DROPS,
    State.SENDING: frozenset({State.SENT, State.RETRY, State.FAILED, State.UNKNOWN}),
    State.SENT: frozenset({State.DELIVERED}),
    State.DELIVERED: frozenset(),
    State.FAILED: frozenset(),
    State.SUPPRESSED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
    State.INBOX: frozenset(),
}
# What a provider's receipt makes of a message; that it has arrived is believed of any.
BY_RECEIPT: Final[Mapping[State, frozenset[State]]] = {
    state: frozenset({State.DELIVERED})
    | {
        # unknown: it was another message's, as that one's receipt has proven
        State.SENT: frozenset({State.FAILED, State.RETRY, State.UNKNOWN}),
        State.UNKNOWN: frozenset({State.SENT, State.FAILED, State.RETRY}),
        State.RETRY: frozenset({State.SENT}),
        State.LEASED: frozenset({State.SENT}),
        State.PENDING: frozenset({State.SENT}),
    }.get(state, frozenset())
    for state in State
    if state is not State.DELIVERED
}


class Result(StrEnum):
    """What a channel says about one attempt."""

    SENT = "sent"
    RETRY = "retry"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's end. `reason` is in plain words and never holds a secret."""

    result: Result
    reason: str
    provider_id: str | None = None
    provider_status: str | None = None
    retry_after_seconds: float | None = None  # None: the other side did not say
    may_have_arrived: bool = False
    """True when it was not taken for sure, but may have been read all the same."""
    ends_contact: bool = False  # the other side says that this address is gone for good
    is_presumed: bool = False  # `provider_id` was found in a list, which names no message

    @property
    def state(self) -> State:
        """The state that this outcome leads to."""
        return State(self.result.value)

    def identified(self, provider_id: str) -> Self:
        """The same, with the id under which the other side knows the message, if it took it."""
        return replace(self, provider_id=provider_id if self.result is Result.SENT else None)


# What a status says about us (slow down, come again) and not about the message.
_RETRIED_4XX: Final = frozenset({408, 421, 423, 425, 429})
MAX_RETRY_AFTER_SECONDS: Final = 3600.0


def judge_status(status: int, retry_after: str | None, at: datetime) -> Outcome:
    """What an HTTP status means for a message: 2xx sent, 5xx and a few others retry, else failed.

    `retry_after` is the header as it came: seconds or an HTTP date; more than an hour is cut.
    """
    words = f"the receiver answered {status}"
    shown = f"HTTP {status}"
    if 200 <= status < 300:
        return Outcome(Result.SENT, words, provider_status=shown)
    if status in _RETRIED_4XX or 500 <= status < 600:
        wait = parse_retry_after(retry_after, at)
        return Outcome(Result.RETRY, words, provider_status=shown, retry_after_seconds=wait)
    if 300 <= status < 400:
        words = f"{words}: redirects are not followed, give the final address"
    elif status == 410:
        words = f"{words}: it does not want our messages any more"
    return Outcome(Result.FAILED, words, provider_status=shown)


def parse_retry_after(value: str | None, at: datetime) -> float | None:
    """Seconds to wait from a Retry-After header; None when there is none that can be read."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A number too long to be meant is as good as the longest wait.
        return float(min(int(text[:9]), MAX_RETRY_AFTER_SECONDS))
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max((until - at).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


_FIRST_DELAY_SECONDS: Final = 1.0
_LONGEST_URGENT_DELAY: Final = 4.0
_LONGEST_DELAY: Final[Mapping[Kind, float]] = {
    Kind.PAGE: 60.0,
    Kind.REOPENED: 60.0,
    Kind.RESOLVED: 300.0,
    Kind.UPDATE: 300.0,
    Kind.TEST: 60.0,
    Kind.VERIFY: 60.0,
    Kind.GROUP: 300.0,
    Kind.REPORT: 300.0,
    Kind.DRILL: 60.0,
}
# Past its time a message does more harm than good. A page lives for as long as it is needed, which
# is asked before each attempt; a day bounds even that.
_LIFETIME: Final[Mapping[Kind, timedelta]] = {
    Kind.PAGE: timedelta(hours=24),
    Kind.REOPENED: timedelta(hours=24),
    Kind.RESOLVED: timedelta(hours=24),
    Kind.UPDATE: timedelta(hours=1),
    Kind.TEST: timedelta(minutes=15),
    Kind.VERIFY: timedelta(minutes=15),
    Kind.GROUP: timedelta(hours=24),
    Kind.REPORT: timedelta(hours=24),
    Kind.DRILL: timedelta(minutes=15),
}


def retry_delay_seconds(
    kind: Kind,
    attempt: int,
    retry_after_seconds: float | None,
    spread: float,
    *,
    is_urgent: bool = False,
) -> float:
    """Seconds until the next try after `attempt` tries: 1, 2, 4 … times 0.5 to 1.5; of an urgent
    message never more than 4, because it must go out as soon as anything works again.

    `spread` is a number by chance from 0 to 1: it keeps a thousand messages from coming back at
    once to a server that has just got up. A wait that was asked for is never cut short.
    """
    steps = min(max(attempt, 1) - 1, 20)
    delay = min(_FIRST_DELAY_SECONDS * 2.0**steps, _LONGEST_DELAY[kind])
    delay *= 0.5 + spread
    if is_urgent:
        delay = min(delay, _LONGEST_URGENT_DELAY)
    return max(delay, retry_after_seconds or 0.0)


@dataclass(frozen=True, slots=True)
class IncidentNow:
    """What the incident looks like at the moment of sending."""

    status: IncidentStatus
    generation: int
    acknowledged_by: str | None = None
    severity: Severity = Severity.WARNING
    is_at_wedding: bool = False
    """Whether it began during a wedding, or one is under way now."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """The quiet hours in which a receiver is at this moment."""

    since: datetime
    until: datetime
    time_zone: ZoneInfo
    receiver: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One leased row of the outbox, as far as it decides whether to send."""

    id: UUID
    organization_id: UUID
    incident_id: UUID | None
    contact_method_id: UUID | None
    channel: Channel
    kind: Kind
    generation: int | None
    created_at: datetime
    expires_at: datetime | None
    incident: IncidentNow | None
    was_told: bool
    """Whether this receiver was told of the trouble, as far as we know."""
    has_address: bool
    """Whether it says itself where it goes, as messages to people without a contact do."""
    is_reachable: bool
    """Whether its contact method is still there and in use."""
    is_under_way: bool
    """Whether a message of the trouble is being sent to this receiver at this moment."""
    may_have_arrived: bool
    """True when nobody can tell whether an earlier try arrived."""
    quiet: Quiet | None = None
    """The quiet hours of its contact, if it is in them."""
    is_pressed: bool = False
    """A person asked for people to be told now."""
    called_at: datetime | None = None
    """When this receiver was last told of this trouble."""
    held_until: datetime | None = None
    """Until when quiet hours held it back."""
    ended_in_quiet: bool = False
    """Whether the trouble came and was over within the receiver's quiet hours."""
    silenced: str | None = None
    """What keeps people from being told of its incident at this moment, in words."""
    is_urgent: bool = False
    """Whether it has the urgent lanes."""
    has_left: bool = False
    """Whether it is for a person who belongs to the organization no more."""
    is_watched: bool = True
    """Whether the platform watches the organization."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a delivery is not sent, and the state that says so.

    With `hold_seconds` it is only held back, in `pending`, for that long.
    """

    state: State
    reason: str
    hold_seconds: float | None = None
    held_until: datetime | None = None
    """The end of the quiet hours that hold it back."""
    expires_at: datetime | None = None
    """Until when it is of use after that, where that is another time than before."""


_ACKNOWLEDGE_TOKEN: Final = re.compile(
    r"(/(?:ack|drill|webhooks/push)/)(?:[A-Za-z0-9_\-.~%]+|\(masked\))"
)


def mask_links(text: str, instead: str) -> str:
    """A message's words with `instead` for the secret part of every one-tap link."""
    return _ACKNOWLEDGE_TOKEN.sub(lambda found: found[1] + instead, text)


def no_longer_needed(delivery: Delivery) -> Drop | None:
    """Why this message has lost its sense since it was written; None while it is needed."""
    incident = delivery.incident
    if delivery.kind in ALWAYS_NEEDED:
        return None
    if incident is None:
        return Drop(State.CANCELLED, "the incident is gone")
    is_over = incident.status in (IncidentStatus.RESOLVED, IncidentStatus.CLOSED)
    drop: Drop | None = None
    if delivery.kind is Kind.RESOLVED:
        if not is_over:
            drop = Drop(State.CANCELLED, "it has come back since")
        elif delivery.is_under_way:
            # Whether he was told is decided in a moment, by the sender who has it in hand.
            drop = Drop(State.PENDING, "a call to this receiver is still on its way", 2.0)
        elif not (delivery.was_told or delivery.ended_in_quiet):
            drop = Drop(State.SUPPRESSED, "this receiver never heard of the trouble")
    elif is_over:
        drop = Drop(State.CANCELLED, "it is over already")
    elif delivery.kind in (Kind.PAGE, Kind.REOPENED):
        if incident.status is not IncidentStatus.OPEN:
            who = incident.acknowledged_by or "somebody"
            drop = Drop(State.CANCELLED, f"{who} has it in hand")
        elif incident.generation != delivery.generation:
            drop = Drop(State.CANCELLED, "a newer call has taken its place")
    return drop


LOOK_AGAIN_SECONDS: Final = 60.0
"""How often a critical message that is held back is looked at: a wedding may have begun."""


def hold_back(delivery: Delivery, at: datetime) -> Drop | None:
    """Why a message waits for the end of its receiver's quiet hours; None if it does not.

    What passes: an emergency, whatever the day; what is critical and began during a wedding, or
    while one is under way; what a person asks to be told now; a test, which its receiver waits for;
    and whatever follows a call that has reached him in these same hours, because he is awake.
    """
    quiet, incident = delivery.quiet, delivery.incident
    if quiet is None or at >= quiet.until or delivery.is_pressed:
        return None
    if incident is None and (delivery.is_urgent or delivery.kind not in (Kind.GROUP, Kind.REPORT)):
        return None
    severity = incident.severity if incident else Severity.WARNING
    is_critical = severity is Severity.CRITICAL
    is_at_wedding = incident is not None and incident.is_at_wedding
    if severity is Severity.EMERGENCY or (is_critical and is_at_wedding):
        return None
    is_call = delivery.kind in (Kind.PAGE, Kind.REOPENED)
    if not is_call and delivery.called_at is not None and delivery.called_at >= quiet.since:
        return None
    left = (quiet.until - at).total_seconds()
    return Drop(
        State.PENDING,
        f"Held back until {quiet.until.astimezone(quiet.time_zone):%H:%M}: "
        f"{quiet.receiver}'s quiet hours",
        hold_seconds=min(left, LOOK_AGAIN_SECONDS) if is_critical else left,
        held_until=quiet.until,
    )


SILENCED_SECONDS: Final = 5.0
"""How often what is silenced is looked at: what holds it back may end at any moment."""


def wait_silenced(delivery: Delivery, at: datetime) -> Drop | None:
    """Why a message that lay in the outbox when a silence began waits on; None if it does not.

    When the silence ends it is as fresh as when the silence began.
    """
    if delivery.silenced is None:
        return None
    return Drop(
        State.PENDING,
        delivery.silenced,
        hold_seconds=SILENCED_SECONDS,
        expires_at=max(expires_at(delivery), at + _LIFETIME[delivery.kind]),
    )


def expires_at(delivery: Delivery) -> datetime:
    """When a message that still waits has lost its sense: its own time, else its kind's.

    The time in which quiet hours held it back does not count.
    """
    begins_at = max(delivery.created_at, delivery.held_until or delivery.created_at)
    return delivery.expires_at or begins_at + _LIFETIME[delivery.kind]
