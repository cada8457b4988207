"""What every page shares: who looks, the answer's bytes and headers, what went wrong."""

import base64
import gzip
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import psycopg
from litestar import Request, Response
from litestar.datastructures import Cookie, State
from litestar.exceptions import HTTPException

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import Connection, translate, wrap_database_errors
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.errors import Unauthorized, WedSyncError
from wedsync_apm.organizations import store as organizations
from wedsync_apm.organizations.identity import actor_of
from wedsync_apm.organizations.model import Membership
from wedsync_apm.telemetry import get_logger
from wedsync_apm.types import Role
from wedsync_apm.web import store
from wedsync_apm.web.build.incidents import Scene
from wedsync_apm.web.headers import PAGE_HEADERS
from wedsync_apm.web.keeping import NOBODY, NOT_KEPT, keep_headers, reader_of
from wedsync_apm.web.render import render
from wedsync_apm.web.session import (
    ORGANIZATION_COOKIE,
    PLATFORM_TYPE,
    SESSION_COOKIE,
    NoBusiness,
    Web,
    choose,
    ended_session,
    form_token,
    identify,
    is_safe_path,
    theme_of,
)
from wedsync_apm.web.views.entry import ErrorView
from wedsync_apm.web.views.shell import Bare, Choice, Kind, Said, Shell
from wedsync_apm.web.words import has
from wedsync_apm.web.words import say as words

log = get_logger(__name__)

PageRequest = Request[Any, Any, State]
Html = Response[bytes]

SAID: Final[Mapping[str, tuple[Kind, str]]] = {
    "taken": ("ok", "problem.taken"),
    "seen": ("ok", "problem.seen_done"),
    "note": ("ok", "problem.note_done"),
    "started": ("ok", "problem.started_done"),
    "resolved": ("ok", "problem.resolved_done"),
    "reopened": ("ok", "problem.reopened_done"),
    "moved": ("warn", "problem.already"),
    "told": ("ok", "problem.update_done"),
    "merged": ("ok", "problem.merged_done"),
    "reviewed": ("ok", "review.saved"),
    "emergency_saved": ("ok", "emergency.saved"),
    "escalated": ("ok", "problem.escalated_done"),
    "saved": ("ok", "rule.saved"),
    "silenced": ("ok", "silence.saved"),
    "asked": ("warn", "silence.asked"),
    "quiet_ended": ("ok", "silence.ended_done"),
    "approved": ("ok", "approve.yes_done"),
    "refused": ("ok", "approve.no_done"),
    "answered": ("warn", "approve.late"),
    "work_saved": ("ok", "work.saved"),
    "work_deleted": ("ok", "work.deleted"),
    "drill_started": ("ok", "drills.started"),
    "drill_planned": ("ok", "drills.saved"),
    "drill_unplanned": ("ok", "drills.cleared"),
    "heartbeat_saved": ("ok", "heartbeat.saved"),
    "heartbeat_paused": ("ok", "heartbeat.paused_done"),
    "heartbeat_resumed": ("ok", "heartbeat.resumed_done"),
    "heartbeat_deleted": ("ok", "heartbeat.deleted"),
    "check_made": ("ok", "check.made"),
    "check_saved": ("ok", "check.saved"),
    "check_paused": ("ok", "check.paused_done"),
    "check_resumed": ("ok", "check.resumed_done"),
    "check_deleted": ("ok", "check.deleted"),
    "phone_on": ("ok", "phone.on_done"),
    "phone_off": ("ok", "phone.off_done"),
    "phone_tested": ("ok", "phone.tested"),
    "contact_made": ("ok", "contact.made"),
    "contact_code": ("ok", "contact.code_done"),
    "contact_proven": ("ok", "contact.proven_done"),
    "contact_test": ("ok", "contact.test_done"),
    "contact_removed": ("ok", "contact.removed"),
    "contact_off": ("ok", "contact.switched_off"),
    "contact_order": ("ok", "contact.order_saved"),
    "contact_on": ("ok", "contact.switched_on"),
    "quiet_saved": ("ok", "contact.quiet_saved"),
    "quiet_cleared": ("ok", "contact.quiet_cleared"),
    "cover_made": ("ok", "cover.made"),
    "cover_undone": ("ok", "cover.undone"),
    "rota_saved": ("ok", "rota.saved"),
    "rota_deleted": ("ok", "rota.deleted"),
    "rota_used": ("ok", "rota.used"),
    "temporary_made": ("ok", "temporary.made"),
    "temporary_undone": ("ok", "temporary.undone"),
    "ladder_saved": ("ok", "ladder.saved"),
    "ladder_deleted": ("ok", "ladder.deleted"),
    "status_saved": ("ok", "status_set.saved"),
    "status_said": ("ok", "status_set.note_said"),
    "board_added": ("ok", "board.added"),
    "board_saved": ("ok", "board.saved"),
    "board_deleted": ("ok", "board.deleted"),
    "mail_added": ("ok", "mails.added"),
    "mail_ended": ("ok", "mails.ended"),
    "board_taken_in": ("ok", "board.taken_in"),
    "made": ("ok", "rule.made"),
    "paused": ("ok", "rule.paused"),
    "resumed": ("ok", "rule.resumed"),
    "deleted": ("ok", "rule.deleted"),
    "counted": ("warn", "rule.counted"),
    "adopted": ("ok", "rules.adopt_done"),
    "adopted_none": ("warn", "rules.adopt_none"),
    "wedding_made": ("ok", "wedding.made"),
    "wedding_saved": ("ok", "wedding.saved"),
    "wedding_moved": ("ok", "wedding.moved"),
    "wedding_cancelled": ("ok", "wedding.cancelled_done"),
    "wedding_restored": ("ok", "wedding.restored"),
    "wedding_linked": ("ok", "wedding.linked"),
    "wedding_joined": ("ok", "wedding.joined"),
    "wedding_left": ("ok", "wedding.left"),
    "wedding_imported": ("ok", "import.done"),
    "guard_made": ("ok", "guards.made"),
    "guard_ended": ("ok", "guards.ended"),
    "freeze_approved": ("ok", "freeze.approved"),
    "freeze_withdrawn": ("ok", "freeze.withdrawn"),
    "ready_asked": ("ok", "ready.asked"),
    "ready_early": ("warn", "ready.too_early"),
}
SMALLEST_ZIPPED: Final = 860


@dataclass(frozen=True, slots=True)
class Visit:
    """One signed-in request inside its transaction. `at` is the database's clock."""

    web: Web
    request: PageRequest
    cx: Connection
    at: datetime
    name: str
    subject: UUID
    membership: Membership
    memberships: tuple[Membership, ...]
    operator_role: str | None
    live_incidents: int
    is_wedding: bool
    place: str = ""

    @property
    def is_operator(self) -> bool:
        """Whether the person works for the platform."""
        return self.operator_role is not None

    def may_act_on(self, organization_id: UUID) -> bool:
        """Whether the database would let the person change that business's incidents."""
        is_member = organization_id == self.organization_id and self.role is not Role.VIEWER
        return is_member or self.operator_role == "oncall"

    @property
    def organization_id(self) -> UUID:
        """The business looked at."""
        return self.membership.organization_id

    @property
    def zone(self) -> str:
        """Its time zone."""
        return self.membership.time_zone

    @property
    def role(self) -> Role:
        """The person's role there."""
        return Role(self.membership.role)

    @property
    def is_engineer(self) -> bool:
        """Whether technical words come first: for the platform's own people."""
        return self.is_operator or self.membership.vendor_type == PLATFORM_TYPE

    @property
    def scene(self) -> Scene:
        """The moment and the zone, for the words about incidents."""
        return Scene(self.at, self.zone, viewer_name=self.name)

    def shell(self, active: str) -> Shell:
        """The frame of the page."""
        said = SAID.get(self.request.query_params.get("said", ""))
        return Shell(
            at=self.at,
            zone=self.zone,
            theme=theme_of(self.request),
            csrf=form_token(self.web, self.request.cookies.get(SESSION_COOKIE)),
            person=self.name,
            organization=self.membership.name,
            active=active,
            choices=tuple(
                Choice(m.organization_id, m.name, m.organization_id == self.organization_id)
                for m in self.memberships
            ),
            open_incidents=self.live_incidents,
            is_engineer=self.is_engineer,
            is_operator=self.is_operator,
            is_demo=self.membership.vendor_type != PLATFORM_TYPE and bool(self.web.demo_people()),
            said=Said(said[0], words(said[1])) if said else None,
            place=self.place,
        )

    @property
    def reader(self) -> str:
        """Who reads where, in which role: what one device keeps of it is for him alone."""
        return reader_of(self.web, self.subject, self.membership)

    def page(
        self,
        template: str,
        active: str,
        view: object,
        *,
        status: int = 200,
        kept_until: datetime | None = None,
    ) -> Html:
        """The answer: the whole page, or its main part alone for a live refresh. The reader's own
        device may keep it until `kept_until`."""
        is_part = self.request.headers.get("hx-request") == "true"
        html = render(template, self.shell(active), view, is_part=is_part)
        headers = {**PAGE_HEADERS, **keep_headers(self.reader, kept_until)}
        return answer(self.request, html, status=status, headers=headers)


def web_of(request: PageRequest) -> Web:
    """What the process has for its pages."""
    found: Web = request.app.state.web
    return found


@asynccontextmanager
async def visit(request: PageRequest, *, wanted: UUID | None = None) -> AsyncIterator[Visit]:
    """A transaction as the signed-in person, at the business that he has chosen.

    Raises Unauthorized for nobody, NoBusiness for somebody who belongs nowhere.
    """
    web = web_of(request)
    identity = await identify(web, request)
    # Before the first reading: better to be told twice of a change than not at all.
    place = web.place()
    async with tenant_tx(web.pool, actor_of(identity)) as cx:
        memberships = tuple(await organizations.list_my_organizations(cx))
        chosen = str(wanted) if wanted else request.cookies.get(ORGANIZATION_COOKIE)
        membership = choose(memberships, chosen)
        frame = await store.read_frame(cx, membership.organization_id)
        yield Visit(
            web=web,
            request=request,
            cx=cx,
            at=frame.at,
            name=identity.name,
            subject=identity.subject,
            membership=membership,
            memberships=memberships,
            operator_role=frame.operator_role,
            live_incidents=frame.live_incidents,
            is_wedding=frame.is_wedding,
            place=place,
        )


async def is_engine_alive(web: Web, longest_seconds: float) -> bool:
    """Whether the engine has got through a job lately; without it nothing is known."""
    with wrap_database_errors():
        async with web.pool.connection() as cx:
            silence = await store.find_engine_silence(cx)
    return silence is not None and silence <= longest_seconds


def answer(
    request: PageRequest,
    html: bytes,
    *,
    status: int = 200,
    headers: Mapping[str, str] = PAGE_HEADERS,
    cookies: Sequence[Cookie] = (),
    media_type: str = "text/html; charset=utf-8",
) -> Html:
    """HTML with our headers, compressed where the browser takes it."""
    sent = dict(headers)
    if (
        len(html) > SMALLEST_ZIPPED
        and "gzip" in request.headers.get("accept-encoding", "")
        and request.method != "HEAD"
    ):
        # The only secret in a page, its form token, is different each time: nothing to measure.
        html = gzip.compress(html, 6, mtime=0)
        sent["content-encoding"] = "gzip"
    return Response(
        html,
        status_code=status,
        media_type=media_type,
        headers=sent,
        cookies=list(cookies),
    )


def see(path: str, *, cookies: Sequence[Cookie] = (), said: str = "") -> Html:
    """303: the browser fetches the page that shows what was done."""
    target = path if is_safe_path(path) else "/"
    if said:
        target += ("&" if "?" in target else "?") + f"said={said}"
    return Response(
        b"",
        status_code=303,
        media_type="text/plain",
        headers={"location": target, "cache-control": "no-store"},
        cookies=list(cookies),
    )


def answer_error(request: PageRequest, exc: Exception) -> Html:
    """Any failure as a page in plain words. Whoever is not signed in is led to the sign-in."""
    error = error_of(exc)
    is_refresh = request.headers.get("hx-request") == "true"
    if isinstance(error, Unauthorized) and request.method == "GET" and not is_refresh:
        then = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = "/sign-in" if then == "/" else f"/sign-in?then={quote(then)}"
        ended = [ended_session(web_of(request))] if SESSION_COOKIE in request.cookies else []
        return see(target, cookies=ended)
    reference = ""
    if error.status >= 500 and error.status != 503:
        reference = base64.b32encode(secrets.token_bytes(5)).decode()[:6]
        log.error(
            "A page failed: %s %s",
            request.method,
            request.url.path,
            exc_info=exc,
            extra={"action": "answer_error", "reference": reference},
        )
    return error_page(request, error, reference)


def error_page(request: PageRequest, error: WedSyncError, reference: str = "") -> Html:
    """The page for one of our errors."""
    status = error.status if has(f"error.{error.status}.title") else 500
    again = request.url.path if status in (409, 500, 503) and request.method == "GET" else "/"
    view = ErrorView(status, reference, again="/sign-in" if status == 401 else again)
    token = form_token(web_of(request), request.cookies.get(SESSION_COOKIE))
    shell = Bare(utcnow(), theme_of(request), csrf=token)
    headers = {**PAGE_HEADERS, **(NOBODY if status == 401 else {})}
    if isinstance(error, NoBusiness):
        html = render("no_business.html", shell, view)
        return answer(request, html, status=status, headers={**headers, **NOBODY})
    if status in (403, 404, 410) and request.method == "GET":
        headers |= NOT_KEPT
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers["retry-after"] = str(max(1, round(wait)))
    return answer(request, render("error.html", shell, view), status=error.status, headers=headers)


def error_of(exc: Exception) -> WedSyncError:
    """Our error for whatever was raised."""
    if isinstance(exc, WedSyncError):
        return exc
    if isinstance(exc, HTTPException):
        known = {cls.status: cls for cls in _subclasses(WedSyncError)}
        status = 404 if exc.status_code == 405 else exc.status_code
        return known.get(status, WedSyncError)()
    if isinstance(exc, psycopg.Error) and (ours := translate(exc)) is not None:
        return ours
    return WedSyncError()


def _subclasses(kind: type[WedSyncError]) -> list[type[WedSyncError]]:
    return [one for one in kind.__subclasses__() if one.status != 500]
