"""Range questions: what they need is found for all that come together, and each is answered.

Every function runs inside the caller's transaction, as the role that the caller entered; row-level
security decides what it may see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np

from wedsync_apm.clock import utcnow
from wedsync_apm.config import Settings
from wedsync_apm.db.pool import Connection
from wedsync_apm.metrics.ranges import (
    TERMS,
    Aggregation,
    NameSplits,
    RangeAnswer,
    RangePlan,
    RangeSeries,
    group_series,
    name_splits,
    plan_range,
)
from wedsync_apm.metrics.reading.lines import Line, unite_stretches
from wedsync_apm.metrics.reading.store import read_samples
from wedsync_apm.metrics.reading.wire import keep_arrays_packed
from wedsync_apm.metrics.steps import (
    Groups,
    Points,
    Rollups,
    figures_of,
    join_rollups,
    merge_points,
    points_of_rollups,
    points_of_samples,
    rollups_of_rows,
    rollups_of_samples,
)
from wedsync_apm.metrics.store import Q, Series, Tags, find_many_series

RISES_SINCE_MS: Final = 300_000
"""How long before its range a rate looks for the sample that the first rise begins at; a step at
least."""


async def query_range(
    cx: Connection,
    organization_id: UUID,
    metric: str,
    start: datetime,
    end: datetime,
    *,
    step: timedelta | None = None,
    aggregation: Aggregation = Aggregation.AVG,
    tags: Mapping[str, str] | None = None,
    group_by: Sequence[str] | None = None,
    at: datetime | None = None,
) -> RangeAnswer:
    """The samples of [start, end) in steps, one line per series, or per group where `group_by`
    names tags (an empty one: a single line). `at` is the present, by which the age is judged.

    `plan_range` says whether rollups are read. If so, a step of which the rollups do not know
    everything yet is read from the samples, whole. Raises NotValid for a range, step or name that
    cannot be used.
    """
    wanted = RangeWanted(start, end, step, at or utcnow())
    question = RangeQuestion(metric, wanted, aggregation, tags, group_by)
    memo = RangeMemo()
    await prepare_ranges(cx, organization_id, [question], memo)
    return await question.answer(cx, organization_id, memo)


class RangeMemo:
    """What range questions that share a transaction read: each part of it once, for all of them."""

    def __init__(self) -> None:
        self.series_ids: set[int] = set()
        """Those that any of the questions means."""
        self.figures: set[str] = set()
        """Those of rollups that any needs."""
        self.is_rate = False
        """Whether any needs what lies before its first step."""
        self.found: dict[Any, Any] = {}


@dataclass(frozen=True, slots=True)
class RangeWanted:
    """A range and its step, the present, and how long the platform keeps each level; `most` is the
    longest that it lets an organization choose."""

    start: datetime
    end: datetime
    step: timedelta | None
    at: datetime
    terms: Mapping[str, timedelta] = field(default_factory=lambda: TERMS)
    most: timedelta = timedelta.max


def range_wanted(
    settings: Settings, start: datetime, end: datetime, step: timedelta | None, at: datetime
) -> RangeWanted:
    """A range as seen at `at`, with the platform's terms of each level."""
    days = {
        "raw": settings.retention_raw_days,
        "1m": settings.retention_1m_days,
        "5m": settings.retention_5m_days,
        "1h": settings.retention_1h_days,
        "1d": settings.retention_1d_days,
    }
    terms = {level: timedelta(days=count) for level, count in days.items()}
    most = timedelta(days=settings.retention_most_days) or timedelta.max
    return RangeWanted(start, end, step, at, terms, most)


class RangeQuestion:
    """A range query in two steps, so that several can read together: all are prepared, and then
    each is answered."""

    def __init__(
        self,
        metric: str,
        wanted: RangeWanted,
        aggregation: Aggregation,
        tags: Mapping[str, str] | None = None,
        group_by: Sequence[str] | None = None,
    ) -> None:
        self._metric, self._wanted, self._aggregation = metric, wanted, aggregation
        # Told before anybody reads: what no term can make right.
        self._plan = self._planned({})
        self._splits = name_splits(metric)
        self._tags, self._group_by = tags, group_by
        self._series: list[Series] = []

    @property
    def span_ms(self) -> int:
        """How long the range is."""
        return round((self._wanted.end - self._wanted.start).total_seconds() * 1000)

    @property
    def selector(self) -> tuple[NameSplits, Tags]:
        """Which series it means."""
        return self._splits, self._tags

    @property
    def series(self) -> Sequence[Series]:
        """Those that were found for it."""
        return self._series

    def prepare(
        self, series: list[Series], own_terms: Mapping[str, timedelta], memo: RangeMemo
    ) -> None:
        """Takes what was found, and says what else is needed."""
        self._plan, self._series = self._planned(own_terms), series
        memo.series_ids.update(one.id for one in series)
        memo.figures.update(figures_of(self._aggregation) or ("sketches",))
        memo.is_rate |= self._aggregation is Aggregation.RATE

    async def answer(self, cx: Connection, organization_id: UUID, memo: RangeMemo) -> RangeAnswer:
        """Reads them. Raises NotValid for too much."""
        series, seconds = self._series, self._plan.step.total_seconds()
        grouping = group_series([one.tags for one in series], self._group_by)
        reader = _RangeReader(
            cx,
            organization_id,
            self._plan,
            aggregation=self._aggregation,
            groups=Groups.of([one.id for one in series], grouping.numbers),
            memo=memo,
        )
        points = await reader.read() if series else merge_points([])
        bounds = np.searchsorted(points.group, np.arange(len(grouping.tags) + 1)).tolist()
        times, values = (points.slot * seconds).tolist(), points.value.tolist()
        of = dict(zip(grouping.numbers, series, strict=True))
        lines = [
            RangeSeries(
                self._metric,
                labels,
                of[group].unit,
                list(zip(times[a:b], values[a:b], strict=True)),
                of[group].shown_unit,
            )
            for group, (labels, a, b) in enumerate(
                zip(grouping.tags, bounds[:-1], bounds[1:], strict=True)
            )
            if a < b
        ]
        return RangeAnswer(lines, self._plan.resolution, seconds)

    def _planned(self, own_terms: Mapping[str, timedelta]) -> RangePlan:
        wanted = self._wanted
        terms = {
            level: min(term, wanted.most) for level, term in {**wanted.terms, **own_terms}.items()
        }
        return plan_range(wanted.start, wanted.end, wanted.step, wanted.at, terms)


async def prepare_ranges(
    cx: Connection, organization_id: UUID, questions: Sequence[RangeQuestion], memo: RangeMemo
) -> None:
    """Finds the series of questions and what is kept."""
    if questions:
        terms = await _find_terms(cx, organization_id)
        found = await find_many_series(cx, organization_id, [one.selector for one in questions])
        for question, series in zip(questions, found, strict=True):
            question.prepare(series, terms, memo)


async def _find_terms(cx: Connection, organization_id: UUID) -> dict[str, timedelta]:
    """How long an organization keeps each level, where it said so itself."""
    found = await cx.execute(Q.find_terms, {"organization_id": organization_id})
    row = await found.fetchone() or {}
    return {level: timedelta(days=days) for level, days in row.items() if days is not None}


class _RangeReader:
    """Reads one range query."""

    def __init__(
        self,
        cx: Connection,
        organization_id: UUID,
        plan: RangePlan,
        *,
        aggregation: Aggregation,
        groups: Groups,
        memo: RangeMemo,
    ) -> None:
        self._memo, self._shared = memo.found, memo
        self._cx, self._organization_id, self._plan = cx, organization_id, plan
        self._aggregation, self._groups = aggregation, groups
        self._step_ms = round(plan.step.total_seconds() * 1000)

    async def read(self) -> Points:
        first = round(self._plan.start.timestamp() * 1000) // self._step_ms
        behind = round(self._plan.end.timestamp() * 1000) // self._step_ms
        # The first rise of a step is the one from the sample before it.
        earliest = first - (-(-RISES_SINCE_MS // self._step_ms) if self._shared.is_rate else 0)
        if self._plan.width is None:
            points = self._points_of(await self._samples(earliest, behind))
        else:
            unrolled = unite_stretches(await self._unrolled(earliest, behind))
            rolled = await self._rollups(earliest, behind)
            samples = [await self._samples(*stretch) for stretch in unrolled]
            points = (
                self._merged(rolled, samples, unrolled) if samples else self._rolled_points(rolled)
            )
        return points.within(first, behind)

    def _merged(
        self, rolled: Rollups, samples: Sequence[Line], unrolled: Sequence[tuple[int, int]]
    ) -> Points:
        """The rollups, but in the stretches that they do not know whole the samples."""
        slots = rolled.at_ms // self._step_ms
        known = np.ones(len(slots), np.bool_)
        for begin, until in unrolled:
            known &= (slots < begin) | (slots >= until)
        rows = rolled.take(known)
        if self._aggregation.quantile is not None:
            # Exact where there are samples.
            return merge_points([self._rolled_points(rows), *map(self._points_of, samples)])
        parts = [rows, *map(rollups_of_samples, samples)]
        return self._rolled_points(join_rollups(parts, figures_of(self._aggregation)))

    def _points_of(self, samples: Line) -> Points:
        return points_of_samples(samples, self._groups, self._step_ms, self._aggregation)

    def _rolled_points(self, rollups: Rollups) -> Points:
        return points_of_rollups(rollups, self._groups, self._step_ms, self._aggregation)

    async def _unrolled(self, first: int, behind: int) -> list[tuple[int, int]]:
        """The steps that the rollups do not know whole."""
        key = self._organization_id, self._plan, first, behind
        if key not in self._memo:
            found = await self._cx.execute(
                Q.list_unrolled_stretches,
                {**self._between(first, behind), "width": self._plan.width},
            )
            self._memo[key] = [
                (
                    max(row["starts_ms"] // self._step_ms, first),
                    min(-(-row["ends_ms"] // self._step_ms), behind),
                )
                for row in await found.fetchall()
            ]
        stretches: list[tuple[int, int]] = self._memo[key]
        return stretches

    async def _samples(self, first: int, behind: int) -> Line:
        span = first * self._step_ms, behind * self._step_ms
        key = self._organization_id, span
        if key not in self._memo:
            self._memo[key] = await read_samples(
                self._cx, self._organization_id, *span, sorted(self._shared.series_ids)
            )
        line: Line = self._memo[key]
        return line.of(self._groups.series_ids)

    async def _rollups(self, first: int, behind: int) -> Rollups:
        key = self._organization_id, self._plan, first, behind, "rollups"
        if key not in self._memo:
            figures = sorted(self._shared.figures)
            wanted = {
                **self._between(first, behind),
                "width": self._plan.width,
                "figures": figures,
            }
            async with self._cx.cursor(binary=True) as cursor:
                keep_arrays_packed(cursor)
                await cursor.execute(Q.list_rollups, wanted)
                series_ids = np.array(sorted(self._shared.series_ids), np.int32)
                self._memo[key] = rollups_of_rows(await cursor.fetchall(), figures, series_ids)
        rollups: Rollups = self._memo[key]
        return rollups.of(self._groups.series_ids)

    def _between(self, first: int, behind: int) -> dict[str, Any]:
        return {
            "organization_id": self._organization_id,
            "from": self._time(first),
            "to": self._time(behind),
        }

    def _time(self, slot: int) -> datetime:
        return datetime.fromtimestamp(slot * self._step_ms / 1000, UTC)
