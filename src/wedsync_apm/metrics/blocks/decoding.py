"""Rows of `apm_metrics` as columns of samples, without a Python loop over the samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.blocks.bits import BitColumns, Ints, places, unpack_columns
from wedsync_apm.metrics.blocks.model import Columns, Context, Floats, SeriesIds, concatenate
from wedsync_apm.metrics.blocks.packing import PLAIN, POWERS

WRITE_BATCH: Final = 0
"""Level: samples of one flush, as they came."""
COMPACTED: Final = 1
"""Level: many series of a span, packed; or, without clocks, one with its step or its offsets."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A row as the store reads it: times in milliseconds, arrays as numpy has them."""

    block_id: int
    level: int
    first_ms: int
    series_ids: SeriesIds
    offsets_ms: NDArray[np.int32] | None
    metric_values: Floats | None
    step_ms: int | None = None
    scaled_values: NDArray[np.int16] | None = None
    value_base: float | None = None
    value_scale: float | None = None
    series_clocks: NDArray[np.int32] | None = None
    series_digits: NDArray[np.int16] | None = None
    clock_counts: NDArray[np.int32] | None = None
    packed_bases: Ints | None = None
    packed_rises: Ints | None = None
    packed_units: NDArray[np.int32] | None = None
    packed_widths: NDArray[np.int16] | None = None
    packed_starts: NDArray[np.int32] | None = None
    packed_bits: bytes | None = None
    wedding_context: str | None = None
    source: str = ""

    @property
    def context(self) -> Context:
        """What its samples have in common."""
        return Context(self.wedding_context, self.source)


def decode_rows(rows: Sequence[Row], series_ids: SeriesIds | None = None) -> Columns:
    """Every sample of the rows, unsorted; only of the wanted series where these are given."""
    batches = [row for row in rows if row.level == WRITE_BATCH]
    parts = [_decode_batches(batches)] if batches else []
    compacted = [row for row in rows if row.level == COMPACTED]
    parts += [_decode_one_series(row) for row in compacted if row.series_clocks is None]
    if series_ids is not None:
        parts = [part.take(np.isin(part.series, series_ids)) for part in parts]
    parts += [_decode_packed(row, series_ids) for row in compacted if row.series_clocks is not None]
    return concatenate(parts)


def _decode_batches(rows: Sequence[Row]) -> Columns:
    codes: dict[Context, int] = {}
    context = [codes.setdefault(row.context, len(codes)) for row in rows]
    counts = [len(row.series_ids) for row in rows]
    first = np.array([row.first_ms for row in rows], np.int64)
    return Columns(
        np.concatenate([row.series_ids for row in rows]),
        np.repeat(first, counts)
        + np.concatenate([row.offsets_ms for row in rows if row.offsets_ms is not None]),
        np.concatenate([row.metric_values for row in rows if row.metric_values is not None]),
        np.repeat(np.array([row.block_id for row in rows], np.int64), counts),
        np.repeat(np.array(context, np.int32), counts),
        tuple(codes),
    )


def _decode_one_series(row: Row) -> Columns:
    values = row.metric_values
    if row.scaled_values is not None:
        base, scale = np.float64(row.value_base or 0.0), np.float64(row.value_scale or 0.0)
        values = base + row.scaled_values * scale
    assert values is not None  # noqa: S101 -- the table has one or the other
    offsets: Ints = np.arange(len(values)) * np.int64(row.step_ms or 0)
    if row.offsets_ms is not None:
        offsets = row.offsets_ms.astype(np.int64)
    return _columns(row, np.repeat(row.series_ids, len(values)), row.first_ms + offsets, values)


def _decode_packed(row: Row, series_ids: SeriesIds | None) -> Columns:
    assert row.series_clocks is not None and row.series_digits is not None  # noqa: S101, PT018
    entries = len(row.series_ids)
    clocks = row.series_clocks.astype(np.int64) - entries - 1
    columns = _bit_columns(row, clocks)
    chosen = np.arange(entries)
    if series_ids is not None:
        chosen = np.flatnonzero(np.isin(row.series_ids, series_ids))
    if not len(chosen):
        return Columns.empty()
    used, clock = np.unique(clocks[chosen], return_inverse=True)
    bits = row.packed_bits or b""
    times = columns.take(used + entries)
    at = unpack_columns(bits, times)
    counts = columns.counts[chosen]
    place = places(counts)
    clock_starts = np.cumsum(times.counts) - times.counts
    at = at[np.repeat(clock_starts[clock.reshape(-1)], counts) + place]
    digits = row.series_digits[chosen].astype(np.int64)
    is_plain = digits == PLAIN
    if is_plain.any():
        values = np.empty(len(at))
        in_plain = np.repeat(is_plain, counts)
        packed = chosen[~is_plain]
        values[~in_plain] = unpack_columns(bits, columns.take(packed)) / np.repeat(
            POWERS[digits[~is_plain]], counts[~is_plain]
        )
        assert row.metric_values is not None  # noqa: S101
        starts = np.repeat(columns.starts[chosen], counts) + place
        values[in_plain] = row.metric_values[starts[in_plain]]
    else:
        values = unpack_columns(bits, columns.take(chosen)) / np.repeat(POWERS[digits], counts)
    return _columns(row, np.repeat(row.series_ids[chosen], counts), row.first_ms + at, values)


def _bit_columns(row: Row, clocks: Ints) -> BitColumns:
    parts = row.packed_bases, row.packed_rises, row.packed_units
    widths, starts, counts = row.packed_widths, row.packed_starts, row.clock_counts
    assert widths is not None and starts is not None and counts is not None  # noqa: S101, PT018
    bases, rises, units = (part.astype(np.int64) for part in parts if part is not None)
    return BitColumns(
        np.concatenate((counts[clocks], counts)).astype(np.int64),
        bases,
        rises,
        units,
        widths.astype(np.int64),
        starts.astype(np.int64),
    )


def _columns(row: Row, series: SeriesIds, at: Ints, values: Floats) -> Columns:
    count = len(series)
    return Columns(
        series,
        at,
        values,
        np.full(count, row.block_id, np.int64),
        np.zeros(count, np.int32),
        (row.context,),
    )
