"""Dashboards by mail in the database. Times come in as `at`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.dashboards.mails.model import Rhythm
from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

MOST: Final = 100
AT_ONCE: Final = 5
"""Drawn in one run: each takes a second or less."""
LIFETIME: Final = timedelta(days=1)
"""So long it is worth sending."""
KEPT: Final = timedelta(days=3)
"""So long what was drawn is there for the sender's tries."""


@dataclass(frozen=True, slots=True)
class DueMail:
    """A dashboard that is to go out now, read with its receiver's rights."""

    organization_id: UUID
    id: UUID
    dashboard_id: UUID
    weekday: int | None
    at_time: time
    time_zone: str
    span: str | None
    variables: Mapping[str, str]
    next_at: datetime
    user_id: UUID | None
    is_receiver: bool
    """Whether he still belongs to the organization and has that address."""

    @property
    def rhythm(self) -> Rhythm:
        """When it goes out."""
        return Rhythm(self.at_time, self.time_zone, self.weekday)


@dataclass(frozen=True, slots=True)
class Paper:
    """What is attached."""

    id: UUID
    name: str
    content: bytes


async def list_dashboard_mails(
    cx: Connection, organization_id: UUID, dashboard_id: UUID
) -> list[Row]:
    """To whom a dashboard goes out, and when."""
    values = {"organization_id": organization_id, "dashboard_id": dashboard_id, "limit": MOST}
    return await (await cx.execute(Q.list_dashboard_mails, values)).fetchall()


async def list_mail_receivers(cx: Connection, organization_id: UUID) -> list[Row]:
    """Who can get one: people with an address that they have proven."""
    values = {"organization_id": organization_id, "limit": MOST}
    return await (await cx.execute(Q.list_mail_receivers, values)).fetchall()


async def add_dashboard_mail(
    cx: Connection,
    *,
    organization_id: UUID,
    dashboard_id: UUID,
    contact_method_id: UUID,
    rhythm: Rhythm,
    span: str | None,
    variables: Mapping[str, str],
    created_by: UUID,
    at: datetime,
) -> None:
    """From now on it goes out to this contact, in place of an earlier rhythm. Raises NotValid for a
    contact that is no proven address of a member's."""
    place = {
        "organization_id": organization_id,
        "dashboard_id": dashboard_id,
        "contact_method_id": contact_method_id,
    }
    await cx.execute(Q.end_earlier_dashboard_mail, place)
    await cx.execute(
        Q.add_dashboard_mail,
        place
        | {
            "weekday": rhythm.weekday,
            "at_time": rhythm.at_time,
            "time_zone": rhythm.time_zone,
            "span": span,
            "variables": Jsonb(dict(variables)),
            "next_at": rhythm.next_after(at),
            "created_by": created_by,
        },
    )


async def delete_dashboard_mail(
    cx: Connection, organization_id: UUID, dashboard_id: UUID, mail_id: UUID
) -> bool:
    """It goes out no more; False where it did not."""
    values = {"organization_id": organization_id, "dashboard_id": dashboard_id, "id": mail_id}
    return (await cx.execute(Q.delete_dashboard_mail, values)).rowcount == 1


async def look_up_dashboard_mail(cx: Connection, mail_id: UUID) -> str | None:
    """Which dashboard a link in a mail is about; None for one that has ended."""
    row = await (await cx.execute(Q.look_up_dashboard_mail, {"id": mail_id})).fetchone()
    return row["name"] if row else None


async def leave_dashboard_mail(cx: Connection, mail_id: UUID) -> bool:
    """Ends it by the link of its receiver; False where it has ended before."""
    row = await (await cx.execute(Q.leave_dashboard_mail, {"id": mail_id})).fetchone()
    return bool(row and row["is_done"])


async def list_due_dashboard_mails(cx: Connection, at: datetime) -> list[DueMail]:
    """What is due, the oldest first."""
    rows = await cx.execute(Q.list_due_dashboard_mails, {"at": at, "limit": AT_ONCE})
    return [DueMail(**row) for row in await rows.fetchall()]


async def send_dashboard_mail(
    cx: Connection, due: DueMail, at: datetime, payload: Mapping[str, Any], paper: Paper | None
) -> bool:
    """Puts it in line and decides when the next is due, in one statement; False where another
    engine was faster, or its receiver is none any more."""
    rows = await cx.execute(
        Q.send_dashboard_mail,
        {
            "organization_id": due.organization_id,
            "id": due.id,
            "due_at": due.next_at,
            "next_at": due.rhythm.next_after(max(at, due.next_at)),
            "at": at,
            "payload": Jsonb(dict(payload) | ({"paper_id": str(paper.id)} if paper else {})),
            "paper_id": paper.id if paper else None,
            "paper_name": paper.name if paper else None,
            "paper": paper.content if paper else None,
            "lifetime": LIFETIME,
        },
    )
    row = await rows.fetchone()
    return bool(row and row["sent"])


async def end_dashboard_mail(cx: Connection, due: DueMail) -> None:
    """Its receiver has left, or sees the dashboard no more."""
    values = {"organization_id": due.organization_id, "id": due.id, "due_at": due.next_at}
    await cx.execute(Q.end_dashboard_mail, values)


async def forget_papers(cx: Connection, at: datetime) -> None:
    """Drops what was attached days ago."""
    await cx.execute(Q.forget_papers, {"before": at - KEPT})
