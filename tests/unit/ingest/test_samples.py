"""What is compiled does to columns of samples the very same as numpy does."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.ingest import plain_samples, samples
from wedsync_apm.ingest.plain_samples import Columns, Cut, Flush, Span
from wedsync_apm.metrics.model import CALENDAR, HOUR_MS, REFUSED, UNKNOWN_ORGANIZATION, UNRESOLVED

START = 500_000 * HOUR_MS
SERIES_ID = np.array([7, 3, REFUSED, 2**31 - 1, 5, UNRESOLVED, 1, UNKNOWN_ORGANIZATION], np.int32)
ORGANIZATION = np.array([0, 0, 0, 1, 600_000, 1, 1, 2], np.int64)

times = st.one_of(
    st.sampled_from([0, 1, HOUR_MS - 1, HOUR_MS, 30 * HOUR_MS]).map(lambda at: START + at),
    st.integers(-3, 3),
    st.integers(-(2**40), 2**44),
)
rows = st.tuples(
    st.integers(0, len(SERIES_ID) - 1),
    times,
    st.floats(),
    st.sampled_from([CALENDAR, 0, 1]),
)


@st.composite
def batches(draw: st.DrawFn) -> list[Columns]:
    made = []
    for _ in range(draw(st.integers(1, 4))):
        drawn = draw(st.lists(rows, max_size=30))
        if draw(st.booleans()):
            drawn.sort()
        columns = [list(column) for column in zip(*drawn, strict=True)] or [[]] * 4
        codes = None if draw(st.booleans()) else np.array(columns[3], np.int64)
        made.append(
            Columns(
                np.array(columns[0], np.int64),
                np.array(columns[1], np.int64),
                np.array(columns[2], np.float64),
                codes,
                draw(st.integers(0, 1)),
            )
        )
    return made


spans = st.dictionaries(
    st.sampled_from([0, 1, 2, 600_000]),
    st.lists(st.tuples(times, times, st.integers(1, 4)), max_size=3),
)


@given(batches(), spans)
def test_a_flush_is_cut_as_by_numpy(columns: list[Columns], days: dict[int, list[Span]]) -> None:
    compiled = samples.Flush(columns, SERIES_ID, ORGANIZATION)
    plain = Flush(columns, SERIES_ID, ORGANIZATION)
    for name in ("stored", "organizations", "earliest_ms", "latest_ms", "not_finite"):
        assert getattr(compiled, name) == getattr(plain, name), name
    if sum(plain.stored):
        assert compiled.cut(days, 9) == plain.cut(days, 9)


def test_a_large_flush_in_no_order_is_cut_as_by_numpy() -> None:
    chance = np.random.default_rng(5)
    count = 50_000
    columns = [
        Columns(
            chance.choice([0, 1, 3, 4, 6], count),
            START + chance.integers(0, 3 * HOUR_MS, count),
            chance.normal(size=count),
            chance.integers(-1, 3, count),
            source,
        )
        for source in (1, 0)
    ]
    days = {0: [(START, START + HOUR_MS, 3)]}
    compiled = samples.Flush(columns, SERIES_ID, ORGANIZATION).cut(days, 0)
    assert compiled == Flush(columns, SERIES_ID, ORGANIZATION).cut(days, 0)
    assert len(compiled.organizations) > 10


def test_flushes_that_overlap_have_a_room_each() -> None:
    columns = [
        [Columns(np.full(40, one), START + np.arange(40), np.full(40, one / 2), None, 0)]
        for one in (0, 1)
    ]
    expected = [Flush(one, SERIES_ID, ORGANIZATION).cut({}, 0) for one in columns]
    for _ in range(3):  # the room of a flush that was cut is the next one's
        first, second = (samples.Flush(one, SERIES_ID, ORGANIZATION) for one in columns)
        assert [first.cut({}, 0), second.cut({}, 0)] == expected


@pytest.fixture(params=[samples, plain_samples], ids=["compiled", "plain"])
def ours(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def cut(ours: ModuleType, spans: dict[int, list[Span]], *codes: int) -> Cut:
    """Of one series, a sample a minute."""
    at = START + 60_000 * np.arange(len(codes))
    column = Columns(
        np.zeros(len(codes), np.int64),
        at,
        np.arange(len(codes), dtype=np.float64),
        np.array(codes, np.int64),
        0,
    )
    found: Cut = ours.Flush([column], SERIES_ID, ORGANIZATION).cut(spans, 8)
    return found


def test_the_first_span_that_fits_counts_and_a_sample_keeps_its_own_word(ours: ModuleType) -> None:
    minute = 60_000
    spans = [(START + 2 * minute, START + 3 * minute, 5), (START + minute, START + 4 * minute, 6)]
    found = cut(ours, {0: spans, 1: [(0, 2 * START, 7)]}, -1, -1, -1, -1, -1, 2)
    # The blocks in the order of their codes: 2, 5, 6, 8.
    assert np.frombuffer(found.context_ats[20:], ">i4")[1::2].tolist() == [3, 6, 7, 9]
    values = np.frombuffer(found.metric_values[20:], [("size", ">i4"), ("value", ">f8")])["value"]
    assert values.tolist() == [5, 2, 1, 3, 0, 4]


def test_a_handle_that_nobody_has_is_an_error(ours: ModuleType) -> None:
    for handle in (-9, 8):
        one = np.array([handle])
        with pytest.raises(IndexError):
            ours.Flush([Columns(one, one, np.zeros(1), None, 0)], SERIES_ID, ORGANIZATION)
        with pytest.raises(IndexError):
            ours.tally(one, ORGANIZATION)
        with pytest.raises(IndexError):
            ours.are_known(one, SERIES_ID, np.zeros(8), 0.0)


@given(st.lists(st.one_of(st.none(), st.text(), st.binary()), min_size=1), st.integers(0, 9000))
def test_items_are_packed_as_in_python(items: list[str | bytes | None], oid: int) -> None:
    assert _packed(samples, items, oid) == _packed(plain_samples, items, oid)


def _packed(ours: ModuleType, items: list[str | bytes | None], oid: int) -> bytes | None:
    try:
        packed: bytes = ours.pack_items(items, oid)
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    return packed


@given(st.lists(st.integers(0, len(SERIES_ID) - 1)), st.integers(0, 3))
def test_owners_and_known_series_are_found_as_by_numpy(handles: list[int], older: int) -> None:
    series = np.array(handles, np.int64)
    resolved_at = np.array([3, 1, 3, 2, 3, 3, 0, 3], np.float64)
    assert samples.tally(series, ORGANIZATION) == plain_samples.tally(series, ORGANIZATION)
    assert samples.are_known(
        series, SERIES_ID, resolved_at, float(older)
    ) == plain_samples.are_known(series, SERIES_ID, resolved_at, float(older))
