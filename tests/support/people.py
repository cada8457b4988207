"""Two organizations, everybody who may knock at their doors, and how a test acts as one of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID, uuid5

import psycopg
from psycopg.rows import DictRow, dict_row

Connection = psycopg.Connection[DictRow]

_IDS: Final = UUID("6f1f3b0e-8f3a-4b5e-9d53-0d6c1a7e5a11")
WORLD: Final = (Path(__file__).parent / "world.sql").read_text(encoding="utf-8")


def an_id(name: str) -> UUID:
    """The same id for the same name in every run, so that failures compare."""
    return uuid5(_IDS, name)


ORGANIZATION_A: Final = an_id("organization A")
ORGANIZATION_B: Final = an_id("organization B")
NO_ORGANIZATION: Final = an_id("no organization at all")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at the database's door: the role that a request takes, and who its claims name."""

    name: str
    role: Literal["anon", "authenticated", "service_role"] = "authenticated"
    kind: Literal["user", "key", "anonymous"] = "user"
    has_subject: bool = True

    @property
    def id(self) -> UUID:
        """The user's or the key's id."""
        return an_id(self.name)

    def claims(self) -> str:
        """`request.jwt.claims`, as the API sets them; '' for nobody, as a pooler leaves it."""
        if not self.has_subject:
            return ""
        return json.dumps(
            {"sub": str(self.id), "role": self.role, "kind": self.kind, "name": self.name}
        )


OWNER_A: Final = Person("owner of A")
ADMIN_A: Final = Person("admin of A")
MEMBER_A: Final = Person("member of A")
VIEWER_A: Final = Person("viewer of A")
MEMBER_B: Final = Person("member of B")
OWNER_B: Final = Person("owner of B")
MEMBER_OF_BOTH: Final = Person("member of both")
ADMIN_OF_BOTH: Final = Person("admin of both")
FORMER_MEMBER_A: Final = Person("former member of A")
STRANGER: Final = Person("signed in, belongs nowhere")
OPERATOR: Final = Person("on-call operator")
AUDITOR: Final = Person("auditing operator")
FORMER_OPERATOR: Final = Person("disabled operator")
READ_KEY_A: Final = Person("read key of A", kind="key")
ADMIN_KEY_A: Final = Person("admin key of A", kind="key")
INGEST_KEY_A: Final = Person("ingest key of A", kind="key")
REVOKED_KEY_A: Final = Person("revoked key of A", kind="key")
EXPIRED_KEY_A: Final = Person("expired key of A", kind="key")
ANONYMOUS: Final = Person("anonymous", role="anon", kind="anonymous", has_subject=False)
NOBODY: Final = Person("empty claims", has_subject=False)
SERVICE: Final = Person("service", role="service_role", has_subject=False)

PEOPLE: Final = (
    OWNER_A,
    ADMIN_A,
    MEMBER_A,
    VIEWER_A,
    MEMBER_B,
    OWNER_B,
    MEMBER_OF_BOTH,
    ADMIN_OF_BOTH,
    FORMER_MEMBER_A,
    STRANGER,
    OPERATOR,
    AUDITOR,
    FORMER_OPERATOR,
    READ_KEY_A,
    ADMIN_KEY_A,
    INGEST_KEY_A,
    REVOKED_KEY_A,
    EXPIRED_KEY_A,
    ANONYMOUS,
    NOBODY,
    SERVICE,
)

ROLES_IN: Final[dict[str, dict[Person, str]]] = {
    "A": {
        OWNER_A: "OWNER",
        ADMIN_A: "ADMIN",
        MEMBER_A: "MEMBER",
        VIEWER_A: "VIEWER",
        MEMBER_OF_BOTH: "MEMBER",
        ADMIN_OF_BOTH: "ADMIN",
        READ_KEY_A: "VIEWER",
        ADMIN_KEY_A: "ADMIN",
    },
    "B": {
        OWNER_B: "OWNER",
        MEMBER_B: "MEMBER",
        MEMBER_OF_BOTH: "MEMBER",
        ADMIN_OF_BOTH: "ADMIN",
    },
}
"""What each is in each organization, by the host's profile, a membership of ours or a key."""


def connect(conninfo: str, *, autocommit: bool = False) -> Connection:
    """A connection with rows as dicts and nothing prepared, as the product has it."""
    return psycopg.Connection[DictRow].connect(
        conninfo, row_factory=dict_row, prepare_threshold=None, autocommit=autocommit
    )


@contextmanager
def acting_as(cx: Connection, person: Person, *, keeping: bool = False) -> Iterator[Connection]:
    """One transaction as that person; rolled back at its end unless `keeping`."""
    with cx.transaction(force_rollback=not keeping):
        become(cx, person)
        yield cx


def become(cx: Connection, person: Person) -> None:
    """Takes the person's role and claims for the rest of the transaction."""
    cx.execute(
        "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
        (person.claims(), person.role),
    )


def be_oneself(cx: Connection) -> None:
    """Goes back to the login's own role, within the transaction."""
    cx.execute(
        "select set_config('role', 'none', true), set_config('request.jwt.claims', '', true)"
    )


def settle_two_organizations(owner: str) -> None:
    """Organizations A and B with all these people, and at least one row of each in every table."""
    with connect(owner) as cx:
        settle_people(cx)
        for letter, organization_id in (("A", ORGANIZATION_A), ("B", ORGANIZATION_B)):
            fill(cx, letter, organization_id)


def settle_people(cx: Connection) -> None:
    """The two organizations, their members, keys and the platform's operators."""
    for letter, organization_id in (("A", ORGANIZATION_A), ("B", ORGANIZATION_B)):
        cx.execute(
            "insert into organizations (id, name, settings) values (%s, %s, %s)",
            (organization_id, f"Organization {letter}", json.dumps({"timezone": "Europe/London"})),
        )
    for letter, organization_id, people in (
        ("A", ORGANIZATION_A, (OWNER_A, ADMIN_A, MEMBER_A, VIEWER_A, MEMBER_OF_BOTH)),
        ("B", ORGANIZATION_B, (OWNER_B, MEMBER_B, ADMIN_OF_BOTH)),
    ):
        for person in people:
            cx.execute(
                "insert into user_profiles (user_id, organization_id, role) values (%s, %s, %s)",
                (person.id, organization_id, ROLES_IN[letter][person]),
            )
    for person, letter, organization_id in (
        (MEMBER_OF_BOTH, "B", ORGANIZATION_B),
        (ADMIN_OF_BOTH, "A", ORGANIZATION_A),
    ):
        cx.execute(
            "insert into apm_memberships (organization_id, user_id, role) values (%s, %s, %s)",
            (organization_id, person.id, ROLES_IN[letter][person]),
        )
    cx.execute(
        "insert into user_profiles (user_id, organization_id, role) values (%s, null, 'OWNER')",
        (FORMER_MEMBER_A.id,),
    )
    for person, role, disabled in (
        (OPERATOR, "oncall", False),
        (AUDITOR, "auditor", False),
        (FORMER_OPERATOR, "dba", True),
    ):
        cx.execute(
            "insert into apm_operators (user_id, email, role, disabled_at)"
            " values (%s, %s, %s, case when %s then now() end)",
            (person.id, f"{role}@example.com", role, disabled),
        )
    for person, scope, is_revoked, is_expired in (
        (READ_KEY_A, "read", False, False),
        (ADMIN_KEY_A, "admin", False, False),
        (INGEST_KEY_A, "ingest", False, False),
        (REVOKED_KEY_A, "admin", True, False),
        (EXPIRED_KEY_A, "admin", False, True),
    ):
        cx.execute(
            "insert into apm_api_keys"
            " (id, organization_id, name, scope, key_hash, prefix, revoked_at, expires_at)"
            " values (%s, %s, %s, %s, %s, 'apm_', case when %s then now() end,"
            " case when %s then now() - interval '1 second' end)",
            (
                person.id,
                ORGANIZATION_A,
                person.name,
                scope,
                sha256(person.name.encode()).digest(),
                is_revoked,
                is_expired,
            ),
        )


def fill(cx: Connection, letter: str, organization_id: UUID, **more: Any) -> None:
    """At least one row of the organization in every table that has tenants."""
    names = [
        "client",
        "wedding",
        "configuration",
        "alert",
        "check",
        "incident",
        "contact",
        "policy",
        "step",
        "schedule",
        "rule",
        "delivery",
        "dashboard",
        "key",
    ]
    parameters: dict[str, Any] = {name: an_id(f"{name} of {letter}") for name in names}
    parameters |= {"organization": organization_id, "letter": letter, **more}
    parameters["key_hash"] = sha256(f"key of {letter}".encode()).digest()
    psycopg.ClientCursor(cx).execute(WORLD, parameters)
