"""What is sent: vendors with fifty series each, as remote write 1.0 bodies made beforehand.

A body is a template whose values and time stamps are patched in, so that making ten million
samples takes seconds and sending them takes none of the senders' time.
"""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final
from uuid import NAMESPACE_DNS, UUID, uuid5

import cramjam
import numpy as np

ROUTES: Final = ("/availability", "/bookings", "/gallery", "/payments", "/rsvp")
METRICS: Final = (
    *product(("apm_requests_total",), ("2xx", "4xx", "5xx")),
    *product(("apm_latency_ms",), ("p50", "p95", "p99")),
    *product(("apm_query_ms", "apm_error_ratio", "apm_sessions", "apm_up"), ("all",)),
)
SERIES_PER_VENDOR: Final = len(METRICS) * len(ROUTES)
KINDS: Final = ("venue", "florist", "caterer", "photographer")
STEP_MS: Final = 15_000

_VALUE: Final = b"\xf1VALUE\xf2\xf3"
_TIME: Final = b"\xf4TI\xf5ME"
"""Stand-ins of a double, and of the six bytes that a millisecond time stamp has until 2109."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request. Bodies of one `lane` hold the same series and go out in order."""

    lane: int
    samples: int
    data: bytes


def vendor_id(number: int) -> UUID:
    """The organization of a vendor."""
    return uuid5(NAMESPACE_DNS, f"vendor-{number}.bench.test")


def bodies(
    *, vendors: int, samples: int, series_per_body: int, samples_per_series: int, seed: int = 7
) -> list[Body]:
    """About `samples` samples, the newest from now, each series every fifteen seconds."""
    series = list(_series(vendors))
    lanes = [
        series[start : start + series_per_body] for start in range(0, len(series), series_per_body)
    ]
    rounds = max(1, round(samples / len(series) / samples_per_series))
    end = int(time.time() * 1000)
    noise = np.random.default_rng(seed)
    templates = [_Template(lane, samples_per_series) for lane in lanes]
    level = noise.lognormal(3.5, 0.6, len(series))
    made = []
    for number in range(rounds):
        for lane, template in enumerate(templates):
            start = lane * series_per_body
            mean = level[start : start + template.series, None]
            # Half of the series are noisy floats, half whole numbers, as measured in the field.
            values = mean * noise.lognormal(0, 0.15, (template.series, samples_per_series))
            values[::2] = np.round(values[::2])
            newest = end - (rounds - 1 - number) * samples_per_series * STEP_MS
            times = [newest - back * STEP_MS for back in reversed(range(samples_per_series))]
            made.append(Body(lane, values.size, template.filled(np.round(values, 4), times)))
    return made


def _series(vendors: int) -> Iterator[dict[str, str]]:
    for number in range(vendors):
        kind = KINDS[number % len(KINDS)]
        for (metric, stat), route in product(METRICS, ROUTES):
            yield {
                "__name__": metric,
                "env": "prod",
                "instance": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:9100",
                "job": "wedsync-apm",
                "organization_id": str(vendor_id(number)),
                "region": f"eu-west-{number % 4}",
                "route": route,
                "service_name": f"{kind}-site",
                "stat": stat,
                "vendor_type": kind,
                "version": f"2.{number % 7}.{number % 3}",
            }


class _Template:
    """The bodies of one lane differ only in values and times."""

    def __init__(self, lane: list[dict[str, str]], samples_per_series: int) -> None:
        self.series = len(lane)
        sample = _field(2, b"\x09" + _VALUE + b"\x10" + _TIME) * samples_per_series
        raw = b"".join(
            _field(
                1,
                b"".join(
                    _field(1, _field(1, name.encode()) + _field(2, value.encode()))
                    for name, value in sorted(labels.items())
                )
                + sample,
            )
            for labels in lane
        )
        self._raw = np.frombuffer(raw, np.uint8).copy()
        self._values = _positions(raw, _VALUE)
        self._times = _positions(raw, _TIME)

    def filled(self, values: np.typing.NDArray[np.float64], times: list[int]) -> bytes:
        """The packed body for values by series and time."""
        self._raw[self._values] = values.reshape(-1, 1).view(np.uint8)
        encoded = np.frombuffer(b"".join(map(_varint, times)), np.uint8).reshape(len(times), -1)
        self._raw[self._times] = np.tile(encoded, (self.series, 1))
        return bytes(cramjam.snappy.compress_raw(self._raw.tobytes()))


def _positions(raw: bytes, mark: bytes) -> np.typing.NDArray[np.int64]:
    found, at = [], raw.find(mark)
    while at >= 0:
        found.append(at)
        at = raw.find(mark, at + len(mark))
    return np.array(found, np.int64)[:, None] + np.arange(len(mark))


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


assert len(_VALUE) == struct.calcsize("d")  # noqa: S101 - the stand-ins must fit
assert len(_TIME) == len(_varint(int(time.time() * 1000)))  # noqa: S101
