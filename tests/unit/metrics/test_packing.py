"""Samples packed as bits come out as they went in, bit by bit."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wedsync_apm.metrics.blocks.bits import pack_columns, unpack_columns
from wedsync_apm.metrics.blocks.decoding import COMPACTED, Row, decode_rows
from wedsync_apm.metrics.blocks.model import Columns, Context
from wedsync_apm.metrics.blocks.packing import PackedRow, pack_rows

DAY_MS = 86_400_000
NAN_WITH_PAYLOAD = float(np.array([0x7FF80000DEADBEEF], np.uint64).view(np.float64)[0])

VALUES = st.one_of(
    st.floats(),
    st.integers(-(2**60), 2**60).map(float),
    st.decimals(-10_000, 10_000, places=4).map(float),
    st.decimals(0, 100, places=1).map(float),
    st.sampled_from(
        [0.0, -0.0, 0.1, 1e300, 5e-324, NAN_WITH_PAYLOAD, float("inf"), float("-inf"), 2.0**53]
    ),
)
SAMPLES = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, DAY_MS - 1), VALUES), min_size=1, max_size=60
)


def columns_of(
    series: NDArray[np.int32], at: NDArray[np.int64], values: NDArray[np.float64]
) -> Columns:
    count = len(series)
    return Columns(
        series,
        at,
        values,
        np.ones(count, np.int64),
        np.zeros(count, np.int32),
        (Context(None, "x"),),
    )


def as_row(packed: PackedRow) -> Row:
    """As it would come back from the table."""
    entries, columns = len(packed.series_ids), packed.columns
    return Row(
        1,
        COMPACTED,
        packed.first_ms,
        packed.series_ids,
        None,
        packed.plain,
        series_clocks=(packed.clocks + 1).astype(np.int32),
        series_digits=packed.digits.astype(np.int16),
        clock_counts=columns.counts[entries:].astype(np.int32),
        packed_bases=columns.bases,
        packed_rises=columns.rises,
        packed_units=columns.units.astype(np.int32),
        packed_widths=columns.widths.astype(np.int16),
        packed_starts=columns.starts.astype(np.int32),
        packed_bits=packed.bits,
        source="x",
    )


def assert_same_samples(found: Columns, wanted: Columns) -> None:
    order = np.lexsort((found.timestamps_ms, found.series))
    assert found.series[order].tolist() == wanted.series.tolist()
    assert found.timestamps_ms[order].tolist() == wanted.timestamps_ms.tolist()
    assert found.values[order].view(np.int64).tolist() == wanted.values.view(np.int64).tolist()


@settings(deadline=None)
@given(SAMPLES, st.integers(1, 70))
@example([(1, 0, 0.1), (1, 15_000, NAN_WITH_PAYLOAD), (2, 0, -0.0)], 70)
def test_what_is_packed_comes_out_bit_by_bit(
    samples: list[tuple[int, int, float]], most_samples: int
) -> None:
    unique = {(series, at): value for series, at, value in samples}
    keys = sorted(unique)
    columns = columns_of(
        np.array([series for series, _ in keys], np.int32),
        np.array([at for _, at in keys], np.int64),
        np.array([unique[key] for key in keys]),
    )
    rows = pack_rows(columns, most_samples)
    assert sum(row.sample_count for row in rows) == len(columns)
    assert_same_samples(decode_rows([as_row(row) for row in rows]), columns)
    wanted = np.array([1, 4], np.int32)
    some = decode_rows([as_row(row) for row in rows], wanted)
    assert_same_samples(some, columns.take(np.isin(columns.series, wanted)))


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.integers(-(2**46), 2**46), min_size=1, max_size=30), min_size=1, max_size=8
    )
)
def test_columns_of_whole_numbers_come_out_as_they_went_in(columns: list[list[int]]) -> None:
    numbers = np.array([number for column in columns for number in column], np.int64)
    counts = np.array([len(column) for column in columns], np.int64)
    packed, bits, bit_count = pack_columns(numbers, counts)
    assert len(bits) == (bit_count + 7) // 8
    assert unpack_columns(bits, packed).tolist() == numbers.tolist()


def test_regular_times_and_steady_counters_need_no_bits() -> None:
    at = np.arange(1_440, dtype=np.int64) * 15_000
    counter = np.arange(1_440) * 7.0 + 1e9
    columns = columns_of(
        np.repeat(np.array([1, 2], np.int32), 1_440),
        np.tile(at, 2),
        np.concatenate((counter, np.full(1_440, 99.5))),
    )
    (row,) = pack_rows(columns)
    assert row.bits == b""
    assert len(row.columns.counts) == 3, "two series share one clock"


def test_one_odd_value_does_not_cost_its_series_the_packing() -> None:
    values = np.round(np.random.default_rng(1).normal(40, 5, 1_000), 1)
    values[[3, 500]] = np.nan, -0.0
    at = np.arange(1_000, dtype=np.int64) * 60_000
    (row,) = pack_rows(columns_of(np.ones(1_000, np.int32), at, values))
    assert len(row.plain) == 2
    assert len(row.bits) < 2_000
