"""When the demo's order form is slow: a minute after the start, for five minutes, every twenty."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from wedsync_apm.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Scenario:
    """Quiet, trouble, quiet again; then anew."""

    quiet: timedelta = timedelta(minutes=1)
    trouble: timedelta = timedelta(minutes=5)
    every: timedelta = timedelta(minutes=20)

    def __post_init__(self) -> None:
        if self.quiet < timedelta() or self.trouble <= timedelta():
            raise ConfigurationError("--quiet cannot be negative, and --trouble must be positive.")
        if self.quiet + self.trouble > self.every:
            raise ConfigurationError("--every must not be shorter than --quiet and --trouble.")

    def is_trouble(self, started: datetime, at: datetime) -> bool:
        """Whether the form is slow at that moment."""
        if at < started:
            return False
        into = (at - started) % self.every
        return self.quiet <= into < self.quiet + self.trouble

    def cycle(self, started: datetime, at: datetime) -> int:
        """How many times it has begun anew."""
        return max(0, (at - started) // self.every)
