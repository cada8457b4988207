"""The same as `samples`, by numpy: where `samples` is not compiled.

And what `samples` is compared with.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.blocks.wire import pack_array
from wedsync_apm.metrics.model import CALENDAR, Floats, Ints, split_blocks

INT4_OID: Final = 23
FLOAT8_OID: Final = 701
TIMESTAMPTZ_OID: Final = 1184

_POSTGRES_EPOCH_MS: Final = 946_684_800_000
_NULL: Final = struct.pack(">i", -1)
# dimensions, has nulls, element type, length, lower bound
_HEAD: Final = struct.Struct(">iiiii")
_LENGTH: Final = struct.Struct(">i")

Span = tuple[int, int, int]
"""From and until when (milliseconds), and the code of the context."""


class Columns(NamedTuple):
    """What a flush takes of a batch."""

    series: Ints
    """Handles."""
    timestamps_ms: Ints
    values: Floats
    contexts: Ints | None
    """Codes; `CALENDAR`, or no column at all, leaves it to the calendar."""
    source: int


class Cut(NamedTuple):
    """Blocks as arrays of PostgreSQL's binary format, but for whose they are.

    All samples are one array a column; the database cuts the blocks out of them, so that the work
    of a block does not grow with its samples.
    """

    organizations: list[int]
    """Of each block, as are the arrays that are not of samples."""
    earliest: bytes
    latest: bytes
    series_ids: bytes
    """Of each sample, as are the two that follow."""
    offsets_ms: bytes
    metric_values: bytes
    start_ats: bytes
    """The first of a block's samples, counted from 1."""
    stop_ats: bytes
    context_ats: bytes
    source_ats: bytes


def pack_items(items: Sequence[str | bytes | None], oid: int) -> bytes:
    """At least one, as an array of elements of that type; a text as UTF-8, None as null."""
    parts = [_HEAD.pack(1, int(None in items), oid, len(items), 1)]
    for item in items:
        if item is None:
            parts.append(_NULL)
        else:
            data = item if isinstance(item, bytes) else item.encode()
            parts += (_LENGTH.pack(len(data)), data)
    return b"".join(parts)


def tally(series: Ints, organization: Ints) -> dict[int, int]:
    """How many of the handles are of each organization."""
    found, counts = np.unique(organization[series], return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def are_known(
    series: Ints, series_id: NDArray[np.int32], resolved_at: Floats, older_than: float
) -> bool:
    """Whether all have an id that is not from before `older_than`."""
    return bool(((series_id[series] > 0) & (resolved_at[series] >= older_than)).all())


class Flush:
    """The samples of batches of one directory, without those that have no series."""

    def __init__(
        self, columns: Sequence[Columns], series_id: NDArray[np.int32], organization: Ints
    ) -> None:
        handles = np.concatenate([batch.series for batch in columns])
        ids = series_id[handles]
        taken = ids > 0
        sizes = [len(batch.series) for batch in columns]
        self._ids = ids[taken].astype(np.int64)
        self._organization = organization[handles][taken]
        self._timestamps_ms = np.concatenate([batch.timestamps_ms for batch in columns])[taken]
        self._values = np.concatenate([batch.values for batch in columns])[taken]
        codes = [
            np.full(size, CALENDAR, np.int64) if batch.contexts is None else batch.contexts
            for batch, size in zip(columns, sizes, strict=True)
        ]
        self._codes = np.concatenate(codes)[taken]
        self._source = np.repeat([batch.source for batch in columns], sizes)[taken]

        parts = np.split(taken, np.cumsum(sizes)[:-1])
        self.stored = [int(part.sum()) for part in parts]
        """Samples that go in, by batch."""
        self.organizations: list[int] = np.unique(self._organization).tolist()
        self.earliest_ms = int(self._timestamps_ms.min(initial=np.iinfo(np.int64).max))
        self.latest_ms = int(self._timestamps_ms.max(initial=np.iinfo(np.int64).min))
        self.not_finite = int((~np.isfinite(self._values)).sum())

    def cut(self, spans: Mapping[int, Sequence[Span]], otherwise: int) -> Cut:
        """The blocks. `spans` gives, for organizations with weddings, from and until when
        (milliseconds) samples that have no context of their own get which; the first that fits
        counts, and `otherwise` where none does. To be called once."""
        at = self._timestamps_ms
        for organization in self.organizations:
            for start_ms, end_ms, code in spans.get(organization, ()):
                inside = (at >= start_ms) & (at < end_ms) & (self._organization == organization)
                self._codes[inside & (self._codes == CALENDAR)] = code
        self._codes[self._codes == CALENDAR] = otherwise
        blocks = split_blocks(
            organization=self._organization,
            series_ids=self._ids,
            timestamps_ms=at,
            values=self._values,
            context=self._codes,
            source=self._source,
        )
        return Cut(
            blocks.organization.tolist(),
            _times(blocks.first_ms),
            _times(blocks.last_ms),
            pack_array(blocks.series_ids, INT4_OID),
            pack_array(blocks.offsets_ms, INT4_OID),
            pack_array(blocks.values, FLOAT8_OID),
            pack_array(blocks.starts[:-1] + 1, INT4_OID),
            pack_array(blocks.starts[1:], INT4_OID),
            pack_array(blocks.context + 1, INT4_OID),
            pack_array(blocks.source + 1, INT4_OID),
        )


def _times(timestamps_ms: Ints) -> bytes:
    """Unix milliseconds as a timestamptz[]."""
    return pack_array((timestamps_ms - _POSTGRES_EPOCH_MS) * 1000, TIMESTAMPTZ_OID)
