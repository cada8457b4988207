"""What a drill tells: of each person when he was reached and when he answered."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

IN_TIME: Final = timedelta(minutes=2)
"""An answer within this counts as in time, from the start of the drill."""
LAST: Final = 10
"""So many drills the percentiles are about."""
# What a message may still come out of; every other state without a time of sending is the end.
_ON_ITS_WAY: Final = frozenset({"pending", "leased", "sending", "retry", "unknown"})


class Every(StrEnum):
    """How often drills are held by themselves."""

    WEEK = "week"
    MONTH = "month"


class Result(StrEnum):
    """How it went with one person."""

    IN_TIME = "in_time"
    LATE = "late"
    """Answered, but later than two minutes after the start."""
    WAITING = "waiting"
    MISSED = "missed"
    """A message went out, and nobody answered it."""
    UNREACHED = "unreached"
    """No message could be sent."""
    QUIET = "quiet"
    """In his quiet hours, so nobody called him."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person over all the ways in which he was called. Seconds are from the drill's start."""

    name: str
    user_id: UUID | None
    channels: tuple[str, ...]
    result: Result
    sent_seconds: float | None
    received_seconds: float | None
    """By the receipt of a provider that gives one; not every one does."""
    answered_seconds: float | None
    how: str | None
    reason: str
    """Why no message went out, where none did."""


def people_of(
    started_at: datetime, calls: Iterable[Mapping[str, Any]], *, is_over: bool
) -> tuple[Person, ...]:
    """A drill's people, who answered first at the top. `calls` are rows of its contacts."""
    by_person: dict[str, list[Mapping[str, Any]]] = {}
    for call in calls:
        by_person.setdefault(call["person"], []).append(call)
    people = [_person(started_at, group, is_over=is_over) for group in by_person.values()]
    return tuple(
        sorted(
            people,
            key=lambda one: (
                math.inf if one.answered_seconds is None else one.answered_seconds,
                one.name,
            ),
        )
    )


def _person(started_at: datetime, calls: Sequence[Mapping[str, Any]], *, is_over: bool) -> Person:
    def first(name: str) -> float | None:
        moments = [call[name] for call in calls if call[name] is not None]
        return max((min(moments) - started_at).total_seconds(), 0.0) if moments else None

    answered, sent = first("answered_at"), first("sent_at")
    states = {call["state"] for call in calls if call["state"] is not None}
    if answered is not None:
        result = Result.IN_TIME if answered <= IN_TIME.total_seconds() else Result.LATE
    elif not any(call["is_called"] for call in calls):
        result = Result.QUIET
    elif not is_over and (sent is not None or states & _ON_ITS_WAY):
        result = Result.WAITING
    else:
        result = Result.MISSED if sent is not None else Result.UNREACHED
    hows = [call["how"] for call in calls if call["answered_at"] is not None]
    reasons = [call["state_reason"] for call in calls if call["state_reason"]]
    return Person(
        name=calls[0]["name"],
        user_id=calls[0]["user_id"],
        channels=tuple(sorted({str(call["channel"]) for call in calls})),
        result=result,
        sent_seconds=sent,
        received_seconds=first("received_at"),
        answered_seconds=answered,
        how=hows[0] if hows else None,
        reason=reasons[0] if result is Result.UNREACHED and reasons else "",
    )


def percentile(answers: Sequence[float | None], share: float) -> float | None:
    """Seconds within which `share` of the people answered, by nearest rank; None where that many
    never did. Without anybody there is none either."""
    if not answers:
        return None
    ranked = sorted(math.inf if one is None else one for one in answers)
    found = ranked[max(math.ceil(share * len(ranked)), 1) - 1]
    return None if math.isinf(found) else found
