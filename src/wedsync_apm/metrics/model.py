"""Series, batches of samples and the blocks that they are stored in.

A sample's series is an integer, its *handle* in a `SeriesDirectory`: columns of integers are what
lets a batch be grouped, checked and packed without a Python loop over its samples.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HOUR_MS: Final = 3_600_000
"""What a write batch spans at most, so that a reader knows how far to look back."""

UNRESOLVED: Final = 0
"""In place of a series id: the database was not asked yet."""
REFUSED: Final = -1
"""In place of a series id: the organization has as many series as it may have."""
UNKNOWN_ORGANIZATION: Final = -2
"""In place of a series id: there is no such organization."""

CALENDAR: Final = -1
"""In place of a context: the organization's wedding calendar decides."""


@dataclass(slots=True, unsafe_hash=True)
class SeriesKey:
    """What makes a series one: `tags` are sorted by name and hold each name once.

    Type and unit are attributes: they are learnt with the first sample and split nothing. Nobody
    changes one; it is not frozen because that triples the cost of making it.
    """

    organization_id: UUID
    service_name: str
    metric_name: str
    tags: tuple[tuple[str, str], ...] = ()
    metric_type: str = field(default="gauge", compare=False)
    unit: str | None = field(default=None, compare=False)


def infer_metric_type(metric_name: str) -> str:
    """The type of a metric whose sender declared none."""
    return "counter" if metric_name.endswith("_total") else "gauge"


@dataclass(frozen=True, slots=True)
class OrganizationForms:
    """An organization's id as it is written: made once, for it is needed in every flush."""

    data: bytes
    text: str


class SeriesDirectory:
    """The series that one process has met, and what the database calls them.

    Handles are small integers in order of first sight and stay valid for the directory's life. A
    directory only grows; when it `is_full`, its owner starts a new one and the batches that were
    decoded with the old one keep it alive until they are stored.
    """

    def __init__(self, capacity: int = 600_000) -> None:
        self.keys: list[SeriesKey] = []
        self.organizations: list[UUID] = []
        self.organization_forms: list[OrganizationForms] = []
        self._capacity = capacity
        self._handles: dict[tuple[int, str, str, tuple[tuple[str, str], ...]], int] = {}
        """By what makes a series one, with the organization's position."""
        self._tags: dict[tuple[str, str], tuple[str, str]] = {}
        self._organization_handles: dict[int, int] = {}
        self._organization = np.zeros(1024, np.int64)
        self._series_id = np.zeros(1024, np.int32)
        self._resolved_at = np.zeros(1024, np.float64)
        self._companions: dict[type, Any] = {}

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_full(self) -> bool:
        return len(self.keys) >= self._capacity

    def handle(self, key: SeriesKey) -> int:
        """The handle of a series, a new one if it was never met.

        A unit that comes only now is learnt: the database is asked about the series again.
        """
        handle = len(self.keys)
        organization = self.organization_handle(key.organization_id)
        identity = organization, key.service_name, key.metric_name, key.tags
        found = self._handles.setdefault(identity, handle)
        if found != handle:
            if key.unit is not None and self.keys[found].unit is None:
                self.keys[found] = key
                self._resolved_at[found] = -np.inf
            return found
        if handle == len(self._series_id):
            self._organization = np.resize(self._organization, 2 * handle)
            self._series_id = np.resize(self._series_id, 2 * handle)
            self._resolved_at = np.resize(self._resolved_at, 2 * handle)
            self._series_id[handle:] = UNRESOLVED
        self.keys.append(key)
        self._organization[handle] = organization
        return handle

    def companion(self, kind: type[T], make: Callable[[], T]) -> T:
        """What somebody remembers by these handles: made when first asked for, gone with them."""
        if kind not in self._companions:
            self._companions[kind] = make()
        found: T = self._companions[kind]
        return found

    def share_tags(self, tags: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """The same tags, each pair kept once however many series have it."""
        return tuple(self._tags.setdefault(tag, tag) for tag in tags)

    def organization_handle(self, organization_id: UUID) -> int:
        """The position of an organization in `organizations`, a new one if it was never met."""
        number = organization_id.int  # its hash is no call
        found = self._organization_handles.get(number)
        if found is None:
            found = self._organization_handles[number] = len(self.organizations)
            self.organizations.append(organization_id)
            forms = OrganizationForms(organization_id.bytes, str(organization_id))
            self.organization_forms.append(forms)
        return found

    def organization_of(self, handles: Ints) -> Ints:
        """Positions in `organizations`."""
        found: Ints = self._organization[handles]
        return found

    @property
    def organization_column(self) -> Ints:
        """Of each handle the position in `organizations`. It moves when the directory grows."""
        return self._organization

    @property
    def series_id_column(self) -> NDArray[np.int32]:
        """Of each handle what `series_ids` gives. It moves when the directory grows."""
        return self._series_id

    @property
    def resolved_at_column(self) -> Floats:
        """Of each handle when it was resolved. It moves when the directory grows."""
        return self._resolved_at

    def series_ids(self, handles: Ints) -> NDArray[np.int32]:
        """The database's ids; `UNRESOLVED`, `REFUSED` or `UNKNOWN_ORGANIZATION` where there is
        none."""
        found: NDArray[np.int32] = self._series_id[handles]
        return found

    def unresolved(self, handles: Ints, *, older_than: float, refused_before: float) -> Ints:
        """The distinct handles to ask the database about.

        Those that were never resolved, or before `older_than`; for a refusal `refused_before`
        counts, since there may be room again. Both are seconds of the clock given to `resolve`.
        """
        ids, at = self._series_id[handles], self._resolved_at[handles]
        return np.unique(
            handles[(ids == UNRESOLVED) | (at < older_than) | ((ids < 0) & (at < refused_before))]
        )

    def resolve(self, handles: Ints, series_ids: NDArray[np.int32], at: float) -> None:
        """Remembers what the database answered at `at`."""
        self._series_id[handles] = series_ids
        self._resolved_at[handles] = at


@dataclass(slots=True, eq=False)
class SampleBatch:
    """The samples of one request as equally long columns.

    `timestamps_ms` are whole milliseconds since 1970 UTC. `context_index` points into `contexts`
    (wedding contexts as JSON text, as the samples declared them); `CALENDAR`, or no column at all,
    leaves it to the calendar. `ended` are series that their sender declared over: handle and
    milliseconds.
    """

    directory: SeriesDirectory
    series: Ints
    timestamps_ms: Ints
    values: Floats
    source: str
    contexts: tuple[str, ...] = ()
    context_index: Ints | None = None
    ended: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.series)


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Rows of `apm_metrics` at level 0, not yet packed.

    Block i holds the samples `starts[i]:starts[i + 1]` of the sample columns, sorted by series and
    time. `organization`, `context` and `source` are the caller's own codes, one a block.
    """

    starts: Ints
    organization: Ints
    context: Ints
    source: Ints
    first_ms: Ints
    last_ms: Ints
    series_ids: NDArray[np.int32]
    offsets_ms: NDArray[np.int32]
    values: Floats

    def __len__(self) -> int:
        return len(self.organization)


def split_blocks(
    *,
    organization: Ints,
    series_ids: Ints,
    timestamps_ms: Ints,
    values: Floats,
    context: Ints,
    source: Ints,
) -> Blocks:
    """Samples in the order of their arrival as blocks.

    1. Of the same series and time the last to arrive stays, as it would had they come apart.
    2. A block holds one organization, context, source and clock hour (UTC), so that it neither
       spans more than an hour nor crosses a day, which is a partition.
    """
    if not len(organization):
        return _no_blocks()
    series_key = organization << 32 | series_ids
    order = np.lexsort((timestamps_ms, series_key))
    key, at = series_key[order], timestamps_ms[order]
    superseded = (key[1:] == key[:-1]) & (at[1:] == at[:-1])
    if superseded.any():
        order = order[np.append(~superseded, True)]
    block_key = _mixed_radix(organization, timestamps_ms // HOUR_MS, context, source)
    key = block_key[order]
    if (key[1:] < key[:-1]).any():
        order = order[np.argsort(key, kind="stable")]
        key = block_key[order]
    heads = np.concatenate(([0], np.flatnonzero(key[1:] != key[:-1]) + 1))
    starts = np.append(heads, len(order))
    at = timestamps_ms[order]
    first = np.minimum.reduceat(at, heads)
    chosen = order[heads]
    return Blocks(
        starts=starts,
        organization=organization[chosen],
        context=context[chosen],
        source=source[chosen],
        first_ms=first,
        last_ms=np.maximum.reduceat(at, heads),
        series_ids=series_ids[order].astype(np.int32),
        offsets_ms=(at - np.repeat(first, starts[1:] - heads)).astype(np.int32),
        values=values[order],
    )


def _no_blocks() -> Blocks:
    none, none32 = np.zeros(0, np.int64), np.zeros(0, np.int32)
    return Blocks(np.zeros(1, np.int64), none, none, none, none, none, none32, none32, np.zeros(0))


def _mixed_radix(*columns: Ints) -> Ints:
    """One number for each combination of values, in the order of the columns.

    Raises OverflowError where there are more combinations than numbers.
    """
    combinations, mixed = 1, np.zeros(len(columns[0]), np.int64)
    for column in columns:
        least = int(column.min())
        count = int(column.max()) - least + 1
        combinations *= count
        mixed = mixed * count + (column - least)
    if combinations >= 1 << 63:
        raise OverflowError("more combinations of block columns than there are numbers")
    return mixed
