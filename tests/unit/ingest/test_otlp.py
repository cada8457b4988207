"""OTLP decoding: requests made with OpenTelemetry's own messages, read by us, in both encodings."""

import math
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.otlp import (
    CUMULATIVE,
    DELTA,
    JSON,
    PROTOBUF,
    attributes,
    gauge,
    histogram,
    request,
    total,
)
from tests.support.otlp_decoding import (
    NANOS,
    NOW,
    ORGANIZATION,
    PLATFORM,
    POINT,
    Sender,
    keys,
    reasons,
    refused_points,
    samples,
    values,
)
from tests.support.remote_write import field
from wedsync_apm.errors import MalformedBody
from wedsync_apm.ingest.model import IngestGrant
from wedsync_apm.ingest.otlp import known


@pytest.fixture(params=[PROTOBUF, JSON])
def sender(request: pytest.FixtureRequest) -> Sender:
    return Sender(request.param)


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
    monkeypatch.setattr(known, "MOST_REMEMBERED_BYTES", 20_000)
    memory = sender.directory.companion(known.Memory, known.Memory)
    for n in range(40):
        await sender.send(
            request(*[gauge("m", POINT) for _ in range(3)], resource={f"n{n}": "x" * 1000})
        )
        assert memory.size < 25_000
    assert len(memory.resources) < 40


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
