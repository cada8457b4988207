"""Who belongs to the business, for the pages that choose somebody."""

from collections.abc import Sequence
from typing import Final

from wedsync_apm.notify.members import store as contacts
from wedsync_apm.organizations.store import list_members
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.people import People, build_people
from wedsync_apm.web.pages.frame import Visit

MOST: Final = 200


async def read_contacts(here: Visit) -> Sequence[Row]:
    """The business's contacts; none for those who may not see them."""
    return await contacts.list_contact_methods(
        here.cx, organization_ids=[here.organization_id], before=None, limit=MOST
    )


async def read_people(here: Visit, known: Sequence[Row]) -> People:
    """The members by name; `known` are the contacts, which have names, too."""
    members = await list_members(
        here.cx, organization_ids=[here.organization_id], before=None, limit=MOST
    )
    return build_people(members, known, here.subject, here.name)
