"""Who is watched, who is set up, and the switch, for the platform's own people."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from litestar import get, post

from wedsync_apm.errors import Forbidden, NotValid
from wedsync_apm.organizations.monitoring import store
from wedsync_apm.organizations.monitoring.model import Monitoring, Outcome
from wedsync_apm.web.build.started import (
    after_of,
    build_tenants,
    more_of,
    results_of,
    wanted_of,
)
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, visit, web_of
from wedsync_apm.web.session import check_form
from wedsync_apm.web.words import say as words

A_PAGE: Final = 50


async def _page(
    here: Visit, *, came: Mapping[UUID, Outcome] | None = None, status: int = 200, **shown: Any
) -> Html:
    if not here.is_operator:
        raise Forbidden
    query = dict(here.request.query_params.items())
    wanted = wanted_of(query)
    listing = await store.list_set_up(here.cx, wanted, limit=A_PAGE, after=after_of(query))
    names = {one.organization_id: one.name for one in listing.businesses}
    view = build_tenants(
        listing,
        wanted,
        here.at,
        here.zone,
        near_days=store.NEAR_DAYS,
        may_switch=here.operator_role in ("oncall", "dba"),
        more=more_of(listing, query),
        results=results_of(came or {}, names),
        **shown,
    )
    return here.page("tenants.html", "tenants", view, status=status)


@get("/platform/tenants")
async def tenants_page(request: PageRequest) -> Html:
    """All businesses: worst first."""
    async with visit(request) as here:
        return await _page(here)


@post("/platform/tenants", status_code=200)
async def switch_tenants(request: PageRequest) -> Html:
    """Switches those that are ticked, and says what came of it for each."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    reason = str(sent.get("reason") or "").strip()
    group = str(sent.get("group") or "").strip()
    to = str(sent.get("to") or "")
    ticked = _ids(sent.getall("organization", []))
    kept: dict[str, Any] = {"reason": reason, "group": group, "ticked": frozenset(ticked)}
    async with visit(request) as here:
        if here.operator_role not in ("oncall", "dba"):
            raise Forbidden
        if not ticked or to not in set(Monitoring):
            return await _page(here, status=422, fault=words("tenants.wrong"), **kept)
        try:
            came = await store.switch_monitoring(
                here.cx,
                ticked,
                Monitoring(to),
                reason=reason,
                group_name=group or None,
                is_near_ok=sent.get("near_ok") == "yes",
            )
        except NotValid:
            return await _page(here, status=422, fault=words("tenants.wrong"), **kept)
        return await _page(here, came=came)


def _ids(texts: Sequence[object]) -> list[UUID]:
    found = []
    for text in texts[:A_PAGE]:
        try:
            found.append(UUID(str(text)))
        except ValueError:
            continue
    return found


HANDLERS: Final[Sequence[Any]] = (tenants_page, switch_tenants)
