"""One wedding that stands in the calendar twice: in the host's clients, and here.

A wedding that was imported or entered by hand and one of the host's clients are the same for
certain only once somebody has said so (`client_id`). Until then this only shows and offers; what is
a wedding day asks neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any
from uuid import UUID

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Twin:
    """A wedding of ours and the client that seems to be the same."""

    wedding_id: UUID
    client_id: UUID
    is_sure: bool
    """Couple and venue, or the couple's full names, agree and nothing else does: shown as one."""


def find_twins(rows: Sequence[Row]) -> list[Twin]:
    """Pairs on the same day whose couples agree and whose venues do not differ.

    Where several could be meant, none is sure. Cancelled weddings and linked ones have no twin.
    """
    ours = [
        row
        for row in rows
        if not row["is_host_row"] and row["client_id"] is None and row["status"] != "cancelled"
    ]
    clients = [row for row in rows if row["is_host_row"]]
    pairs = [(ours, client) for ours, client in product(ours, clients) if _may_agree(ours, client)]
    found = []
    for wedding, client in pairs:
        is_only = sum(w is wedding or c is client for w, c in pairs) == 1
        is_sure = is_only and (
            _have_same_names(wedding, client) or _have_same_venue(wedding, client)
        )
        found.append(Twin(wedding["id"], client["id"], is_sure))
    return found


def _may_agree(wedding: Row, client: Row) -> bool:
    return (
        wedding["organization_id"] == client["organization_id"]
        and wedding["wedding_date"] == client["wedding_date"]
        and _letters(wedding) == _letters(client) != []
        and not (_venue(wedding) and _venue(client) and not _have_same_venue(wedding, client))
    )


def _letters(row: Row) -> list[str]:
    """The couple's initials in any order; one letter alone says too little."""
    letters = sorted(one for one in (row["couple_initials"] or "").split(" & ") if one)
    return letters if len(letters) > 1 else []


def _have_same_names(one: Row, other: Row) -> bool:
    names = _words(one["couple_names"])
    return bool(names) and names == _words(other["couple_names"])


def _words(text: str | None) -> list[str]:
    folded = "".join(c if c.isalnum() else " " for c in (text or "").casefold())
    return sorted(word for word in folded.split() if word != "and")


def _venue(row: Row) -> str:
    return " ".join(
        "".join(c if c.isalnum() else " " for c in (row["venue_name"] or "").casefold()).split()
    )


def _have_same_venue(one: Row, other: Row) -> bool:
    """The same words, or all of one's within the other's: The Barn; The Barn, Oxford."""
    first, second = sorted((_venue(one), _venue(other)), key=len)
    return bool(first) and f" {first} " in f" {second} "
