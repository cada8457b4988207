"""Every table and partition × everybody who may knock: a table that is not in the matrix fails."""

from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.sql.conftest import House
from tests.sql.rls_matrix import CLOSED_SCHEMAS, OTHER_TABLES, TENANT_TABLES
from tests.support.people import (
    ADMIN_A,
    ANONYMOUS,
    AUDITOR,
    MEMBER_A,
    NOBODY,
    OPERATOR,
    ORGANIZATION_A,
    ORGANIZATION_B,
    PEOPLE,
    SERVICE,
    Connection,
    Person,
    acting_as,
    be_oneself,
    become,
    connect,
)

ORGANIZATIONS: Final = {"A": ORGANIZATION_A, "B": ORGANIZATION_B}
EVERY_TABLE = """
    select c.oid, n.nspname || '.' || c.relname as name, n.nspname as schema, c.relispartition as is_partition,
        c.relrowsecurity and c.relforcerowsecurity as is_forced
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname in ('public', 'apm_private', 'apm_partitions')
    order by name
"""


@pytest.fixture
def door(any_house: House) -> Iterator[Connection]:
    """The API's own way in. service_role never comes through it."""
    with connect(any_house.database.api) as cx:
        yield cx
        cx.rollback()


@pytest.fixture
def superuser(any_house: House) -> Iterator[Connection]:
    with connect(any_house.superuser) as cx:
        yield cx
        cx.rollback()


def table_id(qualified: str) -> sql.Identifier:
    return sql.Identifier(*qualified.split("."))


def tenant_column(table: str) -> sql.Identifier:
    return sql.Identifier("id" if table == "public.organizations" else "organization_id")


def test_every_table_is_in_the_matrix(superuser: Connection) -> None:
    tables = {
        row["name"] for row in superuser.execute(EVERY_TABLE) if row["schema"] not in CLOSED_SCHEMAS
    }
    assert tables == TENANT_TABLES.keys() | OTHER_TABLES


def test_row_level_security_is_on_and_forced_everywhere(superuser: Connection) -> None:
    rows = superuser.execute(EVERY_TABLE).fetchall()
    assert [row["name"] for row in rows if not row["is_forced"]] == []
    assert sum(row["is_partition"] for row in rows) > 15


def test_both_organizations_have_rows_everywhere(superuser: Connection) -> None:
    """Else "sees nothing" would prove nothing."""
    for table in TENANT_TABLES:
        for letter, organization_id in ORGANIZATIONS.items():
            row = superuser.execute(
                sql.SQL("select count(*) as n from {} where {} = %s").format(
                    table_id(table), tenant_column(table)
                ),
                (organization_id,),
            ).fetchone()
            assert row is not None
            assert row["n"] > 0, (table, letter)


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.name)
def test_people_read_what_is_theirs_and_nothing_else(
    door: Connection, superuser: Connection, person: Person
) -> None:
    cx = superuser if person is SERVICE else door
    for table, access in TENANT_TABLES.items():
        for letter, organization_id in ORGANIZATIONS.items():
            seen = count_visible(cx, person, table, organization_id)
            assert (seen > 0) is access.allows("select", person, letter), (table, letter, seen)
            if seen:
                assert seen == count_all(superuser, table, organization_id), (table, letter)


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.name)
@pytest.mark.parametrize("command", ["update", "delete"])
def test_people_change_what_they_may_and_nothing_else(
    door: Connection, superuser: Connection, person: Person, command: str
) -> None:
    cx = superuser if person is SERVICE else door
    for table, access in TENANT_TABLES.items():
        for letter, organization_id in ORGANIZATIONS.items():
            allowed = access.allows(command, person, letter)
            if table == "public.apm_incidents" and command == "update" and person is OPERATOR:
                allowed = True
            changed = change(cx, person, command, table, organization_id)
            assert (changed > 0) is allowed, (table, letter, changed)


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.name)
def test_people_add_what_they_may_and_nothing_else(superuser: Connection, person: Person) -> None:
    for table, access in TENANT_TABLES.items():
        for letter, organization_id in ORGANIZATIONS.items():
            allowed = access.allows("insert", person, letter)
            refused = add(superuser, person, table, organization_id)
            assert (refused is None) is allowed, (table, letter, refused)


def test_partitions_and_engine_state_cannot_even_be_named(
    door: Connection, superuser: Connection
) -> None:
    closed = [
        row["name"] for row in superuser.execute(EVERY_TABLE) if row["schema"] in CLOSED_SCHEMAS
    ]
    assert len(closed) > 25
    for person in (ADMIN_A, OPERATOR, ANONYMOUS, NOBODY, SERVICE):
        cx = superuser if person is SERVICE else door
        for table in closed:
            with acting_as(cx, person), pytest.raises(psycopg.errors.InsufficientPrivilege):
                cx.execute(sql.SQL("select 1 from {}").format(table_id(table)))


def test_the_logins_reach_no_partition_and_no_table_of_each_other(any_house: House) -> None:
    with connect(any_house.superuser) as cx:
        partitions = [row["name"] for row in cx.execute(EVERY_TABLE) if row["is_partition"]]
    for login in (any_house.database.api, any_house.database.writer, any_house.database.engine):
        with connect(login) as cx:
            for partition in partitions:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    cx.execute(sql.SQL("select 1 from {}").format(table_id(partition)))
                cx.rollback()
    # The API owns nothing and reads nothing by itself; the writer only brings.
    for login in (any_house.database.api, any_house.database.writer):
        with connect(login) as cx:
            for table in TENANT_TABLES:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    cx.execute(sql.SQL("select 1 from {}").format(table_id(table)))
                cx.rollback()


def test_the_api_never_becomes_service_role(door: Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        door.execute("set role service_role")


def test_operators_see_each_other_and_nobody_else_does(door: Connection) -> None:
    for person in PEOPLE:
        if person is SERVICE:
            continue
        seen = query(door, person, "select count(*) as n from apm_operators")
        assert seen == (3 if person in (OPERATOR, AUDITOR) else 0), person.name


def test_everybody_sees_his_own_idempotency_keys_alone(superuser: Connection) -> None:
    insert = (
        "insert into apm_idempotency_keys"
        " (organization_id, subject, key, request_hash, response_status, response_body)"
        " values (%s, %s, 'k', '', 201, '{}')"
    )
    with superuser.transaction(force_rollback=True):
        become(superuser, MEMBER_A)
        superuser.execute(insert, (ORGANIZATION_A, MEMBER_A.id))
        with pytest.raises(psycopg.errors.InsufficientPrivilege), superuser.transaction():
            superuser.execute(insert, (ORGANIZATION_A, ADMIN_A.id))
        with pytest.raises(psycopg.errors.InsufficientPrivilege), superuser.transaction():
            superuser.execute(insert, (ORGANIZATION_B, MEMBER_A.id))
        count = "select count(*) as n from apm_idempotency_keys"
        assert superuser.execute(count).fetchone() == {"n": 1}
        become(superuser, ADMIN_A)
        assert superuser.execute(count).fetchone() == {"n": 0}


def count_visible(cx: Connection, person: Person, table: str, organization_id: Any) -> int:
    """Rows of the organization that the person sees; 0 where he may not even ask."""
    # count(*) asks for no column, so a table of which some columns are hidden answers too.
    statement = sql.SQL("select count({}) as n from {} where {} = %s").format(
        tenant_column(table), table_id(table), tenant_column(table)
    )
    return query(cx, person, statement, (organization_id,))


def query(cx: Connection, person: Person, statement: Any, parameters: Any = ()) -> int:
    with acting_as(cx, person):
        try:
            with cx.transaction():
                row = cx.execute(statement, parameters).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return 0
    assert row is not None
    return int(row["n"])


def count_all(superuser: Connection, table: str, organization_id: Any) -> int:
    row = superuser.execute(
        sql.SQL("select count(*) as n from {} where {} = %s").format(
            table_id(table), tenant_column(table)
        ),
        (organization_id,),
    ).fetchone()
    assert row is not None
    return int(row["n"])


def change(cx: Connection, person: Person, command: str, table: str, organization_id: Any) -> int:
    """Rows of the organization that the person really changed; rolled back."""
    where = sql.SQL(" where {} = {}").format(tenant_column(table), sql.Literal(organization_id))
    with acting_as(cx, person):
        if command == "delete":
            statement = sql.SQL("delete from {}").format(table_id(table)) + where
        else:
            column = writable_column(cx, person, table)
            if column is None:
                return 0
            statement = (
                sql.SQL("update {} set {} = {}").format(
                    table_id(table), sql.Identifier(column), sql.Identifier(column)
                )
                + where
            )
        try:
            with cx.transaction():
                return cx.execute(statement).rowcount
        except psycopg.errors.InsufficientPrivilege:
            return 0


def writable_column(cx: Connection, person: Person, table: str) -> str | None:
    row = cx.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " and not attisdropped and attidentity = ''"
        " and has_column_privilege(%s, attrelid, attnum, 'update')"
        " and has_column_privilege(%s, attrelid, attnum, 'select')"
        " order by attname in ('organization_id', 'id'), attnum limit 1",
        (table, person.role, person.role),
    ).fetchone()
    return row["attname"] if row else None


def add(cx: Connection, person: Person, table: str, organization_id: Any) -> str | None:
    """Puts a row that was just taken away back as the person; the reason if that is refused."""
    with cx.transaction(force_rollback=True):
        row = cx.execute(
            sql.SQL(
                "select to_jsonb(t) as row from {} as t where {} = %s order by t limit 1"
            ).format(table_id(table), tenant_column(table))
            if table != "public.apm_memberships"
            # A role that an admin may give; an owner's is tested by itself.
            else sql.SQL(
                "select to_jsonb(t) as row from {} as t where {} = %s and role <> 'OWNER'"
            ).format(table_id(table), tenant_column(table)),
            (organization_id,),
        ).fetchone()
        assert row is not None, table
        values = row["row"] | as_people_write(table, person)
        # Whoever inserts must still be who he is: his membership stays, another one goes.
        keep_people = table in (
            "public.organizations",
            "public.user_profiles",
            "public.apm_memberships",
        )
        if not keep_people and table != "public.apm_api_keys":
            cx.execute(
                sql.SQL("delete from {} where {} = %s").format(
                    table_id(table), tenant_column(table)
                ),
                (organization_id,),
            )
        values |= another_key(table)
        columns = [
            r["attname"]
            for r in cx.execute(
                "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
                " and not attisdropped and attidentity = ''"
                " and has_column_privilege(%s, attrelid, attnum, 'insert')",
                (table, person.role),
            )
        ]
        become(cx, person)
        if not columns:
            return "no column may be written"
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        try:
            with cx.transaction():
                cx.execute(
                    sql.SQL(
                        "insert into {0} ({1}) select {1} from jsonb_populate_record(null::{0}, %s)"
                    ).format(table_id(table), names),
                    (Jsonb(values),),
                )
        except psycopg.errors.InsufficientPrivilege as refusal:
            return str(refusal)
        finally:
            be_oneself(cx)
        return None


def another_key(table: str) -> dict[str, Any]:
    """What must differ for rows that are added beside those that are there."""
    fresh = "00000000-0000-4000-8000-00000000beef"
    match table:
        case "public.organizations":
            return {"id": fresh, "slug": None}
        case "public.user_profiles":
            return {"id": fresh, "user_id": fresh}
        case "public.apm_memberships":
            return {"user_id": fresh}
        case "public.apm_api_keys":
            return {"id": fresh, "key_hash": "\\x" + "ab" * 32}
        case _:
            return {}


def as_people_write(table: str, person: Person) -> dict[str, Any]:
    if table == "public.apm_incident_events":
        return {"kind": "note", "actor_id": str(person.id), "actor": person.name}
    return {}
