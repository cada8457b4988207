import asyncio
import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.annotations.model import Annotation
from wedsync_apm.errors import MalformedBody, NotValid, TooLarge
from wedsync_apm.ingest import model
from wedsync_apm.ingest.annotating import NotKept
from wedsync_apm.ingest.datadog.checks import decode_checks
from wedsync_apm.ingest.datadog.events import event_decoder, intake_decoder
from wedsync_apm.ingest.datadog.series import (
    decode_distributions,
    decode_v1,
    decode_v2,
    decode_v2_protobuf,
)
from wedsync_apm.ingest.datadog.sketches import decode_sketches
from wedsync_apm.ingest.datadog.tags import read_tags
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decode, Decoded, IngestGrant
from wedsync_apm.ingest.wire import datadog_pb2 as wire
from wedsync_apm.metrics.model import SeriesDirectory

ORGANIZATION = UUID(int=7)
NOW_S = 1_795_000_000
NOW = NOW_S * 1000


def arrival(limits: IngestLimits | None = None) -> Arrival:
    return Arrival(IngestGrant(ORGANIZATION), SeriesDirectory(), limits or IngestLimits(), NOW)


def decoded(decode: Decode, body: Any, at: Arrival | None = None) -> Decoded:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asyncio.run(_decoded(decode, content, at or arrival()))


async def _decoded(decode: Decode, content: bytes, at: Arrival) -> Decoded:
    return await decode(content, at)


async def kept_all(source: str, found: Sequence[Annotation]) -> Mapping[UUID, NotKept]:
    return {}


def samples(found: Decoded) -> list[tuple[str, dict[str, str], int, float]]:
    batch = found.batch
    return [
        (
            batch.directory.keys[handle].metric_name,
            dict(batch.directory.keys[handle].tags),
            at,
            value,
        )
        for handle, at, value in zip(
            batch.series.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True
        )
    ]


def told(found: Decoded) -> list[str]:
    return [f"{one.index} {one.field} {one.reason}" for one in found.rejections.listed]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["a:b"], {"a": "b"}),
        (["a:b:c"], {"a": "b:c"}),
        (["bare"], {"bare": "true"}),
        (["empty:"], {}),
        ([""], {}),
        (["a:2", "a:1", "a:2"], {"a": "1,2"}),
        (["a:1", "a:2"], {"a": "1,2"}),
        (["host:x", "a:b"], {"a": "b", "host": "h"}),
        ([" a : b "], {"a": "b"}),
    ],
)
def test_tags_are_read(tags: list[str], expected: dict[str, str]) -> None:
    host = "h" if "host" in expected else ""
    assert read_tags(tags, host) == expected


@given(st.lists(st.text(max_size=10), max_size=10), st.randoms())
def test_the_order_of_tags_does_not_matter(tags: list[str], chance: Any) -> None:
    shuffled = list(tags)
    chance.shuffle(shuffled)
    assert read_tags(shuffled) == read_tags(tags)


def v1(*points: Any, **more: Any) -> dict[str, Any]:
    return {"metric": "m", "points": list(points)} | more


V1_REFUSED: tuple[tuple[Any, str], ...] = (
    (5, "series is not of its shape: Expected object, got int"),
    ({"points": [[NOW_S, 1]]}, "series is not of its shape: Object missing required field metric"),
    (v1([NOW_S, 1], metric=""), "metric_name is empty"),
    (v1([NOW_S, 1], type="histogram"), "type is none of gauge, count, rate, counter"),
    (
        v1([NOW_S, 1], tags=[5]),
        "series is not of its shape: Expected str, got int - at $.tags[0]",
    ),
    (v1([NOW_S, 1], tags=[":v"]), "tags has an empty name"),
    (v1([NOW_S]), "points[0] is no time with a value"),
    (v1([NOW_S, 1, 2]), "points[0] is no time with a value"),
    (v1([NOW_S, None]), "points[0]'s value is no number"),
    (v1([NOW_S, True]), "points[0]'s value is no number"),
    (v1([NOW_S, "x"]), "points[0]'s value is no number"),
    (v1([NOW_S, "inf"]), "points[0]'s value is not finite"),
    (v1([NOW_S, math.nan]), "points[0]'s value is not finite"),
    (v1([NOW_S, 10**400]), "points[0]'s value is not finite"),
    (v1([math.inf, 1]), "points[0]'s time is not finite"),
    (v1([-1, 1]), "points[0]'s time is no number of seconds since 1970"),
    (v1([NOW, 1]), "points[0]'s time is no number of seconds since 1970"),
    (v1([NOW_S - 8 * 86400, 1]), "points[0]'s time lies more than 7 days back"),
    (v1([NOW_S + 700, 1]), "points[0]'s time lies more than 10 minutes ahead"),
)


@pytest.mark.parametrize(("bad", "reason"), V1_REFUSED, ids=[reason for _, reason in V1_REFUSED])
def test_a_bad_series_costs_only_itself(bad: Any, reason: str) -> None:
    found = decoded(decode_v1, {"series": [v1([NOW_S, 1]), bad, v1([NOW_S - 1, 2])]})
    assert [(at, value) for _, _, at, value in samples(found)] == [(NOW, 1), (NOW - 1000, 2)]
    assert told(found) == [f"1 {reason}"]


def test_numbers_may_be_texts_and_times_have_fractions() -> None:
    found = decoded(decode_v1, {"series": [v1([str(NOW_S), "1.5"], [NOW_S + 0.25, 2])]})
    assert [(at, value) for _, _, at, value in samples(found)] == [(NOW, 1.5), (NOW + 250, 2)]


def test_the_points_of_a_series_that_is_not_taken_are_all_counted() -> None:
    found = decoded(decode_v1, {"series": [v1([1, 1], [2, 2], [3, 3], type=5)]})
    assert found.rejections.count == 3
    assert found.rejections.by_reason.keys() == {(ORGANIZATION, model.INVALID)}


def test_bytes_that_are_not_utf_8_cost_their_series() -> None:
    body = b'{"series":[{"metric":"\xff","points":[[%d,1]]},{"metric":"b","points":[[%d,1]]}]}'
    found = decoded(decode_v1, body % (NOW_S, NOW_S))
    assert [name for name, *_ in samples(found)] == ["b"]
    assert told(found) == ["0 metric or its tags are not UTF-8"]


def test_v2_takes_resources_as_tags_and_tells_its_types() -> None:
    point = {"timestamp": NOW_S, "value": 1}
    resources = [{"type": "host", "name": "h"}, {"type": "host", "name": "i"}, {"name": "x"}]
    good = {"metric": "m", "type": 1, "points": [point], "resources": resources, "tags": ["a:b"]}
    found = decoded(decode_v2, {"series": [good, good | {"type": 4}, good | {"points": [[1, 2]]}]})
    assert samples(found) == [("m", {"a": "b", "host": "h"}, NOW, 1)]
    assert told(found) == ["1 type is none of 0, 1, 2 and 3", "2 points[0] is no time with a value"]


def test_values_of_one_time_are_one_distribution() -> None:
    one = {"metric": "m", "points": [[NOW_S, [1, 2]], [NOW_S, [3]], [NOW_S, []], [NOW_S, 4]]}
    found = decoded(
        decode_distributions, {"series": [one, {"metric": "m", "points": [[NOW_S, [6]]]}]}
    )
    values = {name: value for name, _, _, value in samples(found)}
    assert (values["m_count"], values["m_sum"], values["m_max"]) == (4, 12, 6)
    assert len(values) == 8
    assert told(found) == [f"0 points[{n}] is no time with a list of values" for n in (2, 3)]


def test_a_check_is_an_object_or_a_list() -> None:
    check = {"check": "c", "status": 1, "host_name": "h", "timestamp": NOW_S}
    assert samples(decoded(decode_checks, check)) == [("c", {"host": "h"}, NOW, 1)]
    found = decoded(
        decode_checks, [check, {"check": "c", "status": 4}, {"check": "d", "status": 0}]
    )
    assert [(name, value) for name, _, _, value in samples(found)] == [("c", 1), ("d", 0)]
    assert told(found) == ["1 status is none of 0, 1, 2 and 3"]
    with pytest.raises(NotValid):
        decoded(decode_checks, 5)


def field(number: int, content: bytes | int) -> bytes:
    """A field of protobuf, written by hand: the published numbers, not those of our copy."""
    if isinstance(content, int):
        digits = [
            content >> shift & 127 for shift in range(0, 64, 7) if content >> shift or not shift
        ]
        return bytes([number << 3, *[one | 128 for one in digits[:-1]], digits[-1]])
    return bytes([number << 3 | 2, len(content)]) + content


def double(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def test_the_agents_messages_are_read_by_their_published_numbers() -> None:
    resource = field(1, b"host") + field(2, b"h")
    point = double(1, 1.5) + field(2, NOW_S)
    series = b"".join(
        (
            field(1, resource),
            field(2, b"m"),
            field(3, b"a:b"),
            field(4, point),
            field(5, 2),
            field(6, b"byte"),
            field(7, b"System"),
            field(8, 10),
            field(9, b"whatever"),
        )
    )
    found = decoded(decode_v2_protobuf, field(1, series))
    assert samples(found) == [("m", {"a": "b", "host": "h"}, NOW, 1.5)]
    assert found.batch.directory.keys[0].unit == "byte"
    dogsketch = b"".join(
        (
            field(1, NOW_S),
            field(2, 3),
            *[double(number, value) for number, value in ((3, 1.0), (4, 2.0), (5, 1.3), (6, 4.0))],
            field(7, bytes([0xF4, 0x14, 0xCE, 0x15])),  # zigzag of 1338 and 1383
            field(8, bytes([2, 1])),
        )
    )
    sketch = field(1, b"d") + field(2, b"h") + field(4, b"a:b") + field(7, dogsketch)
    found = decoded(decode_sketches, field(1, sketch) + field(2, field(1, b"7.60.0")))
    values = {name: value for name, _, _, value in samples(found)}
    assert (values["d_count"], values["d_sum"], values["d_min"], values["d_max"]) == (3, 4, 1, 2)
    assert values["d_p50"] == 1
    assert values["d_p99"] == pytest.approx(2, rel=0.008)
    assert samples(found)[0][1] == {"a": "b", "host": "h"}


def sketch(**more: Any) -> bytes:
    good: dict[str, Any] = {
        "ts": NOW_S,
        "cnt": 1,
        "min": 1,
        "max": 1,
        "sum": 1,
        "k": [1338],
        "n": [1],
    }
    return wire.Sketch(metric="m", dogsketches=[wire.Dogsketch(**good | more)]).SerializeToString()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"cnt": 0}, "has no values"),
        ({"k": []}, "has no values"),
        ({"n": [1, 2]}, "has no values"),
        ({"n": [0]}, "bins without values"),
        ({"k": [40_000]}, "a bin that no Agent knows"),
        ({"sum": math.nan}, "not finite"),
        ({"min": 2}, "a least value above its greatest"),
        ({"ts": 5}, "7 days back"),
        ({"ts": -(2**63)}, "no number of seconds"),
    ],
)
def test_a_sketch_that_cannot_be_costs_only_itself(more: dict[str, Any], reason: str) -> None:
    body = wire.SketchPayload(sketches=[sketch(), sketch(**more), b"\xff"]).SerializeToString()
    found = decoded(decode_sketches, body)
    assert {name: value for name, _, _, value in samples(found)}["m_p99"] == 1
    first, second = told(found)
    assert reason in first
    assert second == "2 sketches cannot be decoded"


def test_more_samples_than_a_request_may_carry_are_too_large() -> None:
    few = arrival(IngestLimits(samples=10))
    for decode, body in (
        (decode_v1, {"series": [v1(*[[NOW_S, 1]] * 6)] * 2}),
        (decode_v1, {"series": [5] * 11}),
        (decode_distributions, {"series": [v1([NOW_S, [1] * 11])]}),
        (decode_checks, [5] * 11),
        (decode_v2_protobuf, wire.MetricPayload(series=[b""] * 11).SerializeToString()),
        (decode_sketches, wire.SketchPayload(sketches=[sketch()] * 2).SerializeToString()),
        (decode_v1, b'{"series":[' + b"[]," * 2_000 + b"[]]}"),
    ):
        with pytest.raises(TooLarge):
            decoded(decode, body, few)


def test_an_event_that_cannot_be_kept_is_told() -> None:
    found: list[Annotation] = []
    long = decoded(event_decoder(kept_all, found), {"title": "x" * 1001, "date_happened": NOW_S})
    assert told(long) == ["None title has 1001 characters; at most 1000 are kept"]
    decoded(
        event_decoder(kept_all, found),
        {"title": "t", "alert_type": "user_update", "priority": "odd"},
    )
    (one,) = found
    assert (one.alert_type, one.priority, one.occurred_at.timestamp()) == ("info", "normal", NOW_S)


def test_the_same_event_is_one_annotation_and_another_is_not() -> None:
    found: list[Annotation] = []
    event = {"title": "t", "date_happened": NOW_S, "tags": ["a:b"]}
    others: list[dict[str, Any]] = [{"text": "x"}, {"date_happened": NOW_S - 1}, {"tags": []}]
    for more in ({}, {}, *others):
        decoded(event_decoder(kept_all, found), event | more)
    assert len({one.id for one in found}) == 4


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([NOW_S, "gauge", [NOW_S, 1.0]]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "series",
                    "metric",
                    "points",
                    "type",
                    "tags",
                    "host",
                    "timestamp",
                    "value",
                    "resources",
                    "check",
                    "status",
                    "title",
                    "text",
                    "events",
                    "date_happened",
                    "name",
                    "unit",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
FROM_JSON = st.sampled_from(["v1", "v2", "distributions", "checks", "event", "intake"])


def decoder(name: str) -> Decode:
    return {
        "v1": decode_v1,
        "v2": decode_v2,
        "distributions": decode_distributions,
        "checks": decode_checks,
        "event": event_decoder(kept_all, []),
        "intake": intake_decoder(kept_all),
    }[name]


@given(FROM_JSON, JSON, st.booleans())
def test_no_json_does_more_than_being_refused(name: str, body: Any, is_wrapped: bool) -> None:
    whole = {"series": [body], "events": {"api": [body]}} if is_wrapped else body
    try:
        found = decoded(decoder(name), json.dumps(whole).encode())
    except (MalformedBody, NotValid, TooLarge):
        return
    assert all(math.isfinite(value) for *_, value in samples(found))


@given(FROM_JSON, st.binary(max_size=100))
def test_no_bytes_do_more_than_being_refused(name: str, body: bytes) -> None:
    try:
        decoded(decoder(name), body)
    except (MalformedBody, NotValid, TooLarge):
        return


@given(st.binary(max_size=200), st.booleans())
def test_no_protobuf_does_more_than_being_refused(body: bytes, is_wrapped: bool) -> None:
    if is_wrapped:
        body = wire.MetricPayload(series=[body, body]).SerializeToString()
    for decode in (decode_v2_protobuf, decode_sketches):
        try:
            found = decoded(decode, body)
        except (MalformedBody, TooLarge):
            continue
        assert all(math.isfinite(value) for *_, value in samples(found))
