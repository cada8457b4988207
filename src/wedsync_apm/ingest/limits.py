"""How much of everything a sender may send, and the budget of samples per organization."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import NamedTuple, Protocol
from uuid import UUID

from wedsync_apm.errors import FieldError, TooLarge


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """Each with its default; sizes in bytes of UTF-8."""

    body_bytes: int = 32 * 1024 * 1024
    """Of a request, before and after decompression."""
    samples: int = 100_000
    """Of a request."""
    tags: int = 64
    """Of a series."""
    tag_key_bytes: int = 128
    tag_value_bytes: int = 1024
    name_bytes: int = 1024
    """Of a metric's name, a service's name, and a unit."""
    context_bytes: int = 4096
    """Of a sample's own wedding context as JSON."""
    series: int = 20_000
    """Active series of an organization."""
    past: timedelta = timedelta(days=7)
    future: timedelta = timedelta(minutes=10)
    samples_per_second: float = 10_000.0
    """Of an organization."""
    burst: float = 200_000.0
    """Samples that an organization may send at once after a pause."""
    listed_errors: int = 100
    """Of an answer; all are counted."""

    def window(self, now_ms: int) -> "TimeWindow":
        """Which sample times are taken at `now_ms`."""
        return TimeWindow(now_ms - _in_ms(self.past), now_ms + _in_ms(self.future))

    def check_samples(self, count: int) -> None:
        """Raises TooLarge for more samples than a request may carry."""
        if count > self.samples:
            raise TooLarge(f"{count} samples in one request; at most {self.samples} are taken.")

    def problem_with_series(
        self, service_name: str, metric_name: str, tags: Collection[tuple[str, str]]
    ) -> FieldError | None:
        """What is wrong with what would make a series; None if nothing is."""
        problem = self.problem_with_names(service_name, metric_name, len(tags))
        for tag in tags if problem is None else ():
            problem = self.problem_with_tag(*tag)
            if problem is not None:
                break
        return problem

    def problem_with_names(
        self, service_name: str, metric_name: str, tags: int
    ) -> FieldError | None:
        """What is wrong with a series of so many tags, each of which is fine."""
        problem = self.problem_with_name("service_name", service_name)
        problem = problem or self.problem_with_name("metric_name", metric_name)
        if problem is None and tags > self.tags:
            return FieldError("tags", f"{tags} tags; at most {self.tags} are taken")
        return problem

    def problem_with_tag(self, key: str, value: str) -> FieldError | None:
        """What is wrong with a tag's name or value."""
        if not key:
            return FieldError("tags", "has an empty name")
        field = f"tags.{_shown(key)}"
        return _problem_with_text(field, "name", key, self.tag_key_bytes) or _problem_with_text(
            field, "value", value, self.tag_value_bytes
        )

    def problem_with_name(self, field: str, name: str) -> FieldError | None:
        """What is wrong with a metric's, a service's or a unit's name."""
        if not name:
            return FieldError(field, "is empty")
        return _problem_with_text(field, "name", name, self.name_bytes)


class TimeWindow(NamedTuple):
    """The first and the last millisecond that are taken."""

    earliest_ms: int
    latest_ms: int


@cache
def _in_ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


class Budget(Protocol):
    """How many samples each organization may still send."""

    def take(self, organization_id: UUID, samples: int) -> float:
        """Seconds to wait before anything is taken; 0 means that the samples are taken now."""
        ...


class SampleBudget:
    """A token bucket per organization, in samples.

    It fills at `rate` a second up to `burst`. A request that the bucket still covers in part is
    taken whole and leaves a debt: a sender who stays below the rate never waits.
    """

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._filled: dict[int, tuple[float, float]] = {}
        """How far, and when; by the ids as numbers, whose hash is no call."""
        self._tidy_at = 100_000

    def take(self, organization_id: UUID, samples: int) -> float:
        """Seconds to wait before anything is taken; 0 means that the samples are taken now."""
        now, key = self._clock(), organization_id.int
        filled = self._filled.get(key)
        level = self._burst
        if filled is not None:
            level = min(level, filled[0] + (now - filled[1]) * self._rate)
            if level <= 0:
                self._filled[key] = level, now
                return max(-level / self._rate, 1 / self._rate)
        self._filled[key] = level - samples, now
        if len(self._filled) >= self._tidy_at:
            self._drop_full(now)
            self._tidy_at = max(100_000, 2 * len(self._filled))
        return 0.0

    def _drop_full(self, now: float) -> None:
        """Forgets organizations whose bucket is full again: a new one starts just so."""
        self._filled = {
            key: (level, since)
            for key, (level, since) in self._filled.items()
            if level + (now - since) * self._rate < self._burst
        }


def _problem_with_text(field: str, what: str, text: str, most_bytes: int) -> FieldError | None:
    # A string has at least as many bytes as characters: most need not be encoded to be refused.
    size = len(text) if text.isascii() or len(text) > most_bytes else len(text.encode())
    if size > most_bytes:
        least = "" if text.isascii() else "at least "
        return FieldError(
            field, f"its {what} has {least}{size} bytes; at most {most_bytes} are taken"
        )
    if "\0" in text:
        return FieldError(field, f"its {what} contains a NUL character, which cannot be stored")
    return None


def _shown(key: str) -> str:
    """A tag's name as an answer repeats it: ten megabytes of it would help nobody."""
    return key if len(key) <= 64 else f"{key[:63]}…"
