"""Our migrations on an empty database, beside a host's tables, twice, back, and up again."""

import json
import logging
import os
import re
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.sql.conftest import House
from tests.support.people import MEMBER_A, Person, acting_as, connect
from tests.support.postgres import TEMPLATE, Database, throw_away_server
from wedsync_apm.db import migrate
from wedsync_apm.db.migrations import load_migrations, load_standalone
from wedsync_apm.errors import ConfigurationError

HOST: Final = (Path(__file__).parent / "host.sql").read_text(encoding="utf-8")
HOST_TABLES: Final = ("organizations", "user_profiles", "clients", "guests")
MIGRATIONS: Final = load_migrations()
NEWEST: Final = 24
"""So many files are gone through step by step on every server. An applied file never changes, so
that of those before only some are, but for one server which goes through all of them."""
OUR_ROLES: Final = ["apm_api", "apm_definer", "apm_engine", "apm_service", "apm_writer"]


@pytest.fixture
def empty(house: House) -> Iterator[str]:
    with house.server.empty() as owner:
        yield owner


@pytest.fixture
def blank(either: House) -> Iterator[str]:
    """The same, on the two servers that differ most."""
    with either.server.empty() as owner:
        yield owner


def test_every_file_can_be_taken_back() -> None:
    assert [m.version for m in MIGRATIONS if m.down is None] == []


@pytest.mark.timeout(900)
def test_each_step_back_restores_the_schema_to_the_letter(either: House) -> None:
    versions = [m.version for m in MIGRATIONS]
    number = {version: at for at, version in enumerate(versions)}
    looked_at = [
        at
        for at in range(len(versions))
        if either.name == "18-superuser" or at >= len(versions) - NEWEST or at % 8 == 0
    ]
    with either.server.empty() as empty:
        migrate.up(empty, to=versions[0])
        migrate.down(empty, to="0")
        before = {0: schema_of(either, empty)}
        # Once by itself: who may read the bookkeeping is settled at the end of a run.
        migrate.up(empty, to=versions[0])
        before[1] = schema_of(either, empty)
        with each_step(either, empty, {versions[at - 1] for at in looked_at}) as forth:
            assert migrate.up(empty) == MIGRATIONS[1:]
        before |= {number[version] + 1: schema for version, schema in forth.seen}
        fingerprints = fingerprints_of(empty)
        with each_step(either, empty, {versions[at] for at in looked_at}) as back:
            migrate.down(empty, to="0")
        assert [number[version] for version, _ in back.seen] == looked_at[::-1]
        for version, schema in back.seen:
            assert schema == before[number[version]], version
        assert migrate.up(empty) == MIGRATIONS
        assert fingerprints_of(empty) == fingerprints
        assert not migrate.verify(empty)


def test_a_second_run_changes_nothing(own: tuple[House, Database]) -> None:
    house, database = own
    once = schema_of(house, database.owner)
    assert migrate.up(database.owner) == ()
    assert schema_of(house, database.owner) == once


def test_samples_survive_the_loss_of_their_partitions(own: tuple[House, Database]) -> None:
    house, database = own
    rollups = next(m for m in MIGRATIONS if m.name == "create_rollups")
    before = MIGRATIONS[MIGRATIONS.index(rollups) - 1].version
    with connect(house.superuser_of(database)) as cx:
        organization = add_organization(cx)
        cx.execute(
            "insert into apm_samples (organization_id, metric_name, metric_value, timestamp)"
            " select %s, 'm', n, now() - n * interval '1 day' from generate_series(0, 6) as n",
            (organization,),
        )
    migrate.down(database.owner, to=before)
    count = "select count(*) as n, sum(metric_value) as total from apm_samples"
    with connect(house.superuser_of(database)) as cx:
        assert cx.execute(count).fetchone() == {"n": 7, "total": 21}
    migrate.up(database.owner)
    with connect(house.superuser_of(database)) as cx:
        assert cx.execute(count).fetchone() == {"n": 7, "total": 21}
        left = cx.execute("select count(*) as n from apm_partitions.apm_metrics_default").fetchone()
        assert left == {"n": 0}


def test_roles_go_with_the_last_database_that_used_them() -> None:
    roles = "select array_agg(rolname::text order by rolname) as r from pg_roles where rolname like 'apm\\_%'"
    with (
        throw_away_server() as server,
        server.clone() as first,
        server.clone() as second,
        connect(server.superuser) as cx,
    ):
        server.drop_database(TEMPLATE)
        migrate.down(first.owner, to="0")
        assert cx.execute(roles).fetchone() == {"r": OUR_ROLES}
        assert not migrate.verify(second.owner)
        migrate.down(second.owner, to="0")
        assert cx.execute(roles).fetchone() == {"r": None}
        assert migrate.up(first.owner) == MIGRATIONS


def test_supabases_own_command_line_runs_the_same_files(blank: str) -> None:
    """No runner of ours: each file by itself, in order, in a transaction."""
    with psycopg.connect(blank, autocommit=True) as cx:
        for file in load_standalone():
            with cx.transaction():
                cx.execute(file.sql.encode())
        for migration in MIGRATIONS:
            with cx.transaction():
                cx.execute(migration.sql.encode())
        for migration in reversed(MIGRATIONS):
            with cx.transaction():
                cx.execute((migration.down or "").encode())
        left = cx.execute(
            "select count(*) from pg_namespace where nspname like 'apm\\_%'"
        ).fetchone()
        assert left == (0,)


def test_a_hosts_tables_are_used_and_left_as_they_are(either: House, blank: str) -> None:
    settle_host(blank)
    before = schema_of(either, blank, *HOST_TABLES)
    migrate.up(blank)
    after = schema_of(either, blank, *HOST_TABLES)
    assert without_our_right_to_read(after) == before
    assert_members_see_theirs(either, blank)
    migrate.down(blank, to="0")
    assert schema_of(either, blank, *HOST_TABLES) == before
    migrate.up(blank)
    assert_members_see_theirs(either, blank)


def test_a_host_of_another_owner_is_used_with_the_rights_he_gave(house: House, empty: str) -> None:
    settle_host(empty)
    with connect(superuser_of(house, empty)) as cx:
        who = cx.execute(
            "select datdba::regrole::text as owner from pg_database where datname = current_database()"
        ).fetchone()
        assert who is not None
        cx.execute(
            "do $$ begin create role host_owner; exception when duplicate_object then null; end $$"
        )
        for table in HOST_TABLES:
            cx.execute(sql.SQL("alter table {} owner to host_owner").format(sql.Identifier(table)))
            cx.execute(
                sql.SQL("alter table {} disable row level security").format(sql.Identifier(table))
            )
        cx.execute(
            sql.SQL(
                "grant select, references on organizations, user_profiles, clients to {}"
            ).format(sql.Identifier(who["owner"]))
        )
        cx.execute("grant usage on schema public to host_owner")
    migrate.up(empty)
    assert_members_see_theirs(house, empty)


def test_a_host_that_cannot_be_read_stops_the_migration(house: House, empty: str) -> None:
    """Silently reading no memberships would lock everybody out."""
    settle_host(empty)
    with connect(empty) as cx:
        cx.execute("alter table user_profiles force row level security")
    if house.name.endswith("-superuser"):
        migrate.up(empty)
        assert_members_see_theirs(house, empty)
        return
    with pytest.raises(ConfigurationError, match=r"read all rows of .*user_profiles.*AP005"):
        migrate.up(empty)
    assert [s.version for s in migrate.status(empty) if s.state == "applied"] == [
        MIGRATIONS[0].version
    ]


def test_an_enum_of_the_host_is_used_if_equal_and_outlives_us(blank: str) -> None:
    with connect(blank) as cx:
        cx.execute(
            "create type alert_severity as enum ('info', 'warning', 'critical', 'emergency')"
        )
    migrate.up(blank)
    migrate.down(blank, to="0")
    with connect(blank) as cx:
        left = cx.execute(
            "select array_agg(typname::text) as t from pg_type where typtype = 'e'"
        ).fetchone()
        assert left == {"t": ["alert_severity"]}


def test_another_enum_of_that_name_stops_the_migration(house: House, empty: str) -> None:
    with connect(empty) as cx:
        cx.execute("create type alert_severity as enum ('low', 'high')")
    before = schema_of(house, empty)
    with pytest.raises(ConfigurationError, match="alert_severity"):
        migrate.up(empty)
    assert schema_of(house, empty) == before


class Steps(logging.Handler):
    """Each of these migrations that a run applies or takes back, and the schema it left.

    One run goes the whole way; that it logs a file when it has committed it says when to look.
    """

    def __init__(self, house: House, conninfo: str, versions: Collection[str]) -> None:
        super().__init__(logging.INFO)
        self._house, self._conninfo, self._versions = house, conninfo, versions
        self.seen: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        version = str(getattr(record, "version", ""))
        if version in self._versions:
            self.seen.append((version, schema_of(self._house, self._conninfo)))


@contextmanager
def each_step(house: House, conninfo: str, versions: Collection[str]) -> Iterator[Steps]:
    log, steps = logging.getLogger(migrate.__name__), Steps(house, conninfo, versions)
    level = log.level
    log.addHandler(steps)
    log.setLevel(logging.INFO)
    try:
        yield steps
    finally:
        log.setLevel(level)
        log.removeHandler(steps)


def schema_of(house: House, conninfo: str, *tables: str) -> str:
    """The schema as PostgreSQL itself writes it down, rights and all."""
    record = json.loads((house.server.embedded.data_dir / "postgres.json").read_text())
    program = Path(record["programs"]) / "pg_dump"
    url = superuser_of(house, conninfo)
    command = [str(program), "--schema-only", *(f"--table=public.{table}" for table in tables), url]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    text = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout
    return re.sub(r"^(--|\\restrict |\\unrestrict ).*\n|^\n", "", text, flags=re.MULTILINE)


def superuser_of(house: House, conninfo: str) -> str:
    name = str(conninfo_to_dict(conninfo)["dbname"])
    return make_conninfo(house.server.superuser, dbname=name)


def fingerprints_of(conninfo: str) -> list[dict[str, object]]:
    with connect(conninfo) as cx:
        return cx.execute(
            "select object, definition from apm_private.schema_fingerprints order by object"
        ).fetchall()


def without_our_right_to_read(text: str) -> str:
    """A host's table gets one line more: that apm_definer may read it."""
    return re.sub(
        r"^GRANT SELECT ON TABLE public\.\w+ TO apm_definer;\n", "", text, flags=re.MULTILINE
    )


def settle_host(owner: str) -> None:
    with connect(owner) as cx:
        for file in load_standalone():
            if file.name.startswith(("01", "02")):
                cx.execute(file.sql.encode())
        cx.execute(HOST.encode())


def add_organization(cx: psycopg.Connection[dict[str, object]]) -> UUID:
    organization = uuid4()
    cx.execute("insert into organizations (id, name) values (%s, 'Host & Co')", (organization,))
    return organization


def assert_members_see_theirs(house: House, conninfo: str) -> None:
    accountant, stranger = Person("the host's accountant"), Person("a stranger to the host")
    with connect(superuser_of(house, conninfo)) as cx, cx.transaction(force_rollback=True):
        mine, theirs = add_organization(cx), add_organization(cx)
        for person, role in ((MEMBER_A, "MEMBER"), (accountant, "ACCOUNTANT")):
            cx.execute(
                "insert into user_profiles (user_id, organization_id, role) values (%s, %s, %s)",
                (person.id, mine, role),
            )
        for organization in (mine, theirs):
            cx.execute(
                "insert into clients (organization_id, wedding_date, status) values"
                " (%(id)s, '2030-06-01', 'booked'), (%(id)s, '2030-06-02', 'lead'), (%(id)s, '2030-06-03', 'archived')",
                {"id": organization},
            )
            cx.execute(
                "insert into apm_dashboards (organization_id, name) values (%s, 'x')",
                (organization,),
            )
        cx.execute(
            "insert into clients (organization_id, wedding_date, status, deleted_at)"
            " values (%s, '2030-06-04', 'booked', now())",
            (mine,),
        )
        for person, seen_as in ((MEMBER_A, "MEMBER"), (accountant, "VIEWER"), (stranger, None)):
            with acting_as(cx, person):
                row = cx.execute(
                    "select apm_role_in(%(id)s) as role, (select count(*) from apm_dashboards) as seen,"
                    " (select array_agg(is_wedding_day(%(id)s, date '2030-06-01' + n) order by n)"
                    "  from generate_series(0, 3) as n) as days",
                    {"id": mine},
                ).fetchone()
                assert row == {
                    "role": seen_as,
                    "seen": 1 if seen_as else 0,
                    "days": [True, False, False, False] if seen_as else [None] * 4,
                }
        with acting_as(cx, MEMBER_A):
            windows = cx.execute(
                "select phase, time_zone from wedding_window_at(%s, '2030-06-01 13:30+01')", (mine,)
            ).fetchall()
            assert windows == [{"phase": "ceremony", "time_zone": "Europe/Lisbon"}]
            assert cx.execute("select name from apm_my_organizations()").fetchall() == [
                {"name": "Host & Co"}
            ]
