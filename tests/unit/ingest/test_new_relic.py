"""New Relic's Metric API: what is taken, what is refused, and that neither touches the other."""

import json
import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wedsync_apm.errors import MalformedBody, NotValid, TooLarge
from wedsync_apm.ingest import model, new_relic
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded, IngestGrant
from wedsync_apm.metrics.model import SeriesDirectory, SeriesKey

NOW = 1_795_000_000_000
ORGANIZATION = UUID("8c1f6e0a-93a5-4d0b-9a57-5ad1b1f3c001")
OWN = IngestGrant(ORGANIZATION)
PLATFORM = IngestGrant(None)


async def decode(
    *blocks: Any,
    raw: bytes | None = None,
    grant: IngestGrant = OWN,
    limits: IngestLimits | None = None,
    directory: SeriesDirectory | None = None,
) -> Decoded:
    directory = SeriesDirectory() if directory is None else directory
    arrival = Arrival(grant, directory, limits or IngestLimits(), NOW)
    return await new_relic.decode(json.dumps(blocks).encode() if raw is None else raw, arrival)


def block(*metrics: Any, **common: Any) -> dict[str, Any]:
    return {"metrics": list(metrics)} | ({"common": common} if common else {})


def metric(**more: Any) -> dict[str, Any]:
    return {"name": "m", "value": 1.5, "timestamp": NOW} | more


def found(decoded: Decoded) -> list[tuple[str, int, float]]:
    """Metric, time and value of each sample."""
    names = [decoded.batch.directory.keys[handle].metric_name for handle in decoded.batch.series]
    times, values = decoded.batch.timestamps_ms.tolist(), decoded.batch.values.tolist()
    return list(zip(names, times, values, strict=True))


def keys(decoded: Decoded) -> list[SeriesKey]:
    return [decoded.batch.directory.keys[handle] for handle in decoded.batch.series]


async def test_gauge_count_and_summary() -> None:
    summary = {"count": 4, "sum": 10, "min": 1, "max": 4}
    decoded = await decode(
        block(
            metric(),
            metric(name="c", type="count", value=7, **{"interval.ms": 10_000}),
            metric(name="s", type="summary", value=summary, **{"interval.ms": 5_000}),
            timestamp=5,
            attributes={"service.name": "shop"},
        )
    )
    assert found(decoded) == [
        ("m", NOW, 1.5),
        ("c", NOW + 10_000, 7),
        ("s_count", NOW + 5_000, 4),
        ("s_sum", NOW + 5_000, 10),
        ("s_min", NOW + 5_000, 1),
        ("s_max", NOW + 5_000, 4),
    ]
    assert {key.service_name for key in keys(decoded)} == {"shop"}
    assert {key.metric_type for key in keys(decoded)} == {"gauge"}
    assert decoded.batch.source == "newrelic"
    assert decoded.rejections.count == 0


async def test_what_is_common_is_everybodys_and_a_metrics_own_comes_first() -> None:
    common = {"timestamp": NOW - 60_000, "interval.ms": 10_000, "attributes": {"a": 1, "b": True}}
    directory = SeriesDirectory()
    for _ in range(2):
        decoded = await decode(
            block(
                {"name": "c", "type": "count", "value": 1},
                {"name": "g", "value": 1, "attributes": {"a": "own", "c": 2.5, "d": None}},
                **common,
            ),
            block({"name": "now", "value": 1}),
            directory=directory,
        )
        assert found(decoded) == [("c", NOW - 50_000, 1), ("g", NOW - 60_000, 1), ("now", NOW, 1)]
        assert [dict(key.tags) for key in keys(decoded)] == [
            {"a": "1", "b": "true"},
            {"a": "own", "b": "true", "c": "2.5"},
            {},
        ]
    assert len(directory) == 3


@pytest.mark.parametrize(
    "given", [NOW // 1000, NOW / 1000, NOW, NOW * 1000 + 999, NOW * 1_000_000 + 999_999]
)
async def test_a_time_is_of_any_unit(given: float) -> None:
    assert [at for _, at, _ in found(await decode(block(metric(timestamp=given))))] == [NOW]


async def test_true_and_one_are_two_attributes() -> None:
    directory = SeriesDirectory()
    for value, text in ((True, "true"), (1, "1"), (False, "false"), (0, "0"), (1.0, "1.0")):
        decoded = await decode(block(metric(attributes={"a": value})), directory=directory)
        assert keys(decoded)[0].tags == (("a", text),)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 5}, "metric"),
        ({"name": "m" * 1025}, "metric_name"),
        ({"name": "\ud800"}, "name"),
        ({"value": None}, "value"),
        ({"value": "1"}, "value"),
        ({"value": True}, "value"),
        ({"value": {}}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": float("inf")}, "value"),
        ({"value": 10**400}, "value"),
        ({"timestamp": 10**400}, "timestamp"),
        ({"attributes": {"a": 10**4000}}, "attributes.a"),
        ({"type": "distribution"}, "type"),
        ({"type": "count"}, "interval.ms"),
        ({"type": "count", "interval.ms": -1}, "interval.ms"),
        ({"type": "count", "interval.ms": float("nan")}, "interval.ms"),
        ({"type": "count", "interval.ms": "10"}, "metric"),
        ({"type": "summary", "interval.ms": 1}, "value"),
        ({"type": "summary", "interval.ms": 1, "value": {"count": 1}}, "value.sum"),
        (
            {"type": "summary", "interval.ms": 1, "value": {"count": 1, "sum": 1, "max": "x"}},
            "value.max",
        ),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": float("nan")}, "timestamp"),
        ({"timestamp": float("inf")}, "timestamp"),
        ({"timestamp": "now"}, "metric"),
        ({"timestamp": NOW - 8 * 86_400_000}, "timestamp"),
        ({"timestamp": NOW + 86_400_000}, "timestamp"),
        ({"timestamp": 1e300}, "timestamp"),
        ({"attributes": {"a": []}}, "attributes.a"),
        ({"attributes": {"a" * 129: "x"}}, f"tags.{'a' * 63}…"),
        ({"attributes": {"a": "x" * 1025}}, "tags.a"),
        ({"attributes": {"a": "x\0"}}, "tags.a"),
        ({"attributes": {f"a{n}": n for n in range(65)}}, "attributes"),
        ({"attributes": "x"}, "metric"),
    ],
)
async def test_a_bad_metric_costs_only_itself(changed: dict[str, Any], field: str) -> None:
    decoded = await decode(block(metric()), block(metric(**changed), metric(value=2)))
    assert [value for _, _, value in found(decoded)] == [1.5, 2]
    assert decoded.rejections.count == 1
    (error,) = decoded.rejections.listed
    assert error.field == field
    assert error.index == 1


async def test_bad_common_attributes_cost_their_block_and_no_time() -> None:
    kinds: list[dict[str, Any]] = [{"a": []}, {str(n): n for n in range(60_000)}]
    for attributes in kinds:
        metrics = [metric() for _ in range(5_000)]
        started = time.process_time()
        decoded = await decode(block(*metrics, attributes=attributes), block(metric()))
        assert time.process_time() - started < 3
        assert (len(decoded.batch), decoded.rejections.count) == (1, 5_000)


async def test_what_is_no_object_costs_only_itself() -> None:
    decoded = await decode(block(metric(), None, 5, "x", [], metric()))
    assert len(decoded.batch) == 2
    assert decoded.rejections.count == 4


async def test_a_least_and_a_greatest_value_may_be_unknown() -> None:
    value = {"count": 0, "sum": 0, "min": None, "max": None}
    decoded = await decode(block(metric(type="summary", value=value, **{"interval.ms": 1})))
    assert [name for name, _, _ in found(decoded)] == ["m_count", "m_sum"]


async def test_a_platform_key_names_the_tenant_by_attribute() -> None:
    named = {model.ORGANIZATION_LABEL: str(ORGANIZATION)}
    decoded = await decode(
        block(metric(attributes=named), metric(), metric(attributes={"organization_id": "x"})),
        grant=PLATFORM,
    )
    assert keys(decoded) == [SeriesKey(ORGANIZATION, "default", "m")]
    assert decoded.rejections.count == 2


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", MalformedBody),
        (b"{", MalformedBody),
        (b"\xff", MalformedBody),
        (b"[" * 100_000, MalformedBody),
        (b"[" * 3_000_000, TooLarge),
        (b"5", NotValid),
        (b"[5]", NotValid),
        (b"[{}]", NotValid),
        (b'[{"metrics":5}]', NotValid),
        (b'[{"metrics":[],"common":5}]', NotValid),
        (b'[{"metrics":[],"common":{"timestamp":"x"}}]', NotValid),
        (b'[{"metrics":[%s1]}]' % (b"1," * 100_000), TooLarge),
        (b'[{"metrics":[%s1]}]' % (b"1," * 3_000_000), TooLarge),
    ],
)
async def test_bodies_that_are_refused_as_a_whole(raw: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        await decode(raw=raw)


async def test_the_figures_of_summaries_count_as_samples() -> None:
    value = {"count": 1, "sum": 1, "min": 1, "max": 1}
    summaries = [metric(type="summary", value=value, **{"interval.ms": 1}) for _ in range(3)]
    with pytest.raises(TooLarge):
        await decode(block(*summaries), limits=IngestLimits(samples=11))
    assert len((await decode(block(*summaries), limits=IngestLimits(samples=12))).batch) == 12


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
fields = st.sampled_from(["name", "type", "value", "timestamp", "interval.ms", "attributes"])
metrics = st.dictionaries(fields, anything | st.sampled_from(["gauge", "count", "summary", NOW]))


@given(
    st.lists(
        st.fixed_dictionaries(
            {"metrics": st.lists(metrics | anything)}, optional={"common": metrics | anything}
        )
    )
    | anything
)
@settings(max_examples=300)
async def test_no_json_raises_anything_but_the_named_errors(body: Any) -> None:
    try:
        decoded = await decode(raw=json.dumps(body).encode())
    except (NotValid, MalformedBody):
        return
    assert all(abs(value) < float("inf") for value in decoded.batch.values.tolist())
