"""Clocks that are wrong."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from wedsync_apm import clock

SECOND = timedelta(seconds=1)


@dataclass
class HostClock:
    """The wall clock of the host, which can be set; its monotonic clock cannot."""

    patch: pytest.MonkeyPatch
    ahead: timedelta = timedelta()
    real_time: Any = field(default=time.time)
    real_time_ns: Any = field(default=time.time_ns)

    def __post_init__(self) -> None:
        self.patch.setattr(time, "time", lambda: self.real_time() + self.ahead / SECOND)
        self.patch.setattr(
            time, "time_ns", lambda: self.real_time_ns() + round(self.ahead / SECOND * 1e9)
        )
        now = lambda zone: datetime.now(zone) + self.ahead  # noqa: E731
        self.patch.setattr(clock, "datetime", SimpleNamespace(now=now))
