"""What was recorded and not flushed yet: quick, bounded, and open to any thread at any moment."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from wedsync_apm.client.samples import (
    Kind,
    Sample,
    SeriesTable,
    TooFast,
    TooManySeries,
    finite,
    milliseconds,
)

log = logging.getLogger("wedsync_apm.client")

DROPPED: Final = "wedsync_client_dropped_total"
"""The metric that tells what this client had to drop; the tag `reason` says why."""


class Recorder:
    """Raises nothing. `on_batch` is called whenever another `batch` samples are there.

    A signal handler or a finalizer may record in the middle of the very call that it interrupts,
    so the lock is re-entrant, and what comes in between waits until the call before it is done.
    """

    def __init__(
        self, table: SeriesTable, most_samples: int, batch: int, on_batch: Callable[[], None]
    ) -> None:
        self._table, self._most_samples = table, most_samples
        self._batch, self._on_batch = batch, on_batch
        self._lock = threading.RLock()
        self._actions: deque[Callable[[], None]] = deque()
        self._is_acting = self._is_closed = False
        self._buffer: deque[Sample] = deque()
        self._dropped: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._buffer)

    def sample(
        self,
        kind: Kind,
        name: str,
        value: float,
        *,
        at: datetime | float | None,
        tags: Mapping[str, object] | None,
        unit: str | None,
        service_name: str | None,
    ) -> None:
        """A value of now, or of `at`."""
        now = _now_ms()

        def act() -> None:
            at_ms = None if at is None else milliseconds(at)
            self._buffer.append(
                self._table.sample(
                    kind,
                    name,
                    finite(value),
                    now,
                    at_ms=at_ms,
                    tags=tags,
                    unit=unit,
                    service_name=service_name,
                )
            )
            if len(self._buffer) > self._most_samples:
                self._buffer.popleft()
                self.drop(1, "buffer_full")
            elif len(self._buffer) % self._batch == 0:
                self._on_batch()

        self._record(name, act)

    def count(
        self,
        name: str,
        by: float,
        *,
        tags: Mapping[str, object] | None,
        unit: str | None,
        service_name: str | None,
    ) -> None:
        """More of something."""
        now = _now_ms()

        def act() -> None:
            number = finite(by)
            if number < 0:
                raise ValueError("a counter only grows")
            self._table.count(name, number, now, tags=tags, unit=unit, service_name=service_name)

        self._record(name, act)

    def drop(self, count: int, reason: str) -> None:
        """So many samples are gone."""

        def act() -> None:
            self._dropped[reason] = self._dropped.get(reason, 0) + count
            with suppress(TooManySeries, TooFast):
                why = {"reason": reason}
                self._table.count(DROPPED, count, _now_ms(), tags=why, always=True)

        self._do(act)

    def take(self, instance: str) -> deque[Sample]:
        """What was recorded since the last call, and the totals of the counters."""
        taken: deque[Sample] = deque()

        def act() -> None:
            taken.extend(self._buffer)
            self._buffer.clear()
            taken.extend(self._table.totals(_now_ms(), instance))

        self._do(act)
        return taken

    def close(self) -> None:
        """From now on everything is dropped."""

        def act() -> None:
            self._is_closed = True

        self._do(act)

    def dropped(self) -> dict[str, int]:
        """By reason."""
        with self._lock:
            return dict(self._dropped)

    def _record(self, name: object, act: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                if self._is_closed:
                    self._dropped["closed"] = self._dropped.get("closed", 0) + 1
                else:
                    act()
            except Exception as exc:
                self._refuse(name, exc)

        self._do(guarded)

    def _refuse(self, name: object, exc: Exception) -> None:
        reason = {TooManySeries: "too_many_series", TooFast: "too_fast"}.get(type(exc), "invalid")
        if reason not in self._dropped:
            why = str(exc) or type(exc).__doc__
            log.warning("A sample of %.100r was not recorded (%s): %s", name, reason, why)
        self.drop(1, reason)

    def _do(self, act: Callable[[], None]) -> None:
        with self._lock:
            self._actions.append(act)
            if self._is_acting:
                return
            self._is_acting = True
            try:
                while self._actions:
                    self._actions.popleft()()
            finally:
                self._is_acting = False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
