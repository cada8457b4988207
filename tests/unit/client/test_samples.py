"""Times, totals and lines of what a program records."""

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from wedsync_apm.client.samples import (
    FORGET_MS,
    REPEAT_MS,
    Packed,
    Sample,
    SeriesTable,
    TooFast,
    TooManySeries,
    milliseconds,
    pack,
)

NOW = 1_780_000_000_000


def lines(samples: list[Sample]) -> list[dict[str, Any]]:
    (packed,) = pack(samples, 1_000, 1_000_000)
    return [json.loads(line) for line in packed.lines()]


def test_a_line_has_everything_and_tags_as_text() -> None:
    table = SeriesTable("shop", {"region": "kent"})
    sample = table.sample(
        "gauge", "basket", 12.5, NOW, tags={"n": 7, "none": None, "ü": "\ud800"}, unit="EUR"
    )
    assert lines([sample]) == [
        {
            "service_name": "shop",
            "metric_name": "basket",
            "metric_type": "gauge",
            "unit": "EUR",
            "tags": {"n": "7", "region": "kent", "ü": "\ud800"},
            "timestamp": NOW,
            "value": 12.5,
        }
    ]


def test_samples_of_a_series_have_a_millisecond_each_and_others_do_not_mind() -> None:
    table = SeriesTable("s", {})
    times = [table.sample("gauge", "m", n, NOW)[1] for n in range(3)]
    assert times == [NOW, NOW + 1, NOW + 2]
    assert table.sample("gauge", "m", 1, NOW, tags={"a": "b"})[1] == NOW
    assert table.sample("timer", "m", 1, NOW)[1] == NOW + 3, "type and unit split no series"
    assert table.sample("gauge", "m", 1, NOW + 50)[1] == NOW + 50


def test_a_time_that_was_given_stays() -> None:
    table = SeriesTable("s", {})
    assert [table.sample("gauge", "m", n, NOW, at_ms=5)[1] for n in range(2)] == [5, 5]


def test_times_run_ahead_of_the_clock_for_a_minute_at_most() -> None:
    table = SeriesTable("s", {})
    for _ in range(FORGET_MS + 1):
        last = table.sample("gauge", "m", 1, NOW)[1]
    assert last == NOW + FORGET_MS
    with pytest.raises(TooFast):
        table.sample("gauge", "m", 1, NOW)
    assert table.sample("gauge", "m", 1, NOW + 10)[1] == NOW + FORGET_MS + 1


def test_when_the_clock_is_set_back_recording_goes_on_with_it() -> None:
    table = SeriesTable("s", {})
    table.sample("gauge", "m", 1, NOW)
    assert table.sample("gauge", "m", 1, NOW - 3_600_000)[1] == NOW - 3_600_000


def test_a_counter_begins_with_zero_and_sends_totals() -> None:
    table = SeriesTable("s", {})
    table.count("orders_total", 2, NOW)
    table.count("orders_total", 3, NOW + 10)
    found = lines(list(table.totals(NOW + 20, "host-1")))
    assert [(one["timestamp"], one["value"]) for one in found] == [(NOW, 0), (NOW + 20, 5)]
    assert {one["metric_type"] for one in found} == {"counter"}
    assert {one["tags"]["instance"] for one in found} == {"host-1"}
    assert list(table.totals(NOW + 30, "host-1")) == []
    table.count("orders_total", 1, NOW + 40)
    assert [s[1:] for s in table.totals(NOW + 50, "host-1")] == [(NOW + 50, 6.0)]


def test_a_counter_that_stands_still_is_repeated_now_and_then() -> None:
    table = SeriesTable("s", {})
    table.count("orders_total", 2, NOW)
    list(table.totals(NOW, "i"))
    assert list(table.totals(NOW + REPEAT_MS - 10, "i")) == []
    assert [s[1:] for s in table.totals(NOW + 2 * REPEAT_MS, "i")] == [(NOW + 2 * REPEAT_MS, 2.0)]


def test_a_program_may_name_its_instances_itself() -> None:
    table = SeriesTable("s", {"instance": "till 3"})
    table.count("orders_total", 2, NOW)
    assert lines(list(table.totals(NOW, "host-1")))[0]["tags"] == {"instance": "till 3"}


def test_new_series_are_refused_when_there_is_no_room_and_old_ones_go_on() -> None:
    table = SeriesTable("s", {}, most_series=10)
    for n in range(10):
        table.sample("gauge", "m", 1, NOW, tags={"n": n})
    with pytest.raises(TooManySeries):
        table.sample("gauge", "m", 1, NOW, tags={"n": 10})
    table.count("dropped", 1, NOW, always=True)
    later = NOW + FORGET_MS + 1
    table.sample("gauge", "m", 1, later, tags={"n": 3})
    table.sample("gauge", "m", 1, later, tags={"n": 10})
    assert len(table) == 3, "the idle ones made room, what was counted was kept"


def test_large_names_take_the_room_that_they_need() -> None:
    table = SeriesTable("s", {}, most_bytes=10_000)
    with pytest.raises(TooManySeries):
        for n in range(100):
            table.sample("gauge", "m", 1, NOW, tags={"n": f"{n:01000}"})
    assert 2 < len(table) < 10


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("", {}),
        ("m" * 1025, {}),
        (7, {}),
        ("m", {"": "v"}),
        ("m", {"k" * 129: "v"}),
        ("m", {"k": "v" * 1025}),
        ("m", {str(n): "v" for n in range(65)}),
    ],
)
def test_names_that_cannot_be_are_refused(name: Any, tags: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"character|tags"):
        SeriesTable("s", {}).sample("gauge", name, 1, NOW, tags=tags)


def test_moments_in_milliseconds() -> None:
    at = datetime(2026, 6, 20, 14, 0, 0, 123_000, tzinfo=UTC)
    assert milliseconds(at) == milliseconds(at.timestamp()) == 1_781_964_000_123
    assert milliseconds(at.astimezone(timezone(timedelta(hours=9)))) == 1_781_964_000_123
    with pytest.raises(ValueError, match="time zone"):
        milliseconds(at.replace(tzinfo=None))


def test_batches_are_cut_by_number_and_by_size() -> None:
    samples = [('{"timestamp":', n, 0.5) for n in range(25)]
    assert [packed.count for packed in pack(samples, 10, 1_000_000)] == [10, 10, 5]
    assert sum(packed.count for packed in pack(samples, 100, 60)) == 25
    assert list(pack([], 10, 100)) == []


def test_the_same_lines_are_the_same_bytes() -> None:
    assert Packed.of([b"{}", b"[]"]) == Packed.of([b"{}", b"[]"])
    assert gzip.decompress(Packed.of([b"{}", b"[]"]).body) == b"{}\n[]"
