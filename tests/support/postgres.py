"""Real PostgreSQL for tests: one throw-away server a worker, one fresh clone a test."""

import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from wedsync_apm.db import migrate
from wedsync_apm.db.embedded import EmbeddedPostgres
from wedsync_apm.db.processes import stop_left_behind

# Nothing in a test outlives it, so nothing needs to reach the disk.
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "autovacuum_naptime": "10min",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
PREFIX = "wedsync-apm-test-"
TEMPLATE = "template_migrated"


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database of one test, and how each of its logins enters."""

    name: str
    owner: str
    passwords: Mapping[str, str] = field(repr=False)

    @property
    def api(self) -> str:
        """As the API does; it then takes the role of the caller."""
        return self.login("apm_api")

    @property
    def writer(self) -> str:
        """As the one who stores samples."""
        return self.login("apm_writer")

    @property
    def engine(self) -> str:
        """As the background jobs."""
        return self.login("apm_engine")

    def login(self, role: str) -> str:
        """As any of our login roles."""
        return migrate.login_conninfo(self.owner, role, self.passwords[role])


class PostgresServer:
    """A server with a migrated template. `owner` migrates; None means the superuser does."""

    def __init__(
        self,
        folder: Path,
        *,
        owner: str | None = None,
        pg_bin: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.embedded = EmbeddedPostgres(folder, pg_bin=pg_bin, options={**FAST, **(options or {})})
        self.passwords = {role: secrets.token_urlsafe(12) for role in migrate.LOGIN_ROLES}
        self._owner = owner
        self._owner_password = secrets.token_urlsafe(12)
        self._numbers = itertools.count(1)
        self._has_template = False

    @property
    def superuser(self) -> str:
        """The conninfo of the superuser, in the maintenance database."""
        return self.embedded.conninfo(dbname="postgres")

    def conninfo(self, dbname: str) -> str:
        """A database as its owner."""
        if self._owner is None:
            return self.embedded.conninfo(dbname=dbname)
        return self.embedded.conninfo(
            dbname=dbname, user=self._owner, password=self._owner_password
        )

    def execute(self, statement: sql.SQL | sql.Composed) -> None:
        """Runs one statement as the superuser, outside a transaction."""
        with psycopg.connect(self.superuser, autocommit=True) as cx:
            cx.execute(statement)

    def create_database(self, *, template: str = "template0", name: str | None = None) -> str:
        """A new database that belongs to the owner; gives back its name."""
        name = name or f"test_{next(self._numbers)}"
        statement = sql.SQL("create database {} template {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        if self._owner is not None:
            statement += sql.SQL(" owner {}").format(sql.Identifier(self._owner))
        self.execute(statement)
        return name

    def drop_database(self, name: str) -> None:
        """Drops it, and whoever is still connected with it."""
        self.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        )

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The owner's conninfo of a database in which nothing was migrated yet."""
        name = self.create_database()
        try:
            yield self.conninfo(name)
        finally:
            self.drop_database(name)

    @contextmanager
    def clone(self) -> Iterator[Database]:
        """A fresh clone of the migrated template."""
        self._prepare()
        name = self.create_database(template=TEMPLATE)
        try:
            yield Database(name, self.conninfo(name), self.passwords)
        finally:
            self.drop_database(name)

    def _prepare(self) -> None:
        if self._has_template:
            return
        if self._owner is not None:
            self.execute(
                sql.SQL("create role {} login createrole createdb password {}").format(
                    sql.Identifier(self._owner), sql.Literal(self._owner_password)
                )
            )
        self.create_database(name=TEMPLATE)
        migrate.up(self.conninfo(TEMPLATE))
        migrate.set_role_passwords(self.conninfo(TEMPLATE), self.passwords)
        self._has_template = True


@contextmanager
def throw_away_folder() -> Iterator[Path]:
    """A folder that also an unprivileged server may enter; gone afterwards."""
    # Not pytest's own: root's is closed to everybody else.
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    folder.chmod(0o755)
    (folder / "owner.pid").write_text(str(os.getpid()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def throw_away_server(
    *,
    owner: str | None = None,
    pg_bin: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Iterator[PostgresServer]:
    """A server of one's own for as long as the block runs.

    `WEDSYNC_APM_PG_BIN` runs the tests on other programs than the bundled ones.
    """
    if pg_bin is None and (named := os.environ.get("WEDSYNC_APM_PG_BIN")):
        pg_bin = Path(named)
    with throw_away_folder() as folder:
        server = PostgresServer(folder / "d", owner=owner, pg_bin=pg_bin, options=options)
        with server.embedded:
            yield server


def sweep_left_behind() -> None:
    """Ends what a killed test run left: its servers first, then its folders."""
    for folder in Path("/tmp").glob(f"{PREFIX}*"):
        try:
            alive = psutil.pid_exists(int((folder / "owner.pid").read_text()))
        except (OSError, ValueError):
            continue
        if not alive:
            stop_left_behind(folder / "d" / "postgres")
            shutil.rmtree(folder, ignore_errors=True)


def with_options(conninfo: str, options: str) -> str:
    """The same connection with server options, such as `-c statement_timeout=1s`."""
    return make_conninfo(conninfo, options=options)
