"""Every statement of the product is prepared and explained as the role that runs it."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support.postgres import Database, PostgresServer
from tests.support.queries import numbered, rooms
from wedsync_apm.db.queries import Query

EVERY = [
    pytest.param(query, id=f"{room.package.removeprefix('wedsync_apm.')}.{query.name}")
    for room in rooms()
    for query in room.queries()
]


@pytest.fixture(scope="module")
def shared_database(server: PostgresServer) -> Iterator[Database]:
    """One clone for all statements: nothing is executed, so nothing changes."""
    with server.clone() as cloned:
        yield cloned


@pytest.mark.parametrize("query", EVERY)
def test_a_query_fits_the_schema_and_the_rights_of_its_role(
    shared_database: Database, query: Query
) -> None:
    logins = {"authenticated": "apm_api", "apm_api": "apm_api"}
    conninfo = (
        shared_database.owner
        if query.role == "owner"
        else shared_database.login(logins.get(query.role, query.role))
    )
    text, count = numbered(query.sql)
    with psycopg.connect(conninfo) as cx:
        if query.role == "authenticated":
            cx.execute(
                "select set_config('request.jwt.claims', %s, true), "
                "set_config('role', 'authenticated', true)",
                (f'{{"sub": "{uuid4()}", "role": "authenticated"}}',),
            )
        cx.execute(f"prepare statement_under_test as {text}".encode())
        nulls = sql.SQL(", ").join([sql.NULL] * count)
        arguments = sql.SQL("({})").format(nulls) if count else sql.SQL("")
        plan = cx.execute(
            sql.SQL("explain execute statement_under_test {}").format(arguments)
        ).fetchall()
        assert plan
        cx.rollback()
