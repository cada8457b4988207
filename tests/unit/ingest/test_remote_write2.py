"""Remote write 2.0 decoding, by both parsers."""

import time
from collections.abc import Callable
from random import Random
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.remote_write import STALE, field, varint
from tests.support.remote_write2 import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    STATE_SET,
    SUMMARY,
    Request,
    histogram,
)
from wedsync_apm.errors import MalformedBody, TooLarge
from wedsync_apm.ingest import model, remote_write2
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded, IngestGrant
from wedsync_apm.ingest.remote_write2 import (
    Columns,
    KnownSeries,
    decode_columns,
    parse_with_protobuf,
    parse_with_ptars,
)
from wedsync_apm.metrics.model import SeriesDirectory, SeriesKey

NOW = 1_795_000_000_000
ORGANIZATION = UUID("8c1f6e0a-93a5-4d0b-9a57-5ad1b1f3c001")
OWN = IngestGrant(ORGANIZATION)
PLATFORM = IngestGrant(None)


class Decoder:
    """One process' decoder: what it knows lasts from request to request."""

    def __init__(self, parse: Callable[[bytes], Columns], most_bytes: int = 1 << 20) -> None:
        self.directory = SeriesDirectory()
        self.known = KnownSeries(most_bytes)
        self._parse = parse

    async def decode(self, request: Request | bytes, grant: IngestGrant = OWN) -> Decoded:
        body = request if isinstance(request, bytes) else request.body
        arrival = Arrival(grant, self.directory, IngestLimits(samples=1000), NOW)
        return await decode_columns(self._parse(body), arrival, self.known)


@pytest.fixture(params=[parse_with_ptars, parse_with_protobuf])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return Decoder(request.param)


def keys(decoded: Decoded) -> list[SeriesKey]:
    """The series of each sample."""
    return [decoded.batch.directory.keys[handle] for handle in decoded.batch.series]


def reasons(decoded: Decoded) -> list[tuple[str, str]]:
    return [(error.field, error.reason) for error in decoded.rejections.listed]


async def test_samples_of_several_series(decoder: Decoder) -> None:
    request = Request()
    request.series({"__name__": "a", "job": "shop"}, (1.5, NOW), (2.5, NOW + 1), kind=COUNTER)
    request.series({"__name__": "b", "job": "b", "service": "site"}, (0.0, NOW), unit="seconds")
    decoded = await decoder.decode(request)
    assert decoded.batch.values.tolist() == [1.5, 2.5, 0.0]
    assert decoded.batch.timestamps_ms.tolist() == [NOW, NOW + 1, NOW]
    first, _, last = keys(decoded)
    assert first == SeriesKey(ORGANIZATION, "shop", "a", (("job", "shop"),))
    assert (first.metric_type, first.unit) == ("counter", None)
    assert last == SeriesKey(ORGANIZATION, "site", "b", (("job", "b"), ("service", "site")))
    assert (last.metric_type, last.unit) == ("gauge", "seconds")
    assert decoded.rejections.count == 0


@pytest.mark.parametrize(
    ("name", "kind", "metric_type"),
    [
        ("a_total", 0, "counter"),
        ("a", 0, "gauge"),
        ("a", COUNTER, "counter"),
        ("a_total", GAUGE, "gauge"),
        ("a_bucket", HISTOGRAM, "counter"),
        ("a_sum", SUMMARY, "counter"),
        ("a", SUMMARY, "summary"),
        ("a", HISTOGRAM, "histogram"),
        ("a", STATE_SET, "gauge"),
        ("a", 99, "gauge"),
    ],
)
async def test_the_declared_type_is_ours_in_its_words(
    decoder: Decoder, name: str, kind: int, metric_type: str
) -> None:
    decoded = await decoder.decode(Request().series({"__name__": name}, (1.0, NOW), kind=kind))
    assert [key.metric_type for key in keys(decoded)] == [metric_type]


async def test_a_unit_that_comes_later_is_learnt(decoder: Decoder) -> None:
    await decoder.decode(Request().series({"__name__": "m"}, (1.0, NOW)))
    decoded = await decoder.decode(Request().series({"__name__": "m"}, (1.0, NOW), unit="bytes"))
    assert [key.unit for key in keys(decoded)] == ["bytes"]
    assert len(decoder.directory) == 1


async def test_a_known_series_is_found_however_its_symbols_are_numbered(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [{"__name__": "m", "a": str(n), "b": str(n % 3)} for n in range(20)]
    first = Request()
    for one in labels:
        first.series(one, (1.0, NOW), unit="s", kind=GAUGE)
    learnt = dict(_by_key(await decoder.decode(first)))
    monkeypatch.setattr(remote_write2, "_learn", None)
    for seed in range(5):
        random = Random(seed)  # noqa: S311 - shuffles, keeps no secret
        again = Request()
        for text in random.sample(["m", "s", "a", "b", "x", "1", "2"], 7):
            again.symbol(text)
        for one in random.sample(labels, 20):
            again.series(one, (1.0, NOW), unit="s", kind=GAUGE)
        assert dict(_by_key(await decoder.decode(again))) == learnt


def _by_key(decoded: Decoded) -> list[tuple[SeriesKey, int]]:
    return list(zip(keys(decoded), decoded.batch.series.tolist(), strict=True))


async def test_labels_of_one_series_do_not_run_into_the_next(decoder: Decoder) -> None:
    """The same references in one row, cut differently."""
    request = Request()
    request.series({"__name__": "m", "a": "b", "c": "d"}, (1.0, NOW))
    request.series({"__name__": "m", "a": "b"}, (1.0, NOW))
    request.series({"__name__": "m"}, (1.0, NOW))
    for _ in range(2):
        tags = [key.tags for key in keys(await decoder.decode(request))]
        assert tags == [(("a", "b"), ("c", "d")), (("a", "b"),), ()]


async def test_two_tenants_with_the_same_labels_have_two_series(decoder: Decoder) -> None:
    request = Request().series({"__name__": "m"}, (1, NOW))
    one, other = await decoder.decode(request), await decoder.decode(request, IngestGrant(uuid4()))
    assert keys(one)[0].organization_id == ORGANIZATION
    assert keys(other)[0].organization_id != ORGANIZATION


async def test_a_platform_key_names_the_tenant_by_label(decoder: Decoder) -> None:
    request = Request()
    for labels in ({"organization_id": str(ORGANIZATION), "a": "b"}, {}, {"organization_id": "me"}):
        request.series({"__name__": "m"} | labels, (1, NOW))
    decoded = await decoder.decode(request, PLATFORM)
    assert keys(decoded) == [SeriesKey(ORGANIZATION, "default", "m", (("a", "b"),))]
    assert [name for name, _ in reasons(decoded)] == ["organization_id", "organization_id"]


async def test_a_stale_marker_ends_the_series_and_another_nan_is_a_value(decoder: Decoder) -> None:
    samples = [(STALE, NOW), (float("nan"), NOW + 1), (float("inf"), NOW + 2)]
    decoded = await decoder.decode(Request().series({"__name__": "m"}, *samples))
    assert np.isnan(decoded.batch.values[0])
    assert np.isposinf(decoded.batch.values[1])
    assert decoded.batch.ended == ((decoded.batch.series[0], NOW),)


async def test_times_outside_the_window_are_refused_one_by_one(decoder: Decoder) -> None:
    day = 86_400_000
    taken = [NOW - 7 * day, NOW + 600_000]
    refused = [0, NOW - 7 * day - 1, NOW + 600_001, -(2**63), 2**63 - 1]
    request = Request().series({"__name__": "m"}, *[(1.0, at) for at in taken + refused])
    decoded = await decoder.decode(request)
    assert decoded.batch.timestamps_ms.tolist() == taken
    assert decoded.rejections.count == len(refused)


async def test_a_created_timestamp_changes_nothing(decoder: Decoder) -> None:
    request = Request().series({"__name__": "m_total"}, (5.0, NOW), created_ms=NOW - 3_600_000)
    decoded = await decoder.decode(request)
    assert decoded.batch.timestamps_ms.tolist() == [NOW]
    assert decoded.rejections.count == 0


NAMED = (b"__name__", b"m")


@pytest.mark.parametrize(
    ("labels", "where"),
    [
        ([(b"a", b"b")], "metric_name"),
        ([], "metric_name"),
        ([(b"__name__", b"")], "metric_name"),
        ([NAMED, (b"a", b"1"), (b"a", b"2")], "label a"),
        ([NAMED, NAMED], "label __name__"),
        ([NAMED, (b"", b"1")], "labels"),
        ([NAMED, (b"a", b"\xff")], "symbols"),
        ([NAMED, (b"a", b"x\0y")], "tags.a"),
        ([NAMED, (b"a" * 129, b"x")], f"tags.{'a' * 63}…"),
        ([NAMED, (b"a", b"x" * 1025)], "tags.a"),
        ([(b"__name__", b"m" * 1025)], "metric_name"),
        ([NAMED, *[(b"l%d" % n, b"x") for n in range(65)]], "tags"),
    ],
)
async def test_a_bad_series_costs_only_itself(
    decoder: Decoder, labels: list[tuple[bytes, bytes]], where: str
) -> None:
    request = Request().series({"__name__": "good"}, (1, NOW))
    request.series(labels, (1, NOW), (2, NOW + 1)).series({"__name__": "good"}, (1, NOW))
    for _ in range(2):
        decoded = await decoder.decode(request)
        assert [key.metric_name for key in keys(decoded)] == ["good", "good"]
        assert decoded.rejections.count == 2
        assert [name for name, _ in reasons(decoded)] == [where]
        assert decoded.rejections.listed[0].index == 1


@pytest.mark.parametrize(
    ("references", "where"),
    [([1, 2, 1], "labels_refs"), ([1, 99], "reference"), ([1, 2**32 - 1], "reference")],
)
async def test_references_to_nothing_cost_their_series(
    decoder: Decoder, references: list[int], where: str
) -> None:
    request = Request().series({"__name__": "good"}, (1, NOW))
    request.series(None, (1, NOW), references=references)
    decoded = await decoder.decode(request)
    assert [key.metric_name for key in keys(decoded)] == ["good"]
    assert [name for name, _ in reasons(decoded)] == [where]


async def test_unsorted_labels_and_empty_values_are_the_same_series(decoder: Decoder) -> None:
    request = Request().series([(b"b", b"2"), NAMED, (b"e", b""), (b"a", b"1")], (1, NOW))
    request.series({"__name__": "m", "a": "1", "b": "2"}, (2, NOW + 1))
    decoded = await decoder.decode(request)
    assert len(set(decoded.batch.series.tolist())) == 1
    assert keys(decoded)[0].tags == (("a", "1"), ("b", "2"))


async def test_native_histograms_and_exemplars_are_counted_and_named(decoder: Decoder) -> None:
    request = Request()
    exemplars = [request.exemplar({"trace_id": "1"}, 1.0, NOW)] * 2
    request.series({"__name__": "m"}, (1.0, NOW), exemplars=exemplars, histograms=[histogram(NOW)])
    for _ in range(2):
        decoded = await decoder.decode(request)
        assert decoded.batch.values.tolist() == [1.0]
        assert reasons(decoded) == [
            ("m", "native histograms are not taken"),
            ("m", "exemplars are not taken"),
        ]
        assert decoded.rejections.count == 3
        (key,) = decoded.rejections.by_reason
        assert key == (ORGANIZATION, model.UNSUPPORTED)


async def test_a_request_without_samples_is_fine(decoder: Decoder) -> None:
    for request in (Request(), Request().series({"__name__": "m"}, kind=COUNTER, help_text="h")):
        decoded = await decoder.decode(request)
        assert (len(decoded.batch), decoded.rejections.count) == (0, 0)
    assert (await decoder.decode(b"")).rejections.count == 0


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"\x2a\x05abc",
        Request().series({"__name__": "m"}, (1, NOW)).body[:-1],
        Request([b"__name__", b"m"]).series(None, (1, NOW), references=[0, 1]).body,
        Request([]).series(None, (1, NOW), references=[0, 1]).body,
    ],
)
async def test_what_is_no_request_is_refused_as_a_whole(decoder: Decoder, body: bytes) -> None:
    with pytest.raises(MalformedBody):
        await decoder.decode(body)


async def test_too_many_samples_are_too_large(decoder: Decoder) -> None:
    with pytest.raises(TooLarge):
        await decoder.decode(Request().series({"__name__": "m"}, *[(1.0, NOW)] * 1001))


@pytest.mark.parametrize(
    "body",
    [
        field(4, b"") + field(5, b"") * 2_000_000,
        field(4, b"") * 2_000_000,
        field(4, b"") + field(5, field(1, bytes(4_000_000))),
        field(4, b"") + field(5, field(2, b"") * 2_000_000),
    ],
    ids=["series", "symbols", "references", "samples"],
)
async def test_parts_that_are_empty_are_counted_before_they_grow(body: bytes) -> None:
    arrival = Arrival(OWN, SeriesDirectory(), IngestLimits(), NOW)
    started = time.process_time()
    with pytest.raises(TooLarge):
        await remote_write2.decode(body, arrival)
    assert time.process_time() - started < 2


async def test_a_shuffling_sender_fills_no_memory() -> None:
    decoder = Decoder(parse_with_ptars, most_bytes=20_000)
    held = []
    for n in range(300):
        await decoder.decode(Request().series({"__name__": "m"}, (1.0, NOW), unit=f"u{n}"))
        held.append(decoder.known._held)
    assert max(held) < 21_000
    assert len(decoder.directory) == 1


names = st.text(min_size=1, max_size=3)
numbers = st.floats() | st.just(STALE)
many_series = st.lists(
    st.tuples(
        st.dictionaries(names, st.text(max_size=3), max_size=4),
        st.lists(st.tuples(numbers, st.integers(-(2**63), 2**63 - 1)), max_size=4),
        st.integers(0, 7),
        st.text(max_size=2),
        st.integers(0, 2),
    ),
    max_size=5,
)


@given(many_series)
def test_both_parsers_see_the_same(
    content: list[tuple[dict[str, str], list[tuple[float, int]], int, str, int]],
) -> None:
    request = Request()
    for labels, samples, kind, unit, others in content:
        request.series(labels, *samples, kind=kind, unit=unit, histograms=[b""] * others)
    fast, slow = parse_with_ptars(request.body), parse_with_protobuf(request.body)
    assert fast.symbols == slow.symbols == request.symbols
    assert fast.values.tobytes() == slow.values.tobytes()
    for name in ("references", "reference_bounds", "sample_bounds", "timestamps_ms"):
        assert getattr(fast, name).tolist() == getattr(slow, name).tolist(), name
    for name in ("histograms", "exemplars", "types", "units"):
        assert getattr(fast, name).tolist() == getattr(slow, name).tolist(), name
    assert fast.types.tolist() == [kind for _, _, kind, _, _ in content]


@given(many_series, st.randoms())
@settings(max_examples=50)
async def test_what_is_remembered_is_what_was_learnt(
    content: list[tuple[dict[str, str], list[tuple[float, int]], int, str, int]], random: Random
) -> None:
    decoder = Decoder(parse_with_ptars)
    for _ in range(2):
        random.shuffle(content)
        request = Request()
        expected = []
        for labels, samples, kind, unit, _ in content:
            named = {"__name__": "m"} | labels
            request.series(named, *[(value, NOW) for value, _ in samples], kind=kind, unit=unit)
            expected += [named for value, _ in samples if value is not STALE]
        decoded = await decoder.decode(request)
        if not decoded.rejections.count:
            for key, labels in zip(keys(decoded), expected, strict=True):
                tags = {name: value for name, value in labels.items() if value}
                assert tags.pop("__name__") == key.metric_name
                assert dict(key.tags) == tags


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda raw: field(5, raw)))
@settings(max_examples=300)
def test_neither_parser_breaks_on_any_bytes(body: bytes) -> None:
    outcomes: list[object] = []
    for parse in (parse_with_ptars, parse_with_protobuf):
        try:
            columns = parse(body)
            outcomes.append((columns.symbols, columns.timestamps_ms.tolist()))
        except MalformedBody:
            outcomes.append(None)
    # A parser may be stricter than the other about bytes that no sender makes; what both take
    # must mean the same.
    if None not in outcomes:
        assert outcomes[0] == outcomes[1]


def test_references_may_come_one_by_one() -> None:
    body = field(4, b"") + field(4, b"a") + field(5, b"\x08" + varint(1) + b"\x08" + varint(0))
    for parse in (parse_with_ptars, parse_with_protobuf):
        assert parse(body).references.tolist() == [1, 0]
