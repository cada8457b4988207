"""What administration gives back, and the checks that need no database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.organizations.passwords import LONGEST_PASSWORD
from wedsync_apm.types import KeyScope, OperatorRole

SHORTEST_PASSWORD: Final = 10


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization as `org list` shows it."""

    id: UUID
    name: str
    time_zone: str
    vendor_type: str
    member_count: int
    key_count: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """A login of standalone sign-in."""

    id: UUID
    email: str
    display_name: str
    token_generation: int
    is_disabled: bool


@dataclass(frozen=True, slots=True)
class Operator:
    """One of the platform's own engineers."""

    user_id: UUID
    email: str
    role: OperatorRole


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. The secret is nowhere else."""

    id: UUID
    organization_id: UUID | None
    name: str
    scope: KeyScope
    secret: str = field(repr=False)


def check_time_zone(name: str) -> str:
    """The name, if the time zone database knows it; else NotValid."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        reason = f"{name!r} is no time zone; write it like Europe/London"
        raise NotValid(errors=[FieldError("timezone", reason)]) from None
    return name


def check_email(address: str) -> str:
    """The address in lower case, if it looks like one; else NotValid."""
    name, at, host = address.strip().lower().rpartition("@")
    if not (name and at and host) or " " in address.strip() or len(address) > 320:
        raise NotValid(errors=[FieldError("email", f"{address!r} is no e-mail address")])
    return f"{name}@{host}"


def check_password_length(password: str) -> str:
    """The password, if it is long enough to be one; else NotValid."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        reason = (
            f"has {len(password)} characters; "
            f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD} are possible"
        )
        raise NotValid(errors=[FieldError("password", reason)])
    return password
