"""Sends the vendors' samples through the public HTTP API, as their websites would.

A vendor whose samples cannot be sent keeps them and sends them later, like a phone without
reception: nothing is lost while the product restarts.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

import cramjam
import httpx

from wedsync_apm.clock import utcnow
from wedsync_apm.ingest.wire import remote_write_pb2 as wire
from wedsync_apm.simulate.curves import Signal, trouble_value, value_at
from wedsync_apm.simulate.scenario import Scenario
from wedsync_apm.simulate.vendors import FORM_RULE, FORMS, SIMULATED, STAR, VENDORS, Vendor
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

STEP: Final = timedelta(seconds=5)
HISTORY_STEP: Final = timedelta(minutes=1)
TELL_SECONDS: Final = 60.0
"""Between two times that Prometheus says what its metrics are."""
LARGEST_BATCH: Final = 5_000
MOST_KEPT: Final = 50_000
"""Samples that one vendor keeps while they cannot be sent; the oldest go first."""
STATE_FILE: Final = "simulate.json"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one signal."""

    signal: Signal
    at: datetime
    value: float


@dataclass(slots=True)
class Sender:
    """One vendor's connection to the product."""

    vendor: Vendor
    key: str = field(repr=False)
    client: httpx.Client = field(repr=False)
    waiting: deque[Sample] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    sent_count: int = 0
    refused_count: int = 0
    _not_before: float = 0.0
    _is_failing: bool = False
    _tell_at: float = 0.0

    def send(self, samples: Iterable[Sample]) -> bool:
        """Sends what waits and these; False while something still waits."""
        self.waiting.extend(samples)
        while self.waiting and time.monotonic() >= self._not_before:
            batch = list(islice(self.waiting, LARGEST_BATCH))
            if not self._send_batch(batch):
                return False
            for _ in batch:
                self.waiting.popleft()
        return not self.waiting

    def _send_batch(self, batch: Sequence[Sample]) -> bool:
        """True when the batch is settled: stored, or refused for good."""
        try:
            if self.vendor.protocol == "json":
                response = self.client.post(
                    "/api/v1/metrics",
                    content=json_body(batch),
                    headers={
                        "Authorization": f"Bearer {self.key}",
                        "Content-Type": "application/json",
                    },
                )
            else:
                if time.monotonic() >= self._tell_at:
                    self._write(metadata_body(self.vendor.signals))
                    self._tell_at = time.monotonic() + TELL_SECONDS
                response = self._write(remote_write_body(batch))
        except httpx.HTTPError as exc:
            return self._later(f"{type(exc).__name__}: {exc}", 1.0)
        if response.status_code >= 500 or response.status_code == 429:
            wait = response.headers.get("Retry-After", "1")
            return self._later(
                f"{response.status_code} {response.text[:200]}",
                float(wait) if wait.replace(".", "", 1).isdigit() else 1.0,
            )
        if response.is_success:
            self.sent_count += len(batch)
        else:
            self.refused_count += len(batch)
            log.warning(
                "%s: %d samples refused with %d: %s",
                self.vendor.name,
                len(batch),
                response.status_code,
                response.text[:300],
                extra={"action": "simulate_refused"},
            )
        if self._is_failing:
            self._is_failing = False
            log.info("%s: sending again", self.vendor.name, extra={"action": "simulate_sent"})
        return True

    def _write(self, body: bytes) -> httpx.Response:
        return self.client.post(
            "/prometheus/api/v1/write",
            content=body,
            headers={
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/x-protobuf",
                "Content-Encoding": "snappy",
                "X-Prometheus-Remote-Write-Version": "0.1.0",
            },
        )

    def _later(self, why: str, seconds: float) -> bool:
        self._not_before = time.monotonic() + min(seconds, 30.0)
        if not self._is_failing:
            self._is_failing = True
            log.info(
                "%s: kept for later (%s)", self.vendor.name, why, extra={"action": "simulate_kept"}
            )
        return False


def samples_at(
    vendor: Vendor, at: datetime, *, is_trouble: bool, signals: Sequence[Signal] | None = None
) -> list[Sample]:
    """What the vendor's website measures at that moment."""
    found = []
    for signal in vendor.signals if signals is None else signals:
        value = value_at(signal, at, seed=vendor.key, time_zone=vendor.time_zone)
        if is_trouble and vendor.key == STAR.key and signal.name == FORMS.name:
            limit = FORM_RULE.wedding_day_threshold_value or FORM_RULE.threshold_value
            value = trouble_value(FORM_RULE.threshold_value, limit, at, vendor.key)
        found.append(Sample(signal, at, value))
    return found


def json_body(batch: Sequence[Sample]) -> bytes:
    """A request of our own API."""
    return json.dumps({"samples": [_as_json(sample) for sample in batch]}).encode()


def remote_write_body(batch: Sequence[Sample]) -> bytes:
    """The same as Prometheus would send it."""
    request = wire.WriteRequest()
    by_signal: dict[str, list[Sample]] = {}
    for sample in batch:
        by_signal.setdefault(sample.signal.name, []).append(sample)
    for samples in by_signal.values():
        signal = samples[0].signal
        labels = {
            "__name__": signal.metric,
            "service_name": signal.service,
            **signal.tags,
            **SIMULATED,
        }
        series = request.timeseries.add()
        for name, value in sorted(labels.items()):
            label = wire.Label(name=name.encode(), value=value.encode())
            series.labels.append(label.SerializeToString())
        for sample in samples:
            series.samples.add(value=sample.value, timestamp=int(sample.at.timestamp() * 1000))
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def metadata_body(signals: Sequence[Signal]) -> bytes:
    """What Prometheus says about metrics now and then, in a request without samples."""
    request = wire.MetadataRequest()
    for signal in signals:
        name, unit = signal.metric.encode(), (signal.unit or "").encode()
        request.metadata.add(metric_family_name=name, unit=unit)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def _as_json(sample: Sample) -> Mapping[str, Any]:
    return {
        "service_name": sample.signal.service,
        "metric_name": sample.signal.metric,
        "metric_type": sample.signal.kind,
        "unit": sample.signal.unit,
        "value": sample.value,
        "timestamp": sample.at.isoformat(),
        "tags": sample.signal.tags | SIMULATED,
    }


def history_times(now: datetime, sent_until: datetime | None, hours: float) -> list[datetime]:
    """The last second of each minute of the last hours that has not been sent yet.

    A counter's rise belongs to the minute of the later sample: one taken at a minute's end gives
    each minute its own, also that in which the live samples begin.
    """
    first = now - timedelta(hours=hours)
    if sent_until is not None and sent_until > first:
        first = sent_until
    at = first.replace(second=59, microsecond=0)
    times = []
    while at < now:
        if at > first:
            times.append(at)
        at += HISTORY_STEP
    return times


@dataclass(slots=True)
class Traffic:
    """Everybody's traffic, from history to now and on."""

    senders: Sequence[Sender]
    data_dir: Path
    scenario: Scenario
    history_hours: float
    step: timedelta = STEP
    on_cycle: Callable[[], None] = lambda: None
    """Called when the scenario begins anew."""
    is_stopping: Callable[[], bool] = lambda: False

    def run(self) -> None:
        """Sends until somebody stops it."""
        started = utcnow()
        self._send_history(started)
        cycle, due = 0, time.monotonic()
        while not self.is_stopping():
            now = utcnow()
            if (current := self.scenario.cycle(started, now)) > cycle:
                cycle = current
                self.on_cycle()
            at = now.replace(microsecond=now.microsecond // 1000 * 1000)
            is_trouble = self.scenario.is_trouble(started, at)
            for sender in self.senders:
                sender.send(samples_at(sender.vendor, at, is_trouble=is_trouble))
            self._remember(at)
            # Steps that were missed (a suspended machine) are not made up for.
            due = max(due + self.step.total_seconds(), time.monotonic())
            while not self.is_stopping() and time.monotonic() < due:
                time.sleep(min(0.2, max(due - time.monotonic(), 0.0)))

    def _send_history(self, now: datetime) -> None:
        times = history_times(now, self._remembered(), self.history_hours)
        for sender in self.senders:
            if self.is_stopping():
                return
            # The product may still be coming up; what is not taken now is sent with the next step.
            sender.send(
                sample for at in times for sample in samples_at(sender.vendor, at, is_trouble=False)
            )
        if times:
            log.info(
                "Sent %d minutes of history of %d vendors",
                len(times),
                len(self.senders),
                extra={"action": "simulate_history"},
            )

    def _remembered(self) -> datetime | None:
        try:
            content = json.loads((self.data_dir / STATE_FILE).read_text(encoding="utf-8"))
            return datetime.fromisoformat(content["sent_until"]).astimezone(UTC)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember(self, at: datetime) -> None:
        if all(not sender.waiting for sender in self.senders):
            fresh = self.data_dir / f"{STATE_FILE}.new"
            fresh.write_text(json.dumps({"sent_until": at.isoformat()}), encoding="utf-8")
            fresh.replace(self.data_dir / STATE_FILE)


def open_senders(
    url: str, key_of: Callable[[Vendor], str], *, extra_series: int = 0
) -> list[Sender]:
    """A sender for each vendor, over one client; `extra_series` are spread over them."""
    client = httpx.Client(base_url=url, timeout=10.0, headers={"User-Agent": "wedsync-simulate"})
    senders = []
    for number, vendor in enumerate(VENDORS):
        extra = tuple(
            Signal("load", "value", "1", 100.0, "gauge", tags={"series": str(n)})
            for n in range(number, extra_series, len(VENDORS))
        )
        loaded = replace(vendor, signals=vendor.signals + extra)
        senders.append(Sender(loaded, key_of(vendor), client))
    return senders
