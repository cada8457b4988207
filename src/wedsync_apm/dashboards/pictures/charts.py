"""A course in time, drawn: gaps hatched, limits, the phases of weddings, incidents."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from wedsync_apm.dashboards.pictures.model import Chart, Curve, Point
from wedsync_apm.dashboards.pictures.paper import (
    CRIT,
    CURVES,
    INK2,
    INK3,
    LINE,
    SOFT,
    Paper,
    Place,
    fitting,
    width_of,
)

SMALL: Final = 6.5
LEGEND_HEIGHT: Final = 10.0
DASHES: Final[Sequence[Sequence[float]]] = ((), (), (), (5, 2), (1.5, 2), (6, 2, 1.5, 2))
"""Of the curves by colour: told apart without colours, too."""
BEFORE: Final = (2.5, 2.5)
GAP_STEPS: Final = 2.5
SILENT_STEPS: Final = 5


class _Frame:
    """Where what is measured lies on the paper."""

    def __init__(self, chart: Chart, at: Place, size: Place) -> None:
        self.chart, self.at, self.size = chart, at, size
        self._time = (chart.ends - chart.begins) or 1.0
        self._span = (chart.highest - chart.lowest) or 1.0

    def x(self, at: float) -> float:
        share = min(1.0, max(0.0, (at - self.chart.begins) / self._time))
        return self.at[0] + self.size[0] * share

    def y(self, value: float) -> float:
        share = (value - self.chart.lowest) / self._span
        return self.at[1] + self.size[1] * (1 - min(1.05, max(-0.05, share)))

    @property
    def bottom(self) -> float:
        return self.at[1] + self.size[1]


def draw_chart(paper: Paper, chart: Chart, at: Place, size: Place) -> None:
    """The whole chart, with its axes and its legend."""
    left = max((width_of(one.words, SMALL) for one in chart.notches), default=0.0) + 4
    rows = _legend_rows(chart, size[0])
    below = 10.0 + LEGEND_HEIGHT * (len(rows) + bool(chart.moments))
    frame = _Frame(chart, (at[0] + left, at[1] + 4), (size[0] - left, size[1] - below - 4))
    if frame.size[0] < 20 or frame.size[1] < 12:
        return
    for notch in chart.notches:
        y = frame.y(notch.at)
        paper.path([(frame.at[0], y), (frame.at[0] + frame.size[0], y)], stroke=LINE, width=0.5)
        paper.text((frame.at[0] - 3, y + 2), notch.words, SMALL, colour=INK2, align="right")
    for notch in chart.hours:
        x = frame.x(notch.at)
        half = width_of(notch.words, SMALL) / 2
        x = min(frame.at[0] + frame.size[0] - half, max(frame.at[0] + half, x))
        paper.text((x, frame.bottom + 8), notch.words, SMALL, colour=INK2, align="centre")
    paper.clip(frame.at, frame.size)
    _draw_stretches(paper, chart, frame)
    _draw_gaps(paper, chart, frame)
    for curve in chart.curves:
        _draw_curve(paper, chart, curve, frame)
    _draw_moments(paper, chart, frame)
    _draw_limits(paper, chart, frame)
    paper.unclip()
    for number, row in enumerate(rows):
        x, y = at[0] + left, frame.bottom + 17 + number * LEGEND_HEIGHT
        for curve, name in row:
            colour = CURVES[curve.colour % len(CURVES)]
            dash = BEFORE if curve.is_before else DASHES[curve.colour % len(DASHES)]
            paper.path([(x, y - 2), (x + 10, y - 2)], stroke=colour, width=1.4, dash=dash)
            x += 13 + paper.text((x + 13, y), name, SMALL, colour=INK2) + 9
        if number == len(rows) - 1 and chart.more:
            paper.text((x, y), chart.more, SMALL, colour=INK3)
    if chart.moments:
        named = ", ".join(dict.fromkeys(one.name for one in chart.moments))
        x, y = at[0] + left, frame.bottom + 17 + len(rows) * LEGEND_HEIGHT
        paper.path([(x + 2, y), (x + 8, y), (x + 5, y - 5)], fill=INK3)
        paper.text((x + 13, y), named, SMALL, colour=INK2, width=frame.size[0] - 13)


def _legend_rows(chart: Chart, width: float) -> list[list[tuple[Curve, str]]]:
    rows: list[list[tuple[Curve, str]]] = [[]]
    taken = 0.0
    for curve in chart.curves:
        name = fitting(curve.name, SMALL, width / 2)
        needed = 22 + width_of(name, SMALL)
        if rows[-1] and taken + needed > width:
            rows.append([])
            taken = 0.0
        rows[-1].append((curve, name))
        taken += needed
    return rows[:3]


def _draw_stretches(paper: Paper, chart: Chart, frame: _Frame) -> None:
    for one in chart.stretches:
        begin, end = frame.x(one.begins), frame.x(one.ends)
        if end - begin < 0.5:
            continue
        place = begin, frame.at[1]
        paper.box(place, (end - begin, frame.size[1]), fill=SOFT, opacity=0.9)
        paper.path([(begin, frame.at[1]), (begin, frame.bottom)], stroke=LINE, width=0.6)
        if end - begin > 14:
            where = begin + 2, frame.at[1] + 7
            paper.text(where, one.name, SMALL, colour=INK3, width=end - begin - 3)


def _draw_gaps(paper: Paper, chart: Chart, frame: _Frame) -> None:
    """A hole is never read as calm: it is hatched, and so is what has been silent of late."""
    known = [
        at
        for number, at in enumerate(chart.x)
        if any(curve.values[number] is not None for curve in chart.curves)
    ]
    holes = [(a, b) for a, b in pairwise(known) if b - a > GAP_STEPS * chart.step]
    if known and chart.now - known[-1] > SILENT_STEPS * chart.step:
        holes.append((known[-1], min(chart.now, chart.ends)))
    for begin, end in holes:
        left, right = frame.x(begin), frame.x(end)
        paper.clip((left, frame.at[1]), (right - left, frame.size[1]))
        x = left - frame.size[1]
        while x < right:
            rising = [(x, frame.bottom), (x + frame.size[1], frame.at[1])]
            paper.path(rising, stroke=LINE, width=0.5)
            x += 5
        paper.unclip()


def _draw_curve(paper: Paper, chart: Chart, curve: Curve, frame: _Frame) -> None:
    colour = CURVES[curve.colour % len(CURVES)]
    if chart.style == "bar" and not curve.is_before:
        zero = frame.y(max(0.0, chart.lowest))
        shown = [one for one in chart.curves if not one.is_before]
        width = frame.size[0] * chart.step / (chart.ends - chart.begins) * 0.8 / len(shown)
        shift = shown.index(curve) * width
        for at, value in zip(chart.x, curve.values, strict=True):
            if value is not None:
                y = frame.y(value)
                place = frame.x(at) + shift, min(y, zero)
                paper.box(place, (max(width, 0.5), abs(zero - y)), fill=colour)
        return
    for run in _runs(chart, curve.values):
        points = [(frame.x(at), frame.y(value)) for at, value in run]
        if len(points) == 1:
            x, y = points[0]
            paper.box((x - 1, y - 1), (2, 2), fill=colour)
            continue
        if chart.style == "area" and not curve.is_before:
            floor = frame.y(max(0.0, chart.lowest))
            closed = [(points[0][0], floor), *points, (points[-1][0], floor)]
            paper.path(closed, fill=colour, opacity=0.18)
        dash = BEFORE if curve.is_before else DASHES[curve.colour % len(DASHES)]
        paper.path(points, stroke=colour, width=0.8 if curve.is_before else 1.2, dash=dash)


def _runs(chart: Chart, values: Sequence[Point]) -> Iterator[list[tuple[float, float]]]:
    """The pieces of a curve between holes."""
    run: list[tuple[float, float]] = []
    for at, value in zip(chart.x, values, strict=True):
        if value is None:
            continue
        if run and at - run[-1][0] > GAP_STEPS * chart.step:
            yield run
            run = []
        run.append((at, value))
    if run:
        yield run


def _draw_moments(paper: Paper, chart: Chart, frame: _Frame) -> None:
    for one in chart.moments:
        x = frame.x(one.at)
        paper.path([(x, frame.at[1]), (x, frame.bottom)], stroke=INK3, width=0.6, dash=(1, 1.5))
        corners = ((x - 3, frame.bottom), (x + 3, frame.bottom), (x, frame.bottom - 5))
        paper.path(corners, fill=INK3)


def _draw_limits(paper: Paper, chart: Chart, frame: _Frame) -> None:
    right = frame.at[0] + frame.size[0]
    for one in chart.limits:
        y = frame.y(one.value)
        paper.path([(frame.at[0], y), (right, y)], stroke=CRIT, width=0.9, dash=(4, 2))
        above = y - 2 if y - 10 > frame.at[1] else y + 7.5
        paper.text((right - 2, above), one.words, SMALL, colour=CRIT, align="right")
