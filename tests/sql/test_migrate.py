"""The runner: order, interruptions, changed files, strangers, drift, and the way back."""

import re
import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from tests.support.postgres import Database, PostgresServer
from wedsync_apm.db import migrate
from wedsync_apm.db.migrations import Migration, creations, limits_of, load_migrations
from wedsync_apm.db.pool import open_pool
from wedsync_apm.errors import ConfigurationError

FIRST = Migration(
    "20260101000000",
    "create_things",
    "pre",
    "-- pre\ncreate table public.apm_things (id int primary key, name text);",
    "drop table public.apm_things;",
)
SECOND = Migration(
    "20260102000000",
    "index_things",
    "pre",
    "-- pre\ncreate index idx_apm_things_name on public.apm_things (name);",
    "drop index public.idx_apm_things_name;",
)
THIRD = Migration(
    "20260103000000",
    "require_names",
    "post",
    "-- post\nalter table public.apm_things alter name set not null;",
    "alter table public.apm_things alter name drop not null;",
)
ALL = (FIRST, SECOND, THIRD)


@pytest.fixture
def empty(server: PostgresServer) -> Iterator[str]:
    """The owner's way into a database in which nothing was done yet."""
    with server.empty() as conninfo:
        yield conninfo


def _states(conninfo: str, migrations: tuple[Migration, ...] = ALL) -> list[str]:
    return [line.state for line in migrate.status(conninfo, migrations=migrations)]


def _execute(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo) as cx:
        cx.execute(statement.encode())


def test_status_changes_nothing(empty: str) -> None:
    assert _states(empty) == ["pending"] * 3
    with psycopg.connect(empty) as cx:
        row = cx.execute("select to_regnamespace('apm_private')").fetchone()
    assert row == (None,)


def test_up_twice_and_down_in_steps(empty: str) -> None:
    assert migrate.up(empty, migrations=ALL) == ALL
    assert _states(empty) == ["applied"] * 3
    assert migrate.up(empty, migrations=ALL) == ()
    assert migrate.down(empty, to=FIRST.version, migrations=ALL) == (THIRD, SECOND)
    assert _states(empty) == ["applied", "pending", "pending"]
    assert not migrate.verify(empty, migrations=ALL)
    assert migrate.down(empty, to="0", migrations=ALL) == (FIRST,)
    assert migrate.up(empty, migrations=ALL) == ALL
    assert not migrate.verify(empty, migrations=ALL)


def test_up_stops_where_it_is_told(empty: str) -> None:
    assert migrate.up(empty, to=FIRST.version, migrations=ALL) == (FIRST,)
    assert migrate.up(empty, phase="pre", migrations=ALL) == (SECOND,)
    assert _states(empty) == ["applied", "applied", "pending"]
    with pytest.raises(ConfigurationError, match="no migration 20990101000000"):
        migrate.up(empty, to="20990101000000", migrations=ALL)


def test_an_applied_file_that_changed_is_refused_before_anything_happens(empty: str) -> None:
    migrate.up(empty, to=FIRST.version, migrations=ALL)
    edited = replace(FIRST, sql=FIRST.sql + "\n-- and more")
    with pytest.raises(ConfigurationError, match="20260101000000_create_things"):
        migrate.up(empty, migrations=(edited, SECOND, THIRD))
    assert _states(empty, (edited, SECOND, THIRD)) == ["changed", "pending", "pending"]


def test_a_file_that_fails_leaves_nothing_and_the_next_run_goes_on(empty: str) -> None:
    broken = replace(SECOND, sql=SECOND.sql + "\nselect 1 / 0;")
    with pytest.raises(ConfigurationError, match=r"index_things.*division by zero"):
        migrate.up(empty, migrations=(FIRST, broken, THIRD))
    assert _states(empty) == ["applied", "pending", "pending"]
    with psycopg.connect(empty) as cx:
        row = cx.execute("select to_regclass('public.idx_apm_things_name')").fetchone()
    assert row == (None,)
    assert not migrate.verify(empty, migrations=ALL)
    assert migrate.up(empty, migrations=ALL) == (SECOND, THIRD)


def test_a_runner_that_was_cut_is_continued(empty: str) -> None:
    slow = replace(
        SECOND, sql=f"-- pre\n-- statement_timeout = 60s\n{SECOND.sql}\nselect pg_sleep(60);"
    )
    failures: list[Exception] = []

    def run() -> None:
        try:
            migrate.up(empty, migrations=(FIRST, slow, THIRD))
        except Exception as exc:
            failures.append(exc)

    runner = threading.Thread(target=run)
    runner.start()
    with psycopg.connect(empty, autocommit=True) as cx:
        killed = None
        while killed is None and runner.is_alive():
            killed = cx.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and wait_event = 'PgSleep'"
            ).fetchone()
    runner.join(60)
    assert len(failures) == 1
    assert _states(empty) == ["applied", "pending", "pending"]
    assert migrate.up(empty, migrations=ALL) == (SECOND, THIRD)


def test_two_runners_at_once_share_the_work(empty: str) -> None:
    results: list[tuple[Migration, ...]] = []
    runners = [
        threading.Thread(target=lambda: results.append(migrate.up(empty, migrations=ALL)))
        for _ in range(3)
    ]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(60)
    assert sorted(m.version for result in results for m in result) == [m.version for m in ALL]


def test_a_statement_that_waits_for_a_lock_gives_up_and_tries_again(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.up(empty, to=SECOND.version, migrations=ALL)
    pauses: list[float] = []
    with psycopg.connect(empty) as reader:
        reader.execute("lock table public.apm_things in access share mode")

        def let_go(seconds: float) -> None:
            pauses.append(seconds)
            reader.rollback()

        monkeypatch.setattr("wedsync_apm.db.migrate.time.sleep", let_go)
        hasty = replace(THIRD, sql="-- post\n-- lock_timeout = 100ms\n" + THIRD.sql)
        assert migrate.up(empty, migrations=(FIRST, SECOND, hasty)) == (hasty,)
    assert pauses == [1]


def test_limits_are_four_and_five_seconds_unless_the_file_says_otherwise() -> None:
    assert limits_of("-- pre\nselect 1;") == {"lock_timeout": "4s", "statement_timeout": "5s"}
    assert limits_of("-- pre\n-- statement_timeout = 60s\n") == {
        "lock_timeout": "4s",
        "statement_timeout": "60s",
    }


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        ("create table public.apm_things (other text)", "relation public.apm_things"),
        ("create view public.apm_things as select 1 as n", "relation public.apm_things"),
        (
            "create table public.other (n int); "
            "create index idx_apm_things_name on public.other (n)",
            "relation public.idx_apm_things_name",
        ),
    ],
)
def test_a_strangers_object_is_named_and_left_alone(empty: str, foreign: str, named: str) -> None:
    _execute(empty, foreign)
    assert migrate.find_conflicts(empty, migrations=ALL) == (named,)
    with pytest.raises(ConfigurationError, match=named):
        migrate.up(empty, migrations=ALL)
    with psycopg.connect(empty) as cx:
        row = cx.execute("select to_regnamespace('apm_private')").fetchone()
    assert row == (None,), "something was changed before the refusal"


def test_an_equal_enum_is_used_and_a_different_one_is_named(server: PostgresServer) -> None:
    labels = creations(load_migrations()).enums["alert_severity"]
    listed = ", ".join(f"'{label}'" for label in labels)
    with server.empty() as conninfo:
        _execute(conninfo, f"create type public.alert_severity as enum ({listed})")
        assert migrate.find_conflicts(conninfo) == ()
    with server.empty() as conninfo:
        _execute(conninfo, "create type public.alert_severity as enum ('bad', 'worse')")
        (conflict,) = migrate.find_conflicts(conninfo)
    assert "bad, worse" in conflict
    assert "alert_severity" in conflict


@pytest.mark.parametrize(
    ("statement", "kind", "named"),
    [
        ("alter table public.apm_things add extra int", "added", "column public.apm_things.extra"),
        ("drop index public.idx_apm_things_name", "removed", "index public.idx_apm_things_name"),
        ("alter table public.apm_things alter name type varchar", "changed", "column"),
        ("alter table public.apm_things disable row level security", "changed", "table"),
        ("grant select on public.apm_things to public", "changed", "table public.apm_things"),
        ("create policy p on public.apm_things using (true)", "added", "policy"),
    ],
)
def test_drift_is_told_by_name(empty: str, statement: str, kind: str, named: str) -> None:
    protected = replace(
        FIRST, sql=FIRST.sql + "\nalter table public.apm_things enable row level security;"
    )
    migrate.up(empty, migrations=(protected, SECOND))
    assert not migrate.verify(empty, migrations=(protected, SECOND))
    _execute(empty, statement)
    drift = migrate.verify(empty, migrations=(protected, SECOND))
    assert any(name.startswith(named) for name in getattr(drift, kind)), drift


def test_a_later_migration_does_not_approve_drift(empty: str) -> None:
    migrate.up(empty, migrations=(FIRST,))
    _execute(empty, "alter table public.apm_things add extra int")
    migrate.up(empty, migrations=(FIRST, SECOND))
    drift = migrate.verify(empty, migrations=(FIRST, SECOND))
    assert drift.added == ("column public.apm_things.extra",)
    assert not drift.removed
    assert not drift.changed


def test_what_supabases_command_line_applied_is_taken_over(empty: str) -> None:
    _execute(
        empty,
        f"""
        create schema supabase_migrations;
        create table supabase_migrations.schema_migrations (version text primary key);
        {FIRST.sql}
        insert into supabase_migrations.schema_migrations values ('{FIRST.version}');
        """,
    )
    assert migrate.find_conflicts(empty, migrations=ALL) == ()
    assert migrate.up(empty, migrations=ALL) == (SECOND, THIRD)
    assert not migrate.verify(empty, migrations=ALL)


def test_a_newer_release_was_here(empty: str) -> None:
    migrate.up(empty, migrations=ALL)
    assert _states(empty, (FIRST, SECOND)) == ["applied", "applied", "unknown"]
    assert migrate.up(empty, migrations=(FIRST, SECOND)) == ()
    with pytest.raises(ConfigurationError, match=r"No file .* 20260103000000"):
        migrate.down(empty, to="0", migrations=(FIRST, SECOND))


def test_the_real_schema_twice_down_and_up_again(any_database: Database) -> None:
    known, owner = load_migrations(), any_database.owner
    assert migrate.up(owner, migrations=known) == ()
    assert not migrate.verify(owner, migrations=known)
    assert migrate.down(owner, to="0", migrations=known) == tuple(reversed(known))
    with psycopg.connect(owner) as cx:
        left = cx.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace "
            "and (relname ~ '^apm_' or relname = 'service_health_checks')"
        ).fetchall()
    assert left == []
    assert migrate.up(owner, migrations=known) == known
    assert not migrate.verify(owner, migrations=known)


def test_the_bookkeeping_itself_is_protected(any_database: Database) -> None:
    with psycopg.connect(any_database.owner) as cx:
        rows = cx.execute(
            "select relname, relrowsecurity and relforcerowsecurity from pg_class "
            "where relnamespace = 'apm_private'::regnamespace "
            "and relname in ('migrations', 'schema_fingerprints') order by 1"
        ).fetchall()
    assert rows == [("migrations", True), ("schema_fingerprints", True)]
    with psycopg.connect(any_database.api) as cx:
        cx.execute("select version from apm_private.migrations")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            cx.execute("delete from apm_private.migrations")


async def test_the_api_sees_whether_the_schema_is_current(database: Database) -> None:
    pool = await open_pool(database.api, name="test", wait=True)
    async with pool, pool.connection() as cx:
        assert await migrate.is_current(cx)
        assert not await migrate.is_current(cx, migrations=[*load_migrations(), FIRST])


@pytest.mark.parametrize("migration", load_migrations(), ids=lambda m: f"{m.version}_{m.name}")
def test_each_migration_has_a_way_back(migration: Migration) -> None:
    assert migration.down is not None, f"down/{migration.version}_{migration.name}.sql is missing"
    assert not re.search(r"drop schema[^;]*apm_private[^;]*cascade", migration.down), (
        "the bookkeeping lives in apm_private and must outlive the way back"
    )


def test_passwords_reach_the_server_as_verifiers_only(database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as cx:
        stored = cx.execute(
            "select rolname, rolpassword from pg_authid where rolname = any (%s)",
            (list(migrate.LOGIN_ROLES),),
        ).fetchall()
    assert len(stored) == len(migrate.LOGIN_ROLES)
    for role, verifier in stored:
        assert verifier.startswith("SCRAM-SHA-256$")
        with psycopg.connect(database.login(role)) as cx:
            assert cx.info.user == role
    with pytest.raises(ConfigurationError, match="postgres is not one of"):
        migrate.set_role_passwords(database.owner, {"postgres": "x"})


def test_logins_follow_the_owner_through_supabases_pooler() -> None:
    url = "postgresql://postgres.abcd:secret@pooler.example:6543/postgres?sslmode=require"
    login = psycopg.conninfo.conninfo_to_dict(migrate.login_conninfo(url, "apm_api", "p w'd"))
    assert login["user"] == "apm_api.abcd"
    assert login["password"] == "p w'd"
    assert (login["host"], login["port"], login["sslmode"]) == (
        "pooler.example",
        "6543",
        "require",
    )
