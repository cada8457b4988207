"""The catalogue's own answer to three questions: who is kept apart, what is used, who may what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wedsync_apm.db.pool import Pool, wrap_database_errors
from wedsync_apm.health.checks import Q
from wedsync_apm.health.judge import (
    Rows,
    judge_indexes,
    judge_privileges,
    judge_row_security,
)
from wedsync_apm.health.model import Finding, Outcome


class Subject(StrEnum):
    """What is audited."""

    RLS = "rls"
    INDEXES = "indexes"
    PRIVILEGES = "privileges"


_QUESTIONS: Final[Mapping[Subject, tuple[str, Callable[[Rows], Finding]]]] = {
    Subject.RLS: (Q.list_tables, judge_row_security),
    Subject.INDEXES: (Q.list_indexes, judge_indexes),
    Subject.PRIVILEGES: (Q.list_privileges, judge_privileges),
}


@dataclass(frozen=True, slots=True)
class Audit:
    """What the catalogue says, and what is wrong with it; empty if all is well."""

    subject: Subject
    statement: str
    rows: Rows
    fault: str


async def audit(pool: Pool, subject: Subject) -> Audit:
    """Looks now. Raises DatabaseAway."""
    statement, judge = _QUESTIONS[subject]
    with wrap_database_errors():
        async with pool.connection() as cx:
            rows = await (await cx.execute(statement)).fetchall()
    finding = judge(rows)
    fault = "" if finding.outcome is Outcome.PASSED else f"{finding.value}: {finding.reason}"
    return Audit(subject, statement, rows, fault)
