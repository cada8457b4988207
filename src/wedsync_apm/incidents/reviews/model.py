"""Looking back, without a database: figures, a post-mortem's first draft, and reports."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from wedsync_apm.incidents.model import Event, Incident, VendorText
from wedsync_apm.types import Priority, Severity

REPORT_AFTER: Final = timedelta(hours=36)
"""So long after a wedding its report is the last word; before, more may come."""


class Scope(StrEnum):
    """Which stretches of trouble a figure is about."""

    ALL = "all"
    IN_WINDOW = "in_window"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Spell:
    """One stretch of trouble: from where it began or came back to where it ended."""

    organization_id: UUID
    incident_id: UUID
    number: int
    title: str
    severity: Severity
    priority: Priority
    vendor_text: VendorText
    phase: str | None
    """The phase of a wedding in which it began; None outside of one."""
    began_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    ended_at: datetime | None
    is_merged: bool
    """Whether it went on as another one: then it was not solved."""
    called: int
    """Rungs of the ladder that were climbed."""
    held_before: timedelta
    """How long nobody was to be told, before somebody took it."""
    held_during: timedelta

    @property
    def headline(self) -> str:
        """What was wrong, in the vendor's words where there are some."""
        return self.vendor_text.headline(self.title)

    @property
    def time_to_acknowledge(self) -> timedelta | None:
        """Without the time in which it was held back; None if nobody took it."""
        if self.acknowledged_at is None:
            return None
        return max(self.acknowledged_at - self.began_at - self.held_before, timedelta(0))

    @property
    def time_to_resolve(self) -> timedelta | None:
        """Without the time in which it was held back; None while it lasts and where it was
        merged."""
        if self.ended_at is None or self.is_merged:
            return None
        return max(self.ended_at - self.began_at - self.held_during, timedelta(0))

    def lasted(self, at: datetime) -> timedelta:
        """By the clock, up to `at` where it still lasts."""
        return max((self.ended_at or at) - self.began_at, timedelta(0))


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, in seconds; None where there is nothing to say."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Time to acknowledge and to resolve, over the stretches of one scope."""

    scope: Scope
    spells: int
    acknowledge: Times
    resolve: Times


def figures(spells: Sequence[Spell]) -> tuple[Figures, ...]:
    """MTTA and MTTR with their middle and their ninth tenth: of all, in weddings, and outside."""
    chosen = {
        Scope.ALL: spells,
        Scope.IN_WINDOW: [spell for spell in spells if spell.phase],
        Scope.OUTSIDE: [spell for spell in spells if not spell.phase],
    }
    return tuple(
        Figures(
            scope,
            len(found),
            _times(spell.time_to_acknowledge for spell in found),
            _times(spell.time_to_resolve for spell in found),
        )
        for scope, found in chosen.items()
    )


def _times(lengths: Iterable[timedelta | None]) -> Times:
    seconds = sorted(length.total_seconds() for length in lengths if length is not None)
    if not seconds:
        return Times(0, None, None, None)
    return Times(
        len(seconds),
        math.fsum(seconds) / len(seconds),
        percentile(seconds, 0.5),
        percentile(seconds, 0.9),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie, between the two nearest (as PostgreSQL's
    percentile_cont). `ordered` ascends and is not empty."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True, slots=True)
class ActionItem:
    """Something that was decided, by whom and by when."""

    title: str
    owner: str
    due_on: date
    id: UUID | None = None
    is_done: bool = False
    done_at: datetime | None = None
    organization_id: UUID | None = None
    incident_id: UUID | None = None
    number: int | None = None
    incident_title: str = ""

    def is_overdue(self, today: date) -> bool:
        """Whether it should be done by now and is not."""
        return not self.is_done and self.due_on < today


@dataclass(frozen=True, slots=True)
class Postmortem:
    """What is written down about an incident. Empty parts are not known yet."""

    summary: str = ""
    root_cause: str = ""
    contributing_factors: tuple[str, ...] = ()
    went_well: tuple[str, ...] = ()
    went_wrong: tuple[str, ...] = ()
    preventive_measures: tuple[str, ...] = ()
    customers_affected: int | None = None
    data_loss: str = ""
    financial_impact_pounds: float | None = None
    is_false_positive: bool = False
    approved_by_name: str | None = None
    approved_at: datetime | None = None
    actions: tuple[ActionItem, ...] = ()
    is_draft: bool = True
    """Nobody has written it yet: this is what the timeline says."""
    updated_at: datetime | None = None

    @property
    def is_approved(self) -> bool:
        """Whether an owner, an admin or the platform stands for it."""
        return self.approved_at is not None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the timeline says of an incident, in seconds; None is not known."""

    acknowledge: float | None
    resolve: float | None
    downtime: float
    """By the clock, over all its stretches."""
    times_back: int
    called: int


def measure(spells: Sequence[Spell], at: datetime) -> Measured:
    """From an incident's stretches, the first one first."""
    taken = spells[0].time_to_acknowledge if spells else None
    ended = spells[-1].time_to_resolve if spells else None
    return Measured(
        acknowledge=taken.total_seconds() if taken is not None else None,
        resolve=ended.total_seconds() if ended is not None else None,
        downtime=sum(spell.lasted(at).total_seconds() for spell in spells),
        times_back=max(len(spells) - 1, 0),
        called=sum(spell.called for spell in spells),
    )


def draft(incident: Incident, events: Sequence[Event], spells: Sequence[Spell]) -> Postmortem:
    """A post-mortem as far as the timeline can write it; causes are for people."""
    well: list[str] = []
    wrong: list[str] = []
    for spell in spells:
        taken = spell.time_to_acknowledge
        if taken is not None and spell.acknowledged_by:
            words = f"{spell.acknowledged_by} took it after {_words(taken)}."
            (well if taken <= timedelta(minutes=2) else wrong).append(words)
        elif spell.ended_at is None or spell.called:
            wrong.append("Nobody took it in hand.")
    counted = {kind: sum(event.kind == kind for event in events) for kind in _FAULTS}
    wrong += [text.format(n=counted[kind]) for kind, text in _FAULTS.items() if counted[kind]]
    fixed = [event.message for event in events if event.kind == "resolved" and event.message]
    summary = [f"{incident.headline}."]
    if spells and spells[-1].ended_at is not None:
        length = sum((spell.lasted(spells[-1].ended_at) for spell in spells), timedelta(0))
        summary.append(f"It lasted {_words(length)}.")
    if incident.was_wedding_day:
        summary.append("It fell on a wedding.")
    if incident.repeat_count:
        summary.append(f"It was seen {incident.repeat_count + 1} times.")
    summary += [f"What ended it: {text}." for text in fixed[-1:]]
    return Postmortem(summary=" ".join(summary), went_well=tuple(well), went_wrong=tuple(wrong))


_FAULTS: Final[Mapping[str, str]] = {
    "exhausted": "Everyone on the ladder was called and nobody answered ({n} times).",
    "expired": "Whoever had it said nothing for too long ({n} times).",
    "late": "A promised update came too late ({n} times).",
    "reopened": "It came back ({n} times).",
}


def _words(length: timedelta) -> str:
    seconds = round(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{round(seconds / 60)} min"


@dataclass(frozen=True, slots=True)
class Report:
    """What befell one wedding, or one day."""

    starts_at: datetime
    ends_at: datetime
    is_final: bool
    spells: tuple[Spell, ...]
    impact_seconds: float
    """For how long of it anything was wrong; what happened at once counts once."""
    called: int
    figures: tuple[Figures, ...]


def report(spells: Sequence[Spell], starts_at: datetime, ends_at: datetime, at: datetime) -> Report:
    """From the stretches of trouble that touch the span."""
    until = min(ends_at, at)
    touched = tuple(
        spell
        for spell in spells
        if spell.began_at < ends_at and (spell.ended_at is None or spell.ended_at > starts_at)
    )
    spans = sorted(
        (max(spell.began_at, starts_at), min(spell.ended_at or until, until)) for spell in touched
    )
    impact, reached = 0.0, starts_at
    for start, end in spans:
        impact += max((end - max(start, reached)).total_seconds(), 0.0)
        reached = max(reached, end)
    return Report(
        starts_at,
        ends_at,
        at >= ends_at + REPORT_AFTER,
        touched,
        impact,
        sum(spell.called for spell in touched),
        figures(touched),
    )


def read_actions(given: Iterable[Mapping[str, Any]]) -> tuple[ActionItem, ...]:
    """From rows of the database."""
    return tuple(ActionItem(**{**row, "is_done": row["done_at"] is not None}) for row in given)
