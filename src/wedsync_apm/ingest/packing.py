"""The batches of a flush as blocks: with the calendar's contexts, and the word on each sample."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from wedsync_apm.ingest import model
from wedsync_apm.ingest.calendar import CalendarCache
from wedsync_apm.ingest.plain_samples import Columns, Cut
from wedsync_apm.metrics.model import (
    CALENDAR,
    REFUSED,
    UNKNOWN_ORGANIZATION,
    Ints,
    OrganizationForms,
    SampleBatch,
)

try:
    from wedsync_apm.ingest.samples import Flush
except ImportError:  # no compiler was there when the product was installed
    from wedsync_apm.ingest.plain_samples import Flush


@dataclass(slots=True, eq=False)
class Written:
    """What became of a batch: the number committed, and by reason the positions that were not."""

    stored: int
    refused: Mapping[str, Ints]


@dataclass(slots=True, eq=False)
class PackedBlocks:
    """Blocks with what their codes stand for."""

    blocks: Cut
    organizations: Sequence[OrganizationForms]
    contexts: Sequence[str | None]
    sources: Sequence[str]


class Gathered:
    """Batches of one directory, which knows their series, side by side."""

    def __init__(self, batches: Sequence[SampleBatch]) -> None:
        self.directory = batches[0].directory
        self._batches = batches
        self._contexts: dict[str | None, int] = {None: 0}
        self._sources: dict[str, int] = {}
        columns = [
            Columns(
                batch.series,
                batch.timestamps_ms,
                batch.values,
                self._codes_of(batch),
                self._sources.setdefault(batch.source, len(self._sources)),
            )
            for batch in batches
        ]
        self.flush = Flush(
            columns, self.directory.series_id_column, self.directory.organization_column
        )

    def results(self) -> list[Written]:
        """By batch: how many samples go in, and the positions of those that do not."""
        return [
            Written(stored, {} if stored == len(batch) else _refused(batch))
            for batch, stored in zip(self._batches, self.flush.stored, strict=True)
        ]

    def pack(self, calendar: CalendarCache) -> PackedBlocks:
        """Blocks, at least one; the calendar must know the organizations and times."""
        flush, contexts = self.flush, self._contexts
        spans = {
            organization: [
                (start_ms, end_ms, contexts.setdefault(context, len(contexts)))
                for start_ms, end_ms, context in found
                if start_ms <= flush.latest_ms and end_ms > flush.earliest_ms
            ]
            for organization, found in calendar.spans_of(flush.organizations).items()
        }
        cut = flush.cut(spans, 0)
        return PackedBlocks(
            cut, self.directory.organization_forms, tuple(contexts), tuple(self._sources)
        )

    def _codes_of(self, batch: SampleBatch) -> Ints | None:
        """The batch's own contexts by the flush's codes; the rest stays `CALENDAR`."""
        if batch.context_index is None:
            return None
        contexts = self._contexts
        codes = [contexts.setdefault(context, len(contexts)) for context in batch.contexts]
        # The last entry is what `CALENDAR`, which is -1, finds.
        return np.array([*codes, CALENDAR], np.int64)[batch.context_index]


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


def _refused(batch: SampleBatch) -> dict[str, Ints]:
    ids = batch.directory.series_ids(batch.series)
    return {
        reason: np.flatnonzero(ids == code)
        for reason, code in (
            (model.TOO_MANY_SERIES, REFUSED),
            (model.UNKNOWN_ORGANIZATION, UNKNOWN_ORGANIZATION),
        )
        if (ids == code).any()
    }
