"""A look at once, for somebody who waits for it. It is told and not kept."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wedsync_apm.checks.members import store
from wedsync_apm.checks.model import Finding, Seen, judge, limits_of
from wedsync_apm.checks.probes import Prober
from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.egress import EgressClient
from wedsync_apm.errors import Forbidden, NotFound, RateLimited


@dataclass(frozen=True, slots=True)
class Permit:
    """A check that may be looked at now, and the circumstances."""

    row: Row
    at: datetime
    is_wedding: bool


async def take_look(cx: Connection, check_id: UUID) -> Permit:
    """Takes one of the looks that an organization has in a minute.

    Raises NotFound, Forbidden for viewers, RateLimited with the seconds to wait.
    """
    row = await store.HEALTH_CHECKS.find_row(cx, check_id)
    if row is None:
        raise NotFound("There is no such health check.")
    wait = await store.take_run(cx, check_id)
    if wait is None:
        raise Forbidden("Viewers cannot have checks made.")
    if wait:
        raise RateLimited(f"The next look may be made in {wait} s.", float(wait))
    at, is_wedding = await store.read_circumstances(cx, row["organization_id"])
    return Permit(row, at, is_wedding)


async def look(egress: EgressClient, permit: Permit, factor: float) -> tuple[Seen, Finding] | None:
    """What is there now, outside any transaction; None where nobody is called."""
    if permit.row["endpoint_url"] is None:
        return None
    check = store.due_check(permit.row, permit.at)
    seen = await Prober(egress).look(check, permit.row["endpoint_url"])
    limits = limits_of(check, factor, is_wedding=permit.is_wedding)
    return seen, judge(check, seen, limits, permit.at)
