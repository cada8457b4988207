"""Packs samples as rows of level 2: many series of a day in one row, every number exact.

Decimals are kept as whole numbers and divided by a power of ten on the way out: the quotient of two
whole numbers below 2^53 is rounded once, so it is the very number that the decimal was read as.
What is no decimal (or NaN, infinite, minus zero, huge) stays as it is, in `metric_values`. Series
that were measured at the same times share them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.blocks.bits import MOST_RANGE, BitColumns, Ints, pack_columns, places
from wedsync_apm.metrics.blocks.model import Columns, Floats, SeriesIds

MOST_SAMPLES: Final = 65_536
"""Of a row."""
PLAIN: Final = -1
"""In place of a number of decimals: the values stand in `metric_values`."""
MOST_DIGITS: Final = 15
POWERS: Final = 10.0 ** np.arange(MOST_DIGITS + 1)
_PROBES: Final = 8
_MOSTLY: Final = 0.75
"""From this share of decimals on, the other values are kept apart from them."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedRow:
    """A row of level 2.

    An entry is a series, or a part of one; `columns` are those of the values of each entry, then
    those of the clocks. `clocks` gives the position of each entry's times among `columns`; `digits`
    its decimals. Where these are `PLAIN`, the entry's start counts values of `plain`.
    """

    first_ms: int
    last_ms: int
    series_ids: SeriesIds
    clocks: Ints
    digits: Ints
    columns: BitColumns
    bits: bytes
    bit_count: int
    plain: Floats
    sample_count: int


def pack_rows(columns: Columns, most_samples: int = MOST_SAMPLES) -> list[PackedRow]:
    """Samples of one context, sorted by series and time, each pair once, within one day."""
    total = len(columns)
    if not total:
        return []
    wanted = -(-total // most_samples)
    cuts = np.arange(1, wanted) * total // wanted
    # a row ends with a series, unless that would move the end too far
    heads = np.flatnonzero(np.diff(columns.series)) + 1
    if len(heads):
        near = heads[np.minimum(np.searchsorted(heads, cuts), len(heads) - 1)]
        cuts = np.where(np.abs(near - cuts) <= most_samples // 4, near, cuts)
    edges = np.unique(np.concatenate(([0], cuts, [total])))
    return [
        _pack_row(
            columns.series[start:stop],
            columns.timestamps_ms[start:stop],
            columns.values[start:stop],
        )
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def _pack_row(series: SeriesIds, at: Ints, values: Floats) -> PackedRow:
    first_ms, last_ms = int(at.min()), int(at.max())
    starts = np.flatnonzero(np.concatenate(([True], series[1:] != series[:-1])))
    counts = np.diff(np.append(starts, len(series)))
    digits, numbers, exact = find_decimals(values, counts)
    run = np.repeat(np.arange(len(counts)), counts)
    # an entry is a series' decimals, or the rest of it
    key = 2 * run + ~exact
    order = np.argsort(key, kind="stable")
    key = key[order]
    heads = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    counts = np.diff(np.append(heads, len(key)))
    is_plain = (key[heads] & 1).astype(np.bool_)
    entry_digits = np.where(is_plain, PLAIN, digits[key[heads] >> 1])
    in_plain = np.repeat(is_plain, counts)

    clock_of, clocks = _share_clocks(at[order] - first_ms, counts, heads)
    clock_counts = counts[clocks]
    clock_numbers = (at[order] - first_ms)[
        np.repeat(heads[clocks], clock_counts) + places(clock_counts)
    ]
    packed, bits, bit_count = pack_columns(
        np.concatenate((numbers[order][~in_plain], clock_numbers)),
        np.concatenate((counts[~is_plain], clock_counts)),
    )
    return PackedRow(
        first_ms,
        last_ms,
        series[order][heads],
        clock_of + len(heads),
        entry_digits,
        _with_plain(packed, is_plain, counts),
        bits,
        bit_count,
        values[order][in_plain],
        len(at),
    )


def _with_plain(packed: BitColumns, is_plain: NDArray[np.bool_], counts: Ints) -> BitColumns:
    """The columns with those of plain entries put in, which have but a start."""
    if not is_plain.any():
        return packed
    clocks = len(packed.counts) - int((~is_plain).sum())
    is_packed = np.concatenate((~is_plain, np.ones(clocks, np.bool_)))
    plain_counts = counts[is_plain]

    def widen(numbers: Ints, other: Ints | int) -> Ints:
        wide = np.empty(len(is_packed), np.int64)
        wide[is_packed], wide[~is_packed] = numbers, other
        return wide

    return BitColumns(
        widen(packed.counts, plain_counts),
        widen(packed.bases, 0),
        widen(packed.rises, 0),
        widen(packed.units, 1),
        widen(packed.widths, 0),
        widen(packed.starts, np.cumsum(plain_counts) - plain_counts),
    )


def find_decimals(values: Floats, counts: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """For each run of values its decimals (0 where it has none), and for each value the whole
    number and whether `number / 10 ** decimals` is the value, bit by bit."""
    runs = len(counts)
    starts = np.cumsum(counts) - counts
    numbers = np.zeros(len(values), np.int64)
    exact = np.zeros(len(values), np.bool_)
    digits = np.zeros(runs, np.int64)
    best = np.zeros(runs)
    tried = _probe(values, counts, starts)
    open_runs = np.flatnonzero(tried <= MOST_DIGITS)
    while len(open_runs):
        sizes = counts[open_runs]
        at = np.repeat(starts[open_runs], sizes) + places(sizes)
        number, is_exact = _as_decimals(values[at], np.repeat(tried[open_runs], sizes))
        heads = np.cumsum(sizes) - sizes
        share = np.add.reduceat(is_exact.astype(np.float64), heads) / sizes
        span = np.maximum.reduceat(number, heads) - np.minimum.reduceat(number, heads)
        share[span >= MOST_RANGE] = 0
        better = (share > best[open_runs]) & (share >= _MOSTLY)
        best[open_runs] = np.where(better, share, best[open_runs])
        digits[open_runs] = np.where(better, tried[open_runs], digits[open_runs])
        chosen = np.repeat(better, sizes)
        numbers[at[chosen]], exact[at[chosen]] = number[chosen], is_exact[chosen]
        tried[open_runs] += 1
        open_runs = open_runs[(share < 1) & (tried[open_runs] <= MOST_DIGITS)]
    return digits, numbers, exact


def _probe(values: Floats, counts: Ints, starts: Ints) -> Ints:
    """The fewest decimals at which a few values of each run are mostly exact, else more than
    `MOST_DIGITS`: what is no decimal need not be tried as a whole."""
    at = starts[:, None] + np.arange(_PROBES) * counts[:, None] // _PROBES
    probes = values[at].ravel()
    found = np.full(len(counts), MOST_DIGITS + 1)
    for tried in range(MOST_DIGITS + 1):
        _, exact = _as_decimals(probes, np.full(len(probes), tried))
        share = exact.reshape(at.shape).mean(axis=1)
        found = np.where((found > MOST_DIGITS) & (share >= _MOSTLY), tried, found)
        if (found <= MOST_DIGITS).all():
            break
    return found


def _as_decimals(values: Floats, digits: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    power = POWERS[digits]
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(values * power)
        exact = np.abs(scaled) <= 2.0**53
    number = np.where(exact, scaled, 0.0).astype(np.int64)
    back = number.astype(np.float64) / power
    # by their bits, so that minus zero is not taken for zero
    exact &= back.view(np.int64) == values.view(np.int64)
    return np.where(exact, number, 0), exact


def _share_clocks(offsets: Ints, counts: Ints, heads: Ints) -> tuple[Ints, Ints]:
    """For each entry the clock that it goes by, and for each clock an entry that has its times."""
    mixed = (offsets.astype(np.uint64) + np.uint64(1)) * (
        (2 * places(counts) + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    )
    mixed ^= mixed >> np.uint64(29)
    digest = np.add.reduceat(mixed, heads).astype(np.int64)
    keys = np.stack((digest, counts, offsets[heads]), axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    model = np.repeat(heads[first[group]] - heads, counts) + np.arange(len(offsets))
    same = np.logical_and.reduceat(offsets[model] == offsets, heads)
    if same.all():
        return group, first
    # two series with different times and one digest: each for itself
    return np.arange(len(heads)), np.arange(len(heads))
