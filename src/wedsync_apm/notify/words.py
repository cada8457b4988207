"""The words of every message, in one catalogue: a calm colleague on the phone.

Facts and times only; never a guess at a cause, never a couple's name, nothing that is not known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wedsync_apm.incidents.works import Watched, unmeasured, works_beside
from wedsync_apm.notify.model import Kind

ACKNOWLEDGE_LABEL: Final = "I'm on it"
SEE_LABEL: Final = "See it"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a message is written. None is "not known", and is left out."""

    kind: Kind
    reason: str
    delivery_id: UUID
    organization_id: UUID
    organization_name: str
    time_zone: str
    receiver: str
    at: datetime
    base_url: str
    incident_id: UUID | None = None
    number: int | None = None
    title: str = ""
    status: str | None = None
    severity: str | None = None
    priority: str | None = None
    detected_at: datetime | None = None
    reopened_at: datetime | None = None
    lapsed_at: datetime | None = None
    """When the last who had it in hand was given up waiting for."""
    next_step_at: datetime | None = None
    """When the next person is called if nobody answers."""
    resolved_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    next_update_at: datetime | None = None
    metric_value: float | None = None
    threshold_value: float | None = None
    was_wedding_day: bool = False
    weddings: Sequence[Mapping[str, Any]] = ()
    vendor_text: Mapping[str, Any] | None = None
    services: Sequence[Watched] = ()
    """The organization's checked services, as they are at `at`."""
    metric_pattern: str | None = None
    """What the rule watches; None for a problem that no rule has found."""
    help_line: str | None = None
    acknowledge_url: str | None = None

    @property
    def headline(self) -> str:
        """What is wrong, in the rule's words for vendors where it has some."""
        words = self.vendor_text or {}
        subject, problem = _said(words.get("subject")), _said(words.get("problem"))
        return f"{subject} {problem}" if subject and problem else _said(self.title) or "A problem"

    @property
    def incident_url(self) -> str | None:
        """The incident's page; None for a message without an incident."""
        return f"{self.base_url}/incidents/{self.incident_id}" if self.incident_id else None

    @property
    def has_come_back(self) -> bool:
        """Whether it was over before, and not only let go of by whoever had it."""
        if self.reopened_at is None:
            return False
        return self.lapsed_at is None or self.reopened_at > self.lapsed_at

    @property
    def began_at(self) -> datetime | None:
        """When the present trouble began: the last time that it came back, else the first."""
        return self.reopened_at or self.detected_at


def subject(facts: Facts) -> str:
    """The subject line: the same for every message about one incident, so that they thread."""
    if facts.kind is Kind.TEST:
        return "WedSync APM: a test, nothing is wrong"
    return facts.headline


def body(facts: Facts) -> str:
    """The whole text, one fact a line; the state comes first."""
    return "\n".join(_lines(facts)) + "\n"


def _lines(facts: Facts) -> Iterator[str]:
    match facts.kind:
        case Kind.TEST:
            yield f"This is a test for {facts.organization_name}. Nothing is wrong."
            yield f"It has reached {facts.receiver}, so a real call will too."
            return
        case Kind.RESOLVED:
            yield from _resolved(facts)
        case Kind.UPDATE:
            yield f"{facts.headline}."
            yield from _who_has_it(facts)
        case Kind.REOPENED if facts.has_come_back:
            yield f"It has come back{_since(facts, facts.began_at)}: {facts.headline}."
            yield from _trouble(facts)
        case Kind.PAGE | Kind.REOPENED:
            yield f"{facts.headline}{_since(facts, facts.began_at)}."
            yield from _trouble(facts)
    if facts.incident_url:
        yield ""
        yield f"{SEE_LABEL}: {facts.incident_url}"
    yield f"{facts.organization_name}. Times are in {_zone_words(facts)}."
    if facts.help_line:
        yield f"Help line: {facts.help_line}"


def _trouble(facts: Facts) -> Iterator[str]:
    words = facts.vendor_text or {}
    if works := [_said(name) for name in works_beside(facts.services, facts.metric_pattern)]:
        yield f"Still working: {', '.join(works)}."
    if still_works := unmeasured(_said(words.get("still_works")), facts.services):
        yield f"{still_works}."
    if milestone := _next_milestone(facts):
        yield milestone
    yield from _who_has_it(facts)
    steps = words.get("what_to_do")
    if isinstance(steps, Sequence) and not isinstance(steps, str):
        yield from (f"- {step}" for step in map(_said, steps) if step)
    if facts.acknowledge_url:
        yield ""
        yield f"{ACKNOWLEDGE_LABEL}: {facts.acknowledge_url}"


def _who_has_it(facts: Facts) -> Iterator[str]:
    if facts.acknowledged_by:
        since = f" since {_clock(facts, facts.acknowledged_at)}" if facts.acknowledged_at else ""
        yield f"{_said(facts.acknowledged_by)} has had it in hand{since}."
    elif facts.reason in ("escalated", "repeat") and facts.began_at:
        waited = span_words((facts.at - facts.began_at).total_seconds())
        yield f"No one has answered for {waited}. You are next."
    elif facts.lapsed_at:
        yield f"Nobody has had it in hand since {_clock(facts, facts.lapsed_at)}."
    else:
        yield "Nobody has it yet."
    if facts.next_step_at and facts.next_step_at > facts.at and not facts.acknowledged_by:
        yield f"If nobody answers, the next call goes out at {_clock(facts, facts.next_step_at)}."
    if facts.next_update_at:
        yield f"Next update by {_clock(facts, facts.next_update_at)}, even if nothing has changed."


def _resolved(facts: Facts) -> Iterator[str]:
    if facts.resolved_at is None:
        yield f"Working again: {facts.headline}, and it is over."
        return
    yield f"Working again since {_clock(facts, facts.resolved_at)}. It was: {facts.headline}."
    if facts.began_at and facts.resolved_at > facts.began_at:
        yield f"It lasted {span_words((facts.resolved_at - facts.began_at).total_seconds())}."


def _next_milestone(facts: Facts) -> str | None:
    """The nearest milestone of a wedding under way, by the clock at its venue."""
    moments = []
    for wedding in facts.weddings:
        try:
            at = datetime.fromisoformat(str(wedding["next_milestone_at"]))
            zone = ZoneInfo(str(wedding["time_zone"]))
        except (KeyError, ValueError, ZoneInfoNotFoundError):
            continue
        if at.tzinfo is not None and at > facts.at:
            moments.append((at, zone))
    if not moments:
        return None
    at, zone = min(moments, key=lambda moment: moment[0])
    left = span_words((at - facts.at).total_seconds())
    clock = f"{at.astimezone(zone):%H:%M}"
    return f"A wedding is under way: its next part begins at {clock} venue time, in {left}."


def _since(facts: Facts, at: datetime | None) -> str:
    return f" since {_clock(facts, at)}" if at else ""


def _clock(facts: Facts, at: datetime | None) -> str:
    if at is None:
        return "an unknown time"
    local, today = at.astimezone(_zone(facts)), facts.at.astimezone(_zone(facts))
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%a %H:%M}"


def _zone(facts: Facts) -> ZoneInfo:
    try:
        return ZoneInfo(facts.time_zone)
    except (ValueError, ZoneInfoNotFoundError):
        return ZoneInfo("UTC")


def _zone_words(facts: Facts) -> str:
    return _zone(facts).key.replace("_", " ")


def span_words(seconds: float) -> str:
    """A length of time as people say it: 40 s, 21 min, 3 h 20 min, 2 days."""
    whole = max(int(seconds), 0)
    minutes = round(whole / 60)
    if whole < 60:
        return f"{whole} s"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{minutes // (24 * 60)} days"


def _said(value: object) -> str:
    """Foreign text on one line, without a full stop: the catalogue's sentences bring their own."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split()).rstrip(".")
