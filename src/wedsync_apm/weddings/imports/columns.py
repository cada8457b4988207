"""Which column of a table says what, by the names that people give them."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from wedsync_apm.weddings.imports.model import clean

_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "wedding_date": (
        "weddingdate",
        "dateofwedding",
        "dateofthewedding",
        "weddingday",
        "eventdate",
        "dateofevent",
        "ceremonydate",
        "date",
        "day",
        "hochzeitsdatum",
        "hochzeit",
        "datum",
        "datemariage",
        "datedumariage",
        "fechadeboda",
        "fecha",
        "datamatrimonio",
        "data",
    ),
    "couple_names": (
        "couplenames",
        "couple",
        "couplesnames",
        "brideandgroom",
        "bridegroom",
        "partners",
        "names",
        "clientnames",
        "clientname",
        "client",
        "customer",
        "brautpaar",
        "eventname",
        "title",
        "name",
    ),
    "first_name": (
        "firstname",
        "clientfirstname",
        "bride",
        "bridename",
        "partner1",
        "partner1name",
        "partnera",
    ),
    "last_name": ("lastname", "clientlastname", "surname", "familyname"),
    "partner_first_name": (
        "partnerfirstname",
        "partnername",
        "partner",
        "groom",
        "groomname",
        "partner2",
        "partner2name",
        "partnerb",
        "fiancefirstname",
    ),
    "partner_last_name": ("partnerlastname", "partnersurname"),
    "venue_name": (
        "venuename",
        "venue",
        "ceremonyvenue",
        "weddingvenue",
        "location",
        "place",
        "ort",
        "lieu",
        "lugar",
        "luogo",
    ),
    "time_zone": ("timezone", "tz", "zone", "venuetimezone"),
    "ceremony_time": (
        "ceremonytime",
        "ceremony",
        "ceremonystart",
        "starttime",
        "starts",
        "start",
        "time",
    ),
    "reception_time": ("receptiontime", "reception", "receptionstart"),
    "end_time": ("endtime", "ends", "end", "finish", "finishtime", "carriages"),
    "status": ("status", "bookingstatus", "state", "stage"),
    "reference": (
        "reference",
        "ref",
        "bookingreference",
        "bookingref",
        "bookingid",
        "bookingnumber",
        "externalid",
        "weddingid",
        "eventid",
        "projectid",
        "id",
        "uid",
        "number",
        "no",
    ),
    "contact_name": ("contactname", "contact", "coordinator", "planner", "weddingplanner"),
    "contact_role": ("contactrole", "role"),
    "contact_phone": (
        "contactphone",
        "phone",
        "phonenumber",
        "telephone",
        "tel",
        "mobile",
        "mobilephone",
    ),
}


def find_columns(header: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Which field each column is. Of two for the same field the likelier name wins."""
    plain = [_squeeze(name) for name in header]
    columns: dict[str, int] = {}
    for field, names in _NAMES.items():
        found = next((plain.index(name) for name in names if name in plain), None)
        if found is not None:
            columns[field] = found
    if "first_name" in columns and "couple_names" in columns and "last_name" in columns:
        # "name" beside first and last name is one of the two people again
        del columns["couple_names"]
    used = set(columns.values())
    ignored = [clean(n)[:100] for i, n in enumerate(header) if i not in used and n.strip()]
    return columns, ignored


def _squeeze(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name.casefold())
    return re.sub(r"[^a-z0-9]", "", ascii_name)
