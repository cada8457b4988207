"""Values that look like a day of a small business: pure, and the same for the same moment."""

import hashlib
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

COUNTED_FROM: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Counters count from here, so that they never go back between two runs."""

# How busy couples and guests are in each hour of their day; between them it is interpolated.
_BUSY: Final = (
    0.12, 0.08, 0.06, 0.05, 0.06, 0.10, 0.18, 0.30, 0.42, 0.50, 0.55, 0.60,
    0.68, 0.62, 0.55, 0.55, 0.60, 0.70, 0.82, 0.95, 1.00, 0.85, 0.55, 0.28,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signal:
    """One series. `level` is its value at rest, `swing` what a busy hour adds as a share of it.

    A counter's `level` is its growth a second at the busiest.
    """

    service: str
    metric: str
    unit: str
    level: float
    kind: Literal["timer", "gauge", "counter"] = "timer"
    swing: float = 0.5
    noise: float = 0.08
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`service.metric`."""
        return f"{self.service}.{self.metric}"


def busyness(at: datetime, time_zone: str) -> float:
    """From 0 to 1 by the hour of day there; Saturdays are busier, Mondays quieter."""
    local = at.astimezone(ZoneInfo(time_zone))
    hour = local.hour + local.minute / 60 + local.second / 3600
    before = int(hour)
    share = hour - before
    value = _BUSY[before] * (1 - share) + _BUSY[(before + 1) % 24] * share
    weekday = (0.85, 0.95, 1.0, 1.0, 1.0, 1.1, 1.05)[local.weekday()]
    return min(value * weekday, 1.0)


def value_at(signal: Signal, at: datetime, *, seed: str, time_zone: str) -> float:
    """The signal's value then, with its own noise; three decimals."""
    if signal.kind == "counter":
        return float(_count_at(signal, at, seed))
    rest = signal.level * (1 + signal.swing * busyness(at, time_zone))
    drift = 0.05 * math.sin(at.timestamp() / 1800 + _unit(seed, signal.name) * math.tau)
    noise = signal.noise * _normal(seed, signal.name, at)
    return round(max(rest * (1 + drift + noise), 0.0), 3)


def trouble_value(normal_limit: float, wedding_limit: float, at: datetime, seed: str) -> float:
    """A value that is bad on a wedding day only: well between the two limits."""
    middle = (normal_limit + wedding_limit) / 2
    room = abs(normal_limit - wedding_limit) / 2
    return round(middle + 0.4 * room * max(-1.0, min(1.0, _normal(seed, "trouble", at))), 3)


def _count_at(signal: Signal, at: datetime, seed: str) -> int:
    # The integral of 1 + cos(…) over days: grows always, fastest in the afternoon.
    seconds = (at - COUNTED_FROM).total_seconds()
    day = timedelta(days=1).total_seconds()
    phase = _unit(seed, signal.name) * day / 6
    wave = day / math.tau * math.sin(math.tau * (seconds + phase) / day)
    return int(signal.level * (0.55 * seconds + 0.45 * wave)) + 10_000


def _unit(*parts: str) -> float:
    digest = hashlib.blake2b("/".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _normal(seed: str, name: str, at: datetime) -> float:
    # The sum of four uniform numbers is close enough to a bell, and nothing in it is random.
    stamp = str(int(at.timestamp() * 1000))
    total = sum(_unit(seed, name, stamp, str(n)) for n in range(4))
    return (total - 2) * math.sqrt(3)
