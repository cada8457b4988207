"""Our own protocol: what is taken, what is refused, and that neither touches the other."""

import json
import math
import tracemalloc
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.errors import MalformedBody, NotValid, TooLarge, UnsupportedMedia
from wedsync_apm.ingest import json_samples, model
from wedsync_apm.ingest.json_samples import ArrivalTimes, JsonReader, split_body
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded, IngestGrant
from wedsync_apm.metrics.model import CALENDAR, SeriesDirectory, SeriesKey

NOW = 1_795_000_000_000
ORGANIZATION = UUID("8c1f6e0a-93a5-4d0b-9a57-5ad1b1f3c001")
GOOD = '{"service_name":"forms","metric_name":"submission_time","value":120.5}'


def decode(
    body: str | bytes,
    content_type: str = "application/json",
    grant: IngestGrant = IngestGrant(ORGANIZATION),  # noqa: B008 - frozen
) -> Decoded:
    raw = body.encode() if isinstance(body, str) else body
    reader = JsonReader(Arrival(grant, SeriesDirectory(), IngestLimits(), NOW))
    for index, item in enumerate(split_body(raw, content_type)):
        reader.read(index, item)
    return reader.finish()


def decode_items(*items: str, grant: IngestGrant = IngestGrant(ORGANIZATION)) -> Decoded:  # noqa: B008
    return decode('{"samples":[' + ",".join(items) + "]}", grant=grant)


def sample(**more: Any) -> str:
    return json.dumps({"service_name": "s", "metric_name": "m", "value": 1} | more)


def key_of(decoded: Decoded, place: int = 0) -> SeriesKey:
    return decoded.batch.directory.keys[int(decoded.batch.series[place])]


def test_a_whole_sample() -> None:
    decoded = decode_items(
        sample(
            value=2.5,
            timestamp="2026-11-18T11:06:40.123Z",
            metric_type="timer",
            unit="ms",
            tags={"route": "/rsvp", "b": ""},
            wedding_context={"is_wedding_day": True, "phase": "ceremony"},
        )
    )
    key = key_of(decoded)
    assert key == SeriesKey(ORGANIZATION, "s", "m", (("b", ""), ("route", "/rsvp")))
    assert (key.metric_type, key.unit) == ("timer", "ms")
    assert decoded.batch.values.tolist() == [2.5]
    assert decoded.batch.timestamps_ms.tolist() == [1_795_000_000_123]
    assert decoded.batch.contexts == ('{"is_wedding_day":true,"phase":"ceremony"}',)
    assert decoded.batch.source == "api"


def test_what_is_left_out_is_filled_in() -> None:
    decoded = decode_items(GOOD, sample(metric_name="requests_total"))
    assert decoded.batch.timestamps_ms.tolist() == [NOW, NOW]
    assert key_of(decoded).metric_type == "gauge"
    assert key_of(decoded, 1).metric_type == "counter"
    assert decoded.batch.context_index is None


def test_a_sample_without_context_leaves_it_to_the_calendar() -> None:
    decoded = decode_items(sample(wedding_context={}), sample())
    assert decoded.batch.contexts == ("{}",)
    assert decoded.batch.context_index is not None
    assert decoded.batch.context_index.tolist() == [0, CALENDAR]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (NOW, NOW),
        (NOW / 1000, NOW),
        (NOW // 1000, NOW),
        (1_794_999_999.9994, NOW - 1),
        ("2026-11-18T12:06:40+01:00", NOW),
        ("2026-11-18t11:06:40.9999z", NOW + 999),
        (NOW - 7 * 86_400_000, NOW - 7 * 86_400_000),
        (NOW + 600_000, NOW + 600_000),
    ],
)
def test_times_that_are_taken(given: float | str, expected: int) -> None:
    assert decode_items(sample(timestamp=given)).batch.timestamps_ms.tolist() == [expected]


BAD: list[tuple[str, str, str]] = [
    ("{}", "service_name", "is missing"),
    ('{"service_name":"s","metric_name":"m"}', "value", "is missing"),
    ("7", "sample", "Expected object"),
    ("null", "sample", "Expected object"),
    ("[]", "sample", "Expected object"),
    (sample(value="1"), "value", "Expected float"),
    (sample(value=True), "value", "Expected float"),
    (sample(value=None), "value", "Expected float"),
    (sample(value=math.nan), "value", "not finite"),
    (sample(value=-math.inf), "value", "not finite"),
    ('{"service_name":"s","metric_name":"m","value":1e999}', "value", "not finite"),
    (sample(service_name=""), "service_name", "is empty"),
    (sample(service_name=5), "service_name", "Expected str"),
    (sample(metric_name="x\0y"), "metric_name", "NUL"),
    (sample(metric_name="é" * 513), "metric_name", "1026 bytes"),
    (sample(service_name="x" * 10_000_000), "service_name", "10000000 bytes"),
    (sample(metric_type="guage"), "metric_type", "unknown value 'guage'; one of gauge, counter"),
    (sample(unit="x" * 1025), "unit", "1025 bytes"),
    (sample(tags={"a": 1}), "tags.*", "Expected str"),
    (sample(tags=[]), "tags", "Expected object"),
    (sample(tags={"": "x"}), "tags", "empty name"),
    (sample(tags={"k" * 129: "x"}), "tags." + "k" * 63 + "…", "129 bytes"),
    (sample(tags={"k": "x" * 1025}), "tags.k", "1025 bytes"),
    (sample(tags={f"k{n}": "x" for n in range(65)}), "tags", "65 tags"),
    (sample(timestamp=0), "timestamp", "7 days back"),
    (sample(timestamp="1970-01-01T00:00:00Z"), "timestamp", "7 days back"),
    (sample(timestamp="2999-01-01T00:00:00Z"), "timestamp", "10 minutes ahead"),
    (sample(timestamp=32_472_144_000), "timestamp", "10 minutes ahead"),
    (sample(timestamp=10**400), "timestamp", "10 minutes ahead"),
    (sample(timestamp=math.nan), "timestamp", "finite"),
    (sample(timestamp="2026-11-18T11:06:40"), "timestamp", "RFC 3339 with an offset"),
    (sample(timestamp="yesterday"), "timestamp", "RFC 3339"),
    (sample(timestamp=[]), "timestamp", "Expected"),
    (sample(wedding_context=[]), "wedding_context", "Expected object"),
    (
        sample(wedding_context={"is_wedding_day": "banana"}),
        "wedding_context.is_wedding_day",
        "bool",
    ),
    (sample(wedding_context={"is_wedding_day": None}), "wedding_context.is_wedding_day", "bool"),
    (sample(wedding_context={"wedding_id": 5}), "wedding_context.wedding_id", "str"),
    (
        sample(wedding_context={"criticality_level": "x"}),
        "wedding_context.criticality_level",
        "high",
    ),
    (sample(wedding_context={"note": "x\0"}), "wedding_context", "NUL"),
    (sample(wedding_context={"deep": [{"n": math.inf}]}), "wedding_context", "not finite"),
    (sample(wedding_context={"note": "x" * 5000}), "wedding_context", "4096 bytes"),
    ('{"service_name":"\\ud800","metric_name":"m","value":1}', "sample", "surrogate"),
]


@pytest.mark.parametrize(("bad", "field", "reason"), BAD, ids=[f"{b[1]}-{b[2]}" for b in BAD])
def test_a_bad_sample_costs_only_itself(bad: str, field: str, reason: str) -> None:
    decoded = decode_items(GOOD, bad, GOOD)
    assert len(decoded.batch) == 2
    assert decoded.positions is not None
    assert decoded.positions.tolist() == [0, 2]
    (error,) = decoded.rejections.listed
    assert (error.index, error.field) == (1, field)
    assert reason in error.reason
    assert len(error.reason) < 400


def test_all_bad_samples_together_and_the_good_ones_stay() -> None:
    decoded = decode_items(*(part for bad, _, _ in BAD for part in (bad, GOOD)))
    assert len(decoded.batch) == len(BAD)
    assert decoded.rejections.count == len(BAD)


@pytest.mark.parametrize(
    "text",
    [
        sample(tags={f"k{n}": "x" for n in range(64)}),
        sample(tags={"k" * 128: "x" * 1024}),
        sample(metric_name="é" * 512),
        sample(value=1e308),
        sample(value=-0.0),
        sample(value=10**30),
    ],
)
def test_at_the_limit_a_sample_is_taken(text: str) -> None:
    assert decode_items(text).rejections.count == 0


def test_a_hundred_errors_are_listed_and_all_counted() -> None:
    decoded = decode_items(*["{}"] * 250, GOOD)
    assert len(decoded.rejections.listed) == 100
    assert decoded.rejections.count == 250
    ((place, refusal),) = decoded.rejections.by_reason.items()
    assert place == (ORGANIZATION, model.INVALID)
    assert refusal.count == 250


def test_another_tenants_id_in_the_body_changes_nothing() -> None:
    other = str(uuid4())
    decoded = decode_items(sample(organization_id=other, tags={"organization_id": other}))
    assert key_of(decoded).organization_id == ORGANIZATION


def test_a_platform_key_names_the_tenant_by_tag() -> None:
    platform = IngestGrant(None)
    decoded = decode_items(
        sample(tags={"organization_id": str(ORGANIZATION), "a": "b"}),
        sample(),
        sample(tags={"organization_id": "nobody"}),
        grant=platform,
    )
    assert key_of(decoded) == SeriesKey(ORGANIZATION, "s", "m", (("a", "b"),))
    assert [error.field for error in decoded.rejections.listed] == ["tags.organization_id"] * 2


def test_ndjson_refuses_line_by_line() -> None:
    lines = [GOOD, "", "{", GOOD + "x", "\xff", GOOD, sample(value=math.nan)]
    decoded = decode("\r\n".join(lines), "application/x-ndjson")
    assert len(decoded.batch) == 2
    assert [error.index for error in decoded.rejections.listed] == [1, 2, 3, 5]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
async def test_too_many_lines_are_not_even_cut_apart(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_samples, "split_body", None)
    arrival = Arrival(IngestGrant(ORGANIZATION), SeriesDirectory(), IngestLimits(), NOW)
    with pytest.raises(TooLarge):
        await json_samples.decoder("application/x-ndjson")(end.encode() * 100_001, arrival)


@pytest.mark.parametrize("body", ["", "{", '{"samples":[', "\xff", "NaN,", '{"samples":[{]}'])
def test_what_is_not_json_is_refused_as_a_whole(body: str) -> None:
    with pytest.raises(MalformedBody):
        decode(body.encode("latin-1"))


@pytest.mark.parametrize(
    "body", ["[]", "null", "7", "{}", '{"samples":7}', '{"samples":{"a":NaN}}', "[" * 100_000]
)
def test_json_of_another_shape_is_not_valid(body: str) -> None:
    with pytest.raises((NotValid, MalformedBody)):
        decode(body)


def test_another_content_type_is_named() -> None:
    with pytest.raises(UnsupportedMedia, match="text/csv"):
        decode(GOOD, "text/csv")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ("service_name", "metric_name", "value", "timestamp", "tags", "unit", "wedding_context")
mangled = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, anything)).map(
    lambda changes: {"service_name": "s", "metric_name": "m", "value": 1.0} | changes
)


@given(st.lists(mangled | anything, max_size=5))
def test_nothing_in_a_body_breaks_the_reader(items: list[Any]) -> None:
    decoded = decode(json.dumps({"samples": [*items, json.loads(GOOD)]}))
    assert len(decoded.batch) + decoded.rejections.count == len(items) + 1
    assert decoded.positions is not None
    assert decoded.positions[-1] == len(items)
    for handle in decoded.batch.series:
        key = decoded.batch.directory.keys[handle]
        text = json.dumps([key.service_name, key.metric_name, key.tags, key.unit])
        assert "\\u0000" not in text
        text.encode()
    assert all(map(math.isfinite, decoded.batch.values))


@pytest.mark.parametrize(
    "bad",
    [
        b'{"service_name":"\xff","metric_name":"m","value":1}',
        b'{"service_name":"s","metric_name":"m","value":1,"tags":{"\xff":"v"}}',
        b'{"service_name":"s","metric_name":"m","value":1,"metric_type":"\xff"}',
        b'{"service_name":"s","metric_name":"m","value":1,"timestamp":"\xff"}',
        b'{"service_name":"s","metric_name":"m","value":1,"wedding_context":{"a":"\xff"}}',
        b'{"service_name":"s","metric_name":"m","value":1,"wedding_context":{"\xff":1}}',
        b'{"service_name":"s","metric_name":"m","value":1,"metric_type":"\\ud800"}',
        b'{"service_name":"s","metric_name":"m","value":1,"timestamp":"\\ud800"}',
    ],
)
@pytest.mark.parametrize("companion", [b"", b'{"service_name":"s","metric_name":"m","value":NaN}'])
def test_what_is_not_utf_8_costs_its_own_sample_only(bad: bytes, companion: bytes) -> None:
    lines = [bad, GOOD.encode(), *filter(None, [companion])]
    for body, content_type in (
        (b'{"samples":[' + b",".join(lines) + b"]}", "application/json"),
        (b"\n".join(lines), "application/x-ndjson"),
    ):
        decoded = decode(body, content_type)
        assert decoded.batch.values.tolist() == [120.5]
        assert decoded.rejections.count == len(lines) - 1
        error = decoded.rejections.listed[0]
        assert error.index == 0
        assert error.field
        assert error.reason.encode()


def nested(levels: int) -> str:
    context = '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"
    return '{"service_name":"s","metric_name":"m","value":1,"wedding_context":' + context + "}"


@pytest.mark.parametrize("levels", [33, 500, 900])
@pytest.mark.parametrize("companion", ["", '{"service_name":"s","metric_name":"m","value":NaN}'])
def test_a_context_nested_too_deeply_costs_its_own_sample_only(levels: int, companion: str) -> None:
    lines = [nested(levels), nested(32), *filter(None, [companion])]
    for body, content_type in (
        ('{"samples":[' + ",".join(lines) + "]}", "application/json"),
        ("\n".join(lines), "application/x-ndjson"),
    ):
        decoded = decode(body, content_type)
        assert len(decoded.batch) == 1
        error = decoded.rejections.listed[0]
        assert (error.index, error.field) == (0, "wedding_context")
        assert error.reason == "is nested deeper than 32 levels"


def test_samples_of_a_series_without_a_time_stay_apart_in_their_order() -> None:
    other = sample(metric_name="other")
    decoded = decode_items(sample(), other, sample(value=2), sample(timestamp=NOW - 5), sample())
    assert decoded.batch.timestamps_ms.tolist() == [NOW, NOW, NOW + 1, NOW - 5, NOW + 2]


def test_times_of_arrival_stay_apart_across_requests_and_within_the_future() -> None:
    directory, limits = SeriesDirectory(), IngestLimits()
    times = directory.companion(ArrivalTimes, ArrivalTimes)
    grant = IngestGrant(ORGANIZATION)

    def take(count: int, now_ms: int) -> Decoded:
        reader = JsonReader(Arrival(grant, directory, limits, now_ms))
        for index in range(count):
            reader.read(index, msgspec.Raw(sample().encode()))
        return reader.finish()

    assert take(3, NOW).batch.timestamps_ms.tolist() == [NOW, NOW + 1, NOW + 2]
    assert take(2, NOW + 1).batch.timestamps_ms.tolist() == [NOW + 3, NOW + 4]
    assert take(1, NOW + 9).batch.timestamps_ms.tolist() == [NOW + 9]
    latest = limits.window(NOW).latest_ms
    assert times.following(0, latest, latest) == latest
    full = take(1, NOW)
    assert len(full.batch) == 0
    assert [error.field for error in full.rejections.listed] == ["timestamp"]
    set_back = NOW - 3_600_000
    assert take(1, set_back).batch.timestamps_ms.tolist() == [set_back]


def test_old_times_of_arrival_are_forgotten() -> None:
    times = ArrivalTimes()
    times.begin(NOW)
    for handle in range(10_000):
        times.following(handle, NOW, NOW + 10)
    times.begin(NOW + 1)
    assert len(times) == 10_000
    for handle in range(10_000, 20_000):
        times.following(handle, NOW + 1, NOW + 10)
    times.begin(NOW + 120_000)
    assert len(times) == 0


@pytest.mark.parametrize("item", ["1", "{}", '""', "[]", "null"])
async def test_a_flood_of_what_is_no_sample_takes_no_memory(item: str) -> None:
    body = f'{{"samples":[{",".join([item] * 1_000_000)}]}}'.encode()
    arrival = Arrival(IngestGrant(ORGANIZATION), SeriesDirectory(), IngestLimits(), NOW)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="samples in one request"):
            await json_samples.decoder("application/json")(body, arrival)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(body) / 10


async def test_the_shortest_samples_are_no_flood() -> None:
    item = '{"service_name":"a","metric_name":"b","value":1,"tags":{"a":"b","c":"d","e":"f"}}'
    body = f'{{"samples":[{",".join([item] * 2_000)}]}}'.encode()
    arrival = Arrival(IngestGrant(ORGANIZATION), SeriesDirectory(), IngestLimits(), NOW)
    decoded = await json_samples.decoder("application/json")(body, arrival)
    assert len(decoded.batch.values) == 2_000
