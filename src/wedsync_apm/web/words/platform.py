"""The platform's own pages."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    "database.title": "Database",
    "guard.by_calendar": "Guard mode {mode}{until}: {why}",
    "guard.by_override": "Guard mode {mode}{until}, by {who}: {why}",
    "guard.until": " until {time}",
    "report.title": "Health report",
    "report.excellent": "Excellent: every line passed",
    "report.bad": "Not excellent: {n} of {total} failed",
    "report.unsure": "Not fully known: {n} of {total} could not be judged",
    "report.passed": "Passed",
    "report.failed": "Failed",
    "report.unknown": "Not known",
    "report.measured": "Every figure was measured at {time} on PostgreSQL {server}, "
    "by the statement shown with it.",
    "report.unknowns": "What could not be judged",
    "report.failures": "What failed",
    "report.passes": "What passed",
    "report.statement": "The statement",
    "report.limit": "expected {limit}",
}
