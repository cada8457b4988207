"""Rows as the database sends them, as the columns that the model computes with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import numpy as np

from wedsync_apm.metrics.rollups import wire
from wedsync_apm.metrics.rollups.model import Counted, Entries, Samples, row_starts

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Bucket = tuple[int, datetime]
"""An organization's place, and a bucket of it."""
Row = tuple[Any, ...]


def decode_write_batches(rows: Sequence[Row], places: Mapping[str, int]) -> Samples:
    """Rows of `list_write_batches`; `places` are those of the organizations."""
    organization, block_ids, first_ms, series, offsets, values, weddings = zip(*rows, strict=True)
    counts = wire.count_elements(series)
    return Samples(
        np.repeat(np.array([places[one] for one in organization], np.int64), counts),
        wire.join_arrays(series, wire.INT4).astype(np.int64),
        np.repeat(np.array(first_ms, np.int64), counts) + wire.join_arrays(offsets, wire.INT4),
        np.repeat(np.array(block_ids, np.int64), counts),
        wire.join_arrays(values, wire.FLOAT8),
        np.repeat(np.array(weddings, np.bool_), counts),
    )


def decode_entries(rows: Sequence[Row], places: Mapping[str, int]) -> Entries:
    """Rows of `list_rollups`, or of `list_parts`, which has no percentiles."""
    organization, bucket_ms, series, counts, *values, sketches, weddings, parts = zip(
        *rows, strict=True
    )
    sizes = wire.count_elements(series)
    sums, minima, maxima, firsts, lasts, increases, *percentiles = (
        wire.join_arrays(column, wire.FLOAT8) for column in values
    )
    return Entries(
        np.repeat(np.array([places[one] for one in organization], np.int64), sizes),
        np.repeat(np.array(bucket_ms, np.int64), sizes),
        wire.join_arrays(series, wire.INT4).astype(np.int64),
        wire.join_arrays(counts, wire.INT8),
        sums,
        minima,
        maxima,
        firsts,
        lasts,
        increases,
        np.stack(percentiles, axis=1) if percentiles else np.zeros((sizes.sum(), 3)),
        wire.join_sketches(sketches, sizes),
        np.repeat(np.array(weddings, np.bool_), sizes),
        np.repeat(np.array(parts, np.int64), sizes),
    )


def decode_counted(rows: Sequence[Row], places: Mapping[str, int]) -> Counted:
    """Rows of `list_sample_counts`."""
    organization, bucket_ms, series, counts = zip(*rows, strict=True)
    sizes = wire.count_elements(series)
    return Counted(
        np.repeat(np.array([places[one] for one in organization], np.int64), sizes),
        np.repeat(np.array(bucket_ms, np.int64), sizes),
        wire.join_arrays(series, wire.INT4).astype(np.int64),
        wire.join_arrays(counts, wire.INT8),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """Of which narrower buckets, and of how many samples in all, buckets were made."""

    parts: Mapping[Bucket, int]
    totals: Mapping[Bucket, int]

    @classmethod
    def decode(cls, rows: Sequence[Row], places: Mapping[str, int]) -> Self:
        """Rows of `list_heads`."""
        if not rows:
            return cls({}, {})
        organization, bucket_ms, parts, totals = zip(*rows, strict=True)
        buckets = _buckets([places[one] for one in organization], bucket_ms)
        return cls(dict(zip(buckets, parts, strict=True)), dict(zip(buckets, totals, strict=True)))

    @classmethod
    def of(cls, entries: Entries) -> Self:
        """Of buckets that were just computed."""
        starts = row_starts(entries.organization, entries.bucket_ms)
        if not len(starts):
            return cls({}, {})
        organization = entries.organization[starts].tolist()
        buckets = _buckets(organization, entries.bucket_ms[starts].tolist())
        parts = np.bitwise_or.reduceat(entries.parts, starts).tolist()
        totals = np.add.reduceat(entries.sample_counts, starts).tolist()
        return cls(dict(zip(buckets, parts, strict=True)), dict(zip(buckets, totals, strict=True)))

    def fuller_than(self, fresh: "Heads") -> set[Bucket]:
        """The buckets that were once made of a narrower one that is not in them now, or of more
        samples."""
        return {
            bucket
            for bucket, had in self.parts.items()
            if had & ~fresh.parts.get(bucket, 0)
            or self.totals[bucket] > fresh.totals.get(bucket, 0)
        }


def without(entries: Entries, buckets: set[Bucket]) -> Entries:
    """The entries of all other buckets."""
    own = _buckets(entries.organization.tolist(), entries.bucket_ms.tolist())
    return entries.take(np.array([n for n, one in enumerate(own) if one not in buckets], np.int64))


def _buckets(places: Sequence[int], bucket_ms: Sequence[int]) -> list[Bucket]:
    return [
        (place, EPOCH + timedelta(milliseconds=at))
        for place, at in zip(places, bucket_ms, strict=True)
    ]
