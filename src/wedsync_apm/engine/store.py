"""The engine's bookkeeping in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from psycopg.rows import dict_row

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.blocks.model import Columns
from wedsync_apm.metrics.blocks.wire import speak_numpy
from wedsync_apm.rules.model import AlertRule

Q = load_queries(__package__)


async def read_clock(cx: Connection) -> datetime:
    """The database's time, to the millisecond."""
    row = await (await cx.execute(Q.read_clock)).fetchone()
    assert row is not None  # noqa: S101 -- a SELECT without FROM returns one row
    at: datetime = row["at"]
    return at


async def take_turn(cx: Connection, job: str) -> datetime | None:
    """The instant of this run; None while another engine has the job in its transaction."""
    row = await (await cx.execute(Q.take_turn, {"job": job})).fetchone()
    return row["at"] if row and row["is_mine"] else None


async def follow_weddings(cx: Connection, at: datetime) -> int:
    """Raises the open incidents that a wedding has come to; how many."""
    return (await cx.execute(Q.follow_weddings, {"at": at})).rowcount


async def limit_statements(cx: Connection, seconds: float) -> None:
    """How long a statement of this transaction may take from here on."""
    await cx.execute(Q.limit_statements, {"seconds": seconds})


async def record_run(
    cx: Connection, job: str, started_at: datetime, duration_ms: float, *, outcome: str, detail: str
) -> None:
    """Writes down how a run went: ok or failed."""
    await cx.execute(
        Q.record_run,
        {
            "job": job,
            "started_at": started_at,
            "duration_ms": duration_ms,
            "outcome": outcome,
            "detail": detail,
        },
    )


@dataclass(frozen=True, slots=True)
class NewFlushes:
    """What was committed since a snapshot, and up to which one that has been read."""

    snapshot: str
    organization_ids: tuple[UUID, ...]


async def read_new_flushes(
    cx: Connection, seen: str | None, organization_ids: Sequence[UUID]
) -> NewFlushes:
    """Which of these organizations have flushes that were not yet to be seen at a snapshot."""
    rows = await cx.execute(
        Q.read_new_flushes, {"seen": seen, "organization_ids": list(organization_ids)}
    )
    row = await rows.fetchone()
    assert row is not None  # noqa: S101 -- an aggregate returns one row
    return NewFlushes(row["snapshot"], tuple(row["organization_ids"]))


@dataclass(frozen=True, slots=True, eq=False)
class NewBlock:
    """A write batch; whether its context declares a wedding."""

    organization_id: UUID
    columns: Columns
    is_declared: bool


async def list_new_blocks(
    cx: Connection, seen: str | None, organization_ids: Sequence[UUID]
) -> list[NewBlock]:
    """The samples of some organizations that were not yet to be seen at a snapshot, in the order
    of their writing."""
    async with cx.cursor(binary=True, row_factory=dict_row) as cursor:
        speak_numpy(cursor)
        await cursor.execute(
            Q.list_new_blocks, {"seen": seen, "organization_ids": list(organization_ids)}
        )
        rows = await cursor.fetchall()
    return [
        NewBlock(
            row["organization_id"],
            Columns(
                row["series_ids"],
                row["first_ms"] + row["offsets_ms"].astype(np.int64),
                row["metric_values"],
                np.zeros(len(row["series_ids"]), np.int64),
                np.zeros(len(row["series_ids"]), np.int32),
            ),
            row["declared"],
        )
        for row in rows
    ]


async def list_ended_series(
    cx: Connection, organization_ids: Sequence[UUID], since: datetime
) -> list[tuple[UUID, int, datetime]]:
    """The series of some organizations that their senders have declared over since an instant, and
    when they were."""
    rows = await cx.execute(
        Q.list_ended_series, {"organization_ids": list(organization_ids), "since": since}
    )
    return [(row["organization_id"], row["id"], row["ended_at"]) for row in await rows.fetchall()]


async def open_incident(
    cx: Connection, alert_id: UUID, metric_value: float | None, at: datetime, note: str = ""
) -> UUID:
    """The rule's live incident: opened, opened again within the reopen window, or counted on."""
    await cx.execute(Q.set_acting, {"at": at, "note": note})
    rows = await cx.execute(
        Q.open_incident, {"alert_id": alert_id, "metric_value": metric_value, "at": at}
    )
    row = await rows.fetchone()
    assert row is not None  # noqa: S101 -- the function returns an id or raises
    incident_id: UUID = row["incident_id"]
    return incident_id


async def resolve_incident(
    cx: Connection, organization_id: UUID, alert_id: UUID, at: datetime, note: str
) -> bool:
    """Ends the rule's live incident; False when a person has ended it already."""
    await cx.execute(Q.set_acting, {"at": at, "note": note})
    rows = await cx.execute(
        Q.resolve_incident, {"organization_id": organization_id, "alert_id": alert_id}
    )
    return await rows.fetchone() is not None


async def resolve_orphaned_incidents(cx: Connection, at: datetime) -> int:
    """Ends the live incidents of deleted rules; returns how many."""
    await cx.execute(Q.set_acting, {"at": at, "note": "its rule was deleted"})
    return len(await (await cx.execute(Q.resolve_orphaned_incidents)).fetchall())


async def list_unheld_rules(
    cx: Connection, organization_id: UUID, alert_ids: Sequence[UUID]
) -> dict[UUID, datetime]:
    """Those of the rules that have had incidents but no live one, and when the last one ended."""
    rows = await cx.execute(
        Q.list_unheld_rules, {"organization_id": organization_id, "alert_ids": list(alert_ids)}
    )
    return {row["id"]: row["ended_at"] for row in await rows.fetchall()}


async def list_unheld_organizations(cx: Connection) -> set[UUID]:
    """Organizations with a rule that alarms while no incident of its lives."""
    rows = await cx.execute(Q.list_unheld_organizations)
    return {row["organization_id"] for row in await rows.fetchall()}


async def find_auto_resolving(
    cx: Connection, organization_id: UUID, alert_ids: Sequence[UUID]
) -> frozenset[UUID]:
    """Those of the rules, active or not, that end their incidents by themselves."""
    rows = await cx.execute(
        Q.find_rules, {"organization_id": organization_id, "alert_ids": list(alert_ids)}
    )
    return frozenset(row["id"] for row in await rows.fetchall() if row["auto_resolve"])


async def has_due_steps(cx: Connection, at: datetime) -> bool:
    """Whether any ladder is to be climbed at `at`."""
    row = await (await cx.execute(Q.has_due_steps, {"at": at})).fetchone()
    return bool(row and row["has_due"])


async def open_rule_fault(cx: Connection, rule: AlertRule, reason: str, at: datetime) -> None:
    """Tells the rule's organization that it cannot be judged, and why."""
    await cx.execute(
        Q.open_rule_fault,
        {
            "organization_id": rule.organization_id,
            "alert_id": rule.id,
            "alert_name": rule.alert_name,
            "reason": reason[:200],
            "at": at,
        },
    )


async def end_rule_faults(
    cx: Connection, organization_id: UUID, paused: Sequence[UUID], at: datetime
) -> None:
    """Ends what was told of rules that are not paused any more."""
    await cx.execute(
        Q.end_rule_faults,
        {"organization_id": organization_id, "alert_ids": list(paused), "at": at},
    )


async def make_partitions(cx: Connection, at: datetime) -> int:
    """Makes the partitions of the days and months ahead; returns how many were missing."""
    row = await (await cx.execute(Q.make_partitions, {"at": at})).fetchone()
    return int(row["made"]) if row else 0


async def measure_default_partitions(cx: Connection) -> dict[str, int]:
    """The bytes in each default partition, where rows lie that came before their own partition."""
    rows = await cx.execute(Q.measure_default_partitions)
    return {row["name"]: row["bytes"] for row in await rows.fetchall()}


async def forget_flushes(cx: Connection, readers: Sequence[str], at: datetime) -> int:
    """Removes the flushes that all readers have passed; returns how many."""
    return (await cx.execute(Q.forget_flushes, {"readers": list(readers), "at": at})).rowcount


async def forget_leftovers(cx: Connection, at: datetime) -> int:
    """Removes what only had to last a while: idempotency keys, sign-in counters, dead links,
    answers that were heard."""
    total = 0
    for statement in (
        Q.forget_idempotency_keys,
        Q.forget_sign_in_attempts,
        Q.forget_acknowledge_links,
        Q.forget_channel_events,
    ):
        total += (await cx.execute(statement, {"at": at})).rowcount
    return total
