"""Reads what `preview` and `explain` judge, with the rights of the caller."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.clock import EARLIEST, LATEST, is_usable, to_datetime, to_ms
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.rules import long
from wedsync_apm.rules.aggregate import Samples
from wedsync_apm.rules.composite import Member, count_source
from wedsync_apm.rules.instances import Instances, combinations
from wedsync_apm.rules.judge import Instance, Unit
from wedsync_apm.rules.limits import WEDDING_FACTOR, WeddingWindow
from wedsync_apm.rules.live import SeriesWindow, list_windows, unit_of, window_source
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.replay import (
    LONGEST_RANGE,
    MOST_INSTANCES,
    Budget,
    Replay,
    Turnstile,
    lead_of,
    replay,
)
from wedsync_apm.rules.sources import Source
from wedsync_apm.rules.store import NamedSeries, Q, find_rule, series_of

JUDGING: Final = Turnstile()
"""For every door by which people ask; each names its caller."""
_PIECE: Final = timedelta(hours=6)
"""Samples are read so much at a time, so that too many are noticed before all are there."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a rule would have said."""

    rule: AlertRule
    replays: tuple[Replay, ...]
    series: dict[int, NamedSeries]
    instance_count: int
    """Of which `replays` are the first."""
    members: tuple["Past", ...] = ()
    weddings: tuple[WeddingWindow, ...] = ()
    """The calendar that it was judged by."""


@dataclass(slots=True)
class Question:
    """A range over which rules of one organization are judged anew."""

    start: datetime
    end: datetime
    factor: float = WEDDING_FACTOR
    most_points: int = 500
    budget: Budget = field(default_factory=Budget)

    def check(self) -> None:
        """Raises NotValid for a range that cannot be judged."""
        for name, at in (("start", self.start), ("end", self.end)):
            if not is_usable(at):
                reason = f"needs an instant of the years {EARLIEST.year} to {LATEST.year - 1}"
                raise NotValid(errors=[FieldError(name, reason)])
        if self.start > self.end:
            raise NotValid(errors=[FieldError("end", "must not be before start")])
        if self.end - self.start > LONGEST_RANGE:
            raise NotValid(errors=[FieldError("start", "reaches back more than 31 days")])


async def judge_past(cx: Connection, rule: AlertRule, question: Question) -> Past:
    """Judges a rule, stored or not, over a range of stored samples.

    Raises NotValid for a range that is none or that costs too much, NotFound for a member of a
    composite rule that the caller may not see.
    """
    question.check()
    weddings = await list_phases(cx, rule.organization_id, question.start, question.end)
    found = await _judge(cx, rule, question, weddings)
    return replace(found, weddings=tuple(weddings))


async def list_phases(
    cx: Connection, organization_id: UUID, start: datetime, end: datetime
) -> list[WeddingWindow]:
    """The calendar of one of the caller's organizations, as far as judging a range needs it."""
    rows = await cx.execute(
        Q.list_phases,
        {
            "organization_id": organization_id,
            "earliest": start - long.CALENDAR_BACK,
            "latest": end + long.CALENDAR_AHEAD,
        },
    )
    return [
        WeddingWindow(
            row["phase"], row["wedding_id"], row["starts_at"], row["ends_at"], row["precedence"]
        )
        for row in await rows.fetchall()
    ]


async def _judge(
    cx: Connection, rule: AlertRule, question: Question, weddings: Sequence[WeddingWindow]
) -> Past:
    if rule.rule_kind is RuleKind.COMPOSITE:
        return await _judge_composite(cx, rule, question, weddings)
    rows = await cx.execute(Q.list_named_series, {"organization_id": rule.organization_id})
    instances = Instances(rule)
    series: dict[int, NamedSeries] = {}
    for row in await rows.fetchall():
        series[row["id"]] = series_of(row, row["id"])
        instances.offer(row["id"], row["service_name"], row["metric_name"], row["tags"])
    found: list[Instance] = list(instances)
    chosen = found[:MOST_INSTANCES]
    subjects = await _read(cx, rule, chosen, question, weddings)
    replays = await asyncio.to_thread(_replay_all, subjects, question, weddings)
    wanted = {one for instance in chosen for one in instance.all_series_ids}
    return Past(rule, replays, {k: one for k, one in series.items() if k in wanted}, len(found))


async def _read(
    cx: Connection,
    rule: AlertRule,
    instances: Sequence[Instance],
    question: Question,
    weddings: Sequence[WeddingWindow],
) -> list[tuple[Unit, Source]]:
    since = question.start - lead_of(rule)
    if rule.rule_kind.is_long:
        points = await long.read_points(
            cx, rule, instances, since=since, at=question.end, weddings=weddings
        )
        return [(Unit(rule, one), points[one.key]) for one in instances if one.key in points]
    wanted = sorted({one for instance in instances for one in instance.all_series_ids})
    windows = await _read_windows(cx, rule, wanted, since - rule.evaluation_window, question)
    return [
        (subject, window_source(rule, instance, windows))
        for instance in instances
        if (subject := unit_of(rule, instance, windows, None)) is not None
    ]


async def _read_windows(
    cx: Connection, rule: AlertRule, wanted: list[int], after: datetime, question: Question
) -> dict[int, SeriesWindow]:
    pieces: dict[int, list[SeriesWindow]] = {}
    while after < question.end:
        until = min(after + _PIECE, question.end)
        found = await list_windows(cx, rule.organization_id, wanted, after, until)
        for series_id, window in found.items():
            question.budget.spend("samples", len(window.samples.times_ms))
            pieces.setdefault(series_id, []).append(window)
        after = until
    return {
        series_id: SeriesWindow(
            Samples(
                tuple(at for one in found for at in one.samples.times_ms),
                tuple(value for one in found for value in one.samples.values),
                tuple(flag for one in found for flag in one.samples.declared),
            ),
            found[-1].unit,
            found[-1].ended_at,
        )
        for series_id, found in pieces.items()
    }


def _replay_all(
    subjects: Sequence[tuple[Unit, Source]],
    question: Question,
    weddings: Sequence[WeddingWindow],
) -> tuple[Replay, ...]:
    return tuple(
        replay(
            subject,
            source,
            question.start,
            question.end,
            _near(weddings, question),
            factor=question.factor,
            most_points=question.most_points,
            budget=question.budget,
        )
        for subject, source in subjects
    )


def _near(weddings: Sequence[WeddingWindow], question: Question) -> list[WeddingWindow]:
    """The windows that touch the range with its lead."""
    earliest = question.start - timedelta(days=2)
    return [one for one in weddings if one.ends_at > earliest and one.starts_at <= question.end]


async def _judge_composite(
    cx: Connection, rule: AlertRule, question: Question, weddings: Sequence[WeddingWindow]
) -> Past:
    members = []
    for member_id in rule.member_rule_ids:
        member = await find_rule(cx, member_id)
        if member.rule_kind is RuleKind.COMPOSITE:
            raise NotValid(errors=[FieldError("member_rule_ids", "cannot be composite themselves")])
        members.append(await _judge(cx, member, question, weddings))
    labels = {one.rule.id: [r.subject.instance.labels for r in one.replays] for one in members}
    found = combinations(rule, labels)
    judged = [
        Member(one.rule.id, inner.subject.instance.labels, False, inner.changes)
        for one in members
        for inner in one.replays
    ]
    subjects: list[tuple[Unit, Source]] = [
        (Unit(rule, one), count_source(rule.member_rule_ids, one.labels, judged))
        for one in found[:MOST_INSTANCES]
    ]
    replays = await asyncio.to_thread(_replay_all, subjects, question, weddings)
    return Past(rule, replays, {}, len(found), tuple(members))


def whole_milliseconds(at: datetime) -> datetime:
    """Cut off to the millisecond, in which samples are kept."""
    return to_datetime(to_ms(at))
