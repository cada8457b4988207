"""Reports by event: what befell a wedding, and what befell a day."""

from datetime import date, datetime, time, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import NotFound
from wedsync_apm.incidents.reviews.model import Report, report
from wedsync_apm.incidents.reviews.store import Q, list_spells
from wedsync_apm.weddings import store as weddings

PHASES: Final = frozenset({"set_up", "ceremony", "reception", "tear_down"})
AFTER_MIDNIGHT: Final = timedelta(hours=6)
"""A Saturday of weddings ends on Sunday morning."""


async def wedding_report(cx: Connection, wedding_id: UUID, at: datetime) -> Report:
    """Every trouble of the organization in the wedding's hours. Raises NotFound."""
    wedding = await weddings.find_wedding(cx, wedding_id)
    day: date = wedding["wedding_date"]
    noon = datetime.combine(day, time(12), ZoneInfo("UTC"))
    phases = await weddings.list_phases_between(
        cx, wedding["organization_id"], noon - timedelta(days=3), noon + timedelta(days=4), 1000
    )
    mine = [phase for phase in phases if phase["wedding_id"] == wedding_id]
    # Where no phase can be placed, the day is all that is known of its hours.
    spans = [
        (phase["starts_at"], phase["ends_at"])
        for phase in [one for one in mine if one["phase"] in PHASES]
        or [one for one in mine if one["phase"] == "day"]
    ]
    if not spans:
        raise NotFound("Nobody knows the hours of this wedding.")
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    return await _report(cx, wedding["organization_id"], start, end, at)


async def day_report(
    cx: Connection, day: date, organization_id: UUID | None, at: datetime
) -> Report:
    """Every trouble of a day and the night after it, by the organization's clock; without one of
    all organizations that the caller sees."""
    rows = await cx.execute(Q.find_zone, {"organization_id": organization_id})
    row = await rows.fetchone()
    start, end = span_of_day(day, row["time_zone"] if row else "UTC")
    return await _report(cx, organization_id, start, end, at)


def span_of_day(day: date, zone: str) -> tuple[datetime, datetime]:
    """A day and the night after it by a clock; by UTC where nobody knows that clock."""
    try:
        clock = ZoneInfo(zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        clock = ZoneInfo("UTC")
    start = datetime.combine(day, time(), clock)
    end = datetime.combine(day + timedelta(days=1), time(), clock) + AFTER_MIDNIGHT
    return start, end


async def _report(
    cx: Connection, organization_id: UUID | None, start: datetime, end: datetime, at: datetime
) -> Report:
    spells = await list_spells(
        cx,
        at=at,
        start=start,
        end=end,
        organization_id=organization_id,
        overlapping=True,
    )
    return report(spells, start, end, at)
