"""Sends dashboards by mail that are due: read with their receiver's rights, drawn, put in line."""

from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from wedsync_apm.config import Settings
from wedsync_apm.dashboards import store as dashboards
from wedsync_apm.dashboards.data import Asked, Data, document_of, read_data
from wedsync_apm.dashboards.mails import store
from wedsync_apm.dashboards.mails.store import DueMail, Paper
from wedsync_apm.dashboards.model import Document, Span
from wedsync_apm.dashboards.pictures.desk import Desk, SheetOf
from wedsync_apm.dashboards.pictures.model import Form, file_name
from wedsync_apm.db.pool import Connection, Pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.errors import NotValid, TooLarge
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

EVERY_SECONDS: Final = 15.0
TIMEOUT_SECONDS: Final = 180.0
SENT = Counter(
    "wedsync_apm_dashboard_mails_total",
    "Dashboards that were due by mail, by outcome.",
    ("outcome",),
)


class DashboardMails:
    """The job. `readers` enters as the API does: a receiver is shown what he may see himself."""

    def __init__(self, readers: Pool, settings: Settings, sheet_of: SheetOf) -> None:
        self._readers = readers
        self._settings = settings
        self._sheet_of = sheet_of
        self._desk = Desk()

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run. One that cannot be read or drawn costs no other one its own. `cx` is outside a
        transaction: each statement that changes something stands alone."""
        due = await store.list_due_dashboard_mails(cx, at)
        sent = 0
        for one in due:
            try:
                sent += await self._send(cx, one, at)
            except Exception:  # the barrier: the next run tries it again
                SENT.inc(outcome="failed")
                log.exception(
                    "A dashboard could not be mailed",
                    extra={
                        "action": "send_dashboard_mail",
                        "organization_id": str(one.organization_id),
                        "mail_id": str(one.id),
                    },
                )
        if due:
            await store.forget_papers(cx, at)
        return f"{sent} dashboards mailed" if sent else ""

    async def _send(self, cx: Connection, due: DueMail, at: datetime) -> bool:
        found = await self._read(due) if due.is_receiver else None
        if found is None:
            SENT.inc(outcome="ended")
            await store.end_dashboard_mail(cx, due)
            return False
        row, document, data = found
        paper = None
        try:
            if document is not None and data is not None:
                sheet = self._sheet_of(row, document, data, True)
                content = await self._desk.draw(sheet, Form.PDF, due.organization_id)
                paper = Paper(uuid4(), file_name(due.dashboard_id, Form.PDF), content)
        except TooLarge:
            log.warning(
                "A dashboard is too large to be drawn",
                extra={"action": "send_dashboard_mail", "mail_id": str(due.id)},
            )
        payload = {
            "word": "dashboard",
            "title": row["name"],
            "weekday": due.weekday,
            "time_zone": due.time_zone,
            "drawn_at": at.isoformat(),
        }
        is_sent = await store.send_dashboard_mail(cx, due, at, payload, paper)
        if is_sent:
            SENT.inc(outcome="sent" if paper else "without a picture")
        return is_sent

    async def _read(
        self, due: DueMail
    ) -> tuple[dict[str, Any], Document | None, Data | None] | None:
        """What its receiver sees of it; None where that is nothing."""
        actor = Actor("authenticated", due.user_id, "user")
        async with tenant_tx(self._readers, actor) as cx:
            row = await dashboards.DASHBOARDS.find_row(cx, due.dashboard_id)
            if row is None or row["organization_id"] != due.organization_id:
                return None
            setting = await dashboards.read_setting(cx, due.organization_id, self._settings)
            span = Span(due.span) if due.span in set(Span) else None
            try:
                document = document_of(row)
                asked = Asked(span=span, variables=due.variables)
                return row, document, await read_data(cx, setting, document, asked)
            except NotValid:
                # a document of an older program: its page says what is wrong
                return row, None, None
