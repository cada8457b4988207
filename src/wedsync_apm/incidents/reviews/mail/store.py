"""What goes out about the past, as the engine decides it. Times come in as `at`.

Everything of one message, and the mark that it was decided, is one statement: after a crash at any
boundary it is decided again as a whole, or stands.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.incidents.reviews.mail.words import report_payload
from wedsync_apm.incidents.reviews.model import REPORT_AFTER, report
from wedsync_apm.incidents.reviews.reports import span_of_day
from wedsync_apm.incidents.reviews.store import list_spells

Q = load_queries(__package__)

PATIENCE: Final = timedelta(days=7)
"""So long after its owner was told of an overdue action the organization's owners are."""
LIFETIME: Final = timedelta(days=3)
"""So long a mail about the past is worth sending: a mail server may be away for a weekend."""
AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class DueWedding:
    """A wedding that is over, and whose report is due."""

    organization_id: UUID
    wedding_id: UUID
    wedding_date: date
    time_zone: str
    initials: str
    starts_at: datetime
    ends_at: datetime

    @property
    def subject(self) -> str:
        """What its report is known by: the wedding and its day."""
        return f"wedding:{self.wedding_id}:{self.wedding_date}"


@dataclass(frozen=True, slots=True)
class DueSaturday:
    """A Saturday whose report to the platform's operators is due."""

    organization_id: UUID
    day: date
    time_zone: str


NOBODY: Final = ({"name": "The owners"},)
"""Of whom no address is known: the message stays in the inbox, where they can read it."""
Receivers = Mapping[UUID, Sequence[Mapping[str, Any]]]
"""Who answers for each organization, and how each gets mail."""


async def ask_after_actions(cx: Connection, at: datetime) -> int:
    """Asks after what reviews decided and is overdue; returns after how many actions."""
    rows = await cx.execute(
        Q.ask_after_actions,
        {"at": at, "patience": PATIENCE, "lifetime": LIFETIME, "limit": AT_ONCE},
    )
    row = await rows.fetchone()
    return int(row["asked"]) if row else 0


async def list_due_weddings(cx: Connection, at: datetime) -> list[DueWedding]:
    """The weddings that ended 36 hours ago or earlier and are not reported on."""
    rows = await cx.execute(
        Q.list_weddings_to_report, {"at": at, "after": REPORT_AFTER, "limit": AT_ONCE}
    )
    return [DueWedding(**row) for row in await rows.fetchall()]


async def find_due_saturday(cx: Connection, at: datetime) -> DueSaturday | None:
    """The Saturday that the platform's operators are to hear of; None on most days."""
    row = await (await cx.execute(Q.find_saturday_to_report, {"at": at})).fetchone()
    return None if row is None else DueSaturday(**row)


async def list_receivers(cx: Connection, organization_ids: Iterable[UUID]) -> Receivers:
    """The owners and admins of some organizations; the operators, for the platform's own."""
    rows = await cx.execute(Q.list_receivers, {"organization_ids": list(organization_ids)})
    found = defaultdict[UUID, list[Mapping[str, Any]]](list)
    for row in await rows.fetchall():
        person = {name: row[name] for name in ("name", "address")}
        person |= {name: str(row[name]) for name in ("user_id", "contact_method_id") if row[name]}
        found[row["organization_id"]].append(person)
    return found


async def send_wedding_report(
    cx: Connection, wedding: DueWedding, receivers: Receivers, at: datetime
) -> bool:
    """Puts the report of a wedding in line; False where it was before."""
    spells = await list_spells(
        cx,
        at=at,
        start=wedding.starts_at,
        end=wedding.ends_at,
        organization_id=wedding.organization_id,
        overlapping=True,
    )
    payload = report_payload(
        report(spells, wedding.starts_at, wedding.ends_at, at),
        wedding.wedding_date,
        word="wedding",
        path=f"/weddings/{wedding.wedding_id}/report",
        zone=wedding.time_zone,
    )
    return await _send(
        cx,
        at,
        organization_id=wedding.organization_id,
        subject=wedding.subject,
        payload=payload | {"initials": wedding.initials},
        receivers=receivers,
    )


async def send_saturday_report(
    cx: Connection, saturday: DueSaturday, receivers: Receivers, at: datetime
) -> bool:
    """Puts the report of a Saturday in line to the platform's operators; False where it was
    before."""
    start, end = span_of_day(saturday.day, saturday.time_zone)
    spells = await list_spells(cx, at=at, start=start, end=end, overlapping=True)
    payload = report_payload(
        report(spells, start, end, at),
        saturday.day,
        word="saturday",
        path=f"/reports/day?date={saturday.day}",
        zone=saturday.time_zone,
        home=saturday.organization_id,
    )
    return await _send(
        cx,
        at,
        organization_id=saturday.organization_id,
        subject=f"day:{saturday.day}",
        payload=payload,
        receivers=receivers,
    )


async def forget_reports(cx: Connection, at: datetime) -> None:
    """Drops the marks of reports that went out two months ago."""
    await cx.execute(Q.forget_reports, {"at": at})


async def _send(
    cx: Connection,
    at: datetime,
    *,
    organization_id: UUID,
    subject: str,
    payload: Mapping[str, Any],
    receivers: Receivers,
) -> bool:
    rows = await cx.execute(
        Q.send_report,
        {
            "organization_id": organization_id,
            "subject": subject,
            "at": at,
            "reason": f"{payload['word']}_report",
            "payload": Jsonb(dict(payload)),
            "receivers": Jsonb(list(receivers.get(organization_id) or NOBODY)),
            "lifetime": LIFETIME,
        },
    )
    return await rows.fetchone() is not None
