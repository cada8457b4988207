"""What a range query means: its steps, where its numbers come from, and its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from wedsync_apm.errors import FieldError, NotValid

RAW_AT_MOST: Final = timedelta(hours=2)
"""Longer ranges are read from rollups where their step allows it."""
FINE_AT_MOST: Final = timedelta(days=1)
"""Longer ranges are not read from raw samples however fine the step: it is widened to minutes."""
MOST_POINTS: Final = 11_000
"""Of a series; Prometheus has the same limit."""
MOST_SERIES: Final = 1_000
_POINTS_WANTED: Final = 300

WIDTHS: Final = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
"""The widths at which rollups are kept, narrowest first, under the names that answers use."""
TERMS: Final = {
    "raw": timedelta(days=14),
    "1m": timedelta(days=30),
    "5m": timedelta(days=90),
    "1h": timedelta(days=400),
    "1d": timedelta(days=5 * 366),
}
"""How long each level is kept unless told otherwise."""

_ROUND_STEPS: Final = (1, 5, 10, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400)


class Aggregation(StrEnum):
    """How the samples of a step become one point."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    LAST = "last"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"
    RATE = "rate"  # what a counter rises a second; it may start again from zero

    @property
    def quantile(self) -> float | None:
        """0.95 for `p95`; None for what is no quantile."""
        return int(self[1:]) / 100 if self.value in {"p50", "p95", "p99"} else None


@dataclass(frozen=True, slots=True)
class RangePlan:
    """Steps are multiples of `step` since 1970; `start` and `end` are whole steps. `width` is the
    rollup to read, None for raw samples."""

    start: datetime
    end: datetime
    step: timedelta
    width: timedelta | None

    @property
    def resolution(self) -> str:
        """`raw`, or the name of the rollup's width."""
        return next((name for name, width in WIDTHS.items() if width == self.width), "raw")


@dataclass(frozen=True, slots=True)
class RangeSeries:
    """One line of a chart: points are Unix seconds of the step's start, and the value. `unit` is
    what was declared; `shown_unit` may be what the metric's name says."""

    metric: str
    tags: Mapping[str, str]
    unit: str | None
    points: Sequence[tuple[float, float]]
    shown_unit: str | None = None


@dataclass(frozen=True, slots=True)
class RangeAnswer:
    """`step_seconds` is the step that was used, which may be wider than asked for."""

    series: Sequence[RangeSeries]
    resolution: str
    step_seconds: float


def plan_range(
    start: datetime,
    end: datetime,
    step: timedelta | None,
    at: datetime,
    terms: Mapping[str, timedelta] = TERMS,
) -> RangePlan:
    """Decides step and source. Without a step, about three hundred points are given.

    1. Raw samples serve a short range, and a step that is no whole minutes, if they are still kept.
    2. Else the widest rollups serve that divide the step and are still kept at the start of the
       range. Where none does both, the step is widened to the narrowest that is kept.

    Raises NotValid, naming the field, for an empty range and for too many points.
    """
    if end <= start:
        raise NotValid(errors=[FieldError("end", "must be after start")])
    span = (end - start).total_seconds()
    if step is None:
        wanted = span / _POINTS_WANTED
        seconds = next((float(one) for one in _ROUND_STEPS if one >= wanted), 86400.0)
    else:
        seconds = step.total_seconds()
        if seconds < 1:
            raise NotValid(errors=[FieldError("step", "must be at least one second")])
    if span / seconds > MOST_POINTS:
        reason = f"gives more than {MOST_POINTS} points a series; ask for a wider one"
        raise NotValid(errors=[FieldError("step", reason)])
    width = None
    is_fine = seconds % 60 != 0
    raw_at_most = FINE_AT_MOST if is_fine else RAW_AT_MOST
    if end - start > raw_at_most or start < at - terms["raw"]:
        kept = [one for name, one in WIDTHS.items() if start >= at - terms[name]]
        narrowest = min(kept, default=WIDTHS["1d"]).total_seconds()
        seconds = -(-seconds // narrowest) * narrowest
        width = max(
            (one for one in kept if seconds % one.total_seconds() == 0), default=WIDTHS["1d"]
        )
    first, last = start.timestamp() // seconds, -(-end.timestamp() // seconds)
    return RangePlan(
        datetime.fromtimestamp(first * seconds, start.tzinfo),
        datetime.fromtimestamp(last * seconds, start.tzinfo),
        timedelta(seconds=seconds),
        width,
    )


NameSplits = tuple[list[str], list[str]]
"""Parallel lists of services and names."""


def name_splits(metric: str) -> NameSplits:
    """Every way to read `service.metric`, since both parts may contain dots themselves.

    Raises NotValid for a name without any.
    """
    dots = [index for index, letter in enumerate(metric) if letter == "."]
    dots = [index for index in dots if 0 < index < len(metric) - 1]
    if not dots:
        raise NotValid(errors=[FieldError("metric", "is written service.metric")])
    return [metric[:index] for index in dots], [metric[index + 1 :] for index in dots]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which series go into one line: `numbers` gives each series' group, `tags` each group's."""

    numbers: Sequence[int]
    tags: Sequence[Mapping[str, str]]


def group_series(tags: Sequence[Mapping[str, Any]], group_by: Sequence[str] | None) -> Grouping:
    """One line per combination of the values of `group_by`; per series where it is None; one line
    of all where it is empty. A tag that a series lacks counts as empty."""
    if group_by is None:
        return Grouping(range(len(tags)), list(tags))
    groups: dict[tuple[str, ...], int] = {}
    numbers = [
        groups.setdefault(tuple(str(one.get(key, "")) for key in group_by), len(groups))
        for one in tags
    ]
    return Grouping(numbers, [dict(zip(group_by, values, strict=True)) for values in groups])
