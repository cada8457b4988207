"""What holds for any OTLP request, and that none breaks the decoder."""

import json
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests.support.otlp import (
    JSON,
    PROTOBUF,
    encoded,
    exponential,
    gauge,
    histogram,
    request,
    summary,
    total,
)
from tests.support.otlp_decoding import (
    NANOS,
    Sender,
    reasons,
    refused_points,
    samples,
)
from wedsync_apm.errors import MalformedBody, TooLarge
from wedsync_apm.ingest.model import Decoded

names = st.text(min_size=1, max_size=6)
any_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
pairs = st.dictionaries(names, any_values, max_size=4)
times = st.sampled_from([0, NANOS, NANOS + 5, NANOS - 10**9, 1, 2**64 - 1])
numbers = st.one_of(
    st.fixed_dictionaries({"time_unix_nano": times, "as_double": st.floats(), "attributes": pairs}),
    st.fixed_dictionaries(
        {
            "time_unix_nano": times,
            "as_int": st.integers(-(2**63), 2**63 - 1),
            "attributes": pairs,
            "flags": st.sampled_from([0, 0, 0, 1, 2]),
        }
    ),
)
counts = st.lists(st.integers(0, 2**40), max_size=6)
histograms = st.fixed_dictionaries(
    {
        "time_unix_nano": times,
        "count": st.integers(0, 2**50),
        "sum": st.floats(),
        "bucket_counts": counts,
        "explicit_bounds": st.lists(st.floats(), max_size=5),
        "attributes": pairs,
    }
)
bucket_lists = st.fixed_dictionaries(
    {"offset": st.integers(-(2**31), 2**31 - 1) | st.integers(-50, 50), "bucket_counts": counts}
)
exponentials = st.fixed_dictionaries(
    {
        "count": st.integers(0, 2**50),
        "scale": st.integers(-(2**31), 2**31 - 1) | st.integers(-12, 21),
        "zero_count": st.integers(0, 9),
        "zero_threshold": st.floats(),
        "positive": bucket_lists,
        "negative": bucket_lists,
        "attributes": pairs,
    }
)
summaries = st.fixed_dictionaries(
    {
        "count": st.integers(0, 2**64 - 1),
        "sum": st.floats(),
        "quantiles": st.dictionaries(st.floats(), st.floats(), max_size=3),
    }
)
metrics = st.one_of(
    st.tuples(names, st.lists(numbers, max_size=3)).map(lambda m: gauge(m[0], *m[1])),
    st.tuples(names, st.lists(numbers, max_size=3)).map(lambda m: total(m[0], *m[1])),
    st.tuples(names, st.lists(histograms, max_size=2)).map(lambda m: histogram(m[0], *m[1])),
    st.tuples(names, st.lists(exponentials, max_size=2)).map(lambda m: exponential(m[0], *m[1])),
    st.tuples(names, st.lists(summaries, max_size=2)).map(lambda m: summary(m[0], *m[1])),
)
requests = st.builds(
    lambda found, resource, scope: request(*found, resource=resource, scope=scope),
    st.lists(metrics, max_size=4),
    pairs,
    st.tuples(st.text(max_size=3), st.text(max_size=3)),
)


def told(decoded: Decoded) -> Any:
    """Everything that came of a request, so that two can be compared."""
    found = [(name, tags, at, repr(value)) for name, tags, at, value in samples(decoded)]
    ended = [
        (decoded.batch.directory.keys[handle].metric_name, at) for handle, at in decoded.batch.ended
    ]
    return found, ended, reasons(decoded)


@given(requests)
@settings(max_examples=200, deadline=None)
async def test_both_encodings_mean_the_same_and_every_point_is_accounted_for(
    message: ExportMetricsServiceRequest,
) -> None:
    binary, text = Sender(PROTOBUF), Sender(JSON)
    one, other = await binary.send(message), await text.send(message)
    assert told(one) == told(other)
    seen = set(range(_points(message)))
    assert one.positions is not None
    stored = set(one.positions.tolist())
    assert stored | refused_points(one) <= seen
    ended = seen - stored - refused_points(one)
    assert len(ended) <= len(one.batch.ended)
    # What is known is read as what was new.
    again = await binary.send(message)
    assert told(again) == told(one)


@given(requests, st.data())
@settings(max_examples=200, deadline=None)
async def test_no_change_to_a_body_breaks_the_decoder(
    message: ExportMetricsServiceRequest, data: st.DataObject
) -> None:
    for media_type in (PROTOBUF, JSON):
        body = bytearray(encoded(message, media_type))
        for _ in range(data.draw(st.integers(1, 4))):
            if body:
                place = data.draw(st.integers(0, len(body) - 1))
                body[place : place + data.draw(st.integers(0, 3))] = data.draw(
                    st.binary(max_size=3)
                )
        try:
            decoded = await Sender(media_type).send_body(bytes(body))
        except (MalformedBody, TooLarge):
            continue
        json.dumps(reasons(decoded)).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(requests, json_values, st.data())
@settings(max_examples=200, deadline=None)
async def test_wrong_types_anywhere_in_json_break_nothing(
    message: ExportMetricsServiceRequest, wrong: Any, data: st.DataObject
) -> None:
    tree = MessageToDict(message, use_integers_for_enums=True)
    places = list(_places(tree))
    if places:
        container, key = data.draw(st.sampled_from(places))
        container[key] = wrong
    try:
        await Sender(JSON).send_body(msgspec.json.encode(tree))
    except (MalformedBody, TooLarge):
        return


def _places(tree: Any) -> Any:
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(entries):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _points(message: ExportMetricsServiceRequest) -> int:
    return sum(
        len(getattr(metric, str(metric.WhichOneof("data"))).data_points)
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )
