"""A health report: lines that passed, failed or could not be judged, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What came of one line. What is not known has not passed."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What the lines say together."""

    EXCELLENT = "EXCELLENT"
    NEEDS_ATTENTION = "NEEDS ATTENTION"
    NOT_KNOWN = "NOT FULLY KNOWN"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check made of what it read: the figure in words, and why it is not good."""

    outcome: Outcome
    value: str
    reason: str = ""
    rows: tuple[Mapping[str, Any], ...] = ()
    figure: float | None = None
    """The number that was judged, where there is one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One measured figure. `duration_ms` is how long its statement took, the answer included."""

    key: str
    area: str
    title: str
    expected: str
    outcome: Outcome
    value: str
    reason: str
    statement: str
    measured_at: datetime
    duration_ms: float
    rows: tuple[Mapping[str, Any], ...] = ()
    figure: float | None = None
    unit: str = ""
    remedy: str = ""
    """What to do when it has not passed."""
    failing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All lines in the order in which they were measured."""

    taken_at: datetime
    database: str
    server_version: str
    product_version: str
    lines: tuple[Line, ...] = field(default_factory=tuple)

    @property
    def verdict(self) -> Verdict:
        """EXCELLENT only if there are lines and every one of them passed."""
        outcomes = {line.outcome for line in self.lines}
        if outcomes == {Outcome.PASSED}:
            return Verdict.EXCELLENT
        if Outcome.FAILED in outcomes:
            return Verdict.NEEDS_ATTENTION
        return Verdict.NOT_KNOWN

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many lines passed, failed and are not known."""
        return {outcome: sum(line.outcome is outcome for line in self.lines) for outcome in Outcome}

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the API's answer and `health-report --format json`."""
        return {
            "verdict": self.verdict.value,
            "taken_at": self.taken_at.isoformat(),
            "database": self.database,
            "server_version": self.server_version,
            "product_version": self.product_version,
            "counts": {outcome.value: n for outcome, n in self.counts.items()},
            "lines": [
                {
                    "key": line.key,
                    "area": line.area,
                    "title": line.title,
                    "expected": line.expected,
                    "outcome": line.outcome.value,
                    "value": line.value,
                    "reason": line.reason,
                    "statement": line.statement,
                    "measured_at": line.measured_at.isoformat(),
                    "duration_ms": round(line.duration_ms, 3),
                    "figure": line.figure,
                    "unit": line.unit,
                    "remedy": line.remedy,
                    "failing_since": line.failing_since and line.failing_since.isoformat(),
                    "rows": [dict(row) for row in line.rows],
                }
                for line in self.lines
            ],
        }


def passed(value: str, rows: tuple[Mapping[str, Any], ...] = ()) -> Finding:
    """Good."""
    return Finding(Outcome.PASSED, value, "", rows)


def failed(value: str, reason: str, rows: tuple[Mapping[str, Any], ...] = ()) -> Finding:
    """Not good, and why."""
    return Finding(Outcome.FAILED, value, reason, rows)


def unknown(value: str, reason: str) -> Finding:
    """Could not be judged, and why."""
    return Finding(Outcome.UNKNOWN, value, reason)


def judge(
    is_good: bool, value: str, reason: str, rows: tuple[Mapping[str, Any], ...] = ()
) -> Finding:
    """Good, or not good for the reason."""
    return passed(value, rows) if is_good else failed(value, reason, rows)
