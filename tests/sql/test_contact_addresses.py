"""Where contacts are: a telephone number in full is for whose it is, and for owners and admins."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.conftest import House
from tests.support.people import (
    ADMIN_A,
    ADMIN_KEY_A,
    MEMBER_A,
    MEMBER_OF_BOTH,
    OPERATOR,
    ORGANIZATION_A,
    ORGANIZATION_B,
    OWNER_B,
    SERVICE,
    VIEWER_A,
    Connection,
    Person,
    acting_as,
    be_oneself,
    become,
    connect,
)

PRIYA, MASKED = "+447700900123", "+44 … 23"


@pytest.fixture
def sql(any_house: House) -> Iterator[Connection]:
    with connect(any_house.superuser) as cx:
        yield cx
        cx.rollback()


@pytest.fixture
def contacts(sql: Connection) -> dict[str, UUID]:
    """Of organization A: a member's own telephone, a colleague's, the team's, and a mail."""
    made = {}
    for name, whose, channel, address in (
        ("own", MEMBER_A.id, "sms", PRIYA),
        ("colleague's", ADMIN_A.id, "voice", PRIYA),
        ("team's", None, "sms", PRIYA),
        ("mail", ADMIN_A.id, "email", "priya@example.com"),
    ):
        made[name] = uuid4()
        sql.execute(
            "insert into apm_contact_methods (id, organization_id, user_id, name, channel, address)"
            " values (%s, %s, %s, %s, %s, %s)",
            (made[name], ORGANIZATION_A, whose, name, channel, address),
        )
    return made


WHOLE = dict.fromkeys(("own", "colleague's", "team's"), PRIYA) | {"mail": "priya@example.com"}
SEEN = {
    MEMBER_A: WHOLE | {"colleague's": MASKED, "team's": MASKED},
    MEMBER_OF_BOTH: dict.fromkeys(("own", "colleague's", "team's"), MASKED)
    | {"mail": "priya@example.com"},
    ADMIN_A: WHOLE,
    ADMIN_KEY_A: WHOLE,
    SERVICE: WHOLE,
    VIEWER_A: {},
    OWNER_B: {},
    OPERATOR: {},
}


@pytest.mark.parametrize("person", SEEN, ids=lambda person: person.name)
def test_who_sees_which_number(sql: Connection, contacts: dict[str, UUID], person: Person) -> None:
    names = {contact_id: name for name, contact_id in contacts.items()}
    with acting_as(sql, person):
        rows = sql.execute(
            "select contact_method_id, address from public.apm_contact_addresses(%s)",
            (list(names),),
        ).fetchall()
    assert {names[row["contact_method_id"]]: row["address"] for row in rows} == SEEN[person]


@pytest.mark.parametrize("person", [MEMBER_A, ADMIN_A, VIEWER_A], ids=lambda person: person.name)
def test_nobody_reads_an_address_from_the_table(
    sql: Connection, contacts: dict[str, UUID], person: Person
) -> None:
    for statement in (
        "select address from apm_contact_methods",
        "select * from apm_contact_methods",
        "select id from apm_contact_methods where address like '+44%'",
        "update apm_contact_methods set name = address returning id",
        "insert into apm_contact_methods (organization_id, name, channel, address) "
        f"values ('{ORGANIZATION_A}', 'x', 'email', 'x@example.com') returning address",
    ):
        with acting_as(sql, person), pytest.raises(psycopg.errors.InsufficientPrivilege):
            sql.execute(statement.encode())


def test_a_message_shows_its_number_masked(sql: Connection, contacts: dict[str, UUID]) -> None:
    for organization, contact, channel, address in (
        (ORGANIZATION_A, contacts["team's"], "sms", PRIYA),
        (ORGANIZATION_A, contacts["mail"], "email", "priya@example.com"),
        (ORGANIZATION_B, None, "voice", PRIYA),
    ):
        sql.execute(
            "insert into apm_deliveries (organization_id, contact_method_id, channel, kind, reason,"
            " recipient, idempotency_key) values (%s, %s, %s, 'test', 'test',"
            " jsonb_build_object('name', 'mask', 'address', %s::text), gen_random_uuid())",
            (organization, contact, channel, address),
        )
    with sql.transaction(force_rollback=True):
        become(sql, MEMBER_OF_BOTH)
        rows = sql.execute(
            "select recipient from apm_deliveries where recipient ->> 'name' = 'mask'"
        ).fetchall()
        be_oneself(sql)
    shown = sorted(row["recipient"]["address"] for row in rows)
    assert shown == [MASKED, MASKED, "priya@example.com"]


def test_no_function_for_people_gives_a_number(sql: Connection) -> None:
    """What a person may call and gives an address is `apm_contact_addresses` alone."""
    found = sql.execute(
        "select p.proname from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace "
        "where n.nspname = 'public' and 'address' = any (p.proargnames) "
        "and has_function_privilege('authenticated', p.oid, 'execute')"
    ).fetchall()
    assert [row["proname"] for row in found] == ["apm_contact_addresses"]
