"""OTLP decoding: requests made with OpenTelemetry's own messages, read by us, in both encodings."""

import json
import math
import struct
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests.support.otlp import (
    CUMULATIVE,
    DELTA,
    JSON,
    PROTOBUF,
    as_json,
    attributes,
    encoded,
    exponential,
    gauge,
    histogram,
    request,
    summary,
    total,
)
from tests.support.remote_write import field, varint
from wedsync_apm.api.ingest import otlp as door
from wedsync_apm.errors import MalformedBody, TooLarge
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded, IngestGrant
from wedsync_apm.ingest.otlp import mapping
from wedsync_apm.ingest.otlp.model import PointRejections
from wedsync_apm.ingest.otlp.protobuf_body import check_pieces
from wedsync_apm.metrics.model import SeriesDirectory, SeriesKey

NOW = 1_795_383_840_123
NANOS = NOW * 1_000_000
ORGANIZATION = uuid4()
OWN = IngestGrant(ORGANIZATION)
PLATFORM = IngestGrant(None)
ENCODINGS = {PROTOBUF: door.PROTOBUF, JSON: door.JSON}


class Sender:
    """Sends to a decoder of one process."""

    def __init__(self, media_type: str, limits: IngestLimits | None = None) -> None:
        self.media_type = media_type
        self.directory = SeriesDirectory()
        self._limits = limits or IngestLimits()

    async def send(self, message: ExportMetricsServiceRequest, grant: IngestGrant = OWN) -> Decoded:
        return await self.send_body(encoded(message, self.media_type), grant)

    async def send_body(self, body: bytes, grant: IngestGrant = OWN) -> Decoded:
        arrival = Arrival(grant, self.directory, self._limits, NOW)
        return await ENCODINGS[self.media_type].decode(body, arrival)


@pytest.fixture(params=[PROTOBUF, JSON])
def sender(request: pytest.FixtureRequest) -> Sender:
    return Sender(request.param)


def samples(decoded: Decoded) -> list[tuple[str, dict[str, str], int, float]]:
    batch = decoded.batch
    found = []
    for handle, at, value in zip(
        batch.series.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True
    ):
        key = batch.directory.keys[handle]
        found.append((key.metric_name, dict(key.tags), at, value))
    return found


def values(decoded: Decoded) -> dict[tuple[str, ...], float]:
    """By name and the values of the tags."""
    return {(name, *tags.values()): value for name, tags, _, value in samples(decoded)}


def keys(decoded: Decoded) -> dict[str, SeriesKey]:
    """By name and, of a histogram's parts, the bound."""
    found = {}
    for handle in decoded.batch.series.tolist():
        key = decoded.batch.directory.keys[handle]
        found[key.metric_name + dict(key.tags).get("le", "")] = key
    return found


def reasons(decoded: Decoded) -> list[tuple[int | None, str, str]]:
    return [(one.index, one.field, one.reason) for one in decoded.rejections.listed]


def refused_points(decoded: Decoded) -> set[int]:
    assert isinstance(decoded.rejections, PointRejections)
    return decoded.rejections.points


POINT = {"time_unix_nano": NANOS, "as_double": 1.5}


async def test_a_gauge_keeps_its_name_unit_and_all_attributes(sender: Sender) -> None:
    message = request(
        gauge(
            "queue.depth",
            POINT | {"attributes": {"queue": "mail"}},
            {"time_unix_nano": NANOS + 1_000_000, "as_int": -7, "attributes": {"queue": "sms"}},
            unit="{message}",
        ),
        resource={"service.name": "worker", "host.name": "h1", "telemetry.sdk.language": "python"},
        scope=("wedsync.jobs", "1.2"),
        scope_attributes={"short": "x"},
    )
    decoded = await sender.send(message)
    common = {
        "service.name": "worker",
        "host.name": "h1",
        "telemetry.sdk.language": "python",
        "otel_scope_name": "wedsync.jobs",
        "otel_scope_version": "1.2",
        "otel_scope_short": "x",
    }
    assert samples(decoded) == [
        ("queue.depth", dict(sorted((common | {"queue": "mail"}).items())), NOW, 1.5),
        ("queue.depth", dict(sorted((common | {"queue": "sms"}).items())), NOW + 1, -7.0),
    ]
    key = keys(decoded)["queue.depth"]
    assert (key.service_name, key.unit, key.metric_type) == ("worker", "{message}", "gauge")
    assert key.organization_id == ORGANIZATION
    assert decoded.rejections.count == 0


@pytest.mark.parametrize(
    ("temporality", "monotonic", "expected"),
    [
        (CUMULATIVE, True, "counter"),
        (CUMULATIVE, False, "gauge"),
        (DELTA, True, "gauge"),
        (DELTA, False, "gauge"),
        (0, True, "gauge"),
    ],
)
async def test_only_a_cumulative_monotonic_sum_is_a_counter(
    sender: Sender, temporality: int, monotonic: bool, expected: str
) -> None:
    message = request(total("orders", POINT, temporality=temporality, monotonic=monotonic))
    decoded = await sender.send(message)
    assert keys(decoded)["orders"].metric_type == expected
    assert keys(decoded)["orders"].service_name == "default"


async def test_whole_numbers_beyond_a_doubles_digits_are_the_nearest_double(
    sender: Sender,
) -> None:
    message = request(gauge("m", {"time_unix_nano": NANOS, "as_int": 2**63 - 1}))
    assert values(await sender.send(message)) == {("m",): float(2**63)}


async def test_not_finite_values_are_values(sender: Sender) -> None:
    points = [
        {"time_unix_nano": NANOS, "as_double": value, "attributes": {"n": str(n)}}
        for n, value in enumerate((math.nan, math.inf, -math.inf))
    ]
    found = values(await sender.send(request(gauge("m", *points))))
    assert math.isnan(found["m", "0"])
    assert (found["m", "1"], found["m", "2"]) == (math.inf, -math.inf)


async def test_a_point_without_a_time_gets_that_of_arrival(sender: Sender) -> None:
    decoded = await sender.send(request(gauge("m", {"as_double": 1.0})))
    assert [at for _, _, at, _ in samples(decoded)] == [NOW]


async def test_one_bad_of_three_costs_only_itself(sender: Sender) -> None:
    message = request(
        gauge(
            "m",
            POINT | {"attributes": {"n": "0"}},
            {"time_unix_nano": NANOS - 8 * 86_400 * 10**9, "as_double": 1.0},
            POINT | {"attributes": {"n": "2"}},
        )
    )
    decoded = await sender.send(message)
    assert [tags["n"] for _, tags, _, _ in samples(decoded)] == ["0", "2"]
    assert reasons(decoded) == [(1, "m timeUnixNano", "lies more than 7 days back")]
    assert decoded.positions is not None
    assert decoded.positions.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("point", "where"),
    [
        ({"time_unix_nano": NANOS}, "m value"),
        ({"time_unix_nano": 2**64 - 1, "as_int": 1}, "m timeUnixNano"),
        (POINT | {"attributes": {"": "x"}}, "m attributes"),
        (POINT | {"attributes": {"a": "x" * 1025}}, "m attribute a"),
        (POINT | {"attributes": {"a" * 129: "x"}}, f"m attribute {'a' * 63}…"),
        (POINT | {"attributes": {"a": "\0"}}, "m attribute a"),
        (POINT | {"attributes": {f"a{n}": "x" for n in range(65)}}, "m tags"),
    ],
)
async def test_a_bad_point_is_named(sender: Sender, point: dict[str, Any], where: str) -> None:
    decoded = await sender.send(request(gauge("m", POINT, point, POINT)))
    assert [index for index, _, _ in reasons(decoded)] == [1]
    assert reasons(decoded)[0][1].replace("tags.a", "attribute a") == where
    assert len(samples(decoded)) == 2
    assert refused_points(decoded) == {1}


async def test_an_attribute_that_is_there_twice_is_refused(sender: Sender) -> None:
    message = request(gauge("m", POINT))
    point = message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0]
    point.attributes.extend(attributes({"a": "1"}) + attributes({"a": "2"}))
    assert reasons(await sender.send(message)) == [(0, "m attribute a", "is there twice")]


async def test_a_metric_without_a_name_costs_its_points_only(sender: Sender) -> None:
    decoded = await sender.send(
        request(gauge("", POINT, POINT), histogram("", {"count": 1}), gauge("good", POINT))
    )
    assert [name for name, *_ in samples(decoded)] == ["good"]
    assert refused_points(decoded) == {0, 1, 2}


async def test_a_bad_resource_costs_all_its_points_and_no_others(sender: Sender) -> None:
    bad = request(gauge("m", POINT, POINT), resource={"": "x"})
    bad.resource_metrics.extend(request(gauge("good", POINT)).resource_metrics)
    decoded = await sender.send(bad)
    assert [name for name, *_ in samples(decoded)] == ["good"]
    assert decoded.rejections.count == 2
    assert refused_points(decoded) == {0, 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        (True, "true"),
        (False, "false"),
        (-3, "-3"),
        (0, "0"),
        (2**63 - 1, str(2**63 - 1)),
        (0.1, "0.1"),
        (2.0, "2.0"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (b"\x00\xff", "AP8="),
        ([], "[]"),
        (["a", 1, 1.5, True, None, math.inf], '["a",1,1.5,true,null,"Infinity"]'),
        ({"b": {"c": [b"x"]}, "a": "ü"}, '{"a":"ü","b":{"c":["eA=="]}}'),
    ],
)
async def test_attributes_of_every_type_become_text(sender: Sender, value: Any, text: str) -> None:
    message = request(gauge("m", POINT | {"attributes": {"a": value}}))
    assert [tags for _, tags, _, _ in samples(await sender.send(message))] == [{"a": text}]


@pytest.mark.parametrize("value", [None, ""])
async def test_an_empty_attribute_is_none(sender: Sender, value: Any) -> None:
    message = request(gauge("m", POINT | {"attributes": {"a": value, "b": "x"}}))
    assert [tags for _, tags, _, _ in samples(await sender.send(message))] == [{"b": "x"}]


async def test_command_lines_are_not_kept(sender: Sender) -> None:
    resource = {"process.command_line": "p --password=x", "process.pid": 7}
    resource |= {"process.command_args": ["p", "--password=x"], "process.command": "p"}
    decoded = await sender.send(request(gauge("m", POINT), resource=resource))
    assert [tags for _, tags, _, _ in samples(decoded)] == [{"process.pid": "7"}]


async def test_the_nearer_of_two_attributes_of_a_name_wins(sender: Sender) -> None:
    decoded = await sender.send(
        request(gauge("m", POINT | {"attributes": {"a": "point"}}), resource={"a": "resource"})
    )
    assert [tags for _, tags, _, _ in samples(decoded)] == [{"a": "point"}]


async def test_a_flag_ends_the_series_and_every_part_of_a_histogram(sender: Sender) -> None:
    first = request(
        gauge("g", POINT),
        histogram("h", {"time_unix_nano": NANOS, "count": 1, "sum": 2.0}),
    )
    await sender.send(first)
    ended = {"time_unix_nano": NANOS + 10**9, "flags": 1}
    decoded = await sender.send(request(gauge("g", ended), histogram("h", ended)))
    assert len(decoded.batch) == 0
    assert decoded.rejections.count == 0
    found = {sender.directory.keys[handle].metric_name for handle, _ in decoded.batch.ended}
    assert found == {"g", "h_count", "h_sum", "h_bucket"}
    assert {at for _, at in decoded.batch.ended} == {NOW + 1000}


async def test_a_known_point_is_not_decoded_again(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = request(
        gauge("g", POINT | {"attributes": {"a": "b"}}),
        histogram("h", {"count": 1, "sum": 2.0, "attributes": {"a": "b"}}),
        resource={"service.name": "x"},
    )
    first = await sender.send(message)
    monkeypatch.setattr("wedsync_apm.ingest.otlp.mapping.tags_of", None)
    second = await sender.send(message)
    assert first.batch.series.tolist() == second.batch.series.tolist()


async def test_what_is_remembered_is_bounded(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "MOST_REMEMBERED_BYTES", 20_000)
    known = sender.directory.companion(mapping._Known, mapping._Known)
    for n in range(40):
        await sender.send(
            request(*[gauge("m", POINT) for _ in range(3)], resource={f"n{n}": "x" * 1000})
        )
        assert known.size < 25_000
    assert len(known.scopes) < 40


async def test_two_tenants_with_the_same_streams_have_two_series(sender: Sender) -> None:
    message = request(gauge("m", POINT))
    one, other = await sender.send(message), await sender.send(message, IngestGrant(uuid4()))
    assert keys(one)["m"].organization_id == ORGANIZATION
    assert keys(other)["m"].organization_id != ORGANIZATION


async def test_a_platform_key_names_the_tenant_by_resource_or_point(sender: Sender) -> None:
    other = uuid4()
    message = request(
        gauge("m", POINT, POINT | {"attributes": {"organization_id": str(other)}}),
        resource={"organization_id": str(ORGANIZATION), "a": "b"},
    )
    message.resource_metrics.extend(request(gauge("none", POINT)).resource_metrics)
    message.resource_metrics.extend(
        request(gauge("wrong", POINT), resource={"organization_id": "me"}).resource_metrics
    )
    decoded = await sender.send(message, PLATFORM)
    owners = [decoded.batch.directory.keys[one] for one in decoded.batch.series.tolist()]
    assert [key.organization_id for key in owners] == [ORGANIZATION, other]
    assert [dict(key.tags) for key in owners] == [{"a": "b"}] * 2
    assert refused_points(decoded) == {2, 3}


async def test_a_platforms_refused_point_is_counted_for_its_owner(sender: Sender) -> None:
    old = {"time_unix_nano": 1, "as_double": 1.0}
    decoded = await sender.send(
        request(
            gauge("m", old, {"time_unix_nano": NANOS}),
            resource={"organization_id": str(ORGANIZATION)},
        ),
        PLATFORM,
    )
    owners = {owner for owner, _ in decoded.rejections.by_reason}
    assert owners == {ORGANIZATION}


async def test_another_keys_organization_attribute_is_only_an_attribute(sender: Sender) -> None:
    other = str(UUID(int=1))
    decoded = await sender.send(request(gauge("m", POINT), resource={"organization_id": other}))
    assert keys(decoded)["m"].organization_id == ORGANIZATION
    assert dict(keys(decoded)["m"].tags) == {"organization_id": other}


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


@pytest.mark.parametrize(
    ("media_type", "body"), [(PROTOBUF, b""), (JSON, b"{}"), (JSON, b'{"resourceMetrics": null}')]
)
async def test_an_empty_request_is_fine(media_type: str, body: bytes) -> None:
    decoded = await Sender(media_type).send_body(body)
    assert (len(decoded.batch), decoded.rejections.count) == (0, 0)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (PROTOBUF, b"\xff"),
        (PROTOBUF, b"\x0a\x05abc"),
        (PROTOBUF, field(1, field(2, field(2, field(5, b"\x0a\x7f"))))),
        (JSON, b""),
        (JSON, b"[]"),
        (JSON, b'{"resourceMetrics": [1]}'),
        (JSON, b'{"resourceMetrics": [{}'),
        (JSON, b'{"resourceMetrics": "\xff"}'),
        (JSON, b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"\\ud800"}]}]}]}'),
        (JSON, b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ],
)
async def test_what_is_no_request_is_refused_as_a_whole(media_type: str, body: bytes) -> None:
    with pytest.raises(MalformedBody):
        await Sender(media_type).send_body(body)


def json_request(point: str, data: str = '"gauge":{"dataPoints":[%s]}') -> bytes:
    metric = f'{{"name":"m",{data % point}}}'
    return f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}'.encode()


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (f'"timeUnixNano":"{NANOS}","asInt":"7"', 7.0),
        (f'"timeUnixNano":{NANOS},"asInt":7', 7.0),
        (f'"timeUnixNano":{NANOS},"asInt":7.0', 7.0),
        ('"asDouble":"1.5"', 1.5),
        ('"asDouble":1e3', 1000.0),
        ('"asDouble":"-Infinity"', -math.inf),
        ('"asDouble":2,"asInt":null,"flags":null,"attributes":null', 2.0),
        ('"asDouble":2,"exemplars":[{"traceId":"0102"}],"unknown":{"x":[1]}', 2.0),
    ],
)
async def test_what_json_may_hold(point: str, expected: float) -> None:
    decoded = await Sender(JSON).send_body(json_request(f"{{{point}}}"))
    assert values(decoded) == {("m",): expected}


@pytest.mark.parametrize(
    ("point", "where"),
    [
        ('"asInt":7.5', "m asInt"),
        ('"asInt":"9223372036854775808"', "m asInt"),
        ('"asInt":"0x7"', "m asInt"),
        ('"asInt":" 7"', "m asInt"),
        ('"asInt":true', "m asInt"),
        ('"asInt":{"a":[1]}', "m asInt"),
        ('"asDouble":"inf"', "m asDouble"),
        ('"asDouble":"1_0"', "m asDouble"),
        ('"asDouble":".."', "m asDouble"),
        ('"asDouble":[]', "m asDouble"),
        ('"asDouble":1,"timeUnixNano":"-1"', "m timeUnixNano"),
        ('"asDouble":1,"flags":"x"', "m flags"),
        ('"as_double":1', "m value"),  # only lowerCamelCase is known
        ('"asDouble":1,"attributes":[{"key":1}]', "m attributes"),
        ('"asDouble":1,"attributes":{}', "m attributes"),
        ('"asDouble":1,"attributes":[{"key":"a","value":{"intValue":"x"}}]', "m intValue"),
    ],
)
async def test_a_wrong_field_in_json_costs_only_its_point(point: str, where: str) -> None:
    body = json_request(f'{{"asDouble":1}},{{{point}}},{{"asDouble":2,"attributes":[]}}')
    decoded = await Sender(JSON).send_body(body)
    assert [(index, name) for index, name, _ in reasons(decoded)] == [(1, where)]
    assert len(samples(decoded)) == 2


async def test_an_enum_by_its_name_is_no_otlp() -> None:
    data = '"sum":{"dataPoints":[%s],"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}'
    with pytest.raises(MalformedBody, match="aggregationTemporality"):
        await Sender(JSON).send_body(json_request('{"asInt":1}', data))


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ('"histogram":{"dataPoints":[{"count":-1}]}', "m count"),
        ('"histogram":{"dataPoints":[{"bucketCounts":"x"}]}', "m data point"),
        ('"histogram":{"dataPoints":[{"bucketCounts":[-1,2],"explicitBounds":[0]}]}',
         "m bucketCounts"),
        ('"exponentialHistogram":{"dataPoints":[{"positive":7}]}', "m positive"),
        ('"exponentialHistogram":{"dataPoints":[{"positive":{"bucketCounts":[-1]}}]}',
         "m positive.bucketCounts"),
        ('"summary":{"dataPoints":[{"quantileValues":[{"quantile":{}}]}]}', "m quantile"),
        ('"summary":{"dataPoints":[{"quantileValues":3}]}', "m quantileValues"),
    ],
)  # fmt: skip
async def test_wrong_lists_in_json_cost_only_their_point(data: str, where: str) -> None:
    decoded = await Sender(JSON).send_body(json_request("", data.replace("%", "%%") + "%s"))
    assert [(index, name) for index, name, _ in reasons(decoded)] == [(0, where)]


async def test_text_that_is_not_utf8_costs_only_its_points() -> None:
    sender = Sender(PROTOBUF)
    number = b"\x21" + struct.pack("<d", 1.0)
    bad_attribute = field(7, field(1, b"\xff") + field(2, field(1, b"x")))
    good, bad = field(1, number), field(1, number + bad_attribute)
    metrics = field(2, field(1, b"m") + field(5, good + bad))
    metrics += field(2, field(1, b"\xff") + field(5, good))
    decoded = await sender.send_body(field(1, field(2, metrics)))
    assert len(samples(decoded)) == 1
    assert [(index, name) for index, name, _ in reasons(decoded)] == [
        (1, "m attributes"),
        (2, "\ufffd name"),
    ]


@pytest.mark.parametrize("levels", [16, 17, 40, 99, 5_000, 100_000])
async def test_deep_attributes_cost_only_their_point(levels: int) -> None:
    value = b""
    for _ in range(min(levels, 5_000)):
        value = field(5, field(1, value))
    point = field(7, field(1, b"a") + field(2, value)) + b"\x21" + struct.pack("<d", 1.0)
    body = field(1, field(2, field(2, field(1, b"m") + field(5, field(1, point)))))
    decoded = await Sender(PROTOBUF).send_body(body)
    assert len(samples(decoded)) == (1 if levels == 16 else 0)
    value_text = '{"arrayValue":{"values":[' * levels + "{}" + "]}}" * levels
    point_text = f'{{"asDouble":1,"attributes":[{{"key":"a","value":{value_text}}}]}}'
    if levels <= 99:
        decoded = await Sender(JSON).send_body(json_request(point_text))
        assert len(samples(decoded)) == (1 if levels == 16 else 0)
        return
    with pytest.raises(MalformedBody, match="too deep"):
        await Sender(JSON).send_body(json_request(point_text))


async def test_one_point_too_many_is_too_large(sender: Sender) -> None:
    limits = IngestLimits(samples=3)
    sender = Sender(sender.media_type, limits)
    await sender.send(request(gauge("m", POINT, POINT), gauge("n", POINT)))
    with pytest.raises(TooLarge):
        await sender.send(request(gauge("m", POINT, POINT), gauge("n", POINT, POINT)))
    many = {"count": 0, "bucket_counts": [0] * 4, "explicit_bounds": [1.0, 2.0, 3.0]}
    with pytest.raises(TooLarge):
        await sender.send(request(histogram("h", many)))


async def test_a_point_of_a_megabyte_is_refused(sender: Sender) -> None:
    size = 130_000
    point = {"count": 0, "bucket_counts": [0] * (size + 1), "explicit_bounds": list(range(size))}
    decoded = await sender.send(request(histogram("h", point, {"count": 1})))
    assert [(index, name) for index, name, _ in reasons(decoded)] == [(0, "h data point")]
    assert len(samples(decoded)) == 2


EMPTIES = 2_100_000


@pytest.mark.parametrize(
    "path",
    [(1,), (1, 2), (1, 2, 2), (1, 2, 2, 5, 1), (1, 2, 2, 9, 1), (1, 1, 1), (1, 2, 2, 5, 1, 7)],
)
async def test_a_bomb_of_empty_messages_is_too_large(path: tuple[int, ...]) -> None:
    body = (varint(path[-1] << 3 | 2) + b"\0") * EMPTIES
    for number in reversed(path[:-1]):
        body = field(number, body)
    with pytest.raises(TooLarge):
        await Sender(PROTOBUF).send_body(body)


async def test_a_bomb_of_empty_json_objects_is_too_large() -> None:
    with pytest.raises(TooLarge):
        await Sender(JSON).send_body(json_request(",".join(["{}"] * 2_100_000)))


async def test_a_large_request_of_full_size_points_is_taken(sender: Sender) -> None:
    """What the bombs are told from: the guard must let real requests through."""
    point_attributes = {f"attribute.number.{n}": f"value {n}" for n in range(8)}
    points = [
        {"time_unix_nano": NANOS, "start_time_unix_nano": 1, "as_int": n, "flags": 2}
        | {"attributes": point_attributes}
        for n in range(5_000)
    ]
    body = encoded(request(gauge("m", *points)), sender.media_type)
    assert len(body) > 1024 * 1024
    decoded = await Sender(sender.media_type, IngestLimits(samples=5_000)).send_body(body)
    assert len(decoded.batch) == 5_000


@given(st.binary(max_size=300))
def test_the_guard_breaks_on_no_bytes(body: bytes) -> None:
    try:
        check_pieces(body, 20, 50)
    except (MalformedBody, TooLarge):
        return


@pytest.mark.parametrize("cut", [1, 2, 5])
async def test_the_guard_knows_a_cut_body(cut: int) -> None:
    body = request(gauge("m", POINT, POINT)).SerializeToString()
    check_pieces(body, 100, 100)
    with pytest.raises(MalformedBody):
        check_pieces(body[:-cut], 100, 100)
    with pytest.raises(TooLarge):
        check_pieces(body, 4, 100)
    with pytest.raises(TooLarge):
        check_pieces(body, 100, 6)


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


def test_the_json_of_these_tests_is_otlps() -> None:
    tree = json.loads(as_json(request(total("m", {"as_int": 2**62, "time_unix_nano": 5}))))
    data = tree["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]
    assert data["aggregationTemporality"] == 2
    assert data["dataPoints"] == [{"timeUnixNano": "5", "asInt": str(2**62)}]
