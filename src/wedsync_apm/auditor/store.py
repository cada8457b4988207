"""One look: what is wrong is kept, told to the platform's people, and ended when it is over."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)


class Kind(StrEnum):
    """What can be wrong."""

    NOBODY_DUE = "nobody_due"
    OVERDUE_STEP = "overdue_step"
    WAITING_MESSAGE = "waiting_message"
    LOST_SENDER = "lost_sender"
    FAILING_JOB = "failing_job"


_TITLES: Final = {
    Kind.NOBODY_DUE: "Open incidents of which nobody will be told any more",
    Kind.OVERDUE_STEP: "Ladders stand still although their next step is due",
    Kind.WAITING_MESSAGE: "Messages wait for a sender",
    Kind.LOST_SENDER: "Messages are held by a sender that is gone",
    Kind.FAILING_JOB: "Jobs of the engine fail again and again",
}

PATIENCE: Final = timedelta(minutes=1)
"""How long an open incident may be without a step or a message: between the two of a ladder."""
LATENESS: Final = timedelta(seconds=30)
"""How long a step, a page or a lease may be overdue."""
PATIENCE_OF_OTHERS: Final = timedelta(minutes=15)
"""The same for messages that call nobody."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of what is wrong, how often, and the first in words."""

    kind: Kind
    count: int
    example: str

    @property
    def title(self) -> str:
        """What the platform's people read."""
        return f"{_TITLES[self.kind]}: {self.count}"


async def look(cx: Connection, at: datetime) -> list[Finding]:
    """Looks, and leaves open exactly those incidents of the platform that are about what was found.

    Belongs into a transaction.
    """
    values = {
        "at": at,
        "patience": PATIENCE,
        "lateness": LATENESS,
        "patience_of_others": PATIENCE_OF_OTHERS,
    }
    rows = await (await cx.execute(Q.replace_findings, values)).fetchall()
    findings = [Finding(Kind(row["kind"]), row["findings"], row["example"]) for row in rows]
    await cx.execute(Q.set_acting, {"at": at})
    await cx.execute(Q.end_findings, {"kinds": [one.kind for one in findings]})
    for one in findings:
        await cx.execute(Q.raise_finding, {"kind": one.kind, "title": one.title, "at": at})
    return findings
