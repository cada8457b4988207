"""What is sent: vendors with fifty series of ten labels each, as remote write 1.0 bodies made
beforehand.

A body is a template whose values and time stamps are patched in, so that making ten million
samples takes seconds and sending them takes none of the sender's time.
"""

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final
from uuid import NAMESPACE_DNS, UUID, uuid5

import cramjam
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

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
    newest_ms: int = 0


def vendor_id(number: int) -> UUID:
    """The organization of a vendor."""
    return uuid5(NAMESPACE_DNS, f"vendor-{number}.bench.test")


def bodies(
    *,
    vendors: int,
    samples: int,
    series_per_body: int,
    samples_per_series: int,
    seed: int = 7,
    step_ms: int = STEP_MS,
    end_ms: int | None = None,
    instances: int = 1,
    first_vendor: int = 0,
    first_instance: int = 0,
    is_shuffled: bool = False,
) -> list[Body]:
    """About `samples` samples, the newest from now, pass after pass over all series.

    Each vendor has fifty series on each of its instances. Shuffled, the series of a body come in
    another order each time.
    """
    series = list(
        _series(
            range(first_vendor, first_vendor + vendors),
            range(first_instance, first_instance + instances),
        )
    )
    lanes = [
        series[start : start + series_per_body] for start in range(0, len(series), series_per_body)
    ]
    passes = max(1, round(samples / len(series) / samples_per_series))
    end = int(time.time() * 1000) if end_ms is None else end_ms
    chance = np.random.default_rng(seed)
    templates = [_Template(lane, samples_per_series) for lane in lanes]
    values = _Values(vendors * instances, chance)
    made = []
    for number in range(passes):
        pass_values = np.stack([values.step() for _ in range(samples_per_series)], axis=1)
        newest = end - (passes - 1 - number) * samples_per_series * step_ms
        times = [newest - back * step_ms for back in reversed(range(samples_per_series))]
        for lane, template in enumerate(templates):
            start = lane * series_per_body
            own = pass_values[start : start + template.series]
            order = chance.permutation(template.series) if is_shuffled else None
            made.append(Body(lane, own.size, template.filled(own, times, order), newest))
    return made


class _Values:
    """Of a vendor's fifty series, fifteen count, twenty are noisy latencies of one decimal, five
    noisy ratios of four, five small whole numbers and five constant."""

    def __init__(self, vendors: int, chance: np.random.Generator) -> None:
        of_vendor = [metric for metric, _ in METRICS for _ in ROUTES]
        every = np.tile(np.array(of_vendor), vendors)
        self._chance = chance
        self._counters = np.flatnonzero(every == "apm_requests_total")
        self._noisy = np.flatnonzero((every == "apm_latency_ms") | (every == "apm_query_ms"))
        self._ratios = np.flatnonzero(every == "apm_error_ratio")
        self._small = np.flatnonzero(every == "apm_sessions")
        self._now = np.ones(len(every))
        self._now[self._counters] = 0
        self._rate = chance.uniform(5, 60, len(self._counters))
        self._level = chance.lognormal(4, 0.6, len(self._noisy))
        self._mean = chance.uniform(3, 40, len(self._small))

    def step(self) -> Floats:
        """One value of each series, in the order of the series."""
        chance, now = self._chance, self._now
        now[self._counters] += chance.poisson(self._rate)
        noise = chance.lognormal(0, 0.25, len(self._noisy))
        now[self._noisy] = np.round(self._level * noise, 1)
        now[self._ratios] = np.round(np.abs(chance.normal(0.02, 0.01, len(self._ratios))), 4)
        now[self._small] = chance.poisson(self._mean)
        return now.copy()


def _series(vendors: range, instances: range) -> Iterator[dict[str, str]]:
    for number, instance in product(vendors, instances):
        kind = KINDS[number % len(KINDS)]
        for (metric, stat), route in product(METRICS, ROUTES):
            yield {
                "__name__": metric,
                "env": "prod",
                "instance": f"10.{number >> 8 & 255}.{number & 255}.{instance}:9100",
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
    """The bodies of one lane differ only in values, times and the order of series."""

    def __init__(self, lane: Sequence[dict[str, str]], samples_per_series: int) -> None:
        self.series = len(lane)
        sample = _field(2, b"\x09" + _VALUE + b"\x10" + _TIME) * samples_per_series
        parts = [
            _field(
                1,
                b"".join(
                    _field(1, _field(1, name.encode()) + _field(2, value.encode()))
                    for name, value in sorted(labels.items())
                )
                + sample,
            )
            for labels in lane
        ]
        raw = b"".join(parts)
        self._raw = np.frombuffer(raw, np.uint8).copy()
        self._ends = np.cumsum([len(part) for part in parts])[:-1]
        self._values = _positions(raw, _VALUE)
        self._times = _positions(raw, _TIME)

    def filled(self, values: Floats, times: list[int], order: NDArray[np.int64] | None) -> bytes:
        """The packed body for values by series and time."""
        self._raw[self._values] = values.reshape(-1, 1).view(np.uint8)
        encoded = np.frombuffer(b"".join(map(_varint, times)), np.uint8).reshape(len(times), -1)
        self._raw[self._times] = np.tile(encoded, (self.series, 1))
        raw = self._raw
        if order is not None:
            series = np.split(raw, self._ends)
            raw = np.concatenate([series[number] for number in order])
        return bytes(cramjam.snappy.compress_raw(raw.tobytes()))


def _positions(raw: bytes, mark: bytes) -> NDArray[np.intp]:
    found, at = [], raw.find(mark)
    while at >= 0:
        found.append(at)
        at = raw.find(mark, at + len(mark))
    return np.array(found, np.intp)[:, None] + np.arange(len(mark))


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
