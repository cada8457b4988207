"""Runs the administration's statements, blocking, as the login `apm_engine`.

Not as the owner: the owner of the schema need not be a superuser, and FORCE ROW LEVEL SECURITY
binds it like anybody else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, dict_row

from wedsync_apm.administration.model import (
    NewKey,
    Operator,
    Organization,
    Person,
    check_email,
    check_password_length,
    check_time_zone,
)
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import Conflict, NotFound
from wedsync_apm.organizations.keys import hash_key, make_key
from wedsync_apm.organizations.passwords import hash_password
from wedsync_apm.types import KeyScope, OperatorRole, Role

Q = load_queries(__package__)

AdminConnection = psycopg.Connection[dict[str, Any]]


@contextmanager
def connect(conninfo: str, *, actor: str = "command line") -> Iterator[AdminConnection]:
    """A connection in autocommit mode; the audit log names `actor`."""
    with (
        wrap_database_errors(),
        psycopg.Connection[DictRow].connect(
            conninfo,
            autocommit=True,
            row_factory=dict_row,
            prepare_threshold=None,
            application_name="wedsync-apm/administration",
            connect_timeout=10,
        ) as cx,
    ):
        cx.execute(Q.name_actor, {"name": actor})
        yield cx


def create_organization(
    cx: AdminConnection,
    *,
    name: str,
    time_zone: str,
    vendor_type: str,
    organization_id: UUID | None = None,
    help_line: str | None = None,
) -> UUID:
    """Makes it and gives back its id. Raises Conflict if the id is taken."""
    row = cx.execute(
        Q.create_organization,
        {
            "organization_id": organization_id,
            "name": name,
            "time_zone": check_time_zone(time_zone),
            "vendor_type": vendor_type,
            "help_line": help_line,
        },
    ).fetchone()
    if row is None:
        raise Conflict(f"There is an organization {organization_id} already.")
    created: UUID = row["id"]
    return created


def list_organizations(cx: AdminConnection) -> list[Organization]:
    """All of them, by name."""
    return [Organization(**row) for row in cx.execute(Q.list_organizations)]


def require_organization(cx: AdminConnection, organization_id: UUID) -> str:
    """Its name. Raises NotFound."""
    row = cx.execute(Q.find_organization, {"organization_id": organization_id}).fetchone()
    if row is None:
        raise NotFound(
            f"There is no organization {organization_id}; `wedsync-apm org list` shows them."
        )
    return str(row["name"])


def create_user(
    cx: AdminConnection,
    *,
    email: str,
    display_name: str,
    password_hash: str,
    user_id: UUID | None = None,
) -> Person:
    """A new login, its hash by `hash_new_password`. Raises Conflict if the address is taken."""
    row = cx.execute(
        Q.create_user,
        {
            "user_id": user_id,
            "email": check_email(email),
            "display_name": display_name,
            "password_hash": password_hash,
        },
    ).fetchone()
    if row is None:
        raise Conflict(f"There is a user {email} already.")
    return Person(**row)


def find_user(cx: AdminConnection, email: str) -> Person | None:
    """The login of that address, if there is one."""
    row = cx.execute(Q.find_user, {"email": check_email(email)}).fetchone()
    return Person(**row) if row else None


def require_user(cx: AdminConnection, email: str) -> Person:
    """The same. Raises NotFound."""
    person = find_user(cx, email)
    if person is None:
        raise NotFound(f"There is no user {email}; `wedsync-apm user create` makes one.")
    return person


def hash_new_password(password: str) -> str:
    """The hash of a password that is long enough to be one; else NotValid."""
    return hash_password(check_password_length(password))


def set_password(cx: AdminConnection, *, email: str, password_hash: str) -> Person:
    """Sets it and ends all sessions. Raises NotFound."""
    row = cx.execute(
        Q.set_password, {"email": check_email(email), "password_hash": password_hash}
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no user {email}.")
    return Person(**row)


def disable_user(cx: AdminConnection, *, email: str) -> Person:
    """Closes the account and ends all its sessions. Raises NotFound."""
    row = cx.execute(Q.disable_user, {"email": check_email(email)}).fetchone()
    if row is None:
        raise NotFound(f"There is no user {email}.")
    return Person(**row)


def add_member(
    cx: AdminConnection,
    *,
    user_id: UUID,
    organization_id: UUID,
    role: Role,
    display_name: str = "",
    time_zone: str = "UTC",
) -> None:
    """Lets the person into the organization: by the host's profile, or beside it by ours."""
    require_organization(cx, organization_id)
    values = {
        "user_id": user_id,
        "organization_id": organization_id,
        "role": role.value,
        "display_name": display_name,
        "time_zone": time_zone,
    }
    if cx.execute(Q.create_profile, values).fetchone() is None:
        cx.execute(Q.create_membership, values)


def create_operator(
    cx: AdminConnection, *, user_id: UUID, email: str, role: OperatorRole
) -> Operator:
    """Makes the person an operator of that role."""
    row = cx.execute(
        Q.create_operator, {"user_id": user_id, "email": email, "role": role.value}
    ).fetchone()
    if row is None:  # an upsert always gives its row back
        raise Conflict(f"{email} could not be made an operator.")
    return Operator(row["user_id"], row["email"], OperatorRole(row["role"]))


def create_key(
    cx: AdminConnection,
    *,
    name: str,
    scope: KeyScope,
    organization_id: UUID | None,
    expires_in: timedelta | None = None,
) -> NewKey:
    """A new key; without an organization a platform key. Raises NotFound."""
    if organization_id is not None:
        require_organization(cx, organization_id)
    minted = make_key(scope, is_platform=organization_id is None)
    row = cx.execute(
        Q.create_key,
        {
            "organization_id": organization_id,
            "name": name,
            "scope": scope.value,
            "key_hash": minted.key_hash,
            "prefix": minted.prefix,
            "expires_in": expires_in,
        },
    ).fetchone()
    if row is None:  # a plain insert always gives its row back
        raise Conflict("The key could not be stored.")
    return NewKey(row["id"], organization_id, name, scope, minted.secret)


def is_key_good(cx: AdminConnection, secret: str) -> bool:
    """Whether the key still opens something."""
    return cx.execute(Q.find_key, {"key_hash": hash_key(secret)}).fetchone() is not None


def find_platform(cx: AdminConnection) -> UUID | None:
    """The organization in which the platform watches itself, once it was chosen."""
    row = cx.execute(Q.find_platform).fetchone()
    return row["organization_id"] if row else None


def set_platform(cx: AdminConnection, organization_id: UUID) -> None:
    """Chooses it; the first choice stands."""
    cx.execute(Q.set_platform, {"organization_id": organization_id})
