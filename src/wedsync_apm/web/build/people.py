"""The people of a business, by whatever name is known of them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from wedsync_apm.types import Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.words import say as words


@dataclass(frozen=True, slots=True)
class People:
    """Who belongs to a business, in the order in which they are offered."""

    names: Mapping[UUID, str]
    owner: str
    """Whom to ask; empty where nobody's name is known."""

    def name(self, user_id: UUID | None) -> str:
        """What to call somebody, even one who has left."""
        return self.names.get(user_id, words("people.somebody")) if user_id else ""


def build_people(
    members: Iterable[Row], contacts: Iterable[Row], subject: UUID, own_name: str
) -> People:
    """Names from the profiles, else from the contacts; the reader comes first."""
    rows = list(members)
    by_contact = {row["user_id"]: row["name"] for row in contacts if row["user_id"]}
    names: dict[UUID, str] = {}
    for row in rows:
        user_id = row["user_id"]
        found = own_name if user_id == subject else row["name"] or by_contact.get(user_id)
        if found or user_id not in names:
            names[user_id] = str(found or words("people.unnamed", tail=user_id.hex[-4:]))
    ordered = sorted(names.items(), key=lambda one: (one[0] != subject, one[1].casefold()))
    owner = next((str(r["name"]) for r in rows if r["role"] == Role.OWNER and r["name"]), "")
    return People(dict(ordered), owner)
