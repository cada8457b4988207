"""The batches of a flush as blocks: with the calendar's contexts, and the word on each sample."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.ingest import model
from wedsync_apm.ingest.arrays import PackedBlocks
from wedsync_apm.ingest.calendar import CalendarCache
from wedsync_apm.metrics.model import (
    CALENDAR,
    REFUSED,
    UNKNOWN_ORGANIZATION,
    Ints,
    SampleBatch,
    split_blocks,
)

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """What became of a batch: the number committed, and by reason the positions that were not."""

    stored: int
    refused: Mapping[str, Ints]


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """The samples of batches of one directory, as columns, without those that have no series."""

    batches: Sequence[SampleBatch]
    results: Sequence[Written]
    ids: NDArray[np.int32]
    organization: Ints
    organizations: Sequence[int]
    """The distinct ones of `organization`."""
    timestamps_ms: Ints
    values: NDArray[np.float64]
    codes: Ints
    contexts: dict[str | None, int]
    source: Ints
    sources: Sequence[str]


def gather(batches: Sequence[SampleBatch]) -> Gathered:
    """Side by side; all of one directory, which knows their series."""
    directory = batches[0].directory
    series = _joined([batch.series for batch in batches])
    ids = directory.series_ids(series)
    contexts: dict[str | None, int] = {}
    sources = sorted({batch.source for batch in batches})
    columns = (
        ids,
        directory.organization_of(series),
        _joined([batch.timestamps_ms for batch in batches]),
        _joined([batch.values for batch in batches]),
        _joined([_context_codes(batch, contexts) for batch in batches]),
        np.repeat(
            [sources.index(batch.source) for batch in batches], [len(batch) for batch in batches]
        ),
    )
    taken = ids > 0
    if not taken.all():
        columns = tuple(column[taken] for column in columns)  # type: ignore[assignment]
    known, organization, timestamps_ms, values, codes, source = columns
    return Gathered(
        batches,
        _results(batches, ids),
        known,
        organization,
        np.flatnonzero(np.bincount(organization)).tolist(),
        timestamps_ms,
        values,
        codes,
        contexts,
        source,
        sources,
    )


def pack(gathered: Gathered, calendar: CalendarCache) -> PackedBlocks:
    """Blocks; the calendar must know the organizations and times."""
    directory = gathered.batches[0].directory
    calendar.apply(
        organizations=gathered.organizations,
        organization=gathered.organization,
        timestamps_ms=gathered.timestamps_ms,
        codes=gathered.codes,
        contexts=gathered.contexts,
    )
    blocks = split_blocks(
        organization=gathered.organization,
        series_ids=gathered.ids.astype(np.int64),
        timestamps_ms=gathered.timestamps_ms,
        values=gathered.values,
        context=gathered.codes,
        source=gathered.source,
    )
    return PackedBlocks(
        blocks, directory.organization_forms, tuple(gathered.contexts), gathered.sources
    )


def ended_series(batches: Sequence[SampleBatch]) -> dict[UUID, dict[int, int]]:
    """By organization the ids of the series that their senders declared over, and when (ms)."""
    ended: defaultdict[UUID, dict[int, int]] = defaultdict(dict)
    for batch in batches:
        for handle, timestamp_ms in batch.ended:
            series_id = int(batch.directory.series_ids(np.array([handle]))[0])
            if series_id > 0:
                ended[batch.directory.keys[handle].organization_id][series_id] = timestamp_ms
    return ended


def all_handles(batch: SampleBatch) -> Ints:
    """The series of a batch's samples, and those that ended."""
    if not batch.ended:
        return batch.series
    return np.concatenate([batch.series, np.array([handle for handle, _ in batch.ended], np.int64)])


def _joined(columns: Sequence[NDArray[Number]]) -> NDArray[Number]:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _results(group: Sequence[SampleBatch], ids: NDArray[np.int32]) -> list[Written]:
    """By batch: how many samples go in, and the positions of those that do not."""
    results, start = [], 0
    for batch in group:
        own = ids[start : start + len(batch)]
        start += len(batch)
        refused = {
            reason: np.flatnonzero(own == code)
            for reason, code in (
                (model.TOO_MANY_SERIES, REFUSED),
                (model.UNKNOWN_ORGANIZATION, UNKNOWN_ORGANIZATION),
            )
            if (own == code).any()
        }
        results.append(Written(int((own > 0).sum()), refused))
    return results


def _context_codes(batch: SampleBatch, contexts: dict[str | None, int]) -> Ints:
    """The batch's own contexts by the flush's codes; the rest stays `CALENDAR`."""
    if batch.context_index is None:
        return np.full(len(batch), CALENDAR, np.int64)
    codes = [contexts.setdefault(context, len(contexts)) for context in batch.contexts]
    # The last entry is what `CALENDAR`, which is -1, finds.
    return np.array([*codes, CALENDAR], np.int64)[batch.context_index]
