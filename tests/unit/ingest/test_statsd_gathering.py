from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.ingest import model
from wedsync_apm.ingest.statsd.gathering import (
    IDLE_INTERVALS,
    Gathered,
    Gatherer,
    parts_of,
)
from wedsync_apm.ingest.statsd.lines import Measurement, read_datagram

BEGAN, NOW = 1_000, 5_000
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def take(gatherer: Gatherer, *lines: str) -> list[bool]:
    datagram = "\n".join(lines).encode()
    return [gatherer.take(line, NOW) for line in read_datagram(datagram)]


def figures(gathered: Gathered) -> Figures:
    return {
        (name + suffix, tags): value
        for (name, tags), cell in gathered.cells
        for suffix, value in cell.figures()
    }


def plain(gathered: Gathered) -> dict[str, float]:
    return {name: value for (name, tags), value in figures(gathered).items() if not tags}


def gathered(*lines: str) -> Gathered:
    gatherer = Gatherer(BEGAN, 100)
    take(gatherer, *lines)
    return gatherer.finish(2_000)


def test_counts_add_up_by_their_rates() -> None:
    assert plain(gathered("a:1|c", "a:2|c|@0.1", "a:-3|c", "a:1:1|c")) == {"a": 20}


def test_a_gauge_is_its_last_value_and_what_changed_it() -> None:
    assert plain(gathered("a:5|g", "a:3|g", "a:+2|g", "a:-1|g")) == {"a": 4}
    assert plain(gathered("a:0|g", "a:-5|g")) == {"a": -5}


def test_a_gauge_is_remembered_and_told_only_when_touched() -> None:
    gatherer = Gatherer(BEGAN, 100)
    take(gatherer, "a:5|g")
    assert plain(gatherer.finish(2_000)) == {"a": 5}
    assert plain(gatherer.finish(3_000)) == {}
    take(gatherer, "a:+1|g")
    assert plain(gatherer.finish(4_000)) == {"a": 6}
    for nth in range(IDLE_INTERVALS + 1):
        assert plain(gatherer.finish(5_000 + nth)) == {}
    take(gatherer, "a:+1|g")
    assert plain(gatherer.finish(9_000_000)) == {"a": 1}


def test_timers_become_figures_with_their_unit() -> None:
    done = gathered(*[f"t:{value}|ms" for value in range(1, 101)], "h:4|h|@0.5")
    found = plain(done)
    assert (found["t_count"], found["t_sum"], found["t_min"], found["t_max"]) == (100, 5050, 1, 100)
    assert found["t_p95"] == pytest.approx(95, rel=0.008)
    assert found["h_count"] == 2
    assert {key[0]: getattr(cell, "unit", "") for key, cell in done.cells} == {"t": "ms", "h": None}


def test_sets_count_members_once() -> None:
    assert plain(gathered("s:x|s", "s:y|s", "s:x|s")) == {"s": 2}


def test_the_order_of_tags_makes_no_other_series() -> None:
    done = gathered("a:1|c|#x:1,y:2", "a:1|c|#y:2,x:1", "a:1|c|#y:2,x:1,x:1")
    assert figures(done) == {("a", (("x", "1"), ("y", "2"))): 3}


def test_values_with_a_time_stand_by_themselves() -> None:
    done = gathered("a:1|c|T7", "a:2|c|T7", "a:1|c|T8", "g:1|g|T7", "g:2|g|T7", "a:9|c")
    assert sorted(done.stamped) == [
        (("a", ()), 7_000, 3),
        (("a", ()), 8_000, 1),
        (("g", ()), 7_000, 2),
    ]
    assert plain(done) == {"a": 9}


def test_checks_are_of_their_time_or_of_now() -> None:
    done = gathered("_sc|ok|2|h:web|#a:b", "_sc|ok|1|d:7")
    assert sorted(done.stamped) == [
        (("ok", ()), 7_000, 1),
        (("ok", (("a", "b"), ("host", "web"))), NOW, 2),
    ]


def test_one_name_has_one_type_in_an_interval() -> None:
    gatherer = Gatherer(BEGAN, 100)
    assert take(gatherer, "a:1|c", "a:5|g", "a:1|c") == [True, False, True]
    done = gatherer.finish(2_000)
    assert plain(done) == {"a": 2}
    assert [(one.code, one.count) for one in done.refused] == [(model.INVALID, 1)]
    assert take(gatherer, "a:5|g") == [True]
    assert plain(gatherer.finish(3_000)) == {"a": 5}
    assert take(gatherer, "a:1|c") == [True]


def test_new_series_are_refused_when_there_is_no_room_and_old_ones_go_on() -> None:
    gatherer = Gatherer(BEGAN, most_series=2)
    assert take(gatherer, "a:1|c", "b:1|c", "c:1|c", "a:1|c", "c:1|c") == [
        True,
        True,
        False,
        True,
        False,
    ]
    done = gatherer.finish(2_000)
    assert plain(done) == {"a": 2, "b": 1}
    assert [(one.code, one.count) for one in done.refused] == [(model.TOO_MANY_SERIES, 2)]
    assert take(gatherer, "c:1|c") == [True]


@pytest.mark.parametrize(
    "line",
    [
        "n{0}:1|c",
        "a:{0}|s",
        "a:{0}e3|d",
        "a:1|c|#t:{0}",
        "a:1|c|T{0}",
        "_sc|n{0}|1",
        "_e{{1,1}}:a|b|d:{0}",
    ],
)
def test_an_interval_holds_a_bounded_number_of_bytes(line: str) -> None:
    gatherer = Gatherer(BEGAN, 1_000_000, most_bytes=30_000)
    taken = sum(
        gatherer.take(one, NOW)
        for nth in range(1, 3_000)
        for one in read_datagram(line.format(nth).encode())
    )
    assert 5 < taken < 2_999
    done = gatherer.finish(2_000)
    assert done.size <= 30_000
    assert sum(one.count for one in done.refused) == 2_999 - taken


def test_intervals_begin_at_different_times_even_if_the_clock_is_set_back() -> None:
    gatherer = Gatherer(BEGAN, 100)
    times = [gatherer.finish(at).at_ms for at in (BEGAN, 500, 2_000, 2_000, 3_000)]
    assert len(set(times)) == len(times)
    assert times == sorted(times)


def test_parts_are_the_whole() -> None:
    done = gathered("bad", *[f"a{n}:1|c" for n in range(25)], "_sc|x|1", "_e{1,1}:a|b")
    parts = list(parts_of(done, 10))
    assert [len(part.cells) for part in parts] == [10, 10, 5]
    assert [key for part in parts for key, _ in part.cells] == [key for key, _ in done.cells]
    assert [len(part.stamped) + len(part.events) + len(part.refused) for part in parts] == [3, 0, 0]
    assert sum(part.size for part in parts) <= done.size


LINES = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-5, 5), st.booleans(), st.booleans()), max_size=30
)


@given(st.lists(LINES, max_size=5))
def test_counts_are_never_lost_nor_told_twice(
    intervals: list[list[tuple[str, int, bool, bool]]],
) -> None:
    """Against a plain sum: whatever the order of tags, whenever an interval ends."""
    gatherer = Gatherer(BEGAN, 100)
    expected: defaultdict[str, float] = defaultdict(float)
    told: defaultdict[str, float] = defaultdict(float)
    for nth, interval in enumerate(intervals):
        for name, value, is_swapped, is_sampled in interval:
            tags = ("y:2", "x:1") if is_swapped else ("x:1", "y:2")
            rate = 0.5 if is_sampled else 1.0
            gatherer.take(Measurement(name, "c", (float(value),), rate=rate, tags=tags), NOW)
            expected[name] += float(value) / rate
        for (name, _), figure in figures(gatherer.finish(2_000 + nth)).items():
            told[name] += figure
    assert told == expected


NUMBERS = st.sampled_from(["1", "-1", "0", "1e308", "-1e308", "5e-324", "+2", "0.1", "1:2", "x"])
FRAGMENTS = st.builds(
    lambda name, number, kind, rate, rest: f"{name}:{number}|{kind}{rate}{rest}",
    st.sampled_from(["a", "b", "é"]),
    NUMBERS,
    st.sampled_from(["c", "g", "ms", "h", "d", "s"]),
    st.sampled_from(["", "|@0.5", "|@5e-324", "|@1e-300"]),
    st.sampled_from(["", "|#x:1", "|#,,:,x:,:y", "|T5", "|T999999999999"]),
)


@given(st.lists(st.one_of(FRAGMENTS, st.text(max_size=20)), max_size=40))
def test_no_line_makes_an_interval_fail(lines: list[str]) -> None:
    gatherer = Gatherer(BEGAN, 3, most_bytes=20_000)
    taken = take(gatherer, *[line.replace("\n", "") for line in lines])
    done = gatherer.finish(2_000)
    assert done.size <= 20_000
    assert sum(one.count for one in done.refused) == len(taken) - sum(taken)
    for _, cell in done.cells:
        assert all(isinstance(value, float) for _, value in cell.figures())
