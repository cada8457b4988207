"""Samples in any order become blocks that lose nothing and keep to their rules."""

from uuid import uuid4

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.metrics.model import (
    HOUR_MS,
    REFUSED,
    Blocks,
    Ints,
    SeriesDirectory,
    SeriesKey,
    infer_metric_type,
    split_blocks,
)

HOUR = 500_000
START = HOUR * HOUR_MS

samples = st.lists(
    st.tuples(
        st.integers(0, 2),  # organization
        st.integers(1, 3),  # series
        st.sampled_from([0, 1, HOUR_MS - 1, HOUR_MS, HOUR_MS + 1, 30 * HOUR_MS]),
        st.integers(0, 1),  # context
        st.integers(0, 1),  # source
    ),
    max_size=40,
)
Row = tuple[int, int, int, int, int]


def column(rows: list[Row], index: int) -> Ints:
    return np.array([row[index] for row in rows], np.int64)


def split(rows: list[Row]) -> Blocks:
    return split_blocks(
        organization=column(rows, 0),
        series_ids=column(rows, 1),
        timestamps_ms=column(rows, 2) + START,
        values=np.arange(len(rows), dtype=np.float64),
        context=column(rows, 3),
        source=column(rows, 4),
    )


@given(samples)
def test_blocks_hold_the_last_of_each_sample_and_nothing_else(rows: list[Row]) -> None:
    blocks = split(rows)
    expected = {}
    for value, (organization, series, at, context, source) in enumerate(rows):
        expected[organization, series, at + START] = (float(value), context, source)
    found = {}
    for index in range(len(blocks)):
        for row in range(blocks.starts[index], blocks.starts[index + 1]):
            key = (
                int(blocks.organization[index]),
                int(blocks.series_ids[row]),
                int(blocks.first_ms[index] + blocks.offsets_ms[row]),
            )
            assert key not in found
            found[key] = (
                float(blocks.values[row]),
                int(blocks.context[index]),
                int(blocks.source[index]),
            )
    assert found == expected


@given(samples)
def test_a_block_keeps_within_one_hour_context_and_source(rows: list[Row]) -> None:
    blocks = split(rows)
    assert (np.diff(blocks.starts) > 0).all()
    assert (blocks.first_ms // HOUR_MS == blocks.last_ms // HOUR_MS).all()
    for index in range(len(blocks)):
        offsets = blocks.offsets_ms[blocks.starts[index] : blocks.starts[index + 1]]
        assert offsets.min() == 0
        assert offsets.max() == blocks.last_ms[index] - blocks.first_ms[index]
    kinds = list(
        zip(
            blocks.organization.tolist(),
            (blocks.first_ms // HOUR_MS).tolist(),
            blocks.context.tolist(),
            blocks.source.tolist(),
            strict=True,
        )
    )
    assert len(set(kinds)) == len(kinds)


def test_handles_stay_valid_while_the_directory_grows() -> None:
    directory, organization = SeriesDirectory(), uuid4()
    handles = [directory.handle(SeriesKey(organization, "s", f"m{n}")) for n in range(3000)]
    assert handles == list(range(3000))
    assert directory.handle(SeriesKey(organization, "s", "m7")) == 7
    assert set(directory.organization_of(np.array(handles)).tolist()) == {0}
    assert directory.organizations == [organization]


def test_what_is_asked_again_and_when() -> None:
    directory, organization = SeriesDirectory(), uuid4()
    handles = np.array([directory.handle(SeriesKey(organization, "s", f"m{n}")) for n in range(4)])
    assert directory.unresolved(handles, older_than=0, refused_before=0).tolist() == [0, 1, 2, 3]
    directory.resolve(handles[:2], np.array([11, 12], np.int32), at=50)
    directory.resolve(handles[2:3], np.array([REFUSED], np.int32), at=50)
    assert directory.unresolved(handles, older_than=0, refused_before=50).tolist() == [3]
    assert directory.unresolved(handles, older_than=0, refused_before=51).tolist() == [2, 3]
    assert directory.unresolved(handles, older_than=51, refused_before=0).tolist() == [0, 1, 2, 3]
    assert directory.series_ids(handles).tolist() == [11, 12, REFUSED, 0]


def test_a_unit_that_comes_later_is_learnt() -> None:
    directory, organization = SeriesDirectory(), uuid4()
    handle = directory.handle(SeriesKey(organization, "s", "m"))
    one = np.array([handle])
    directory.resolve(one, np.array([5], np.int32), at=1)
    assert directory.handle(SeriesKey(organization, "s", "m", (), "gauge", "ms")) == handle
    assert directory.unresolved(one, older_than=0, refused_before=0).tolist() == [handle]
    assert directory.keys[handle].unit == "ms"
    directory.resolve(one, np.array([5], np.int32), at=1)
    directory.handle(SeriesKey(organization, "s", "m"))
    assert directory.unresolved(one, older_than=0, refused_before=0).tolist() == []


def test_type_and_unit_split_no_series() -> None:
    organization = uuid4()
    one = SeriesKey(organization, "s", "m", (), "gauge", "ms")
    assert one == SeriesKey(organization, "s", "m", (), "timer", None)


def test_only_total_makes_a_counter() -> None:
    assert infer_metric_type("requests_total") == "counter"
    assert infer_metric_type("total") == "gauge"
