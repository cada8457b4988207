"""The embedded PostgreSQL: a child of ours with its own process group, data, keys and tuning.

Only the programs of PostgreSQL are used. What is promised:

1. The data survives `kill -9` of everything; the next start finds a server that was left behind,
   stops it, and recovers for as long as that takes.
2. Nobody gets in without a password: scram on the private socket and on loopback alike.
3. Two of us never share one data folder: a lock is held for as long as the server runs.
"""

import fcntl
import json
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from wedsync_apm.config import load_or_create_secret
from wedsync_apm.db.binaries import (
    Binaries,
    ServerUser,
    can_reach,
    find_binaries,
    reachable_binaries,
    run_as,
    server_user,
    system_root,
)
from wedsync_apm.db.processes import (
    POLL_SECONDS,
    end_server,
    postmaster_says,
    stop_left_behind,
)
from wedsync_apm.db.queries import load_queries
from wedsync_apm.db.tuning import memory, tuning
from wedsync_apm.errors import ConfigurationError, DatabaseAway
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)
Q = load_queries(__package__)

DATABASE: Final = "wedsync_apm"
SUPERUSER: Final = "postgres"
LONGEST_SOCKET_PATH: Final = 107
"""Bytes of a unix socket's path that Linux takes; macOS takes 103, see `_socket_folder`."""
LOCK_RETRY_SECONDS: Final = 60.0
LARGEST_LOG_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Filling:
    """A cluster that is made out of a backup, where else initdb makes an empty one."""

    version: int
    """The major version that the files are of."""
    fill: Callable[[Path], None]
    """Puts the files into the folder."""


class EmbeddedPostgres:
    """One server over `data_dir`; blocking, so call it from a thread when a loop runs.

    `options` override single lines of postgresql.conf (tests switch `fsync` off). `filling` makes
    the cluster where there is none yet.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        pg_bin: Path | None = None,
        options: Mapping[str, str] | None = None,
        filling: Filling | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.port = 0
        self._pg_bin = pg_bin
        self._options = dict(options or {})
        self._filling = filling
        self._record_path = self.data_dir / "postgres.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._user: ServerUser | None = None
        self._data = self.data_dir / "postgres"
        self._socket_dir = self._data
        self._password = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def cluster(self) -> Path:
        """Where the server's own files lie, once it was started."""
        return self._data

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def poll(self) -> int | None:
        """The exit code of a server that ended by itself; None while it runs or is stopped."""
        return self._process.poll() if self._process else None

    def conninfo(
        self,
        *,
        user: str = SUPERUSER,
        password: str | None = None,
        dbname: str = DATABASE,
        tcp: bool = False,
    ) -> str:
        """A connection URL: over the private socket, or over loopback for those who lack access.

        The password is the superuser's unless another is given.
        """
        secret = quote(self._password if password is None else password, safe="")
        login, name = f"{quote(user, safe='')}:{secret}", quote(dbname, safe="")
        if tcp:
            return f"postgresql://{login}@127.0.0.1:{self.port}/{name}"
        return (
            f"postgresql://{login}@/{name}?host={quote(str(self._socket_dir), safe='')}"
            f"&port={self.port}"
        )

    def start(self) -> None:
        """Starts the server and returns when our database takes connections.

        1. Takes the lock of the data folder; 2. settles user, data folder and programs;
        3. stops what an earlier run left behind; 4. makes the cluster if there is none;
        5. starts, again if a dying server still holds its lock; 6. makes our database.
        Raises ConfigurationError for what the operator must mend, DatabaseAway with the end of the
        server's log when it does not come up.
        """
        if self._process is not None:
            raise ConfigurationError("This embedded server runs already")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._user = server_user()
            record = self._read_record()
            self._data = self._data_folder(record)
            stop_left_behind(self._data)
            version = self._data_version()
            if version is None and self._filling is not None:
                version = self._filling.version
            binaries = reachable_binaries(find_binaries(self._pg_bin, version), self._user)
            self._password = load_or_create_secret(
                self.data_dir, "postgres_password", lambda: secrets.token_urlsafe(32)
            )
            if self._data_version() is None:
                self._make_cluster(binaries)
            self._launch(binaries, record.get("port"))
            self._make_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the server: politely (fast shutdown), at once, and by force, in this order."""
        try:
            if self._process is not None:
                end_server(self._data, self._process.pid)
                # A zombie until we ask for its exit code.
                self._process.wait()
                self._process = None
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        with suppress(OSError):
            text = self._log_path.read_bytes()[-16384:].decode(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    @property
    def _log_path(self) -> Path:
        return self.data_dir / "postgres.log"

    def _take_lock(self) -> None:
        lock = os.open(self.data_dir / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise ConfigurationError(
                f"Another wedsync-apm uses the data folder {self.data_dir}; "
                "stop it or choose another with --data-dir"
            ) from None
        self._lock = lock

    def _read_record(self) -> dict[str, Any]:
        try:
            record = json.loads(self._record_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _write_record(self, binaries: Binaries) -> None:
        fresh = self._record_path.with_suffix(".new")
        fresh.write_text(
            json.dumps(
                {
                    "data": str(self._data),
                    "programs": str(binaries.folder),
                    "version": binaries.version,
                    "user": self._user.name if self._user else None,
                    "port": self.port,
                    "socket_dir": str(self._socket_dir),
                    "pid": self.pid,
                },
                indent=2,
            ),
            encoding="utf-8",
        )
        fresh.replace(self._record_path)

    def _data_folder(self, record: Mapping[str, Any]) -> Path:
        """Where the cluster is or will be; settled once, then recorded."""
        if (known := record.get("data")) and Path(known, "PG_VERSION").exists():
            return Path(known)
        inside = self.data_dir / "postgres"
        if can_reach(self._user, self.data_dir):
            return inside
        digest = sha256(str(self.data_dir).encode()).hexdigest()[:8]
        outside = system_root() / f"{self.data_dir.name.strip('.') or 'data'}-{digest}"
        if outside.exists():
            # Its DATA_DIR was removed, keys and record with it: nobody can open this data any more
            # by password, but it is not ours to delete.
            stop_left_behind(outside)
            aside = outside.with_name(f"{outside.name}.left-{int(time.time())}")
            outside.rename(aside)
            log.warning(
                "Data of an earlier %s was put aside as %s",
                self.data_dir,
                aside,
                extra={"action": "postgres_data_put_aside"},
            )
        return outside

    def _data_version(self) -> int | None:
        try:
            return int((self._data / "PG_VERSION").read_text().strip())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _make_cluster(self, binaries: Binaries) -> None:
        # Made beside and renamed at the end: an initdb that was killed leaves nothing to trip over.
        scratch = self._data.with_name(f"{self._data.name}.new")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        if self._filling is not None:
            self._filling.fill(scratch)
            if self._user:
                for path in (scratch, *scratch.rglob("*")):
                    os.chown(path, self._user.uid, self._user.gid, follow_symlinks=False)
            scratch.rename(self._data)
            return
        password_file = scratch.with_name(f"{scratch.name}.password")
        password_file.unlink(missing_ok=True)
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(f"{self._password}\n")
        if self._user:
            os.chown(scratch, self._user.uid, self._user.gid)
            os.chown(password_file, self._user.uid, self._user.gid)
        # The same sort order on every machine, whatever its locales: no index breaks after a move.
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            if binaries.version >= 17
            else ["--locale=C"]
        )
        command = [
            binaries.program("initdb"),
            f"--pgdata={scratch}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--data-checksums",
            *locale,
        ]
        if self._options.get("fsync") == "off":
            command.append("--no-sync")
        try:
            result = subprocess.run(
                command, check=False, capture_output=True, text=True, **run_as(self._user)
            )
        finally:
            password_file.unlink(missing_ok=True)
        if result.returncode != 0:
            raise DatabaseAway(f"initdb failed: {(result.stderr or result.stdout).strip()}")
        with (scratch / "postgresql.conf").open("a") as conf:
            conf.write("\ninclude_if_exists = 'wedsync-apm.conf'\n")
        scratch.rename(self._data)

    def _launch(self, binaries: Binaries, wanted_port: int | None) -> None:
        self._socket_dir = self._socket_folder()
        deadline = time.monotonic() + LOCK_RETRY_SECONDS
        while True:
            self.port = _free_port(wanted_port)
            self._write_conf()
            code = self._launch_once(binaries)
            if code is None:
                self._write_record(binaries)
                return
            tail = self.log_tail()
            self._process = None
            if "could not bind" in tail or "could not create any TCP/IP" in tail:
                wanted_port = None  # somebody took the port between our look and the server's
            elif "lock file" not in tail and "pre-existing shared memory" not in tail:
                raise DatabaseAway(f"PostgreSQL ended with {code} while starting:\n{tail}")
            if time.monotonic() > deadline:
                raise DatabaseAway(f"PostgreSQL could not start:\n{tail}")
            # Processes of a killed server go away by themselves when they notice; until then they
            # hold its shared memory.
            time.sleep(0.5)
            stop_left_behind(self._data)

    def _launch_once(self, binaries: Binaries) -> int | None:
        """Starts and waits; None when the server is ready, else its exit code."""
        if self._log_path.exists() and self._log_path.stat().st_size > LARGEST_LOG_BYTES:
            self._log_path.replace(self._log_path.with_suffix(".log.1"))
        # Statements that failed stand in it: nobody else's business.
        log_file = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(log_file, "ab") as out:
            self._process = subprocess.Popen(
                [binaries.program("postgres"), "-D", str(self._data)],
                stdout=out,
                stderr=subprocess.STDOUT,
                # Its own group: Ctrl-C in the terminal reaches us, and we stop it in our order.
                process_group=0,
                **run_as(self._user),
            )
        started = told = time.monotonic()
        while (code := self._process.poll()) is None:
            if postmaster_says(self._data) == (self._process.pid, "ready"):
                return None
            if time.monotonic() - told > 10:
                told = time.monotonic()
                log.info(
                    "PostgreSQL has been recovering for %d s",
                    told - started,
                    extra={"action": "postgres_wait"},
                )
            time.sleep(POLL_SECONDS)
        return code

    def _socket_folder(self) -> Path:
        """A folder for the socket that only the server's user (and root) may enter."""
        owner = self._user.uid if self._user else os.geteuid()
        limit = LONGEST_SOCKET_PATH if sys.platform == "linux" else 103
        inside = self._data / "socket"
        if len(os.fsencode(f"{inside}/.s.PGSQL.65535")) <= limit:
            inside.mkdir(mode=0o700, exist_ok=True)
            folder = inside
        else:
            digest = sha256(str(self._data).encode()).hexdigest()[:12]
            folder = Path(tempfile.gettempdir()) / f"wedsync-apm-{digest}"
            if len(os.fsencode(f"{folder}/.s.PGSQL.65535")) > limit:
                folder = Path("/tmp") / folder.name  # noqa: S108 - checked below
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            # Anybody may create names in the temporary folder: believe only what is ours.
            info = folder.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid not in {owner, os.geteuid()}:
                folder = Path(tempfile.mkdtemp(prefix="wsapm-", dir=folder.parent))
        folder.chmod(0o700)
        # What a killed server left names a process that may be another by now. Nobody else may
        # use this folder, and nothing of ours runs at this point.
        for left in folder.glob(".s.PGSQL.*"):
            left.unlink()
        if self._user:
            os.chown(folder, self._user.uid, self._user.gid)
        return folder

    def _write_conf(self) -> None:
        settings = tuning(memory()) | {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": f'"{self._socket_dir}"',
            "unix_socket_permissions": "0700",
            **self._options,
        }
        path = self._data / "wedsync-apm.conf"
        lines = [f"{name} = '{_quoted(value)}'" for name, value in sorted(settings.items())]
        path.write_text("# Written anew at each start.\n" + "\n".join(lines) + "\n")
        if self._user:
            os.chown(path, self._user.uid, self._user.gid)

    def _make_database(self) -> None:
        try:
            with psycopg.connect(self.conninfo(dbname="postgres"), autocommit=True) as cx:
                if cx.execute(Q.find_database, {"name": DATABASE}).fetchone() is None:
                    cx.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
        except psycopg.OperationalError as exc:
            if "password authentication failed" in str(exc):
                raise ConfigurationError(
                    f"The password in {self.data_dir / 'secrets.json'} does not open the data in "
                    f"{self._data}; put the original secrets.json back"
                ) from exc
            raise DatabaseAway(f"{exc}\n{self.log_tail()}") from exc


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _free_port(wanted: int | None) -> int:
    """The wanted port of loopback if nobody uses it, else any free one."""
    for port in (wanted or 0, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DatabaseAway("No free port on 127.0.0.1")
