"""Real PostgreSQL for tests: one throw-away server a worker, one fresh clone a test.

A run migrates each kind of server once, on its shelf; every worker's server is a copy of those
files. Where there is memory in plenty, all of it lies there: to copy a database is to make
hundreds of small files.
"""

import fcntl
import itertools
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from wedsync_apm.db import migrate
from wedsync_apm.db.embedded import EmbeddedPostgres
from wedsync_apm.db.processes import stop_left_behind
from wedsync_apm.db.tuning import memory

# Nothing in a test outlives it, so nothing needs to reach the disk.
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "autovacuum_naptime": "10min",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
PREFIX = "wedsync-apm-test-"
TEMPLATE = "template_migrated"
SHELF: Final = "WEDSYNC_APM_TEST_SHELF"
"""The environment's name for the folder of the run's migrated servers."""
DISK: Final = Path("/tmp")
MEMORY: Final = Path("/dev/shm")
FREE_MEMORY: Final = 6 * 1024**3
"""Bytes that must be free there. What a run takes at most was not measured; 0.9 GB was seen."""


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
    """A server with a migrated template. `owner` migrates; None means the superuser does.

    `copied` says that it came from the shelf, roles and template included.
    """

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
        self.copied = False
        self._pg_bin = pg_bin
        self._owner = owner
        self._owner_password = secrets.token_urlsafe(12)
        self._numbers = itertools.count(1)
        self._has_template = False
        self._standing: psycopg.Connection | None = None

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
        # On a connection that stands from test to test, unless the server was stopped meanwhile.
        if self._standing is not None:
            try:
                self._standing.execute(statement)
            except psycopg.OperationalError:
                if not self._standing.broken:
                    raise
                self.hang_up()
            else:
                return
        self._standing = psycopg.connect(self.superuser, autocommit=True)
        self._standing.execute(statement)

    def hang_up(self) -> None:
        """Ends the connection that `execute` keeps."""
        if self._standing is not None:
            self._standing.close()
            self._standing = None

    def create_database(self, *, template: str = "template0", name: str | None = None) -> str:
        """A new database that belongs to the owner; gives back its name."""
        name = name or f"test_{next(self._numbers)}"
        # Through the log it takes three times the processor time: a schema is many small files.
        statement = sql.SQL("create database {} template {} strategy file_copy").format(
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

    def prepare_cluster(self) -> None:
        """Makes the owner; once, in a server that has just been made."""
        if self._owner is not None:
            self.execute(
                sql.SQL("create role {} login createrole createdb password {}").format(
                    sql.Identifier(self._owner), sql.Literal(self._owner_password)
                )
            )

    def _prepare(self) -> None:
        if self._has_template:
            return
        self.create_database(name=TEMPLATE)
        migrate.up(self.conninfo(TEMPLATE))
        migrate.set_role_passwords(self.conninfo(TEMPLATE), self.passwords)
        self._has_template = True

    def take_from(self, shelf: Path) -> None:
        """Before the start: the files of a server like this, made by whoever needs them first."""
        programs = str(self._pg_bin or "bundled").replace("/", "_")
        kept = shelf / f"{type(self).__name__}-{self._owner}-{programs}"
        with (shelf / f"{kept.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                self._put(kept)
        # With what cp keeps: the files belong to the server's user.
        subprocess.run(["cp", "-a", str(kept), str(self.embedded.data_dir)], check=True)
        logins = json.loads((kept / "logins.json").read_text())
        self.passwords, self._owner_password = logins["roles"], logins["owner"]
        self.copied = self._has_template = True

    def _put(self, kept: Path) -> None:
        with throw_away_folder(kept.parent.parent) as folder:
            maker = self._twin(folder / "d")
            with maker.embedded:
                maker.prepare_cluster()
                maker._prepare()
                maker.hang_up()
            made = maker.embedded.data_dir
            (made / "postgres.json").unlink()  # it says where this one was
            logins = {"roles": maker.passwords, "owner": maker._owner_password}
            (made / "logins.json").write_text(json.dumps(logins))
            made.rename(kept)

    def _twin(self, folder: Path) -> Self:
        return type(self)(folder, owner=self._owner, pg_bin=self._pg_bin)


@contextmanager
def throw_away_folder(root: Path = DISK) -> Iterator[Path]:
    """A folder that also an unprivileged server may enter; gone afterwards."""
    # Not pytest's own: root's is closed to everybody else.
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    folder.chmod(0o755)
    (folder / "owner.pid").write_text(str(os.getpid()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shelf_of_run() -> Iterator[None]:
    """For as long as the block runs, here and in the processes that are started in it, servers are
    copies of migrated ones."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK)
    plenty = usable and shutil.disk_usage(MEMORY).free >= FREE_MEMORY
    root = MEMORY if plenty and memory() * 1024**2 >= 2 * FREE_MEMORY else DISK
    with throw_away_folder(root) as folder:
        os.environ[SHELF] = str(folder)
        try:
            yield
        finally:
            del os.environ[SHELF]


S = TypeVar("S", bound=PostgresServer)


@contextmanager
def running(make: Callable[[Path], S], *, durable: bool = False) -> Iterator[tuple[S, Path]]:
    """A server that `make` makes in a folder of its own; gives back both.

    A `durable` one is made anew, on the disk.
    """
    shelf = None if durable or SHELF not in os.environ else Path(os.environ[SHELF])
    with throw_away_folder(shelf.parent if shelf else DISK) as folder:
        server = make(folder / "d")
        if shelf:
            server.take_from(shelf)
        with server.embedded:
            try:
                if not server.copied:
                    server.prepare_cluster()
                yield server, folder
            finally:
                server.hang_up()


@contextmanager
def throw_away_server(
    *,
    owner: str | None = None,
    pg_bin: Path | None = None,
    options: Mapping[str, str] | None = None,
    untouched: bool = False,
) -> Iterator[PostgresServer]:
    """A server of one's own for as long as the block runs; an `untouched` one saw no migration.

    `WEDSYNC_APM_PG_BIN` runs the tests on other programs than the bundled ones.
    """
    if pg_bin is None and (named := os.environ.get("WEDSYNC_APM_PG_BIN")):
        pg_bin = Path(named)
    make = partial(PostgresServer, owner=owner, pg_bin=pg_bin, options=options)
    durable = (options or {}).get("fsync") == "on"
    with running(make, durable=durable or untouched) as (server, _):
        yield server


def sweep_left_behind() -> None:
    """Ends what a killed test run left: its servers first, then its folders."""
    for folder in (f for root in (DISK, MEMORY) for f in root.glob(f"{PREFIX}*")):
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
