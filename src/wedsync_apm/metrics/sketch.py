"""The quantile sketch of a rollup: buckets whose bounds grow by 2.02 %, so that a quantile is
within 1 % of the true value, and two sketches add up to the sketch of both.

SQL writes it and reads it too; this is the same format for Python. A sketch is a row of six-byte
entries, `code` (int2) and `count` (int4), big-endian, in ascending order of code. Code 0 counts
zeros. Otherwise the sign is the value's and the rest is k + 16384, where the bucket k holds
gamma**(k-1) < |v| <= gamma**k; k is held within ±16383. Ascending codes are ascending values.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

GAMMA: Final = 1.01 / 0.99
"""Ratio of a bucket's bounds."""

_OFFSET: Final = 16384
_LARGEST_K: Final = 16383
_LARGEST_COUNT: Final = 2**31 - 1
_ENTRY: Final = np.dtype([("code", ">i2"), ("count", ">i4")])


def encode(values: NDArray[np.float64]) -> bytes:
    """The sketch of some values; NaN and infinities are left out, as rollups leave them out."""
    finite = values[np.isfinite(values)]
    magnitude = np.abs(finite)
    k = np.zeros(len(finite))
    np.log(magnitude, out=k, where=magnitude > 0)
    k = np.clip(np.ceil(k / np.log(GAMMA)), -_LARGEST_K, _LARGEST_K)
    codes, counts = np.unique(np.sign(finite) * (k + _OFFSET), return_counts=True)
    return _pack(codes, counts)


def merge(sketches: Iterable[bytes]) -> bytes:
    """The sketch of everything that went into any of the sketches."""
    entries = np.concatenate([np.empty(0, _ENTRY), *(_entries(sketch) for sketch in sketches)])
    codes, where = np.unique(entries["code"].astype(np.int64), return_inverse=True)
    counts = np.zeros(len(codes), np.int64)
    np.add.at(counts, where, entries["count"].astype(np.int64))
    return _pack(codes, counts)


def quantile(sketch: bytes, q: float) -> float | None:
    """The value below which the share `q` (0..1) lies, within 2 %; None for an empty sketch.

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
    return _value(int(entries["code"][np.searchsorted(reached, rank)]))


def _value(code: int) -> float:
    """The point of a bucket that is off by the same share at either bound."""
    if code == 0:
        return 0.0
    middle = 2 / (1 + GAMMA) * np.exp((abs(code) - _OFFSET) * np.log(GAMMA))
    return float(np.copysign(middle, code))


def _entries(sketch: bytes) -> NDArray[np.void]:
    if len(sketch) % _ENTRY.itemsize:
        raise ValueError(f"a sketch of {len(sketch)} bytes is not whole entries of 6")
    return np.frombuffer(sketch, _ENTRY)


def _pack(codes: NDArray[np.generic], counts: NDArray[np.int64]) -> bytes:
    entries = np.empty(len(codes), _ENTRY)
    entries["code"] = codes
    entries["count"] = np.minimum(counts, _LARGEST_COUNT)
    return entries.tobytes()
