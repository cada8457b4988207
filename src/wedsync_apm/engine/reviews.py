"""Sends what is to be said about the past: overdue actions, reports of weddings and Saturdays."""

from datetime import datetime
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.incidents.reviews.mail import store
from wedsync_apm.incidents.reviews.mail.store import DueWedding, Receivers
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

EVERY_SECONDS: Final = 300.0
"""The calendar of some days is read for it, of all organizations."""
REPORTS = Counter(
    "wedsync_apm_event_reports_total",
    "Reports of weddings and Saturdays, by outcome.",
    ("outcome",),
)
ASKED = Counter("wedsync_apm_overdue_actions_total", "Overdue actions that somebody was asked for.")


async def run_once(cx: Connection, at: datetime) -> str:
    """One run. A report that cannot be made costs no other one its own, and is tried again."""
    asked = await store.ask_after_actions(cx, at)
    ASKED.inc(asked)
    weddings = await store.list_due_weddings(cx, at)
    saturday = await store.find_due_saturday(cx, at)
    wanted = {one.organization_id for one in weddings}
    if saturday is not None:
        wanted.add(saturday.organization_id)
    receivers = await store.list_receivers(cx, wanted) if wanted else {}
    sent = sum([await _report(cx, wedding, receivers, at) for wedding in weddings])
    if saturday is not None and await store.send_saturday_report(cx, saturday, receivers, at):
        sent += 1
        REPORTS.inc(outcome="sent")
    await store.forget_reports(cx, at)
    return f"{asked} asked after, {sent} reports" if asked or sent else ""


async def _report(cx: Connection, wedding: DueWedding, receivers: Receivers, at: datetime) -> bool:
    try:
        async with cx.transaction():
            is_sent = await store.send_wedding_report(cx, wedding, receivers, at)
    except Exception:  # the barrier: the next run tries it again
        REPORTS.inc(outcome="failed")
        log.exception(
            "The report of a wedding could not be made",
            extra={
                "action": "send_report",
                "organization_id": str(wedding.organization_id),
                "wedding_id": str(wedding.wedding_id),
            },
        )
        return False
    if is_sent:
        REPORTS.inc(outcome="sent")
    return is_sent
