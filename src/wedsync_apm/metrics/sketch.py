"""The quantile sketch of a rollup: buckets whose bounds grow by 2.02 %, so that a quantile is
within 1 % of the true value, and two sketches add up to the sketch of both.

This is DDSketch (Masson, Rim, Lee, 2019) without its collapsing of small buckets. SQL writes and
reads it too. A sketch is a row of six-byte entries, `code` (int2) and `count` (int4), big-endian,
in ascending order of code. Code 0 counts zeros. Otherwise the sign is the value's and the rest is
k + 16384, where the bucket k holds gamma**(k-1) < |v| <= gamma**k; k is held within ±16383.
Ascending codes are ascending values.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

GAMMA: Final = 1.01 / 0.99
"""Ratio of a bucket's bounds."""
ENTRY: Final = np.dtype([("code", ">i2"), ("count", ">i4")])

_OFFSET: Final = 16384
_LARGEST_K: Final = 16383
_LARGEST_COUNT: Final = 2**31 - 1

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sketches:
    """Many sketches, one behind the other: how many entries each has, and the entries."""

    sizes: Ints
    codes: Ints
    counts: Ints

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, places: Ints) -> "Sketches":
        """The sketches at these places."""
        sizes = self.sizes[places]
        starts = (np.cumsum(self.sizes) - self.sizes)[places]
        entries = np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        return Sketches(sizes, self.codes[entries], self.counts[entries])

    def to_entries(self) -> NDArray[np.void]:
        """All entries as they are stored."""
        return _pack(self.codes, self.counts)

    @classmethod
    def from_entries(cls, sizes: Ints, entries: NDArray[np.void]) -> "Sketches":
        """Sketches as they were stored."""
        return cls(sizes, entries["code"].astype(np.int64), entries["count"].astype(np.int64))

    @classmethod
    def of_sorted(cls, values: Floats, starts: Ints) -> "Sketches":
        """A sketch of each run of finite values, which begin at `starts` and ascend."""
        codes = codes_of(values)
        is_first = np.append(True, codes[1:] != codes[:-1])
        is_first[starts] = True
        first = np.flatnonzero(is_first)
        sizes = np.add.reduceat(is_first, starts, dtype=np.int64)
        return cls(sizes, codes[first], np.diff(first, append=len(codes)))

    def merge(self, owner: Ints, number: int) -> "Sketches":
        """`number` sketches: of each the sum of those that it owns."""
        keys = np.repeat(owner, self.sizes) << 16 | (self.codes + 32768)
        order = np.argsort(keys)
        keys = keys[order]
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else keys
        counts = np.add.reduceat(self.counts[order], first) if len(keys) else keys
        keys = keys[first]
        return Sketches(
            np.bincount(keys >> 16, minlength=number),
            (keys & 0xFFFF) - 32768,
            np.minimum(counts, _LARGEST_COUNT),
        )

    def percentiles(self, shares: tuple[float, ...]) -> Floats:
        """A row for each sketch, none of them empty, and a column for each share (0..1).

        As `percentile_cont` does: between the two nearest ranks, each of which is within 1 %.
        """
        reached = np.cumsum(self.counts)
        ends = np.cumsum(self.sizes)
        total = reached[ends - 1]
        before = np.append(0, total[:-1])
        ranks = (total - before - 1)[:, None] * np.array(shares)
        below = np.floor(ranks).astype(np.int64)
        above = np.ceil(ranks).astype(np.int64)
        values = values_of(self.codes)
        low, high = (
            values[np.searchsorted(reached, before[:, None] + rank, side="right")]
            for rank in (below, above)
        )
        return interpolate(low, high, ranks - below)


def interpolate(low: Floats, high: Floats, share: Floats) -> Floats:
    """What lies between two values; their difference may be more than a float can hold."""
    between = low * (1 - share) + high * share
    found: Floats = np.clip(between, low, high)
    return found


def codes_of(values: Floats) -> Ints:
    """The code of each finite value."""
    magnitude = np.abs(values)
    k = np.zeros(len(values))
    np.log(magnitude, out=k, where=magnitude > 0)
    k = np.clip(np.ceil(k / np.log(GAMMA)), -_LARGEST_K, _LARGEST_K)
    codes: Ints = (np.sign(values) * (k + _OFFSET)).astype(np.int64)
    return codes


def values_of(codes: NDArray[Any]) -> Floats:
    """The point of each code's bucket that is off by the same share at either bound."""
    middle = 2 / (1 + GAMMA) * np.exp((np.abs(codes) - _OFFSET) * np.log(GAMMA))
    found: Floats = np.where(codes == 0, 0.0, np.copysign(middle, codes))
    return found


def encode(values: Floats) -> bytes:
    """The sketch of some values; NaN and infinities are left out, as rollups leave them out."""
    codes, counts = np.unique(codes_of(values[np.isfinite(values)]), return_counts=True)
    return _pack(codes, counts).tobytes()


def merge(sketches: Iterable[bytes]) -> bytes:
    """The sketch of everything that went into any of the sketches."""
    entries = np.concatenate([np.empty(0, ENTRY), *(_entries(sketch) for sketch in sketches)])
    one = Sketches.from_entries(np.array([len(entries)]), entries)
    return one.merge(np.zeros(1, np.int64), 1).to_entries().tobytes()


def quantile(sketch: bytes, q: float) -> float | None:
    """The value below which the share `q` (0..1) lies, within 1 %; None for an empty sketch.

    The rank is the same as that of `percentile_disc`: the first value whose position in order,
    divided by the number of values, is at least q.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")
    entries = _entries(sketch)
    if not len(entries):
        return None
    reached = np.cumsum(entries["count"].astype(np.int64))
    rank = max(int(np.ceil(q * reached[-1] - 1e-9)), 1)
    code = entries["code"][np.searchsorted(reached, rank)].astype(np.int64)
    return float(values_of(code))


def _entries(sketch: bytes) -> NDArray[np.void]:
    if len(sketch) % ENTRY.itemsize:
        raise ValueError(f"a sketch of {len(sketch)} bytes is not whole entries of 6")
    return np.frombuffer(sketch, ENTRY)


def _pack(codes: NDArray[Any], counts: Ints) -> NDArray[np.void]:
    entries = np.empty(len(codes), ENTRY)
    entries["code"] = codes
    entries["count"] = np.minimum(counts, _LARGEST_COUNT)
    return entries
