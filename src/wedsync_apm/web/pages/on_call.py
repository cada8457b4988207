"""Who is on call now, next and in a week, and who takes a stretch over."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.escalation.members.store import ESCALATION_POLICIES
from wedsync_apm.escalation.schedules import store
from wedsync_apm.escalation.schedules.model import LONGEST_RANGE
from wedsync_apm.types import Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.calendar import couple_of
from wedsync_apm.web.build.holding import read_wall
from wedsync_apm.web.build.on_call import (
    AHEAD,
    Feast,
    Reader,
    build_card,
    build_swaps,
    name_of,
    turn_of,
)
from wedsync_apm.web.build.people import People
from wedsync_apm.web.build.weeks import WEEK, Week, read_week, week_href, week_words
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.people import read_contacts, read_people
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.on_call import CoverForm, CoverView, OnCallView, ScheduleCard
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.store import list_weddings

MANAGERS: Final = (Role.OWNER, Role.ADMIN)
MOST: Final = 100
MOST_SWAPS: Final = 200
AROUND: Final = timedelta(days=3)
"""How far the phases of a wedding may lie from its day."""


@get("/on-call")
async def on_call_page(request: PageRequest) -> Html:
    """Each schedule: who now, who next, and a week with its weddings and gaps."""
    async with visit(request) as here:
        week = read_week(request.query_params.get("week"), here.at, here.zone)
        people = await read_people(here, await read_contacts(here))
        reader = reader_of(here, people)
        may_manage = here.role in MANAGERS
        refusal = ""
        if here.role is Role.VIEWER:
            refusal = words("oncall.viewer")
        elif not may_manage:
            refusal = ask_words(people)
        is_this = week.begins <= here.at < week.ends
        view = OnCallView(
            cards=await _cards(here, week, reader),
            week=week_words(week),
            previous=week_href(week, -1),
            following=week_href(week, 1),
            this_week="" if is_this else "/on-call",
            may_cover=reader.may_cover,
            may_manage=may_manage,
            refusal=refusal,
        )
        return here.page("on_call.html", "oncall", view)


def ask_words(people: People) -> str:
    """Whom a member asks for another rota."""
    return words("oncall.ask", name=people.owner) if people.owner else words("oncall.ask_none")


def reader_of(here: Visit, people: People) -> Reader:
    """Who looks at a page of rotas."""
    return Reader(
        here.at,
        here.subject,
        people,
        may_cover=here.role is not Role.VIEWER,
        may_manage=here.role in MANAGERS,
    )


async def _cards(here: Visit, week: Week, reader: Reader) -> tuple[ScheduleCard, ...]:
    own: dict[str, Any] = {"organization_ids": [here.organization_id], "before": None}
    schedules = await store.SCHEDULES.list_rows(here.cx, **own, limit=MOST)
    if not schedules:
        return ()
    ahead = await store.list_on_call(here.cx, [here.organization_id], here.at, here.at + AHEAD)
    coming = {
        schedule_id: [turn_of(row) for row in rows if row["user_id"] is not None]
        for schedule_id, rows in groupby(ahead, key=lambda row: row["schedule_id"])
    }
    feasts = await read_feasts(here, week)
    overrides = await store.OVERRIDES.list_rows(here.cx, **own, limit=MOST_SWAPS)
    temporary = await store.TEMPORARY_SCHEDULES.list_rows(here.cx, **own, limit=MOST_SWAPS)
    policies = await ESCALATION_POLICIES.list_rows(here.cx, **own, limit=MOST)
    cards = []
    for schedule in sorted(schedules, key=lambda row: row["name"].casefold()):
        schedule_id = schedule["id"]
        # a turn is told from its real beginning to its real end
        rows = await store.list_shifts(here.cx, schedule_id, week.begins - WEEK, week.ends + WEEK)
        swaps = build_swaps(
            [row for row in overrides if row["schedule_id"] == schedule_id],
            [row for row in temporary if row["schedule_id"] == schedule_id],
            week,
            reader,
        )
        cards.append(
            build_card(
                schedule,
                ahead=coming.get(schedule_id, []),
                turns=[turn_of(row) for row in rows],
                feasts=feasts,
                week=week,
                reader=reader,
                swaps=swaps,
                policies=policies,
            )
        )
    return tuple(cards)


async def read_feasts(here: Visit, week: Week, weeks: int = 1) -> list[Feast]:
    """The weddings that touch a week, or some from it on, with the couples as far as the reader
    may know them."""
    ends = week.ends + (weeks - 1) * WEEK
    rows = await store.list_wedding_cover(
        here.cx, [here.organization_id], week.begins, 7 * weeks + 1
    )
    weddings = await list_weddings(
        here.cx,
        organization_ids=[here.organization_id],
        earliest=week.monday - AROUND,
        latest=week.monday + weeks * WEEK + AROUND,
        before=None,
        limit=MOST,
    )
    couples = {row["id"]: couple_of(row) for row in weddings}
    found = {
        row["wedding_id"]: Feast(
            couples.get(row["wedding_id"], words("wedding.unnamed")),
            row["starts_at"],
            row["ends_at"],
        )
        for row in rows
        if row["starts_at"] < ends
    }
    return list(found.values())


async def find_schedule(here: Visit, schedule_id: UUID) -> Row:
    """A schedule of the business looked at. Raises NotFound."""
    row = await store.SCHEDULES.find_row(here.cx, schedule_id)
    if row is None or row["organization_id"] != here.organization_id:
        raise NotFound
    return row


@get("/on-call/{schedule_id:uuid}/cover")
async def cover_page(request: PageRequest, schedule_id: FromPath[UUID]) -> Html:
    """Who takes a stretch over."""
    async with visit(request) as here:
        schedule = await find_schedule(here, schedule_id)
        if here.role is Role.VIEWER:
            raise Forbidden
        asked = request.query_params
        form = CoverForm(str(asked.get("from") or "")[:16], str(asked.get("until") or "")[:16])
        return await _cover(here, schedule, form)


async def _cover(here: Visit, schedule: Row, form: CoverForm, status: int = 200) -> Html:
    people = await read_people(here, await read_contacts(here))
    others = ((str(one), name) for one, name in people.names.items() if one != here.subject)
    view = CoverView(
        schedule_id=schedule["id"],
        schedule_name=schedule["name"],
        form=form,
        then=await _then(here, schedule, form, people),
        me=here.subject if here.subject in people.names else None,
        people=tuple(others),
        zone=here.zone,
        back=_back(here, form),
    )
    return here.page("cover.html", "oncall", view, status=status)


def _back(here: Visit, form: CoverForm) -> str:
    starts = read_wall(form.starts_at, here.zone)
    return week_href(read_week(form.starts_at[:10] if starts else None, here.at, here.zone), 0)


async def _then(here: Visit, schedule: Row, form: CoverForm, people: People) -> str:
    starts, ends = (read_wall(one, here.zone) for one in (form.starts_at, form.ends_at))
    if starts is None or ends is None or not timedelta() < ends - starts <= LONGEST_RANGE:
        return ""
    rows = await store.list_shifts(here.cx, schedule["id"], starts, ends)
    reader = reader_of(here, people)
    names = dict.fromkeys(name_of(turn_of(row), reader) for row in rows)
    return words("cover.now", names=", ".join(names)) if names else words("cover.now_nobody")


def _read_cover(sent: Any, here: Visit, people: People) -> tuple[CoverForm, dict[str, Any], str]:
    typed = {
        name: str(sent.get(name) or "").strip()[:limit].replace("\x00", "")
        for name, limit in (("starts_at", 40), ("ends_at", 40), ("reason", 1000))
    }
    user_id = str(sent.get("user_id") or "")
    errors: dict[str, str] = {}
    times: dict[str, datetime | None] = {}
    for name in ("starts_at", "ends_at"):
        times[name] = read_wall(typed[name], here.zone)
        if times[name] is None:
            errors[name] = words("cover.time")
    starts, ends = times["starts_at"], times["ends_at"]
    if starts and ends and ends <= starts:
        errors["ends_at"] = words("cover.order")
    elif ends and ends <= here.at:
        errors["ends_at"] = words("cover.over")
    if user_id not in {str(one) for one in people.names}:
        errors["user_id"] = words("cover.person")
    values = {
        "user_id": user_id,
        "starts_at": starts.isoformat() if starts else "",
        "ends_at": ends.isoformat() if ends else "",
        "reason": typed["reason"],
    }
    return CoverForm(**typed, errors=errors), values, user_id


@post("/on-call/{schedule_id:uuid}/cover", status_code=200)
async def make_cover(request: PageRequest, schedule_id: FromPath[UUID]) -> Html:
    """One person instead of the rota, for a while."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        schedule = await find_schedule(here, schedule_id)
        if here.role is Role.VIEWER:
            raise Forbidden
        people = await read_people(here, await read_contacts(here))
        form, values, _ = _read_cover(sent, here, people)
        if not form.errors:
            try:
                async with trying(here):
                    await store.OVERRIDES.create_row(
                        here.cx,
                        organization_id=here.organization_id,
                        created_by=here.subject,
                        values=values | {"schedule_id": str(schedule_id)},
                    )
                return see(_back(here, form), said="cover_made")
            except Conflict:
                said = await _overlap_words(here, schedule_id, values, people)
                form = replace(form, errors={"ends_at": said})
            except NotValid as exc:
                fields = {one.field for one in exc.errors}
                name = "user_id" if "user_id" in fields else "ends_at"
                said = words("cover.person" if name == "user_id" else "cover.time")
                form = replace(form, errors={name: said})
        return await _cover(here, schedule, form, 422)


async def _overlap_words(
    here: Visit, schedule_id: UUID, values: dict[str, Any], people: People
) -> str:
    rows = await store.OVERRIDES.list_rows(
        here.cx, organization_ids=[here.organization_id], before=None, limit=MOST_SWAPS
    )
    starts, ends = (datetime.fromisoformat(values[one]) for one in ("starts_at", "ends_at"))
    week = read_week(values["starts_at"][:10], here.at, here.zone)
    for row in rows:
        if (
            row["schedule_id"] == schedule_id
            and row["starts_at"] < ends
            and row["ends_at"] > starts
        ):
            return words(
                "cover.overlap",
                name=people.name(row["user_id"]),
                start=week.clock(row["starts_at"]),
                end=week.clock(row["ends_at"]),
            )
    return words("cover.overlap_other")


@post("/on-call/covers/{override_id:uuid}/undo", status_code=200)
async def undo_cover(request: PageRequest, override_id: FromPath[UUID]) -> Html:
    """The rota counts again."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        row = await store.OVERRIDES.find_row(here.cx, override_id)
        if row is None or row["organization_id"] != here.organization_id:
            raise NotFound
        if not await store.OVERRIDES.delete_row(here.cx, override_id):
            raise Forbidden
    return see("/on-call", said="cover_undone")


@post("/on-call/{schedule_id:uuid}/use", status_code=200)
async def use_schedule(request: PageRequest, schedule_id: FromPath[UUID]) -> Html:
    """Has a ladder's first step tell whoever is on call."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await find_schedule(here, schedule_id)
        if here.role not in MANAGERS:
            raise Forbidden
        try:
            policy = await ESCALATION_POLICIES.find_row(here.cx, UUID(str(sent.get("policy_id"))))
        except ValueError as exc:
            raise NotFound from exc
        if policy is None or policy["organization_id"] != here.organization_id:
            raise NotFound
        first, *rest = policy["steps"]
        named = sorted({*first["schedule_ids"], str(schedule_id)})
        steps = [{**first, "schedule_ids": named}, *rest]
        if await ESCALATION_POLICIES.update_row(here.cx, policy["id"], {"steps": steps}) is None:
            raise Forbidden
    return see("/on-call", said="rota_used")


HANDLERS: Final[Sequence[Any]] = (on_call_page, cover_page, make_cover, undo_cover, use_schedule)
