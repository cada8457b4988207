"""The chart of what a rule would have done, as shapes: the value, the limit as it was in each
phase, the wedding's phases, and when it would have told somebody. Pure."""

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from wedsync_apm.rules.limits import (
    DECLARED,
    WEDDING_FACTOR,
    WINDOW,
    Limit,
    WeddingWindow,
    grade_of,
    resolve_limit,
    wedding_at,
)
from wedsync_apm.rules.model import RuleDraft
from wedsync_apm.rules.verdict import Standing
from wedsync_apm.web.views.rule_form import Curve, Drawing, Shape
from wedsync_apm.web.words import say as words

HEIGHT: Final = 200
WIDTH: Final = 1000
MOST_POINTS: Final = 300
"""Of a line, in pairs of lowest and highest, so that peaks survive."""
_COLUMNS: Final = (
    (timedelta(hours=2), timedelta(minutes=30)),
    (timedelta(hours=7), timedelta(hours=2)),
    (timedelta(hours=30), timedelta(hours=6)),
    (timedelta(days=4), timedelta(days=1)),
    (timedelta(days=31), timedelta(days=2)),
)
"""How far apart the times on the axis stand, by the length of the range."""
_ROOM_FOR_WORDS: Final = 160.0
_THINNEST: Final = 8.0
"""However short it was, it can be seen."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch over which one limit held."""

    begins: datetime
    ends: datetime
    limit: Limit


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when somebody would have been told; `ends` is that of the range where it goes
    on."""

    begins: datetime
    ends: datetime


def limit_steps(
    rule: RuleDraft,
    weddings: Iterable[WeddingWindow],
    start: datetime,
    end: datetime,
    *,
    factor: float = WEDDING_FACTOR,
    unit: str | None = None,
) -> tuple[Step, ...]:
    """The limit over a range, resolved as the engine resolves it; it changes where a phase does."""
    near = [one for one in weddings if one.starts_at < end and one.ends_at > start]
    edges = {start, end}
    for one in near:
        edges |= {at for at in (one.starts_at, one.ends_at) if start < at < end}
    marks = sorted(edges)
    steps: list[Step] = []
    for begins, ends in pairwise(marks):
        limit = resolve_limit(rule, wedding_at(near, begins), factor=factor, unit=unit)
        if steps and steps[-1].limit == limit:
            steps[-1] = Step(steps[-1].begins, ends, limit)
        else:
            steps.append(Step(begins, ends, limit))
    return tuple(steps)


def declared_windows(points: Sequence[Standing]) -> tuple[WeddingWindow, ...]:
    """Where the samples themselves said that it is a wedding day, which the calendar does not
    know."""
    return tuple(
        WeddingWindow(DECLARED, None, here.evaluated_at, after.evaluated_at, -1)
        for here, after in pairwise(points)
        if here.limit.phase == DECLARED
    )


def thin(
    points: Sequence[tuple[float, float | None]], count: int
) -> list[tuple[float, float | None]]:
    """About `count` of the points: of each stretch the lowest and the highest, and the gaps."""
    if len(points) <= count:
        return list(points)
    size = math.ceil(len(points) / (count / 2))
    kept: list[tuple[float, float | None]] = []
    for first in range(0, len(points), size):
        known = [(x, y) for x, y in points[first : first + size] if y is not None]
        gap = next((one for one in points[first : first + size] if one[1] is None), None)
        found: set[tuple[float, float | None]] = set()
        if known:
            found |= {min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])}
        if gap is not None:
            found.add(gap)
        kept += sorted(found, key=lambda p: p[0])
    return kept


def nice_steps(low: float, high: float, count: int = 3) -> list[float]:
    """Round numbers between the two, about `count` of them."""
    raw = (high - low) / count
    if not math.isfinite(raw) or raw < sys.float_info.min * 10:
        return []
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 2.5, 5) if m * power >= raw), 10 * power)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)]


@dataclass(frozen=True, slots=True)
class Frame:
    """What the drawing spans: time along x, the value along y."""

    start: datetime
    end: datetime
    low: float
    high: float

    def x(self, at: datetime) -> float:
        """Thousandths of the width."""
        part = (at - self.start) / (self.end - self.start)
        return round(WIDTH * min(max(part, 0.0), 1.0), 1)

    def y(self, value: float) -> float:
        """Pixels from above."""
        return round(HEIGHT * (1 - (value - self.low) / (self.high - self.low)), 1)


def value_range(
    values: Iterable[float], limits: Iterable[float], *, is_share: bool = False
) -> tuple[float, float]:
    """From where to where the value is drawn: with every limit in it, and from 0, unless it is a
    share, of which 99.9 % would be a flat line."""
    found = [one for one in (*values, *limits) if math.isfinite(one)]
    low, high = min(0.0, *found, 0.0), max(0.0, *found, 0.0)
    if is_share and found and min(found) > 0.9 * high > 0:
        low = min(found) - (high - min(found)) * 0.5
    span = (high - low) or 1.0
    return (low if low == 0 else low - span * 0.06), high + span * 0.12


@dataclass(frozen=True, slots=True)
class Ink:
    """The words of a drawing."""

    zone: str
    figure: Callable[[float | None], str]
    phase: Callable[[str], str]
    label: str
    is_share: bool = False


def draw(
    rule: RuleDraft,
    lines: Sequence[tuple[str, Sequence[Standing]]],
    steps: Sequence[Step],
    told: Sequence[Span],
    ink: Ink,
) -> Drawing:
    """The drawing of lines of verdicts over the range of the limit's steps."""
    start, end = steps[0].begins, steps[-1].ends
    points = [
        (name, [(one.evaluated_at, one.value) for one in standings]) for name, standings in lines
    ]
    values = [value for _, found in points for _, value in found if value is not None]
    frame = Frame(
        start,
        end,
        *value_range(values, [step.limit.value for step in steps], is_share=ink.is_share),
    )
    limits = _limit_words(frame, steps, ink.figure)
    return Drawing(
        HEIGHT,
        tuple(Curve(name, _path(frame, found)) for name, found in points),
        _limit_path(frame, steps),
        limits,
        _bands(rule, frame, steps, ink.phase),
        tuple(
            Shape(frame.x(one.begins), max(frame.x(one.ends) - frame.x(one.begins), _THINNEST))
            for one in told
        ),
        _rows(frame, limits, ink.figure),
        _columns(frame, ink.zone),
        frame.low,
        frame.high,
        _grip(rule, frame, steps),
        ink.label,
    )


def _path(frame: Frame, points: Sequence[tuple[datetime, float | None]]) -> str:
    placed = [
        (frame.x(at), None if value is None or not math.isfinite(value) else frame.y(value))
        for at, value in points
    ]
    parts, pen = [], "M"
    for x, y in thin(placed, MOST_POINTS):
        if y is None:
            pen = "M"
            continue
        # a point with nothing on either side is a dot, not nothing
        parts.append(f"M{x:g} {y:g}h0" if pen == "M" else f"L{x:g} {y:g}")
        pen = "L"
    return "".join(parts)


def _limit_path(frame: Frame, steps: Sequence[Step]) -> str:
    path = ""
    for step in steps:
        y = frame.y(step.limit.value)
        path += f"{'L' if path else 'M'}{frame.x(step.begins):g} {y:g}H{frame.x(step.ends):g}"
    return path


def _limit_words(
    frame: Frame, steps: Sequence[Step], figure: Callable[[float | None], str]
) -> tuple[Shape, ...]:
    """Each limit named once, where it is longest."""
    longest: dict[float, Step] = {}
    for step in steps:
        known = longest.get(step.limit.value)
        if known is None or step.ends - step.begins > known.ends - known.begins:
            longest[step.limit.value] = step
    found: list[Shape] = []
    for value, step in sorted(longest.items(), key=lambda item: item[1].begins - item[1].ends):
        x = frame.x(step.begins)
        is_late = x > WIDTH - 2 * _ROOM_FOR_WORDS
        shape = Shape(
            frame.x(step.ends) if is_late else x,
            0,
            frame.y(value),
            words("rule.chart_limit", figure=figure(value)),
            "end" if is_late else "",
        )
        if all(abs(shape.y - one.y) > 16 or abs(shape.x - one.x) > 300 for one in found):
            found.append(shape)
    return tuple(found)


def _rows(
    frame: Frame, limits: Sequence[Shape], figure: Callable[[float | None], str]
) -> tuple[Shape, ...]:
    """Round values across the drawing; where a limit's words begin, theirs are left out."""
    taken = [one.y for one in limits if one.x < _ROOM_FOR_WORDS and not one.kind]
    rows = [(frame.y(value), figure(value)) for value in nice_steps(frame.low, frame.high)]
    return tuple(
        Shape(0, 0, y, "" if any(-24 < y - other < 36 for other in taken) else text)
        for y, text in rows
    )


def _grip(rule: RuleDraft, frame: Frame, steps: Sequence[Step]) -> float:
    """The middle of the longest stretch on which the rule's own limit held."""
    own = [step for step in steps if step.limit.value == rule.threshold_value]
    if not own:
        return -1.0
    longest = max(own, key=lambda step: step.ends - step.begins)
    return (frame.x(longest.begins) + frame.x(longest.ends)) / 2


def _bands(
    rule: RuleDraft, frame: Frame, steps: Sequence[Step], phase_words: Callable[[str], str]
) -> tuple[Shape, ...]:
    """The wedding's phases, and whatever else moves the limit. Where phases are too narrow for
    their names, the wedding as a whole has one."""
    shown = [
        step
        for step in steps
        if step.limit.phase is not None
        and (grade_of(step.limit.phase) == WINDOW or step.limit.value != rule.threshold_value)
    ]
    merged: list[tuple[datetime, datetime, str]] = []
    is_wide = frame.end - frame.start > timedelta(days=2)
    for step in shown:
        phase = step.limit.phase or ""
        name = grade_of(phase) if is_wide else phase
        if merged and merged[-1][1] == step.begins and merged[-1][2] == name:
            merged[-1] = (merged[-1][0], step.ends, name)
        else:
            merged.append((step.begins, step.ends, name))
    found, taken = [], -math.inf
    for begins, ends, name in merged:
        x, width = frame.x(begins), max(frame.x(ends) - frame.x(begins), 2.0)
        is_named = x - taken >= 0 and (width >= 60 or grade_of(name) == WINDOW)
        if is_named:
            taken = x + _ROOM_FOR_WORDS
        is_late = x > WIDTH - _ROOM_FOR_WORDS
        found.append(
            Shape(x, width, 0, phase_words(name) if is_named else "", "end" if is_late else "")
        )
    return tuple(found)


def _columns(frame: Frame, zone: str) -> tuple[Shape, ...]:
    length = frame.end - frame.start
    step = next((wide for most, wide in _COLUMNS if length <= most), timedelta(days=7))
    local = frame.start.astimezone(ZoneInfo(zone))
    at = local.replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    for _ in range(200):
        instant = at.astimezone(UTC)
        if instant > frame.end:
            break
        x = frame.x(instant)
        if instant >= frame.start and x <= WIDTH - 60:
            is_day = step >= timedelta(days=1) or (at.hour, at.minute) == (0, 0)
            found.append(Shape(x, 0, 0, f"{at:%a} {at.day}" if is_day else f"{at:%H:%M}"))
        at += step  # on the wall clock, so that midnight stays midnight
    return tuple(found)
