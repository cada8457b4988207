"""Reads what the leaves of an expression need.

1. The catalogue says which series each leaf means.
2. The blocks that can hold their samples are read, each once for all leaves.
3. For instants that are too old for samples the rollups are read.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import numpy as np

from wedsync_apm.db.pool import Connection
from wedsync_apm.metrics.expression import store
from wedsync_apm.metrics.expression.ages import (
    SURELY_KEPT_MS,
    Kept,
    Old,
    old_of,
    warnings_of,
)
from wedsync_apm.metrics.expression.budget import MOST_SAMPLES, TooMuch
from wedsync_apm.metrics.expression.plan import Need
from wedsync_apm.metrics.expression.rolled import FIGURES
from wedsync_apm.metrics.expression.selection import LabelledSeries, select
from wedsync_apm.metrics.expression.syntax import BadExpression
from wedsync_apm.metrics.expression.taking import Selected
from wedsync_apm.metrics.reading.lines import NOTHING, Line, line_up, unite_stretches
from wedsync_apm.metrics.reading.store import read_samples
from wedsync_apm.metrics.steps import Rollups

_SERIES_AT_A_TIME: Final = 2_000
_SELDOM_DENSER_MS: Final = 5_000
"""Between two samples: where that would be too many, they are counted before they are read."""
_LATEST_MS: Final = 2**43
"""A time long after every sample, which still has a date."""


async def read_leaves(
    cx: Connection, organization_id: UUID, needs: Sequence[Need], platform: Kept
) -> list[Selected | BadExpression]:
    """What each need comes to over the series of one organization that the caller sees; all are
    read together, and each block once. A need that cannot be understood has its error instead.
    `platform` is what is kept of those who did not choose otherwise.

    Raises NotValid and TooMuch where too much would have to be read.
    """
    kept = platform
    if min(need.span[0] for need in needs) < platform.at_ms - SURELY_KEPT_MS:
        kept = await store.find_kept(cx, organization_id, platform)
    listed = await store.list_series(cx, organization_id, [one.leaf.matchers for one in needs])
    chosen: list[list[LabelledSeries] | BadExpression] = []
    for need in needs:
        if len(listed) > _SERIES_AT_A_TIME:
            await asyncio.sleep(0)
        try:
            chosen.append(select(listed, need.leaf.matchers))
        except BadExpression as exc:
            chosen.append(exc)
    found: list[Selected | BadExpression] = []
    lines: dict[tuple[int, int], Line] = {}
    spans = unite_stretches([need.span for need in needs])
    for need, series in zip(needs, chosen, strict=True):
        if isinstance(series, BadExpression):
            found.append(series)
            continue
        span = next(one for one in spans if one[0] <= need.span[0] < one[1])
        if span not in lines:
            ids = {
                one.id
                for other, those in zip(needs, chosen, strict=True)
                if span[0] <= other.span[0] < span[1] and not isinstance(those, BadExpression)
                for one in those
            }
            lines[span] = await _read(cx, organization_id, span, sorted(ids))
        found.append(Selected(series, lines[span]))
    return await _with_rollups(cx, organization_id, needs, found, kept)


async def _with_rollups(
    cx: Connection,
    organization_id: UUID,
    needs: Sequence[Need],
    found: list[Selected | BadExpression],
    kept: Kept,
) -> list[Selected | BadExpression]:
    """The same with what the old instants of each need take. Rollups of one width that touch are
    read once."""
    old = {
        place: those
        for place, (need, one) in enumerate(zip(needs, found, strict=True))
        if isinstance(one, Selected) and one.series and (those := old_of(need, kept))
    }
    wanted: defaultdict[int, list[tuple[tuple[int, int], int]]] = defaultdict(list)
    for place, those in old.items():
        for one in those:
            if one.buckets:
                wanted[one.width_ms].append((one.span_ms(needs[place]), place))
    read: dict[tuple[int, tuple[int, int]], Rollups] = {}
    for width_ms, spans in wanted.items():
        for united in unite_stretches([span for span, _ in spans]):
            inside = [place for span, place in spans if united[0] <= span[0] < united[1]]
            read[width_ms, united] = await store.read_rollups(
                cx,
                organization_id,
                width_ms=width_ms,
                span=united,
                series_ids=[one.id for place in inside for one in _series_of(found[place])],
                figures=sorted(
                    {name for place in inside for name in FIGURES[needs[place].leaf.function]}
                ),
            )

    def rollups_of(need: Need, one: Old) -> Rollups | None:
        if not one.buckets:
            return None
        begin_ms = one.span_ms(need)[0]
        return next(
            those
            for (width_ms, span), those in read.items()
            if width_ms == one.width_ms and span[0] <= begin_ms < span[1]
        )

    for place, those in old.items():
        selected = found[place]
        if isinstance(selected, Selected):
            parts = [(one, rollups_of(needs[place], one)) for one in those]
            found[place] = replace(
                selected,
                old=parts,
                kept_from_ms=kept.samples_from_ms,
                warnings=warnings_of(needs[place], _worth_a_word(selected.series, parts), kept),
            )
    return found


def _figures(needs: Iterable[Need]) -> list[str]:
    return sorted({name for need in needs for name in FIGURES[need.leaf.function]})


def _series_of(one: Selected | BadExpression) -> Sequence[LabelledSeries]:
    return one.series if isinstance(one, Selected) else ()


def _worth_a_word(
    series: Sequence[LabelledSeries], parts: Sequence[tuple[Old, Rollups | None]]
) -> list[Old]:
    """What has no answer, and what has one from rollups that there are."""
    ids = np.array([one.id for one in series], np.int32)
    return [one for one, rollups in parts if rollups is None or np.isin(ids, rollups.series).any()]


async def _read(
    cx: Connection, organization_id: UUID, span: tuple[int, int], series_ids: Sequence[int]
) -> Line:
    span = max(span[0], 0), min(span[1], _LATEST_MS)
    if not series_ids or span[0] >= span[1]:
        return line_up([NOTHING], 0, 1)
    if len(series_ids) * (span[1] - span[0]) // _SELDOM_DENSER_MS > MOST_SAMPLES:
        samples = await store.count_samples(cx, organization_id, *span, series_ids)
        if samples > MOST_SAMPLES:
            raise TooMuch(
                f"the selectors mean {samples:,} samples; at most {MOST_SAMPLES:,} are read for one"
                " answer: narrow them or take a shorter time"
            )
    return await read_samples(cx, organization_id, *span, series_ids)
