"""The kinds of rule whose windows reach further back than memory: change, burn rate, deadline.

Their numbers are found at whole minutes (or five, or an hour: the width of the rollups they are
read from), by `read_points`, at the caller's pace: points that were not asked for in time are found
later as they would have been.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Final

from wedsync_apm.clock import to_datetime, to_ms
from wedsync_apm.db.pool import Connection
from wedsync_apm.rules.aggregate import Gap, Reading
from wedsync_apm.rules.buckets import Bucket, History, aggregate, buckets_of, predict
from wedsync_apm.rules.judge import Instance
from wedsync_apm.rules.limits import WINDOW, WeddingWindow, grade_of
from wedsync_apm.rules.live import list_windows
from wedsync_apm.rules.model import AlertRule, Baseline, RuleKind
from wedsync_apm.rules.sources import PointSource
from wedsync_apm.rules.store import Q
from wedsync_apm.rules.verdict import Standing, due_at

CALENDAR_BACK: Final = timedelta(days=90)
"""How far back the last wedding is looked for: as long as rollups of five minutes are kept."""
CALENDAR_AHEAD: Final = timedelta(days=14)
"""How far ahead the next one is looked for."""
MINUTE_MS: Final = 60_000
WEEK_MS: Final = 7 * 24 * 60 * MINUTE_MS
_SHORT: Final = timedelta(hours=6)
_DAYS: Final = timedelta(days=3)
_TAIL_MS: Final = 10 * MINUTE_MS
_LONGEST_TAIL_MS: Final = 6 * 60 * MINUTE_MS
"""So much of the newest is read from samples at least and at most."""
MOST_POINTS: Final = 3000


def bucket_width(rule: AlertRule) -> int:
    """The rollups a rule is read from, in milliseconds, and so how often it has a new number."""
    if rule.evaluation_window > _DAYS:
        return 60 * MINUTE_MS
    if rule.rule_kind is RuleKind.CHANGE or rule.evaluation_window > _SHORT:
        return 5 * MINUTE_MS
    return MINUTE_MS


def bucket_at(rule: AlertRule, at: datetime) -> int:
    """The number of the newest full bucket of a rule's width."""
    return to_ms(at) // bucket_width(rule)


def is_due(rule: AlertRule, standing: Standing, at: datetime) -> bool:
    """Whether a bucket has become full since the last verdict, or something else is due."""
    seen = standing.evaluated_at
    return bucket_at(rule, at) > bucket_at(rule, seen) or any(
        seen < one <= at for one in due_at(rule, standing)
    )


async def read_points(
    cx: Connection,
    rule: AlertRule,
    instances: Sequence[Instance],
    *,
    since: datetime,
    at: datetime,
    weddings: Sequence[WeddingWindow],
) -> dict[str, PointSource]:
    """The numbers of some instances in (since, at] and the one before, by the instances' keys."""
    width_ms = bucket_width(rule)
    first = to_ms(since) // width_ms * width_ms
    times = range(first, to_ms(at) + 1, width_ms)[-MOST_POINTS:]
    if not times or not instances:
        return {}
    calendar = Calendar.of(weddings)
    spans = _spans(rule, times[0], times[-1], calendar)
    wanted = sorted({one for instance in instances for one in instance.all_series_ids})
    histories = await _read_histories(cx, rule, wanted, spans, at)
    sources = {}
    for instance in instances:
        above = [histories[one] for one in instance.series_ids if one in histories]
        below = [histories[one] for one in instance.denominator_ids if one in histories]
        found = tuple(_value(rule, above, below, t, calendar) for t in times)
        sources[instance.key] = PointSource(tuple(times), found)
    return sources


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of weddings in order, each with when its last phase is over, in milliseconds."""

    days: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, weddings: Sequence[WeddingWindow]) -> "Calendar":
        found: dict[Any, tuple[int, int]] = {}
        for one in weddings:
            if grade_of(one.phase) == WINDOW:
                start, end = to_ms(one.starts_at), to_ms(one.ends_at)
                known = found.get(one.wedding_id, (start, end))
                found[one.wedding_id] = (min(known[0], start), max(known[1], end))
        return cls(tuple(sorted(found.values())))

    def last_like(self, at_ms: int) -> int | None:
        """How long ago the same stretch of the last wedding was; None on any other day."""
        today = next((day for day in self.days if day[0] <= at_ms < day[1]), None)
        if today is None:
            return None
        before = [day for day in self.days if day[1] <= today[0]]
        return today[0] - before[-1][0] if before else None

    def next_end(self, at_ms: int) -> int | None:
        """When the wedding that is next, or under way, is over."""
        return next((end for _, end in self.days if end > at_ms), None)


def _window_ms(rule: AlertRule) -> int:
    return round(rule.evaluation_window.total_seconds() * 1000)


def _short_ms(rule: AlertRule) -> int:
    short = rule.short_window or rule.evaluation_window / 12
    return max(round(short.total_seconds() * 1000), bucket_width(rule))


def _shifts(rule: AlertRule, at_ms: int, calendar: Calendar) -> list[int]:
    """How long ago the windows lie that a change is measured against."""
    if rule.baseline is Baseline.SAME_WEEKDAY:
        return [WEEK_MS * week for week in range(1, rule.baseline_weeks + 1)]
    ago = calendar.last_like(at_ms)
    return [] if ago is None else [ago]


def _spans(rule: AlertRule, first: int, last: int, calendar: Calendar) -> list[tuple[int, int]]:
    """The stretches whose rollups are needed."""
    width = _window_ms(rule)
    spans = [(first - width, last)]
    if rule.rule_kind is RuleKind.CHANGE:
        shifts = {one for at in (first, last) for one in _shifts(rule, at, calendar)}
        spans += [(first - width - shift, last - shift) for shift in sorted(shifts)]
    return spans


def _value(
    rule: AlertRule,
    above: Sequence[History],
    below: Sequence[History],
    at_ms: int,
    calendar: Calendar,
) -> Reading | Gap:
    match rule.rule_kind:
        case RuleKind.BURN_RATE:
            return _burn_rate(rule, above, below, at_ms)
        case RuleKind.CHANGE:
            return _change(rule, above, at_ms, calendar)
        case _:
            return _deadline(rule, above, at_ms, calendar)


def _burn_rate(
    rule: AlertRule, above: Sequence[History], below: Sequence[History], at_ms: int
) -> Reading | Gap:
    """How many times faster than allowed the budget burns, in the slower of the two windows: both
    are above the limit where the smaller one is (Google, The Site Reliability Workbook, ch. 5)."""
    burns, samples = [], 0
    for width in (_window_ms(rule), _short_ms(rule)):
        total = aggregate(rule.aggregation, below, at_ms - width, at_ms)
        if total is None:
            return Gap.ABSENT
        if total[0] <= 0:
            return Gap.NOT_APPLICABLE
        bad = aggregate(rule.aggregation, above, at_ms - width, at_ms) or (0.0, 0)
        burns.append(bad[0] / total[0] / (1 - (rule.objective or 0)))
        samples = max(samples, total[1] + bad[1])
    return Reading(min(burns), samples)


def _change(
    rule: AlertRule, above: Sequence[History], at_ms: int, calendar: Calendar
) -> Reading | Gap:
    """By how many percent the window lies above (below: negative) what it was."""
    width = _window_ms(rule)
    now = aggregate(rule.aggregation, above, at_ms - width, at_ms)
    if now is None:
        return Gap.ABSENT
    before = [
        found[0]
        for shift in _shifts(rule, at_ms, calendar)
        if (found := aggregate(rule.aggregation, above, at_ms - shift - width, at_ms - shift))
    ]
    usual = median(before) if before else 0.0
    if usual == 0:
        return Gap.NOT_APPLICABLE
    return Reading((now[0] - usual) / abs(usual) * 100, now[1])


def _deadline(
    rule: AlertRule, above: Sequence[History], at_ms: int, calendar: Calendar
) -> Reading | Gap:
    """Where the line through the window will be at the horizon."""
    if rule.horizon is not None:
        until = at_ms + round(rule.horizon.total_seconds() * 1000)
    else:
        end = calendar.next_end(at_ms)
        if end is None:
            return Gap.NOT_APPLICABLE
        until = end
    if not above or not any(one.between(at_ms - _window_ms(rule), at_ms) for one in above):
        return Gap.ABSENT
    found = predict(above, at_ms - _window_ms(rule), at_ms, until)
    return Gap.NOT_APPLICABLE if found is None else Reading(*found)


async def _read_histories(
    cx: Connection,
    rule: AlertRule,
    series_ids: Sequence[int],
    spans: Sequence[tuple[int, int]],
    at: datetime,
) -> dict[int, History]:
    width_ms, end = bucket_width(rule), to_ms(at)
    # Rollups may not know all of the newest stretch yet, nor, where they lag, of one before it.
    tail = (end - max(_TAIL_MS, 2 * width_ms)) // width_ms * width_ms
    kept: dict[int, list[Bucket]] = {}
    newest = 0
    for first, last in spans:
        rows = await cx.execute(
            Q.list_buckets,
            {
                "organization_id": rule.organization_id,
                "series_ids": list(series_ids),
                "from": to_datetime(first // width_ms * width_ms),
                "to": to_datetime(min(last, tail)),
                "width": timedelta(milliseconds=width_ms),
            },
        )
        for row in await rows.fetchall():
            series_id = row.pop("series_id")
            kept.setdefault(series_id, []).append(Bucket(**row))
            newest = max(newest, row["starts_ms"])
    lagging = (end - _LONGEST_TAIL_MS) // width_ms * width_ms
    tail = max(min(tail, newest + width_ms), lagging, spans[0][0] // width_ms * width_ms)
    found = await list_windows(
        cx, rule.organization_id, series_ids, to_datetime(tail - 1), to_datetime(end)
    )
    return {
        one: History.of(width_ms, kept.get(one, ()), buckets_of(found[one].samples, width_ms))
        for one in series_ids
        if one in found
    }
