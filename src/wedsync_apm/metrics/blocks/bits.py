"""Columns of whole numbers in as few bits as they need, readable number by number.

The number at place i of a column of n is

    base + unit * (rise * i / (n - 1) + bits(start + i * width, width))

with a division that drops the fraction, as SQL's does: a straight line plus what is left of it, in
multiples of what all distances have in common. Regular times and steady counters need no bits or
few, and every number can be read without the ones before it, which is what lets a view do it.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MOST_RANGE: Final = 2**48
"""Between the smallest and the largest number of a column."""
_MOST_UNIT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, eq=False)
class BitColumns:
    """How columns lie in a string of bits; `starts` counts from its first bit."""

    counts: Ints
    bases: Ints
    rises: Ints
    units: Ints
    widths: Ints
    starts: Ints

    def take(self, chosen: NDArray[Any]) -> "BitColumns":
        """Those at the given positions."""
        return BitColumns(
            self.counts[chosen],
            self.bases[chosen],
            self.rises[chosen],
            self.units[chosen],
            self.widths[chosen],
            self.starts[chosen],
        )


def places(counts: Ints) -> Ints:
    """0 … n - 1 for each of the counts, one behind the other."""
    ends = np.cumsum(counts)
    found: Ints = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    return found


def _line(rises: Ints, counts: Ints, place: Ints) -> Ints:
    """`rise * i / (n - 1)` for every place, towards zero."""
    if not rises.any():
        return np.zeros(len(place), np.int64)
    steps = np.repeat(np.maximum(counts - 1, 1), counts)
    height: Ints = np.repeat(np.abs(rises), counts) * place // steps
    height *= np.repeat(np.sign(rises), counts)
    return height


def _bit_length(numbers: Ints) -> Ints:
    """Of numbers from 0 to 2^52."""
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)


def pack_columns(numbers: Ints, counts: Ints) -> tuple[BitColumns, bytes, int]:
    """The columns that stand one behind the other in `numbers`; their bits, and how many.

    No column may be empty, or range over more than `MOST_RANGE`.
    """
    starts = np.cumsum(counts) - counts
    place = places(counts)
    first = numbers[starts]
    distance = numbers - np.repeat(first, counts)
    units = np.gcd.reduceat(distance, starts)
    units[(units == 0) | (units > _MOST_UNIT)] = 1
    steps = distance // np.repeat(units, counts)

    rises = steps[starts + counts - 1]
    # the product in _line must stay below 2^63
    rises[np.abs(rises) > 2**62 // np.maximum(counts, 1)] = 0
    above = steps - _line(rises, counts, place)
    flat_low, flat_high = np.minimum.reduceat(steps, starts), np.maximum.reduceat(steps, starts)
    low, high = np.minimum.reduceat(above, starts), np.maximum.reduceat(above, starts)
    helps = high - low < flat_high - flat_low
    rises = np.where(helps, rises, 0)
    low = np.where(helps, low, flat_low)
    widths = _bit_length(np.where(helps, high, flat_high) - low)
    rest = np.where(np.repeat(helps, counts), above, steps) - np.repeat(low, counts)

    bit_starts = np.cumsum(counts * widths) - counts * widths
    width = np.repeat(widths, counts)
    bits, bit_count = _write_bits(rest, width, np.repeat(bit_starts, counts) + place * width)
    columns = BitColumns(counts, first + units * low, rises, units, widths, bit_starts)
    return columns, bits, bit_count


def unpack_columns(bits: bytes, columns: BitColumns) -> Ints:
    """The numbers of the columns, one behind the other."""
    counts = columns.counts
    place = places(counts)
    numbers = _line(columns.rises, counts, place)
    if columns.widths.any():
        width = np.repeat(columns.widths, counts)
        numbers += _read_bits(bits, width, np.repeat(columns.starts, counts) + place * width)
    if (columns.units != 1).any():
        numbers *= np.repeat(columns.units, counts)
    numbers += np.repeat(columns.bases, counts)
    return numbers


def _write_bits(numbers: Ints, widths: Ints, starts: Ints) -> tuple[bytes, int]:
    """Numbers of up to 57 bits, the first bit the highest, in ascending order of their starts."""
    used = widths > 0
    if not used.any():
        return b"", 0
    width = widths[used].astype(np.uint64)
    start = starts[used].astype(np.uint64)
    number = numbers[used].astype(np.uint64)
    total = int(start[-1] + width[-1])
    word, offset = start >> np.uint64(6), start & np.uint64(63)
    # at the top of a word of 64 bits, then moved down to their place; what does not fit goes on
    top = number << (np.uint64(64) - width)
    heads = np.flatnonzero(np.concatenate(([True], word[1:] != word[:-1])))
    words = np.zeros((total + 63) // 64 + 1, np.uint64)
    words[word[heads]] = np.bitwise_or.reduceat(top >> offset, heads)
    over = offset + width > 64
    words[word[over] + np.uint64(1)] |= top[over] << (np.uint64(64) - offset[over])
    return words.astype(">u8").tobytes()[: (total + 7) // 8], total


def _read_bits(bits: bytes, widths: Ints, starts: Ints) -> Ints:
    padded = bits + bytes(8)
    # a word of 64 bits from every byte on
    words = np.ndarray((len(bits) + 1,), ">u8", padded, 0, (1,))
    word = words[starts >> 3].astype(np.uint64)
    word <<= (starts & 7).astype(np.uint64)
    # in two steps, because a shift by 64 is not defined
    word >>= np.uint64(1)
    word >>= (63 - widths).astype(np.uint64)
    found: Ints = word.astype(np.int64)
    return found
