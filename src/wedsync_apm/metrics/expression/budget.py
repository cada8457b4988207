"""How much one question may cost: what is over it is refused before it is done."""

import time
from dataclasses import dataclass, field
from typing import Final

from wedsync_apm.metrics.expression.syntax import NotAnswered

MOST_VALUES: Final = 5_000_000
"""Series times instants of one part of an expression."""
MOST_SAMPLES: Final = 10_000_000
"""That all its selectors read together."""
MOST_STEPS: Final = 200_000_000
"""Samples in the windows of one function, those in several windows as often, and values of all
parts of an expression together."""
MOST_ANSWERED: Final = 1_000_000
"""Points of one answer, over all its series."""
SERIES_STEPS: Final = 100
"""What the labels of a series cost, which are worked on one by one."""
MOST_SECONDS: Final = 30.0


class TooMuch(NotAnswered):
    """More than one question may have."""


class OutOfTime(Exception):
    """It took longer than it may."""


@dataclass(slots=True)
class Budget:
    """Of one question; `seconds` run from when it is made."""

    seconds: float = MOST_SECONDS
    _steps: int = 0
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.seconds

    def check_values(self, series: int, instants: int) -> None:
        """Before so many values are made. Raises TooMuch and OutOfTime."""
        if series * instants > MOST_VALUES:
            raise TooMuch(
                f"a part of the expression means {series} series at {instants} instants; at most"
                f" {MOST_VALUES:,} values are answered: narrow it or take a wider step"
            )
        self.take(series * instants)

    def check_answer(self, points: int) -> None:
        """Before so many are written out. Raises TooMuch and OutOfTime."""
        if points > MOST_ANSWERED:
            raise TooMuch(
                f"the answer has {points:,} points; at most {MOST_ANSWERED:,} are given: take a"
                " wider step, or sum the series up"
            )
        self.check_time()

    def take(self, steps: int) -> None:
        """Before so much is done. Raises TooMuch and OutOfTime."""
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise TooMuch(
                f"the expression takes more than {MOST_STEPS:,} steps: narrow its selectors, take"
                " shorter ranges or a wider step"
            )
        self.check_time()

    def check_time(self) -> None:
        """Raises OutOfTime."""
        if time.monotonic() > self._until:
            raise OutOfTime(f"the expression took longer than {self.seconds:g} s")
