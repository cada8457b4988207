"""What OTLP's JSON may hold and what it may not."""

import json
import math

import pytest

from tests.support.otlp import (
    JSON,
    as_json,
    json_request,
    request,
    total,
)
from tests.support.otlp_decoding import (
    NANOS,
    Sender,
    reasons,
    samples,
    values,
)
from wedsync_apm.errors import MalformedBody


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
        ('"histogram":{"dataPoints":[{"bucketCounts":"x"}]}', "m bucketCounts"),
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


def test_the_json_of_these_tests_is_otlps() -> None:
    tree = json.loads(as_json(request(total("m", {"as_int": 2**62, "time_unix_nano": 5}))))
    data = tree["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]
    assert data["aggregationTemporality"] == 2
    assert data["dataPoints"] == [{"timeUnixNano": "5", "asInt": str(2**62)}]
