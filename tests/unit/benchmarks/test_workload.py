"""The benchmarks' bodies are what they say, read back by the protobuf library."""

from collections import Counter
from typing import Any

import cramjam
import numpy as np
import pytest
from benchmarks.workload import SERIES_PER_VENDOR, Body, bodies, vendor_id
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELDS = {
    "Label": [("name", 1, "string"), ("value", 2, "string")],
    "Sample": [("value", 1, "double"), ("timestamp", 2, "int64")],
    "TimeSeries": [("labels", 1, "Label"), ("samples", 2, "Sample")],
    "WriteRequest": [("timeseries", 1, "TimeSeries")],
}


def _write_request() -> Any:
    """Prometheus' message, in the words of its own prompb/{remote,types}.proto."""
    proto = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    kind = descriptor_pb2.FieldDescriptorProto
    for name, fields in _FIELDS.items():
        message = proto.message_type.add(name=name)
        for field, number, of in fields:
            if of in _FIELDS:
                message.field.add(
                    name=field,
                    number=number,
                    label=kind.LABEL_REPEATED,
                    type=kind.TYPE_MESSAGE,
                    type_name=f".bench.{of}",
                )
            else:
                message.field.add(
                    name=field,
                    number=number,
                    label=kind.LABEL_OPTIONAL,
                    type=kind.Type.Value(f"TYPE_{of.upper()}"),
                )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.WriteRequest"))


WriteRequest = _write_request()
Read = list[tuple[dict[str, str], list[tuple[int, float]]]]


def read(body: Body) -> Read:
    request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body.data)))
    return [
        (
            {label.name: label.value for label in series.labels},
            [(sample.timestamp, sample.value) for sample in series.samples],
        )
        for series in request.timeseries
    ]


def names(found: Read) -> list[str]:
    return [str(sorted(labels.items())) for labels, _ in found]


END = 1_800_000_000_000


@pytest.mark.parametrize(("series", "samples"), [(500, 1), (2000, 1), (50, 10)])
def test_each_series_gets_each_of_its_samples_once(series: int, samples: int) -> None:
    made = bodies(
        vendors=40,
        samples=40 * 50 * 20,
        series_per_body=series,
        samples_per_series=samples,
        end_ms=END,
    )
    seen: Counter[tuple[str, int]] = Counter()
    newest: dict[int, int] = {}
    for body in made:
        found = read(body)
        assert body.samples == sum(len(one) for _, one in found) == series * samples
        assert body.newest_ms == max(at for _, one in found for at, _ in one)
        assert body.newest_ms > newest.get(body.lane, 0)
        newest[body.lane] = body.newest_ms
        seen.update(
            (name, at) for name, (_, one) in zip(names(found), found, strict=True) for at, _ in one
        )
    assert set(seen.values()) == {1}
    assert len(seen) == 40 * 50 * 20
    assert {at for _, at in seen} == {END - back * 15_000 for back in range(20)}
    assert set(newest.values()) == {END}


def test_a_series_has_ten_labels_and_its_vendor() -> None:
    (body,) = bodies(vendors=1, samples=50, series_per_body=50, samples_per_series=1)
    found = read(body)
    assert len(found) == SERIES_PER_VENDOR == len(set(names(found)))
    for labels, _ in found:
        assert len(labels) == 11  # with __name__
        assert list(labels) == sorted(labels)  # as the specification wants it
        assert labels["organization_id"] == str(vendor_id(0))


def test_shuffled_bodies_hold_the_same_in_another_order_each_time() -> None:
    shape: Any = {"vendors": 10, "samples": 1500, "series_per_body": 500, "samples_per_series": 1}
    plain = bodies(**shape, end_ms=END)
    shuffled = bodies(**shape, end_ms=END, is_shuffled=True)
    assert len(plain) == len(shuffled) == 3
    orders = [names(read(body)) for body in shuffled]
    assert orders[0] != orders[1] != orders[2]
    for one, other in zip(plain, shuffled, strict=True):
        assert sorted(names(read(one))) == sorted(names(read(other)))
    # The first values come from the same chance; later ones have drawn from it for the order.
    assert sorted(map(str, read(plain[0]))) == sorted(map(str, read(shuffled[0])))


def test_instances_multiply_the_series_of_a_vendor() -> None:
    made = bodies(
        vendors=2, instances=3, samples=300, series_per_body=100, samples_per_series=1, end_ms=END
    )
    found = [one for body in made for one in read(body)]
    assert len(set(names(found))) == 300
    owners = Counter(labels["organization_id"] for labels, _ in found)
    assert owners == {str(vendor_id(0)): 150, str(vendor_id(1)): 150}


def test_half_of_the_series_are_noisy_and_none_repeats_for_ever() -> None:
    made = bodies(vendors=4, samples=4 * 50 * 30, series_per_body=200, samples_per_series=1)
    values = np.array([[one[0][1] for _, one in read(body)] for body in made])
    fractions = np.any(values % 1 != 0, axis=0)
    assert fractions.mean() == 0.5
    constant = np.all(values == values[0], axis=0)
    assert constant.mean() == 0.1
