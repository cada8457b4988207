"""The emergency card of a wedding: to print, and to have without a signal."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from litestar import get
from litestar.params import FromPath

from wedsync_apm.errors import NotFound
from wedsync_apm.incidents import store as incidents
from wedsync_apm.rules import store as rules
from wedsync_apm.types import Role
from wedsync_apm.web.build.emergency import BEFORE, build_emergency, kept_until
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, visit
from wedsync_apm.web.pages.weddings import list_rows, show_all
from wedsync_apm.weddings import store
from wedsync_apm.weddings.emergency import store as emergency

MOST_KEPT: Final = 10
"""Cards that a device keeps at a time."""


@get("/weddings/{wedding_id:uuid}/card")
async def card_page(request: PageRequest, wedding_id: FromPath[UUID]) -> Html:
    """Everything is down: whom do I ring, what do I do?"""
    async with visit(request) as here:
        row = await store.find_wedding(here.cx, wedding_id)
        if row["organization_id"] != here.organization_id:
            raise NotFound("It belongs to another business.")
        on = row["wedding_date"]
        shown = (await show_all(here, [row], on, on))[0]
        view = build_emergency(
            shown=shown,
            help_line=here.membership.help_line,
            own=await emergency.list_contacts(here.cx, wedding_id),
            rules=await rules.list_rules(here.cx, here.organization_id),
            live=await incidents.list_live_incidents(here.cx, here.organization_id),
            now=here.at,
            here=here.zone,
            is_viewer=here.role is Role.VIEWER,
            address=f"{_origin(here)}/weddings/{wedding_id}",
        )
        return here.page("card.html", "weddings", view, kept_until=kept_until(shown, here.at))


def _origin(here: Visit) -> str:
    return here.web.settings.public_url or str(here.request.base_url).rstrip("/")


async def list_kept_cards(here: Visit) -> list[str]:
    """Where the cards are that a device of the reader's keeps now."""
    first, last = here.at.date() - timedelta(days=2), (here.at + BEFORE).date() + timedelta(days=1)
    shown = await show_all(here, await list_rows(here, first, last), first, last)
    due = [one for one in shown if not one.row["is_host_row"] and kept_until(one, here.at)]
    return [f"/weddings/{one.row['id']}/card" for one in due[:MOST_KEPT]]
