"""Servers for the schema's tests: each version at hand, migrated by a superuser and by an owner who is none."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from psycopg.conninfo import make_conninfo

from tests.support.people import (
    ORGANIZATION_A,
    ORGANIZATION_B,
    Connection,
    connect,
    settle_two_organizations,
)
from tests.support.postgres import Database, PostgresServer, throw_away_server
from tests.support.rollups import FIVE_MINUTES, Aggregate, aggregate_in_sql, fill_slices
from tests.support.supabase import supabase_server

SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")
HOUSES: Final = ("18-superuser", "18-owner", "15-superuser", "15-owner")
EXTREMES: Final = ("18-superuser", "15-owner")
SUPABASES: Final = ("18-supabase", "15-supabase")


@dataclass(frozen=True, slots=True)
class House:
    """A server, a migrated database with two organizations in it, and its superuser's way in.

    The database is shared: tests roll back what they do, or take a `clone` of their own.
    """

    name: str
    server: PostgresServer
    database: Database

    @property
    def superuser(self) -> str:
        """The shared database as the cluster's superuser."""
        return self.superuser_of(self.database)

    def superuser_of(self, database: Database) -> str:
        """Any database of this server as the cluster's superuser."""
        return make_conninfo(self.server.superuser, dbname=database.name)


class Houses:
    """Built when a test first asks for one, and kept to the end of the session."""

    def __init__(self, running: Mapping[str, PostgresServer], stack: ExitStack) -> None:
        self._servers = dict(running)
        self._stack = stack
        self._built: dict[str, House] = {}

    def get(self, name: str) -> House:
        if name not in self._built:
            server = self._server(name)
            database = self._stack.enter_context(server.clone())
            house = House(name, server, database)
            settle_two_organizations(house.superuser)
            self._built[name] = house
        return self._built[name]

    def _server(self, name: str) -> PostgresServer:
        if name in self._servers:
            return self._servers[name]
        if name == "18-supabase":
            self._servers[name] = self._stack.enter_context(supabase_server())
            return self._servers[name]
        if not SYSTEM_15.exists():
            if os.environ.get("CI"):
                pytest.fail("PostgreSQL 15 is missing: apt-get install postgresql-15")
            pytest.skip("not measured: no PostgreSQL 15 on this machine")
        if name == "15-supabase":
            self._servers[name] = self._stack.enter_context(supabase_server(pg_bin=SYSTEM_15))
            return self._servers[name]
        owner = "apm_owner" if name.endswith("-owner") else None
        self._servers[name] = self._stack.enter_context(
            throw_away_server(owner=owner, pg_bin=SYSTEM_15)
        )
        return self._servers[name]


@pytest.fixture(scope="session")
def houses(server: PostgresServer, plain_owner_server: PostgresServer) -> Iterator[Houses]:
    """All servers of the schema's tests."""
    with ExitStack() as stack:
        yield Houses({"18-superuser": server, "18-owner": plain_owner_server}, stack)


@pytest.fixture(params=HOUSES)
def house(request: pytest.FixtureRequest, houses: Houses) -> House:
    """Each server in turn, with two organizations settled in a shared database."""
    return houses.get(request.param)


@pytest.fixture(params=HOUSES + SUPABASES)
def any_house(request: pytest.FixtureRequest, houses: Houses) -> House:
    """The same, and the servers shaped like Supabase, whose `database.api` goes through a pooler."""
    return houses.get(request.param)


@pytest.fixture(params=EXTREMES)
def either(request: pytest.FixtureRequest, houses: Houses) -> House:
    """The newest version with every right, and the oldest with the fewest: for what the schema does."""
    return houses.get(request.param)


@pytest.fixture
def cx(either: House) -> Iterator[Connection]:
    """The superuser in the shared database; all is rolled back."""
    with connect(either.superuser) as cx:
        yield cx
        cx.rollback()


@pytest.fixture
def own(either: House) -> Iterator[tuple[House, Database]]:
    """A migrated database of one's own, empty, for what must be committed."""
    with either.server.clone() as database:
        yield either, database


@pytest.fixture
def clone(house: House) -> Iterator[tuple[House, Database]]:
    """A migrated database of one's own, empty, on each server in turn."""
    with house.server.clone() as database:
        yield house, database


@pytest.fixture
def engine(own: tuple[House, Database]) -> Iterator[Connection]:
    """The engine's own login, in a database with two organizations and nothing else."""
    house, database = own
    with connect(house.superuser_of(database)) as cx:
        cx.execute(
            "insert into organizations (id, name) values (%s, 'A'), (%s, 'B')",
            (ORGANIZATION_A, ORGANIZATION_B),
        )
    with connect(database.engine, autocommit=True) as cx:
        yield cx


@pytest.fixture(params=["sql", "engine"])
def aggregate(request: pytest.FixtureRequest, own: tuple[House, Database]) -> Aggregate:
    """Both ways; they are held to the same tests."""
    if request.param == "sql":
        return aggregate_in_sql

    def fill(_: Connection, width: timedelta = FIVE_MINUTES) -> int:
        written = asyncio.run(fill_slices(own[1].engine, width))
        assert written is not None
        return written

    return fill


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Notes a measured figure; all are printed at the end of the run."""
    return lambda name, value: record_property(f"figure: {name}", value)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of tests that passed."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name.startswith("figure: "):
                terminalreporter.write_line(f"{name}: {value} [{report.nodeid.partition('::')[2]}]")
