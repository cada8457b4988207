"""Brings the schema up, takes it down, and says where it differs from what the migrations made.

Every file runs in one transaction together with its line in the bookkeeping and the fingerprint of
the schema that it leaves behind. A run that is interrupted anywhere is continued by the next one.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row

from wedsync_apm.db.fingerprint import (
    Drift,
    FingerprintKeeper,
    OwnerConnection,
    compare,
    record,
    recorded,
    take_fingerprint,
)
from wedsync_apm.db.migrations import (
    Creations,
    Migration,
    Phase,
    creations,
    limits_of,
    load_migrations,
    load_standalone,
)
from wedsync_apm.db.pool import Connection, wrap_database_errors
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)
Q = load_queries(__package__)

LOGIN_ROLES: Final = ("apm_api", "apm_writer", "apm_engine")
WAIT_FOR_OTHER_RUNNER: Final = "120s"
LOCK_ATTEMPTS: Final = 5

State = Literal["applied", "pending", "changed", "unknown"]


@dataclass(frozen=True, slots=True)
class Status:
    """One migration as the files and the database see it together.

    `changed`: the file is not the one that was applied; `unknown`: applied, but there is no file
    (a newer release was here).
    """

    version: str
    name: str
    state: State
    phase: Phase | None
    applied_at: datetime | None
    execution_ms: int | None


def status(conninfo: str, *, migrations: Sequence[Migration] | None = None) -> tuple[Status, ...]:
    """Every migration and its state, in order; changes nothing."""
    with _connect(conninfo) as cx, cx.transaction():
        return _status(cx, _loaded(migrations))


def up(
    conninfo: str,
    *,
    to: str | None = None,
    phase: Phase | None = None,
    migrations: Sequence[Migration] | None = None,
) -> tuple[Migration, ...]:
    """Applies what is pending and gives back what was applied.

    `to` stops after that version; `phase="pre"` stops before the first pending file of the other
    phase. Raises ConfigurationError, before the first change, for an applied file that changed and
    for objects of ours that somebody else has made.
    """
    known = _loaded(migrations)
    if to is not None and to not in {m.version for m in known}:
        raise ConfigurationError(f"There is no migration {to}")
    with _connect(conninfo) as cx:
        _prepare(cx, known)
        keeper = FingerprintKeeper(known)
        applied = []
        for migration in known:
            if to is not None and migration.version > to:
                break
            if phase is not None and migration.phase != phase:
                if migration.version in _applied(cx):
                    continue
                break
            if _apply(cx, migration, keeper):
                applied.append(migration)
        _admit_readers(cx, keeper)
        return tuple(applied)


def down(
    conninfo: str, *, to: str, migrations: Sequence[Migration] | None = None
) -> tuple[Migration, ...]:
    """Takes back, newest first, everything after the version `to` ("0" for everything).

    Data in the tables that go is lost. Raises ConfigurationError when an applied migration has no
    file any more: only the release that brought it can take it back.
    """
    known = {m.version: m for m in _loaded(migrations)}
    if to != "0" and to not in known:
        raise ConfigurationError(f"There is no migration {to}; `--to 0` takes everything back")
    with _connect(conninfo) as cx:
        with cx.transaction():
            if not _has_bookkeeping(cx):
                return ()
        versions = [v for v in sorted(_applied(cx), reverse=True) if v > to]
        if strangers := [v for v in versions if v not in known]:
            raise ConfigurationError(
                f"No file for the applied migration {', '.join(strangers)}: "
                "take it back with the release that brought it"
            )
        if oneway := [v for v in versions if known[v].down is None]:
            raise ConfigurationError(f"There is no down file for {', '.join(oneway)}")
        keeper = FingerprintKeeper(tuple(known.values()))
        return tuple(known[v] for v in versions if _take_back(cx, known[v], keeper))


def verify(conninfo: str, *, migrations: Sequence[Migration] | None = None) -> Drift:
    """Where the live schema differs from what the migrations left behind; changes nothing."""
    with _connect(conninfo) as cx, cx.transaction():
        return compare_schema(cx, migrations=migrations)


def compare_schema(cx: OwnerConnection, *, migrations: Sequence[Migration] | None = None) -> Drift:
    """The same in a transaction that is open."""
    known = _loaded(migrations)
    if not _has_bookkeeping(cx):
        return Drift((), tuple(f"migration {m.version}_{m.name}" for m in known), ())
    return compare(recorded(cx), take_fingerprint(cx, creations(known)))


async def is_current(cx: Connection, *, migrations: Sequence[Migration] | None = None) -> bool:
    """Whether every migration of this release is applied as it stands; asked as apm_api."""
    cursor = await cx.execute(Q.list_migration_versions)
    applied = {row["version"]: row["checksum"] async for row in cursor}
    return all(applied.get(m.version) == m.checksum for m in _loaded(migrations))


def find_conflicts(
    conninfo: str, *, migrations: Sequence[Migration] | None = None
) -> tuple[str, ...]:
    """Objects with names of ours that the bookkeeping knows nothing of, in words; none is good.

    An enum with exactly our labels is not one: it is used as it is.
    """
    with _connect(conninfo) as cx, cx.transaction():
        return _conflicts(cx, _loaded(migrations))


def set_role_passwords(conninfo: str, passwords: Mapping[str, str]) -> None:
    """Sets the passwords of our login roles; the server and its logs see only scram verifiers."""
    with _connect(conninfo) as cx, cx.transaction():
        cx.execute(Q.take_migration_lock)
        for role, password in passwords.items():
            if role not in LOGIN_ROLES:
                raise ConfigurationError(f"{role} is not one of {', '.join(LOGIN_ROLES)}")
            verifier = cx.pgconn.encrypt_password(
                password.encode(), role.encode(), b"scram-sha-256"
            ).decode()
            cx.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(role), sql.Literal(verifier)
                )
            )


def login_conninfo(conninfo: str, role: str, password: str) -> str:
    """The same database, entered as one of our login roles.

    Supabase's pooler takes `role.project`; the project is taken over from the owner's name.
    """
    owner = str(conninfo_to_dict(conninfo).get("user") or "")
    project = owner.partition(".")[2]
    return make_conninfo(conninfo, user=f"{role}.{project}" if project else role, password=password)


# The files of an installed release do not change while it runs; the ready page asks often.
_own_migrations = cache(load_migrations)


def known_creations() -> Creations:
    """The names of what this release makes, for `take_fingerprint`."""
    return creations(_own_migrations())


def _loaded(migrations: Sequence[Migration] | None) -> tuple[Migration, ...]:
    return _own_migrations() if migrations is None else tuple(migrations)


@contextmanager
def _connect(conninfo: str) -> Iterator[OwnerConnection]:
    with (
        wrap_database_errors(),
        psycopg.Connection[DictRow].connect(
            conninfo,
            autocommit=True,
            row_factory=dict_row,
            prepare_threshold=None,
            application_name="wedsync-apm/migrate",
            connect_timeout=10,
        ) as cx,
    ):
        yield cx


@contextmanager
def _locked(cx: OwnerConnection) -> Iterator[None]:
    """A transaction in which no other runner works."""
    with cx.transaction():
        cx.execute(
            Q.set_file_limits,
            {"lock_timeout": WAIT_FOR_OTHER_RUNNER, "statement_timeout": WAIT_FOR_OTHER_RUNNER},
        )
        cx.execute(Q.take_migration_lock)
        yield


def _prepare(cx: OwnerConnection, known: Sequence[Migration]) -> None:
    """Looks before the first change; then bookkeeping and what Supabase would provide."""
    with _locked(cx):
        if changed := [s for s in _status(cx, known) if s.state == "changed"]:
            names = ", ".join(f"{s.version}_{s.name}" for s in changed)
            raise ConfigurationError(
                f"An applied migration never changes, but these files did: {names}. "
                "Restore them, and put the change into a new file."
            )
        if conflicts := _conflicts(cx, known):
            raise ConfigurationError(
                "The database has objects of these names that wedsync-apm did not make; nothing "
                f"was changed: {'; '.join(conflicts)}. Rename them, or use another database."
            )
        bookkeeping = files("wedsync_apm.sql").joinpath("bookkeeping.sql")
        cx.execute(bookkeeping.read_bytes())
        if not recorded(cx):
            record(cx, take_fingerprint(cx, creations(known)), {})
        _adopt_from_supabase(cx, known)
    for file in load_standalone():
        with _locked(cx):
            if file.unless is not None:
                condition = cx.execute(f"select ({file.unless}) as holds".encode()).fetchone()
                if condition and condition["holds"]:
                    continue
            cx.execute(Q.set_file_limits, limits_of(file.sql))
            cx.execute(file.sql.encode())


def _admit_readers(cx: OwnerConnection, keeper: FingerprintKeeper) -> None:
    with _locked(cx):
        row = cx.execute(Q.lacks_bookkeeping_readers).fetchone()
        if row and row["lacks"]:
            with keeper.keeping(cx):
                readers = files("wedsync_apm.sql").joinpath("bookkeeping_readers.sql")
                cx.execute(readers.read_bytes())


def _apply(cx: OwnerConnection, migration: Migration, keeper: FingerprintKeeper) -> bool:
    """Applies one file if nobody has; True when it was us."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            with _locked(cx):
                if migration.version in _applied(cx):
                    return False
                with keeper.keeping(cx):
                    cx.execute(Q.set_file_limits, limits_of(migration.sql))
                    started = time.perf_counter()
                    _run_file(cx, migration.sql, f"{migration.version}_{migration.name}.sql")
                    took = round((time.perf_counter() - started) * 1000)
                    cx.execute(
                        Q.record_migration,
                        {
                            "version": migration.version,
                            "name": migration.name,
                            "checksum": migration.checksum,
                            "execution_ms": took,
                        },
                    )
        except psycopg.errors.LockNotAvailable:
            if attempt == LOCK_ATTEMPTS:
                raise
            log.warning(
                "%s_%s waits for a lock, attempt %d",
                migration.version,
                migration.name,
                attempt,
                extra={"action": "migration_retry"},
            )
            time.sleep(attempt)
        else:
            break
    log.info(
        "Applied %s_%s in %d ms",
        migration.version,
        migration.name,
        took,
        extra={"action": "migration_up", "version": migration.version},
    )
    return True


def _take_back(cx: OwnerConnection, migration: Migration, keeper: FingerprintKeeper) -> bool:
    text = migration.down or ""
    with _locked(cx):
        if migration.version not in _applied(cx):
            return False
        with keeper.keeping(cx):
            cx.execute(Q.set_file_limits, limits_of(text))
            _run_file(cx, text, f"down/{migration.version}_{migration.name}.sql")
            cx.execute(Q.forget_migration, {"version": migration.version})
    log.info(
        "Took back %s_%s",
        migration.version,
        migration.name,
        extra={"action": "migration_down", "version": migration.version},
    )
    return True


def _run_file(cx: OwnerConnection, text: str, name: str) -> None:
    try:
        cx.execute(text.encode())
    except (psycopg.errors.LockNotAvailable, psycopg.errors.AdminShutdown):
        raise
    except psycopg.DatabaseError as exc:
        if exc.sqlstate is None:
            raise
        hint = f" ({exc.diag.message_hint})" if exc.diag.message_hint else ""
        raise ConfigurationError(
            f"The migration {name} failed and nothing of it was kept: "
            f"{exc.diag.message_primary}{hint} [SQLSTATE {exc.sqlstate}]"
        ) from exc
    # A file may change settings for itself; the next one starts from the connection's own.
    cx.execute("reset all")


def _status(cx: OwnerConnection, known: Sequence[Migration]) -> tuple[Status, ...]:
    rows = _applied(cx) if _has_bookkeeping(cx) else {}
    by_version = {m.version: m for m in known}
    result = []
    for version in sorted(rows.keys() | by_version.keys()):
        row, migration = rows.get(version), by_version.get(version)
        state: State
        if row is None:
            state = "pending"
        elif migration is None:
            state = "unknown"
        else:
            state = "applied" if row["checksum"] == migration.checksum else "changed"
        result.append(
            Status(
                version,
                migration.name if migration else row["name"] if row else "",
                state,
                migration.phase if migration else None,
                row["applied_at"] if row else None,
                row["execution_ms"] if row else None,
            )
        )
    return tuple(result)


def _has_bookkeeping(cx: OwnerConnection) -> bool:
    row = cx.execute(Q.has_bookkeeping).fetchone()
    return bool(row and row["ours"])


def _applied(cx: OwnerConnection) -> dict[str, dict[str, Any]]:
    return {row["version"]: row for row in cx.execute(Q.list_applied_migrations)}


def _adopt_from_supabase(cx: OwnerConnection, known: Sequence[Migration]) -> None:
    """Takes over what Supabase's command line has applied from the same folder."""
    keeper = FingerprintKeeper(known)
    for migration in _run_by_supabase(cx, known):
        if migration.version not in _applied(cx):
            with keeper.keeping(cx):
                cx.execute(
                    Q.record_migration,
                    {
                        "version": migration.version,
                        "name": migration.name,
                        "checksum": migration.checksum,
                        "execution_ms": 0,
                    },
                )


def _run_by_supabase(cx: OwnerConnection, known: Sequence[Migration]) -> list[Migration]:
    row = cx.execute(Q.has_bookkeeping).fetchone()
    if not row or not row["supabase"]:
        return []
    # The table is Supabase's and may be missing, so this cannot be one of the checked queries.
    versions = {
        row["version"]
        for row in cx.execute("select version from supabase_migrations.schema_migrations")
    }
    return [m for m in known if m.version in versions]


def _conflicts(cx: OwnerConnection, known: Sequence[Migration]) -> tuple[str, ...]:
    applied = set(_applied(cx)) if _has_bookkeeping(cx) else set()
    applied |= {m.version for m in _run_by_supabase(cx, known)}
    ours = creations([m for m in known if m.version in applied])
    coming = creations([m for m in known if m.version not in applied])
    wanted = sorted(coming.objects - ours.objects)
    found = [
        str(row["object"]).replace(" .", " ")
        for row in cx.execute(Q.list_existing, {"objects": wanted})
    ]
    live = {row["name"]: tuple(row["labels"]) for row in cx.execute(Q.list_enums)}
    for name, labels in coming.enums.items():
        if name not in ours.enums and name in live and live[name] != labels:
            found.append(
                f"type public.{name} with the labels {', '.join(live[name])} "
                f"instead of {', '.join(labels)}"
            )
    return tuple(found)
