"""What people give of a contact, channel by channel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from wedsync_apm.egress import EgressRefused
from wedsync_apm.egress.url import read_url
from wedsync_apm.errors import FieldError, NotValid

Given = Mapping[str, str]
"""The fields that were given, by name; those that were left empty are not in it."""

LONGEST: Final = 2000  # characters of one field


@dataclass(frozen=True, slots=True)
class NewTarget:
    """Where a contact is: what to show of it, what to seal, and a key that was made for it."""

    address: str
    secret: str | None = None
    made_key: str | None = None


ReadFields = Callable[[Given], NewTarget]


def needed(given: Given, name: str, channel: str) -> str:
    """A field that must be there. Raises NotValid with the field."""
    if value := given.get(name):
        return value
    raise NotValid(errors=[FieldError(name, f"is needed for {channel}")])


def checked_url(url: str, field: str = "url") -> str:
    """The host of an address that may be called, for show. Raises NotValid with the field."""
    try:
        return read_url(url).netloc
    except EgressRefused as exc:
        raise NotValid(errors=[FieldError(field, exc.reason)]) from exc
