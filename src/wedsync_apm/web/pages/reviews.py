"""Looking back: a review of one incident, what is still to be done, reports by wedding and day."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import NotFound
from wedsync_apm.incidents import store as incidents
from wedsync_apm.incidents.model import Incident
from wedsync_apm.incidents.reviews import store
from wedsync_apm.incidents.reviews.model import (
    ActionItem,
    Postmortem,
    draft,
    figures,
    measure,
)
from wedsync_apm.incidents.reviews.reports import day_report, wedding_report
from wedsync_apm.types import Role
from wedsync_apm.web.build.reviews import build_report, build_review, build_reviews, day_words
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.incidents import SHOWN_FIGURES
from wedsync_apm.web.pages.people import read_contacts, read_people
from wedsync_apm.web.session import check_form
from wedsync_apm.web.words import say as words

MOST_ACTIONS: Final = 200


class _UnfitError(Exception):
    """What was typed cannot be a review; the words say why."""


@get("/reviews")
async def reviews_page(request: PageRequest) -> Html:
    """What did we promise ourselves, and is it done?"""
    async with visit(request) as here:
        where = None if here.is_operator else here.organization_id
        due = await store.list_actions(here.cx, organization_id=where, only_open=True)
        spells = await store.list_spells(
            here.cx, at=here.at, start=here.at - SHOWN_FIGURES, end=here.at, organization_id=where
        )
        view = build_reviews(due, figures(spells), here.at.date())
        return here.page("reviews.html", "incidents", view)


@get("/incidents/{incident_id:uuid}/postmortem")
async def review_page(request: PageRequest, incident_id: FromPath[UUID]) -> Html:
    """What happened, why, and what do we change?"""
    async with visit(request) as here:
        incident = await incidents.find_incident(here.cx, incident_id)
        return await _page(here, incident)


@post("/incidents/{incident_id:uuid}/postmortem", status_code=200)
async def save_review(request: PageRequest, incident_id: FromPath[UUID]) -> Html:
    """Writes it down; what does not fit is said, and everything typed is kept."""
    form = await request.form()
    check_form(web_of(request), request, form)
    typed = {name: value for name, value in form.items() if isinstance(value, str)}
    async with visit(request) as here:
        incident = await incidents.find_incident(here.cx, incident_id)
        try:
            written = _read(typed)
        except _UnfitError as unfit:
            kept = _read(typed, is_lenient=True)
            error = words("review.refused", why=str(unfit))
            return await _page(here, incident, kept, error)
        await store.store_postmortem(
            here.cx, incident, written, is_approved=typed.get("is_approved") == "yes"
        )
    return see(f"/incidents/{incident_id}/postmortem", said="reviewed")


async def _page(
    here: Visit, incident: Incident, kept: Postmortem | None = None, error: str = ""
) -> Html:
    spells = await store.list_spells(
        here.cx,
        at=here.at,
        start=datetime.min.replace(tzinfo=UTC),
        end=datetime.max.replace(tzinfo=UTC),
        organization_id=incident.organization_id,
        incident_id=incident.id,
    )
    found = kept or await store.find_postmortem(here.cx, incident)
    if found is None:
        found = draft(incident, await incidents.list_events(here.cx, incident), spells)
    view = build_review(
        incident,
        found,
        measure(spells, here.at),
        may_write=here.may_act_on(incident.organization_id),
        today=here.at.date(),
        people=await _names(here, incident),
        may_approve=here.role in (Role.OWNER, Role.ADMIN) or here.operator_role == "oncall",
        error=error,
    )
    return here.page("postmortem.html", "incidents", view, status=422 if error else 200)


async def _names(here: Visit, incident: Incident) -> tuple[str, ...]:
    """Of the business's people, for whoever writes about a problem of his own."""
    is_own = incident.organization_id == here.organization_id
    if not is_own or not here.may_act_on(incident.organization_id):
        return ()
    people = await read_people(here, await read_contacts(here))
    return tuple(people.names.values())


def _read(typed: Mapping[str, str], *, is_lenient: bool = False) -> Postmortem:
    """The review that was typed. Raises _UnfitError, unless it is only to be shown again."""

    def lines(name: str) -> tuple[str, ...]:
        found = [line.strip()[:2000] for line in typed.get(name, "").splitlines()]
        return tuple(line for line in found if line)[:50]

    customers: int | None = None
    pounds: float | None = None
    try:
        if text := typed.get("customers_affected", "").strip():
            customers = int(text)
        if text := typed.get("financial_impact_pounds", "").strip().replace(",", ""):
            pounds = float(text)
        if not (0 <= (customers or 0) < 2**31 and 0 <= (pounds or 0) < 1e10):
            raise ValueError
    except ValueError:
        if not is_lenient:
            raise _UnfitError(words("review.bad_number")) from None
    return Postmortem(
        summary=typed.get("summary", "").strip()[:10_000],
        root_cause=typed.get("root_cause", "").strip()[:10_000],
        data_loss=typed.get("data_loss", "").strip()[:2_000],
        customers_affected=customers,
        financial_impact_pounds=pounds,
        is_false_positive=typed.get("is_false_positive") == "yes",
        actions=_read_actions(typed, is_lenient=is_lenient),
        is_draft=False,
        contributing_factors=lines("contributing_factors"),
        went_well=lines("went_well"),
        went_wrong=lines("went_wrong"),
        preventive_measures=lines("preventive_measures"),
    )


def _read_actions(typed: Mapping[str, Any], *, is_lenient: bool) -> tuple[ActionItem, ...]:
    found: list[ActionItem] = []
    for n in range(MOST_ACTIONS):
        if f"action_title_{n}" not in typed:
            break
        title, owner = (
            typed[f"action_title_{n}"].strip(),
            typed.get(f"action_owner_{n}", "").strip(),
        )
        due, known = typed.get(f"action_due_{n}", ""), typed.get(f"action_id_{n}", "")
        if not (title or owner or due):
            continue
        try:
            if not (1 <= len(title) <= 500 and 1 <= len(owner) <= 200):
                raise ValueError
            found.append(
                ActionItem(
                    title,
                    owner,
                    date.fromisoformat(due),
                    UUID(known) if known else None,
                    typed.get(f"action_done_{n}") == "yes",
                )
            )
        except ValueError:
            if not is_lenient:
                raise _UnfitError(words("review.bad_action")) from None
    return tuple(found)


@get("/weddings/{wedding_id:uuid}/report")
async def wedding_report_page(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """How did this wedding go?"""
    async with visit(request) as here:
        found = await wedding_report(here.cx, wedding_id, here.at)
        view = build_report(
            found,
            words("report.of_wedding"),
            here.scene,
            back=f"/weddings/{wedding_id}",
            back_words=words("report.wedding"),
        )
        return here.page("event_report.html", "weddings", view)


@get("/reports/day")
async def day_report_page(request: PageRequest) -> Html:
    """How did this Saturday go?"""
    try:
        day = date.fromisoformat(request.query_params.get("date", ""))
        if not 2000 <= day.year <= 2100:
            raise ValueError
    except ValueError:
        raise NotFound("There is no such day.") from None
    async with visit(request) as here:
        where = None if here.is_operator else here.organization_id
        found = await day_report(here.cx, day, where, here.at)
        view = build_report(
            found,
            words("report.of_day", day=day_words(day)),
            here.scene,
            back="/reviews",
            back_words=words("review.all"),
        )
        return here.page("event_report.html", "incidents", view)


HANDLERS: Final = (
    reviews_page,
    review_page,
    save_review,
    wedding_report_page,
    day_report_page,
)
