"""Remote write decoding, compiled and in plain Python."""

import asyncio
import struct
from itertools import permutations
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.remote_write import STALE, field, label, sample, series, varint
from wedsync_apm.errors import MalformedBody, TooLarge
from wedsync_apm.ingest import model, plain_runs, runs
from wedsync_apm.ingest.labels import label_of
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Decoded, IngestGrant
from wedsync_apm.ingest.remote_write import LEARN_AT_ONCE, RemoteWriteDecoder
from wedsync_apm.ingest.runs import Runs
from wedsync_apm.metrics.model import SeriesDirectory, SeriesKey

NOW = 1_795_000_000_000
ORGANIZATION = UUID("8c1f6e0a-93a5-4d0b-9a57-5ad1b1f3c001")
OWN = IngestGrant(ORGANIZATION)
PLATFORM = IngestGrant(None)


@pytest.fixture(params=[Runs, plain_runs.Runs], ids=["compiled", "plain"])
def decoder(request: pytest.FixtureRequest) -> RemoteWriteDecoder:
    return RemoteWriteDecoder(SeriesDirectory(), IngestLimits(), request.param)


def keys(decoded: Decoded) -> list[SeriesKey]:
    """The series of each sample."""
    return [decoded.batch.directory.keys[handle] for handle in decoded.batch.series]


def reasons(decoded: Decoded) -> list[tuple[str, str]]:
    return [(error.field, error.reason) for error in decoded.rejections.listed]


async def test_samples_of_several_series(decoder: RemoteWriteDecoder) -> None:
    body = series({"__name__": "a_total", "job": "shop"}, (1.5, NOW), (2.5, NOW + 1)) + series(
        {"__name__": "b", "service": "site", "job": "shop"}, (-0.0, NOW)
    )
    decoded = await decoder.decode(body, OWN, NOW)
    assert decoded.batch.values.tolist() == [1.5, 2.5, 0.0]
    assert decoded.batch.timestamps_ms.tolist() == [NOW, NOW + 1, NOW]
    first, _, last = keys(decoded)
    assert first == SeriesKey(ORGANIZATION, "shop", "a_total", (("job", "shop"),))
    assert first.metric_type == "counter"
    assert last == SeriesKey(ORGANIZATION, "site", "b", (("job", "shop"), ("service", "site")))
    assert last.metric_type == "gauge"
    assert decoded.rejections.count == 0


async def test_a_series_without_samples_takes_none_of_its_neighbours(
    decoder: RemoteWriteDecoder,
) -> None:
    body = series({"__name__": "a"}, (1, NOW), (2, NOW + 1)) + series({"__name__": "b"})
    decoded = await decoder.decode(body, OWN, NOW)
    assert [key.metric_name for key in keys(decoded)] == ["a", "a"]


async def test_service_name_comes_first_and_default_last(decoder: RemoteWriteDecoder) -> None:
    body = series({"__name__": "m", "job": "j", "service": "s", "service_name": "n"}, (1, NOW))
    body += series({"__name__": "m"}, (1, NOW))
    names = [key.service_name for key in keys(await decoder.decode(body, OWN, NOW))]
    assert names == ["n", "default"]


async def test_a_known_series_is_not_decoded_again(
    decoder: RemoteWriteDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = series({"__name__": "m", "a": "b"}, (1, NOW))
    first = await decoder.decode(body, OWN, NOW)
    monkeypatch.setattr("wedsync_apm.ingest.remote_write._label", None)
    second = await decoder.decode(body, OWN, NOW)
    assert first.batch.series.tolist() == second.batch.series.tolist()


async def test_two_tenants_with_the_same_labels_have_two_series(
    decoder: RemoteWriteDecoder,
) -> None:
    body = series({"__name__": "m"}, (1, NOW))
    one = await decoder.decode(body, OWN, NOW)
    other = await decoder.decode(body, IngestGrant(uuid4()), NOW)
    assert keys(one)[0].organization_id == ORGANIZATION
    assert keys(other)[0].organization_id != ORGANIZATION


async def test_a_platform_key_names_the_tenant_by_label(decoder: RemoteWriteDecoder) -> None:
    body = series({"__name__": "m", "organization_id": str(ORGANIZATION), "a": "b"}, (1, NOW))
    body += series({"__name__": "m"}, (1, NOW), (2, NOW + 1))
    body += series({"__name__": "m", "organization_id": "mine"}, (1, NOW))
    decoded = await decoder.decode(body, PLATFORM, NOW)
    assert keys(decoded) == [SeriesKey(ORGANIZATION, "default", "m", (("a", "b"),))]
    assert decoded.rejections.count == 3
    assert [name for name, _ in reasons(decoded)] == ["organization_id", "organization_id"]


async def test_another_keys_organization_label_is_only_a_label(decoder: RemoteWriteDecoder) -> None:
    other = str(uuid4())
    decoded = await decoder.decode(
        series({"__name__": "m", "organization_id": other}, (1, NOW)), OWN, NOW
    )
    assert keys(decoded) == [SeriesKey(ORGANIZATION, "default", "m", (("organization_id", other),))]


async def test_a_stale_marker_ends_the_series_and_another_nan_is_a_value(
    decoder: RemoteWriteDecoder,
) -> None:
    body = series({"__name__": "m"}, (STALE, NOW), (float("nan"), NOW + 1), (float("inf"), NOW + 2))
    decoded = await decoder.decode(body, OWN, NOW)
    assert np.isnan(decoded.batch.values[0])
    assert np.isposinf(decoded.batch.values[1])
    assert decoded.batch.ended == ((decoded.batch.series[0], NOW),)


async def test_times_outside_the_window_are_refused_one_by_one(
    decoder: RemoteWriteDecoder,
) -> None:
    day = 86_400_000
    taken = [NOW - 7 * day, NOW + 600_000]
    refused = [0, NOW - 7 * day - 1, NOW + 600_001, 32_472_144_000_000, -(2**63), 2**63 - 1]
    body = series({"__name__": "m"}, *[(1.0, at) for at in taken + refused])
    decoded = await decoder.decode(body, OWN, NOW)
    assert decoded.batch.timestamps_ms.tolist() == taken
    assert decoded.rejections.count == len(refused)
    by_reason = {
        reason: refusal.count for (_, reason), refusal in decoded.rejections.by_reason.items()
    }
    assert by_reason == {model.TOO_OLD: 3, model.TOO_NEW: 3}


@pytest.mark.parametrize(
    ("labels", "where"),
    [
        ([label("a", "b")], "metric_name"),
        ([label("__name__", "")], "metric_name"),
        ([label("__name__", "m"), label("a", "1"), label("a", "2")], "label a"),
        ([label("__name__", "m"), label("", "1")], "labels"),
        ([label("__name__", "m"), label("a", b"\xff")], "labels"),
        ([label("__name__", "m"), b"\xff\xff"], "labels"),
        ([label("__name__", "m"), label("a", "x\0y")], "tags.a"),
        ([label("__name__", "m"), label("a" * 129, "x")], f"tags.{'a' * 63}…"),
        ([label("__name__", "m"), label("a", "x" * 1025)], "tags.a"),
        ([label("__name__", "m" * 1025)], "metric_name"),
        ([label("__name__", "m")] + [label(f"l{n}", "x") for n in range(65)], "tags"),
    ],
)
async def test_a_bad_series_costs_only_itself(
    decoder: RemoteWriteDecoder, labels: list[bytes], where: str
) -> None:
    good = series({"__name__": "good"}, (1, NOW))
    decoded = await decoder.decode(good + series(labels, (1, NOW), (2, NOW + 1)) + good, OWN, NOW)
    assert [key.metric_name for key in keys(decoded)] == ["good", "good"]
    assert decoded.rejections.count == 2
    assert [name for name, _ in reasons(decoded)] == [where]


@pytest.mark.parametrize(
    "labels",
    [
        {"__name__": "m", "a" * 128: "x" * 1024},
        {"__name__": "m" * 1024},
        {"__name__": "m"} | {f"l{n}": "x" for n in range(64)},
        {"__name__": "m", "empty": ""},
    ],
)
async def test_at_the_limit_a_series_is_taken(
    decoder: RemoteWriteDecoder, labels: dict[str, str]
) -> None:
    decoded = await decoder.decode(series(labels, (1, NOW)), OWN, NOW)
    assert decoded.rejections.count == 0
    expected = {name: value for name, value in labels.items() if name != "__name__" and value}
    assert dict(keys(decoded)[0].tags) == expected


async def test_a_label_of_ten_megabytes_is_refused_in_a_short_answer(
    decoder: RemoteWriteDecoder,
) -> None:
    body = series({"__name__": "m", "n" * 10_000_000: "x"}, (1, NOW))
    decoded = await decoder.decode(body, OWN, NOW)
    assert decoded.rejections.count == 1
    assert len(str(reasons(decoded))) < 300


async def test_what_is_new_is_read_to_its_end_though_others_use_the_room_meanwhile(
    decoder: RemoteWriteDecoder,
) -> None:
    names = [f"m{number:04}" for number in range(3 * LEARN_AT_ONCE)]
    body = b"".join(series({"__name__": name}, (1, NOW)) for name in names)
    room = bytearray(body)

    async def use_the_room() -> None:
        room[:] = b"\xff" * len(room)

    decoded, _ = await asyncio.gather(
        decoder.decode(memoryview(room).toreadonly(), OWN, NOW), use_the_room()
    )
    assert [key.metric_name for key in keys(decoded)] == names
    assert decoded.rejections.count == 0


async def test_metadata_alone_is_fine(decoder: RemoteWriteDecoder) -> None:
    metadata = field(3, b"\x08\x01" + field(2, b"up") + field(4, b"help"))
    decoded = await decoder.decode(metadata, OWN, NOW)
    assert len(decoded.batch) == 0
    assert decoded.rejections.count == 0


def told(name: bytes, unit: bytes) -> bytes:
    return field(3, b"\x08\x01" + field(2, name) + field(4, b"help") + field(5, unit))


async def test_units_come_in_requests_of_their_own(decoder: RemoteWriteDecoder) -> None:
    early = {"__name__": "early_sum", "job": "a"}
    other = IngestGrant(UUID(int=77))
    await decoder.decode(series(early, (1, NOW)), OWN, NOW)
    await decoder.decode(series(early, (1, NOW)), other, NOW)
    body = told(b"early", b"seconds") + told(b"late", b"bytes") + told(b"none", b"")
    body += told(b"bad\xff", b"s") + told(b"long", b"x" * 2000) + told(b"", b"s")
    for _ in range(2):
        assert len((await decoder.decode(body, OWN, NOW)).batch) == 0
    await decoder.decode(series({"__name__": "late_total"}, (1, NOW)), OWN, NOW)
    await decoder.decode(series({"__name__": "late_bucket"}, (1, NOW)), OWN, NOW)
    await decoder.decode(series({"__name__": "late_total"}, (1, NOW)), other, NOW)
    units = {
        (one.organization_id == OWN.organization_id, one.metric_name): one.unit
        for one in decoder.directory.keys
    }
    assert units == {
        (True, "early_sum"): "seconds",
        (False, "early_sum"): None,
        (True, "late_total"): "bytes",
        (True, "late_bucket"): None,
        (False, "late_total"): None,
    }


async def test_metadata_of_a_platform_or_without_end_is_passed_over(
    decoder: RemoteWriteDecoder,
) -> None:
    await decoder.decode(told(b"m", b"s"), PLATFORM, NOW)
    await decoder.decode(told(b"m", b"s") * 100_000, OWN, NOW)
    await decoder.decode(series({"__name__": "m"}, (1, NOW)), OWN, NOW)
    assert [one.unit for one in decoder.directory.keys] == [None]


async def test_native_histograms_are_refused_and_exemplars_ignored(
    decoder: RemoteWriteDecoder,
) -> None:
    message = (
        field(1, label("__name__", "m"))
        + field(2, b"\x09" + struct.pack("<d", 1.0) + b"\x10" + varint(NOW))
        + field(3, b"\x11" + struct.pack("<d", 1.0))
        + field(4, b"\x08\x01")
    )
    decoded = await decoder.decode(field(1, message), OWN, NOW)
    assert decoded.batch.values.tolist() == [1.0]
    assert reasons(decoded) == [("m", "native histograms are not taken")]


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc", series({"__name__": "m"})[:-1]])
async def test_what_is_no_request_is_refused_as_a_whole(
    decoder: RemoteWriteDecoder, body: bytes
) -> None:
    with pytest.raises(MalformedBody):
        await decoder.decode(body, OWN, NOW)


async def test_one_sample_too_many_is_too_large() -> None:
    decoder = RemoteWriteDecoder(SeriesDirectory(), IngestLimits(samples=3))
    three = [(1.0, NOW + n) for n in range(3)]
    assert len((await decoder.decode(series({"__name__": "m"}, *three), OWN, NOW)).batch) == 3
    with pytest.raises(TooLarge):
        await decoder.decode(series({"__name__": "m"}, *three, (1.0, NOW + 9)), OWN, NOW)
    with pytest.raises(TooLarge):
        await decoder.decode(field(1, b"") * 4, OWN, NOW)


names = st.text(min_size=1, max_size=5)
values = st.floats(allow_subnormal=True) | st.just(STALE)
requests = st.lists(
    st.tuples(
        st.dictionaries(names, st.text(max_size=5), max_size=4),
        st.lists(st.tuples(values, st.integers(-(2**63), 2**63 - 1)), max_size=4),
    ),
    max_size=5,
)


Request = list[tuple[dict[str, str], list[tuple[float, int]]]]


def encoded(request: Request) -> bytes:
    return b"".join(series(labels, *samples) for labels, samples in request)


def seen(decoded: Decoded) -> object:
    """Everything that a decoder gives, free of its own numbers."""
    batch = decoded.batch
    return (
        keys(decoded),
        batch.timestamps_ms.tolist(),
        batch.values.tobytes(),
        [(batch.directory.keys[handle], at) for handle, at in batch.ended],
        reasons(decoded),
        decoded.rejections.count,
    )


def fresh() -> RemoteWriteDecoder:
    return RemoteWriteDecoder(SeriesDirectory(), IngestLimits())


def decode_or_not(decoder: RemoteWriteDecoder, body: bytes) -> object:
    try:
        return seen(asyncio.run(decoder.decode(body, OWN, NOW)))
    except MalformedBody:
        return None


def plain() -> RemoteWriteDecoder:
    return RemoteWriteDecoder(SeriesDirectory(), IngestLimits(), plain_runs.Runs)


@given(requests)
def test_compiled_and_plain_see_the_same(request: Request) -> None:
    body, compiled, slow = encoded(request), fresh(), plain()
    for _ in range(2):
        assert decode_or_not(compiled, body) == decode_or_not(slow, body)


@given(st.binary(max_size=200))
@settings(max_examples=1000)
def test_neither_breaks_on_any_bytes(body: bytes) -> None:
    compiled, slow = decode_or_not(fresh(), body), decode_or_not(plain(), body)
    # One may be stricter than the other about bytes that no sender makes; what both take must
    # mean the same.
    if compiled is not None and slow is not None:
        assert compiled == slow


now_and_then = st.tuples(values, st.integers(NOW - 1000, NOW) | st.just(0))
few_series = st.lists(
    st.tuples(
        st.sampled_from(
            [
                {"__name__": "m"},
                {"__name__": "m", "a": "b"},
                {"__name__": "m", "a": "\x12\x10\x09"},
                {"__name__": "m", "a": "\x12\x07\x10"},
                {"__name__": "n", "é": "\n\x01\n"},
                {},
            ]
        ),
        st.lists(now_and_then, max_size=3),
    ),
    max_size=6,
)


@given(st.lists(few_series, min_size=1, max_size=4))
@settings(max_examples=300)
def test_what_a_decoder_remembers_changes_nothing(sent: list[Request]) -> None:
    decoder = fresh()
    for request in [*sent, *sent]:
        body = encoded(request)
        assert decode_or_not(decoder, body) == decode_or_not(fresh(), body)


@given(few_series, st.data())
@settings(max_examples=300)
def test_a_known_series_with_something_wrong_in_it_is_read_as_if_it_were_new(
    request: Request, data: st.DataObject
) -> None:
    decoder, body = fresh(), encoded(request)
    decode_or_not(decoder, body)
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3)) if body else 0):
        changed[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    found = decode_or_not(decoder, bytes(changed))
    assert found == decode_or_not(fresh(), bytes(changed))
    in_python = decode_or_not(plain(), bytes(changed))
    if found is not None and in_python is not None:
        assert found == in_python


@pytest.mark.parametrize("late", [label("b", "c"), b"\xff"])
async def test_labels_after_the_samples_are_labels_all_the_same(
    decoder: RemoteWriteDecoder, late: bytes
) -> None:
    plain = field(1, label("__name__", "m"))
    one = field(2, sample(1.0, NOW))
    await decoder.decode(field(1, plain + one) * 2, OWN, NOW)
    decoded = await decoder.decode(
        field(1, plain + one) + field(1, plain + one + field(1, late)), OWN, NOW
    )
    assert len(decoded.batch) + decoded.rejections.count == 2
    assert decoded.rejections.count == (late == b"\xff")
    assert len(set(keys(decoded))) == len(decoded.batch)


async def test_shuffled_labels_do_not_grow_the_memory_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wedsync_apm.ingest.remote_write.MOST_REMEMBERED_BYTES", 2_000)
    decoder = fresh()
    labels = [label("__name__", "m"), *(label(f"l{n}", "x") for n in range(4))]
    for order in permutations(labels):
        decoded = await decoder.decode(series(order, (1, NOW)), OWN, NOW)
        assert len(decoded.batch) == 1
        assert decoder.remembered_bytes <= 2_000
    assert len(decoder.directory) == 1


some_labels = st.lists(
    st.tuples(
        st.sampled_from(["__name__", "organization_id", "job", "service", "a", "é", "b"]),
        st.sampled_from(["", "x", "y"]),
    ),
    max_size=8,
)


@given(some_labels, st.sets(st.integers(0, 7)), st.booleans())
def test_known_labels_say_the_same_compiled_and_in_python(
    labels: list[tuple[str, str]], unknown: set[int], is_platform: bool
) -> None:
    encoded = [label(*one) for one in labels]
    known = {
        one: label_of(*pair)
        for at, (one, pair) in enumerate(zip(encoded, labels, strict=True))
        if at not in unknown
    }
    run = b"".join(field(1, one) for one in encoded)
    assert runs.known_series(run, known, is_platform) == plain_runs.known_series(
        run, known, is_platform
    )


def test_more_labels_than_are_taken_apart_at_once_are_taken_apart_all_the_same() -> None:
    pairs = [(f"l{number:03}", "x") for number in range(100)]
    known = {label(*pair): label_of(*pair) for pair in pairs}
    run = b"".join(field(1, one) for one in known)
    assert runs.known_series(run, known, False) is None
    said = plain_runs.known_series(run, known, False)
    assert said is not None
    assert said.tags == tuple(pairs)
