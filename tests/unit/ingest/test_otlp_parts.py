"""OTLP histograms and summaries, which become several series each."""

import math
from typing import Any

import pytest

from tests.support.otlp import (
    DELTA,
    JSON,
    PROTOBUF,
    exponential,
    histogram,
    request,
    summary,
)
from tests.support.otlp_decoding import (
    NANOS,
    Sender,
    keys,
    reasons,
    refused_points,
    samples,
    values,
)


@pytest.fixture(params=[PROTOBUF, JSON])
def sender(request: pytest.FixtureRequest) -> Sender:
    return Sender(request.param)


async def test_a_histogram_becomes_what_prometheus_has(sender: Sender) -> None:
    point = {
        "time_unix_nano": NANOS,
        "count": 10,
        "sum": 55.5,
        "min": 0.5,
        "max": 20.0,
        "bucket_counts": [1, 2, 3, 4],
        "explicit_bounds": [0.005, 5.0, 1e22],
        "attributes": {"route": "/"},
    }
    decoded = await sender.send(request(histogram("d", point, unit="ms")))
    assert values(decoded) == {
        ("d_bucket", "0.005", "/"): 1,
        ("d_bucket", "5", "/"): 3,
        ("d_bucket", "1e+22", "/"): 6,
        ("d_bucket", "+Inf", "/"): 10,
        ("d_count", "/"): 10,
        ("d_sum", "/"): 55.5,
        ("d_min", "/"): 0.5,
        ("d_max", "/"): 20.0,
    }
    found = keys(decoded)
    assert {name: key.metric_type for name, key in found.items()} == {
        "d_bucket0.005": "counter",
        "d_bucket5": "counter",
        "d_bucket1e+22": "counter",
        "d_bucket+Inf": "counter",
        "d_count": "counter",
        "d_sum": "counter",
        "d_min": "gauge",
        "d_max": "gauge",
    }
    assert (found["d_sum"].unit, found["d_max"].unit, found["d_count"].unit) == ("ms", "ms", None)
    assert decoded.positions is not None
    assert set(decoded.positions.tolist()) == {0}


async def test_a_delta_histogram_is_stored_as_it_came(sender: Sender) -> None:
    point = {"count": 3, "sum": 5.0, "bucket_counts": [1, 2], "explicit_bounds": [1.0]}
    decoded = await sender.send(request(histogram("d", point, temporality=DELTA)))
    assert {key.metric_type for key in keys(decoded).values()} == {"gauge"}
    assert values(decoded)["d_bucket", "+Inf"] == 3


async def test_a_histogram_without_buckets_has_count_and_sum(sender: Sender) -> None:
    decoded = await sender.send(request(histogram("d", {"count": 3, "sum": 5.0})))
    assert values(decoded) == {("d_bucket", "+Inf"): 3, ("d_count",): 3, ("d_sum",): 5.0}


@pytest.mark.parametrize(
    ("point", "where"),
    [
        ({"count": 3, "bucket_counts": [1, 2], "explicit_bounds": [1.0, 2.0]}, "bucketCounts"),
        ({"count": 3, "explicit_bounds": [1.0]}, "bucketCounts"),
        ({"count": 3, "bucket_counts": [1, 1, 1], "explicit_bounds": [2, 1]}, "explicitBounds"),
        ({"count": 3, "bucket_counts": [1, 1, 1], "explicit_bounds": [1, 1]}, "explicitBounds"),
        ({"count": 3, "bucket_counts": [1, 2], "explicit_bounds": [math.nan]}, "explicitBounds"),
        ({"count": 3, "bucket_counts": [1, 2], "explicit_bounds": [math.inf]}, "explicitBounds"),
        ({"count": 3, "bucket_counts": [4, 0], "explicit_bounds": [1.0]}, "count"),
    ],
)
async def test_a_wrong_histogram_costs_only_itself(
    sender: Sender, point: dict[str, Any], where: str
) -> None:
    good = {"count": 1, "sum": 1.0, "attributes": {"a": "b"}}
    decoded = await sender.send(request(histogram("h", point, good)))
    assert [name for _, name, _ in reasons(decoded)] == [f"h {where}"]
    assert refused_points(decoded) == {0}
    assert len(samples(decoded)) == 3


async def test_a_histogram_with_one_tag_too_many_stores_no_part(sender: Sender) -> None:
    # With "le" there are 65.
    point = {"count": 1, "sum": 1.0, "attributes": {f"a{n}": "x" for n in range(64)}}
    decoded = await sender.send(request(histogram("h", point)))
    assert samples(decoded) == []
    assert refused_points(decoded) == {0}


async def test_a_summary_has_its_quantiles(sender: Sender) -> None:
    point = {"count": 9, "sum": 18.0, "quantiles": {0.0: 1.0, 0.5: 2.0, 1.0: 3.0}}
    decoded = await sender.send(request(summary("s", point, unit="s")))
    assert values(decoded) == {
        ("s", "0"): 1.0,
        ("s", "0.5"): 2.0,
        ("s", "1"): 3.0,
        ("s_count",): 9,
        ("s_sum",): 18.0,
    }
    found = keys(decoded)
    assert (found["s"].metric_type, found["s"].unit) == ("summary", "s")
    assert found["s_count"].metric_type == found["s_sum"].metric_type == "counter"


async def test_a_quantile_beyond_one_is_refused(sender: Sender) -> None:
    decoded = await sender.send(request(summary("s", {"quantiles": {1.5: 1.0}})))
    assert reasons(decoded) == [(0, "s quantile", "does not lie between 0 and 1")]


async def test_an_exponential_histogram_has_buckets_too(sender: Sender) -> None:
    point = {
        "time_unix_nano": NANOS,
        "count": 7,
        "sum": 20.0,
        "min": -2.0,
        "max": 4.0,
        "scale": 0,
        "zero_count": 1,
        "positive": {"offset": 0, "bucket_counts": [2, 0, 3]},
        "negative": {"offset": 0, "bucket_counts": [1]},
    }
    decoded = await sender.send(request(exponential("e", point)))
    assert values(decoded) == {
        ("e_bucket", "-2"): 0,
        ("e_bucket", "-1"): 1,
        ("e_bucket", "0"): 2,
        ("e_bucket", "1"): 2,
        ("e_bucket", "2"): 4,
        ("e_bucket", "4"): 4,
        ("e_bucket", "8"): 7,
        ("e_bucket", "+Inf"): 7,
        ("e_count",): 7,
        ("e_sum",): 20.0,
        ("e_min",): -2.0,
        ("e_max",): 4.0,
    }
