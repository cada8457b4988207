"""The wedding calendar, and one wedding."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import NotFound
from wedsync_apm.organizations.store import list_members
from wedsync_apm.rules import store as rules
from wedsync_apm.types import Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.bars import PHASES
from wedsync_apm.web.build.calendar import (
    Guard,
    Shown,
    build_month,
    couple_of,
    days_of,
    read_day,
    read_month,
    show,
)
from wedsync_apm.web.build.readiness import build_readiness
from wedsync_apm.web.build.wedding_page import DAY, EVENING, build_tightening, build_wedding
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.gather import read_contact_names, read_rule_unit
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.today import Tomorrow
from wedsync_apm.web.views.wedding_page import EmergencyRow, ReadinessCard, RevealView, WeddingView
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings import store
from wedsync_apm.weddings.emergency import store as emergency
from wedsync_apm.weddings.guard import store as guards
from wedsync_apm.weddings.model import fault_of_date
from wedsync_apm.weddings.readiness import store as readiness

MOST_WEDDINGS: Final = 400
"""Of the six weeks that a month's page shows."""
MOST_PHASES: Final = 8 * MOST_WEDDINGS
MOST_RULES: Final = 12
MOST_TOMORROW: Final = 3
MOST_MEMBERS: Final = 50
_AROUND: Final = timedelta(days=2)
_LOOKS_FROM: Final = timedelta(days=7)
_LOOKS_UNTIL: Final = timedelta(days=2)


@get("/weddings")
async def weddings_page(request: PageRequest) -> Html:
    """Which days need care?"""
    query = request.query_params
    async with visit(request) as here:
        opened = read_day(query.get("day"))
        today = here.at.date()
        month = read_month(query.get("month") or (f"{opened:%Y-%m}" if opened else None), today)
        weeks = days_of(month)
        first, last = weeks[0][0], weeks[-1][-1]
        rows = await list_rows(here, first, last)
        view = build_month(
            month=month,
            opened=opened if opened and first <= opened <= last else None,
            weddings=await show_all(here, rows, first, last),
            moved=await store.list_moved(here.cx, here.organization_id, first, last, MOST_WEDDINGS),
            guard=await read_guard(here, first, last),
            now=here.at,
            here=here.zone,
            may_edit=may_edit(here),
            are_names_hidden=here.role is Role.VIEWER,
            is_cut=len(rows) == MOST_WEDDINGS,
        )
        return here.page("weddings.html", "weddings", view)


@get("/weddings/{wedding_id:uuid}")
async def wedding_page(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """When is what, who takes part, and is all ready? An operator is asked why he looks."""
    async with visit(request) as here:
        try:
            view = await read_wedding(here, wedding_id)
        except NotFound:
            if not here.is_operator:
                raise
            # The same for a wedding that is there and for one that is not.
            return here.page("wedding_reveal.html", "weddings", RevealView(wedding_id))
        return here.page("wedding.html", "weddings", view)


def may_edit(here: Visit) -> bool:
    """Owners and admins."""
    return here.role in (Role.OWNER, Role.ADMIN)


async def list_rows(here: Visit, first: date, last: date) -> list[Row]:
    """The business's weddings dated in the range, cancelled ones among them."""
    return list(
        await store.list_weddings(
            here.cx,
            organization_ids=[here.organization_id],
            earliest=first,
            latest=last,
            before=None,
            limit=MOST_WEDDINGS,
        )
    )


async def _phases_by_wedding(here: Visit, first: date, last: date) -> dict[UUID, list[Row]]:
    if fault_of_date(last):
        # entered before dates had bounds: no clock of ours shows its phases
        return {}
    earliest = datetime.combine(first, time(), UTC) - _AROUND
    latest = datetime.combine(last, time(), UTC) + 2 * _AROUND
    rows = await store.list_phases_between(
        here.cx, here.organization_id, earliest, latest, MOST_PHASES
    )
    found: dict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["wedding_id"]].append(row)
    return found


async def show_all(here: Visit, rows: Sequence[Row], first: date, last: date) -> list[Shown]:
    """The weddings with the phases that count for them."""
    phases = await _phases_by_wedding(here, first, last)
    return [show(row, phases.get(row["id"], ()), here.zone) for row in rows]


async def read_guard(here: Visit, first: date, last: date) -> Guard:
    """How closely the platform watches over some days, and now."""
    earliest = datetime.combine(first, time(), UTC) - _AROUND
    latest = datetime.combine(last, time(), UTC) + 2 * _AROUND
    spans = await guards.list_guard_spans(here.cx, earliest, latest)
    mode = await guards.find_guard_mode(here.cx)
    ordered = []
    if mode["source"] == "override" and mode["until"]:
        ordered.append(("order", here.at, mode["until"]))
    return Guard(
        spans=[*((s["kind"], s["starts_at"], s["ends_at"]) for s in spans), *ordered],
        mode=mode,
        settings=await guards.read_settings(here.cx),
    )


async def read_wedding(here: Visit, wedding_id: UUID) -> WeddingView:
    """What the page of one wedding shows. Raises NotFound for another business's, too."""
    row = await store.find_wedding(here.cx, wedding_id)
    if row["organization_id"] != here.organization_id:
        raise NotFound("It belongs to another business.")
    on = row["wedding_date"]
    phases = (await _phases_by_wedding(here, on, on)).get(wedding_id, [])
    active = [r for r in await rules.list_rules(here.cx, here.organization_id) if r.is_active]
    edits = may_edit(here)
    view = build_wedding(
        shown=show(row, phases, here.zone),
        phases=phases,
        same_day=await list_rows(here, on, on),
        tightenings=[
            build_tightening(
                rule,
                await read_rule_unit(here.cx, rule),
                factor=here.web.settings.wedding_factor,
            )
            for rule in active[:MOST_RULES]
        ],
        readiness=await read_readiness(here, row),
        now=here.at,
        here=here.zone,
        is_viewer=here.role is Role.VIEWER,
        may_edit=edits,
        refusal="" if edits else await _whom_to_ask(here),
    )
    return replace(view, emergency=await read_emergency(here, wedding_id, may_edit=edits))


async def read_emergency(
    here: Visit, wedding_id: UUID, *, may_edit: bool
) -> tuple[EmergencyRow, ...]:
    """Who is called in the wedding's hours; for those who may change it also who could be."""
    chosen = await emergency.list_contacts(here.cx, wedding_id)
    rows = [
        EmergencyRow(
            one["contact_method_id"],
            one["name"],
            is_chosen=True,
            note=words("emergency.off") if one["disabled_at"] else "",
        )
        for one in chosen
    ]
    if may_edit:
        known = {row.id for row in rows}
        contacts = await read_contact_names(here.cx, here.organization_id, here.subject)
        rows += [
            EmergencyRow(one, name, is_chosen=False)
            for one, name in contacts.names.items()
            if one not in known
        ]
    return tuple(rows)


@post("/weddings/{wedding_id:uuid}/emergency", status_code=200)
async def save_emergency(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """Who is called in the wedding's hours, beside the people on the ladder."""
    form = await request.form()
    check_form(web_of(request), request, form)
    try:
        chosen = [UUID(str(one)) for one in form.getall("contact", [])]
    except ValueError:
        chosen = []
    async with visit(request) as here:
        await emergency.set_contacts(here.cx, wedding_id, chosen)
    return see(f"/weddings/{wedding_id}", said="emergency_saved")


async def read_readiness(here: Visit, row: Row) -> ReadinessCard | None:
    """The last report, else how it looks now; None for a wedding far away, over or cancelled."""
    away = datetime.combine(row["wedding_date"], time(), UTC) - here.at
    if row["status"] == "cancelled" or not -_LOOKS_UNTIL <= away <= _LOOKS_FROM:
        return None
    try:
        found = await readiness.find_report(here.cx, row["id"])
        if found is None or found["wedding_date"] != row["wedding_date"]:
            found = await readiness.look_now(here.cx, row["id"])
    except NotFound:
        return None
    return build_readiness(found, here.at, here.zone, may_ask=here.role is not Role.VIEWER)


async def read_tomorrow(here: Visit, near: Iterable[Row]) -> tuple[Tomorrow, ...]:
    """From the evening before, at the venue, until the first phase: is all ready? Of the weddings
    `near` today, to the day after tomorrow."""
    today = here.at.date()
    rows = [row for row in near if is_on(row) and row["wedding_date"] >= today]
    if not rows:
        return ()
    phases = await _phases_by_wedding(here, today, today + timedelta(days=2))
    found = []
    for row in rows:
        if not is_evening(phases.get(row["id"], ()), here.at):
            continue
        card = await read_readiness(here, row)
        if card is not None:
            heading = words("ready.tomorrow", couple=couple_of(row))
            found.append(Tomorrow(heading, card))
    return tuple(found[:MOST_TOMORROW])


def is_on(row: Row) -> bool:
    """Whether it takes place."""
    return bool(row["status"] != "cancelled")


def is_evening(phases: Sequence[Row], at: datetime) -> bool:
    """Whether the evening before has begun and the day's first phase has not."""
    starts = {p["phase"]: p["starts_at"] for p in phases}
    first = min((starts[name] for name in PHASES if name in starts), default=starts.get(DAY))
    return EVENING in starts and first is not None and starts[EVENING] <= at < first


async def _whom_to_ask(here: Visit) -> str:
    members = await list_members(
        here.cx, organization_ids=[here.organization_id], before=None, limit=MOST_MEMBERS
    )
    owner = next((m for m in members if m["role"] == Role.OWNER and m.get("name")), None)
    return words("wedding.only", name=owner["name"]) if owner else words("wedding.only_none")
