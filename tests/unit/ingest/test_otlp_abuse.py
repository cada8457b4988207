"""OTLP bodies that mean harm: bombs, nesting, lengths; and the guard against them."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.otlp import (
    JSON,
    PROTOBUF,
    encoded,
    exponential,
    gauge,
    histogram,
    json_request,
    request,
)
from tests.support.otlp_decoding import (
    NANOS,
    POINT,
    Sender,
    reasons,
    refused_points,
    samples,
)
from tests.support.remote_write import field, varint
from wedsync_apm.errors import MalformedBody, TooLarge
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.otlp.model import LARGE_BODY_BYTES
from wedsync_apm.ingest.otlp.protobuf_body import check_pieces


@pytest.fixture(params=[PROTOBUF, JSON])
def sender(request: pytest.FixtureRequest) -> Sender:
    return Sender(request.param)


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


async def test_a_point_of_too_many_bytes_is_refused(sender: Sender) -> None:
    size = 33_000
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


@pytest.mark.parametrize("path", [(1,), (1, 2), (1, 2, 2)])
async def test_empty_pieces_are_counted_in_small_bodies_too(path: tuple[int, ...]) -> None:
    body = (varint(path[-1] << 3 | 2) + b"\0") * 400
    for number in reversed(path[:-1]):
        body = field(number, body)
    await Sender(PROTOBUF, IngestLimits(samples=200)).send_body(body)
    with pytest.raises(TooLarge):
        await Sender(PROTOBUF, IngestLimits(samples=100)).send_body(body)


async def test_others_have_their_turn_while_a_large_request_is_read(sender: Sender) -> None:
    points = [{"time_unix_nano": NANOS, "as_int": n, "attributes": {"n": n}} for n in range(8_000)]
    body = encoded(request(gauge("m", *points)), sender.media_type)
    assert len(body) < LARGE_BODY_BYTES  # parsed in place
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    await sender.send_body(body)
    task.cancel()
    assert turns >= 3  # 8,000 new series take more than a tenth of a second, a turn a hundredth


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
async def test_too_many_attributes_are_not_even_looked_at(media_type: str) -> None:
    few, many = ({f"a{n}": "x" for n in range(count)} for count in (65, 1_001))
    long = {"a": "x" * 300_000}
    decoded = await Sender(media_type).send(
        request(*(gauge("m", POINT | {"attributes": one}) for one in (few, many, long)))
    )
    assert [(where, reason) for _, where, reason in reasons(decoded)] == [
        ("m tags", "65 tags; at most 64 are taken"),
        ("m attributes", "has 1001 of them; at most 1000 are taken"),
        ("m attributes", reasons(decoded)[2][2]),
    ]
    assert reasons(decoded)[2][2].endswith("bytes; at most 262144 are taken")
    whole = await Sender(media_type).send(request(gauge("m", POINT, POINT), resource=few))
    assert refused_points(whole) == {0, 1}
    assert "at most 64 tags" in reasons(whole)[0][2]


async def test_too_many_buckets_cost_only_their_point(sender: Sender) -> None:
    counts, bounds = [0] * 5_001, [float(n) for n in range(5_000)]
    message = request(
        histogram("h", {"bucket_counts": counts, "explicit_bounds": bounds}, {"count": 1}),
        exponential("e", {"positive": {"bucket_counts": counts}}, {"count": 1}),
    )
    decoded = await sender.send(message)
    assert {name for _, name, _ in reasons(decoded)} <= {
        "h bucketCounts", "h data point", "e positive", "e positive.bucketCounts",
    }  # fmt: skip
    assert refused_points(decoded) == {0, 2}


async def test_a_bomb_of_empty_json_objects_is_too_large() -> None:
    with pytest.raises(TooLarge):
        await Sender(JSON).send_body(json_request(",".join(["{}"] * 500_000)))


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
