"""The words of what goes out about the past: calm, by the clock, and nothing that was not seen.

Pure: what is told stands in the message's payload, as it was when it was decided.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from wedsync_apm.incidents.reviews.model import Report, Scope

MOST_LINES: Final = 10
"""Troubles that a report names; the page has all."""
LONGEST_TITLE: Final = 200


@dataclass(frozen=True, slots=True)
class Speech:
    """How the reader's clock says a moment, and people say a length of seconds."""

    clock: Callable[[datetime], str]
    length: Callable[[float], str]


def report_payload(
    found: Report, day: date, *, word: str, path: str, zone: str, home: UUID | None = None
) -> dict[str, Any]:
    """What a report tells, as it is stored with the message: figures and times, and no names.
    `home` is no business: the platform's own organization."""
    figures = next(one for one in found.figures if one.scope is Scope.ALL)
    worst = sorted(found.spells, key=lambda one: (-one.severity.rank, one.began_at))[:MOST_LINES]
    return {
        "word": word,
        "path": path,
        "day": day.isoformat(),
        "time_zone": zone,
        "starts_at": found.starts_at.isoformat(),
        "ends_at": found.ends_at.isoformat(),
        "impact_seconds": found.impact_seconds,
        "called": found.called,
        "troubles": len(found.spells),
        "businesses": len({one.organization_id for one in found.spells} - {home}),
        "taken_half": figures.acknowledge.p50,
        "taken_most": figures.acknowledge.p90,
        "lines": [
            {
                "title": one.headline[:LONGEST_TITLE],
                "began_at": one.began_at.isoformat(),
                "ended_at": one.ended_at.isoformat() if one.ended_at else None,
                "taken": taken.total_seconds()
                if (taken := one.time_to_acknowledge) is not None
                else None,
            }
            for one in sorted(worst, key=lambda one: one.began_at)
        ],
    }


def mail_subject(payload: Mapping[str, Any]) -> str:
    """The subject line; a lock screen may show it, so it names no couple."""
    match payload.get("word"):
        case "wedding":
            return f"The wedding on {_day(payload)}: {_outcome(payload)}"
        case "saturday":
            return f"{_day(payload)}: {_outcome(payload)}"
    actions = _actions(payload)
    if len(actions) == 1:
        return f"Still to be done: {actions[0].get('title')}"
    return f"{len(actions)} things from reviews are still to be done"


def mail_lines(payload: Mapping[str, Any], speech: Speech) -> Iterator[str]:
    """The text up to its link, one fact a line."""
    match payload.get("word"):
        case "wedding":
            couple = f" of {initials}" if (initials := payload.get("initials")) else ""
            span = " to ".join(
                speech.clock(_moment(payload[at])) for at in ("starts_at", "ends_at")
            )
            yield f"The wedding{couple} on {_day(payload)}, from {span}."
            yield from _report(payload, speech)
        case "saturday":
            yield f"{_day(payload)} and the night after it, at all businesses."
            yield from _report(payload, speech)
        case word:
            yield from _overdue(payload, is_second=word == "still_overdue")


def _outcome(payload: Mapping[str, Any]) -> str:
    count = int(payload["troubles"])
    if not count:
        return "we saw nothing go wrong"
    problems = "1 problem" if count == 1 else f"{count:,} problems"
    businesses = int(payload["businesses"])
    return f"{problems} at {businesses:,} businesses" if businesses > 1 else problems


def _report(payload: Mapping[str, Any], speech: Speech) -> Iterator[str]:
    if not payload["troubles"]:
        yield "We saw nothing go wrong, and nobody had to be called."
        return
    yield f"Something was wrong for {speech.length(payload['impact_seconds'])} in all."
    called = int(payload["called"])
    times = "once" if called == 1 else f"{called:,} times"
    yield f"People were called {times}." if called else "Nobody had to be called."
    half, most = payload.get("taken_half"), payload.get("taken_most")
    if half is not None and most is not None and payload["troubles"] > 1:
        yield (
            f"Somebody had it in hand within {speech.length(half)} half of the time, "
            f"and within {speech.length(most)} nine times in ten."
        )
    yield from (f"- {_line(one, speech)}" for one in payload["lines"])
    if (left := int(payload["troubles"]) - len(payload["lines"])) > 0:
        yield f"- and {left:,} others"


def _line(one: Mapping[str, Any], speech: Speech) -> str:
    began = speech.clock(_moment(one["began_at"]))
    taken = "nobody took it in hand"
    if one["taken"] is not None:
        taken = f"in hand after {speech.length(one['taken'])}"
    if one["ended_at"] is None:
        return f"{one['title']}: since {began}, not over yet, {taken}"
    return f"{one['title']}: {began} to {speech.clock(_moment(one['ended_at']))}, {taken}"


def _overdue(payload: Mapping[str, Any], *, is_second: bool) -> Iterator[str]:
    actions = _actions(payload)
    it = "it is" if len(actions) == 1 else "they are"
    if is_second:
        yield f"A week ago we asked whoever was to do this, and {it} not done:"
    else:
        yield f"This was to be done by now, and {it} not marked as done:"
    for one in actions[:MOST_LINES]:
        due = date.fromisoformat(str(one["due_on"]))
        yield f"- {one['title']}: {one['owner']}, by {day_words(due)}"
        yield f"  From the review of #{one['number']} {one['incident']}"
    if len(actions) > MOST_LINES:
        yield f"- and {len(actions) - MOST_LINES} others"
    yield "Mark it as done there, or give it another day or another person."


def _actions(payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = payload.get("actions") or ()
    return found


def _day(payload: Mapping[str, Any]) -> str:
    return day_words(date.fromisoformat(str(payload["day"])))


def day_words(day: date) -> str:
    """A date in words: "Saturday 20 June"."""
    return f"{day:%A} {day.day} {day:%B}"


def _moment(stored: object) -> datetime:
    return datetime.fromisoformat(str(stored))
