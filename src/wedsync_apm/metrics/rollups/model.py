"""What samples come to in a bucket, for every series at once.

The same figures as `apm_private.summarize_minutes` and `apm_private.merge_rollups`, which do it in
SQL, one organization at a time, for whoever has only SQL; a test holds the two together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.sketch import Floats as Floats
from wedsync_apm.metrics.sketch import Ints as Ints
from wedsync_apm.metrics.sketch import Sketches, interpolate

Mask = NDArray[np.bool_]

SHARES: Final = (0.5, 0.95, 0.99)
MINUTE_MS: Final = 60_000
LARGEST: Final = 1e290
"""One tenant's absurd values must not overflow a sum and stop everybody's rollups."""


_MOST_NUMBERS: Final = 1 << 24


class Samples(NamedTuple):
    """Samples as equally long columns, in any order; of one organization, series and time the
    one with the highest `order` counts."""

    organization: Ints
    series: Ints
    at_ms: Ints
    order: Ints
    values: Floats
    is_wedding_day: Mask

    def take(self, chosen: NDArray[Any]) -> "Samples":
        """The samples of a mask, or at positions."""
        return Samples(
            self.organization[chosen],
            self.series[chosen],
            self.at_ms[chosen],
            self.order[chosen],
            self.values[chosen],
            self.is_wedding_day[chosen],
        )

    @classmethod
    def join(cls, parts: Sequence["Samples"]) -> "Samples":
        """All samples of the parts."""
        none = np.zeros(0, np.int64)
        return cls(
            np.concatenate([none, *(part.organization for part in parts)]),
            np.concatenate([none, *(part.series for part in parts)]),
            np.concatenate([none, *(part.at_ms for part in parts)]),
            np.concatenate([none, *(part.order for part in parts)]),
            np.concatenate([np.zeros(0), *(part.values for part in parts)]),
            np.concatenate([np.zeros(0, np.bool_), *(part.is_wedding_day for part in parts)]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """An entry is a series in a bucket of an organization, which is a place in a list that the
    caller keeps. Sorted by organization, bucket and series where nothing else is said.

    `increases` is what a counter rose within the bucket; a sample below the one before it counts
    whole, since the counter then began anew. Bit n of `parts` says that the nth narrower bucket is
    in this one.
    """

    organization: Ints
    bucket_ms: Ints
    series: Ints
    sample_counts: Ints
    sums: Floats
    minima: Floats
    maxima: Floats
    firsts: Floats
    lasts: Floats
    increases: Floats
    percentiles: Floats
    sketches: Sketches
    is_wedding_day: Mask
    parts: Ints

    def __len__(self) -> int:
        return len(self.series)

    def take(self, places: Ints) -> "Entries":
        """The entries at these places."""
        return Entries(*(_take(getattr(self, field.name), places) for field in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """How many samples there are of each series and bucket, NaN and infinities included."""

    organization: Ints
    bucket_ms: Ints
    series: Ints
    sample_counts: Ints

    @classmethod
    def join(cls, parts: Sequence["Counted"]) -> "Counted":
        """All of the parts, in their order."""
        none = np.zeros(0, np.int64)
        return cls(
            np.concatenate([none, *(part.organization for part in parts)]),
            np.concatenate([none, *(part.bucket_ms for part in parts)]),
            np.concatenate([none, *(part.series for part in parts)]),
            np.concatenate([none, *(part.sample_counts for part in parts)]),
        )


def summarize(samples: Samples) -> tuple[Entries, Counted]:
    """The minutes of some samples, of which NaN and infinities stay out."""
    samples = _sorted_once(samples)
    starts = _minute_starts(samples)
    counted = Counted(
        samples.organization[starts],
        samples.at_ms[starts] // MINUTE_MS * MINUTE_MS,
        samples.series[starts],
        np.diff(starts, append=len(samples.series)),
    )
    is_finite = np.isfinite(samples.values)
    if not is_finite.all():
        samples = samples.take(is_finite)
        starts = _minute_starts(samples)
    return _by_bucket(_summed(samples, starts)), counted


def _sorted_once(samples: Samples) -> Samples:
    """By organization, series and time; of each only the last that was written."""
    key = combine(samples.organization, samples.series, samples.at_ms)
    place = _order(samples, key)
    key = key[place]
    is_repeated = key[1:] == key[:-1]
    if is_repeated.any():
        place = np.lexsort(
            (samples.order, combine(samples.organization, samples.series, samples.at_ms))
        )
        place = place[np.append(~is_repeated, True)]
    return samples.take(place)


def _order(samples: Samples, key: Ints) -> Ints:
    """Write batches come in the order of their times, more or less, so that to sort them by series
    alone often does; of small numbers that takes numpy a fraction of the time."""
    series = combine(samples.organization, samples.series)
    if len(series) and series.max() < _MOST_NUMBERS:
        is_there = np.zeros(series.max() + 1, np.bool_)
        is_there[series] = True
        rank = np.cumsum(is_there)[series] - 1
        if rank.max() <= np.iinfo(np.uint16).max:
            place = np.argsort(rank.astype(np.uint16), kind="stable")
            ordered = key[place]
            if (ordered[1:] >= ordered[:-1]).all():
                return place
    return np.argsort(key)


def _minute_starts(samples: Samples) -> Ints:
    minute = samples.at_ms // MINUTE_MS
    return _run_starts(samples.organization, samples.series, minute)


def _summed(samples: Samples, starts: Ints) -> Entries:
    values = samples.values
    if not len(starts):
        return concatenate([])
    counts = np.diff(starts, append=len(values))
    held = np.clip(values, -LARGEST, LARGEST)
    ascending = _sort_runs(values, starts, counts)
    ranks = (counts - 1)[:, None] * np.array(SHARES)
    below = np.floor(ranks).astype(np.int64)
    low = ascending[starts[:, None] + below]
    high = ascending[starts[:, None] + np.ceil(ranks).astype(np.int64)]
    return Entries(
        organization=samples.organization[starts],
        bucket_ms=samples.at_ms[starts] // MINUTE_MS * MINUTE_MS,
        series=samples.series[starts],
        sample_counts=counts,
        sums=np.add.reduceat(held, starts),
        minima=ascending[starts],
        maxima=ascending[starts + counts - 1],
        firsts=values[starts],
        lasts=values[starts + counts - 1],
        increases=np.add.reduceat(_rises(held, held, starts), starts),
        percentiles=interpolate(low, high, ranks - below),
        sketches=Sketches.of_sorted(ascending, starts),
        is_wedding_day=np.logical_or.reduceat(samples.is_wedding_day, starts),
        parts=np.zeros(len(starts), np.int64),
    )


def _rises(firsts: Floats, lasts: Floats, starts: Ints) -> Floats:
    """From the end of one to the beginning of the next, zero where a run starts."""
    rises = firsts.copy()
    step = firsts[1:] - lasts[:-1]
    rises[1:] = np.where(step >= 0, step, firsts[1:])
    rises[starts] = 0
    return rises


def _sort_runs(values: Floats, starts: Ints, counts: Ints) -> Floats:
    """Each run in ascending order; runs of one length are sorted together."""
    ascending = values.copy()
    for size in np.unique(counts[counts > 1]):
        places = starts[counts == size][:, None] + np.arange(size)
        ascending[places] = np.sort(values[places], axis=1)
    return ascending


def widen(narrow: Entries, width_ms: int, narrower_ms: int) -> Entries:
    """The same entries as parts of wider buckets, to be merged."""
    bucket_ms = narrow.bucket_ms // width_ms * width_ms
    part = (narrow.bucket_ms - bucket_ms) // narrower_ms
    columns = {field.name: getattr(narrow, field.name) for field in fields(narrow)}
    return Entries(**{**columns, "bucket_ms": bucket_ms, "parts": np.int64(1) << part})


def merge(entries: Entries) -> Entries:
    """One entry of those of the same organization, bucket and series, which stand in the order of
    their times. The percentiles come from the sketches."""
    if not len(entries):
        return entries
    key = combine(entries.organization, entries.bucket_ms, entries.series)
    place = np.argsort(key, kind="stable")
    key = key[place]
    is_first = np.append(True, key[1:] != key[:-1])
    starts = np.flatnonzero(is_first)
    ends = np.append(starts[1:], len(key)) - 1
    owner = np.empty(len(key), np.int64)
    owner[place] = np.cumsum(is_first) - 1
    sketches = entries.sketches.merge(owner, len(starts))
    firsts, lasts = entries.firsts[place], entries.lasts[place]
    rises = _rises(np.clip(firsts, -LARGEST, LARGEST), np.clip(lasts, -LARGEST, LARGEST), starts)
    minima = np.minimum.reduceat(entries.minima[place], starts)
    maxima = np.maximum.reduceat(entries.maxima[place], starts)
    heads = place[starts]
    return Entries(
        organization=entries.organization[heads],
        bucket_ms=entries.bucket_ms[heads],
        series=entries.series[heads],
        sample_counts=np.add.reduceat(entries.sample_counts[place], starts),
        sums=np.add.reduceat(entries.sums[place], starts),
        minima=minima,
        maxima=maxima,
        firsts=firsts[starts],
        lasts=lasts[ends],
        increases=np.add.reduceat(entries.increases[place] + rises, starts),
        percentiles=np.clip(sketches.percentiles(SHARES), minima[:, None], maxima[:, None]),
        sketches=sketches,
        is_wedding_day=np.logical_or.reduceat(entries.is_wedding_day[place], starts),
        parts=np.bitwise_or.reduceat(entries.parts[place], starts),
    )


def find_shrunk(old: Counted, now: Counted) -> Ints:
    """Where in `old` more samples were counted once than there are now."""
    joint = combine(
        np.concatenate((now.organization, old.organization)),
        np.concatenate((now.bucket_ms, old.bucket_ms)),
        np.concatenate((now.series, old.series)),
    )
    keys, sought = joint[: len(now.series)], joint[len(now.series) :]
    order = np.argsort(keys)
    place = np.searchsorted(keys, sought, sorter=order)
    place = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(0, np.int64)
    counts = np.zeros(len(sought), np.int64)
    if len(order):
        counts = np.where(keys[place] == sought, now.sample_counts[place], 0)
    return np.flatnonzero(counts < old.sample_counts)


def prefer(kept: Entries, fresh: Entries) -> Entries:
    """All of both; where both have an entry, the kept one."""
    joint = concatenate([kept, fresh])
    key = combine(joint.organization, joint.bucket_ms, joint.series)
    _, first = np.unique(key, return_index=True)
    return joint.take(first)


def combine(*columns: NDArray[Any]) -> Ints:
    """One number of several, which sorts as they do one after the other."""
    key = np.zeros(len(columns[0]), np.int64)
    if not len(key):
        return key
    bits = 0
    for column in columns:
        shifted = column.astype(np.int64) - int(column.min())
        need = int(shifted.max()).bit_length()
        if bits + need > 63:
            _, key = np.unique(key, return_inverse=True)
            bits = int(key.max()).bit_length()
        if bits + need > 63:
            _, shifted = np.unique(shifted, return_inverse=True)
            need = int(shifted.max()).bit_length()
        key = key << need | shifted
        bits += need
    return key


def concatenate(parts: Sequence[Entries]) -> Entries:
    """All entries of the parts, in their order."""
    if not parts:
        none, nothing = np.zeros(0, np.int64), np.zeros(0)
        return Entries(
            *(none,) * 4, *(nothing,) * 6, np.zeros((0, 3)), Sketches(none, none, none),
            np.zeros(0, np.bool_), none,
        )  # fmt: skip
    columns: dict[str, Any] = {}
    for field in fields(Entries):
        pieces = [getattr(part, field.name) for part in parts]
        columns[field.name] = (
            Sketches(
                np.concatenate([piece.sizes for piece in pieces]),
                np.concatenate([piece.codes for piece in pieces]),
                np.concatenate([piece.counts for piece in pieces]),
            )
            if isinstance(pieces[0], Sketches)
            else np.concatenate(pieces)
        )
    return Entries(**columns)


def _by_bucket(entries: Entries) -> Entries:
    if not len(entries):
        return entries
    key = combine(entries.organization, entries.bucket_ms, entries.series)
    return entries.take(np.argsort(key))


def row_starts(organization: Ints, bucket_ms: Ints) -> Ints:
    """Where the entries of each bucket begin."""
    return _run_starts(organization, bucket_ms)


def _run_starts(*columns: Ints) -> Ints:
    count = len(columns[0])
    if not count:
        return np.zeros(0, np.int64)
    is_first = np.zeros(count, np.bool_)
    is_first[0] = True
    for column in columns:
        is_first[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(is_first)


def _take(column: Any, places: Ints) -> Any:
    return column.take(places) if isinstance(column, Sketches) else column[places]
