"""Gives a backup back: into a server of its own, up to a point in time.

1. The files are fetched, proven and unpacked, the archived log beside them. 2. The server recovers:
every change up to the point, or all there are. 3. What a restored database would do about times
that are over is put right, before any other process of ours can begin.
"""

import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Final, cast

import psycopg

from wedsync_apm.backups.catalogue import BACKUPS, Catalogue, Entry
from wedsync_apm.backups.model import ArchiveState, Kind
from wedsync_apm.backups.programs import READ_BYTES, find_program, input_of, without_password
from wedsync_apm.backups.sealed import read_all, unseal
from wedsync_apm.backups.taking import BASE, DUMP, ROLES, SECRETS, Tell, tell_nobody
from wedsync_apm.backups.wal import PARTIAL, is_archived, is_file
from wedsync_apm.db.embedded import EmbeddedPostgres, Filling
from wedsync_apm.db.processes import stop_left_behind
from wedsync_apm.errors import ConfigurationError, DatabaseAway, NotValid
from wedsync_apm.runtime import UNFINISHED

_ENDED_EARLY: Final = "recovery ended before configured recovery target"


@dataclass(slots=True, kw_only=True)
class Restoring:
    """A backup on its way into a data folder."""

    catalogue: Catalogue
    entry: Entry
    data_dir: Path
    at: datetime | None = None
    """The point in time; None for the last one that there is."""
    pg_bin: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    tell: Tell = tell_nobody
    is_rehearsal: bool = False
    """Only up to the end of the backup, without the archived log: there it was counted."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each step took."""

    @contextmanager
    def running(self) -> Iterator[EmbeddedPostgres]:
        """The recovered server, for as long as the block runs.

        Raises BackupUnreadable, DestinationFailed, ConfigurationError or DatabaseAway.
        """
        manifest = self.entry.manifest
        if manifest.kind is Kind.LOGICAL and self.at is not None and self.at < manifest.finished_at:
            raise NotValid("A logical backup restores the moment at which it was taken only.")
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._put_secrets()
        server = self._start(self.at)
        try:
            if manifest.kind is Kind.LOGICAL:
                self._read_dump(server)
            yield server
        finally:
            server.stop()

    @property
    def _folder(self) -> str:
        return f"{BACKUPS}/{self.entry.manifest.id}"

    def _start(self, at: datetime | None) -> EmbeddedPostgres:
        manifest = self.entry.manifest
        if manifest.kind is Kind.LOGICAL:
            server = EmbeddedPostgres(self.data_dir, pg_bin=self.pg_bin, options=self.options)
            with self._timed("recover"):
                server.start()
            return server
        recovery = {
            # The log lies in its place already: there is nothing to be fetched by the server.
            "restore_command": "/bin/false",
            "recovery_target_timeline": "latest" if at is None else "current",
            "recovery_target_action": "promote",
            "hot_standby": "off",
            "recovery_target_time": at.isoformat() if at is not None else "",
            "recovery_target": "immediate" if self.is_rehearsal else "",
        }
        server = EmbeddedPostgres(
            self.data_dir,
            pg_bin=self.pg_bin,
            options={**self.options, **{k: v for k, v in recovery.items() if v}},
            filling=Filling(manifest.server_version // 10_000, self._fill),
        )
        self.tell("Recovering", 0, 0)
        began = time.monotonic()
        try:
            server.start()
        except DatabaseAway as exc:
            if at is None or _ENDED_EARLY not in str(exc):
                raise
            # The archive reaches beyond that time and has nothing after it: nothing was committed
            # between, so that all there is, is what was there then.
            shutil.rmtree(server.cluster)
            return self._start(None)
        took = time.monotonic() - began
        self.seconds["recover"] = took - self.seconds.get("fetch", 0.0)
        return server

    def _fill(self, folder: Path) -> None:
        with self._timed("fetch"):
            self._unpack(folder)
            if not self.is_rehearsal:
                self._bring_log(folder / "pg_wal")
            (folder / "recovery.signal").touch(mode=0o600)

    def _unpack(self, folder: Path) -> None:
        manifest = self.entry.manifest
        name = f"{self._folder}/{BASE}"
        part = manifest.part(BASE)
        total = part.plain_bytes if part else 0
        with self.catalogue.destination.open(name) as file:
            stream = _Stream(
                unseal(file, self.catalogue.keyring, name),
                lambda done: self.tell("Unpacking", done, total),
            )
            with tarfile.open(
                fileobj=cast(IO[bytes], stream), mode="r|", bufsize=READ_BYTES
            ) as archive:
                # Only what a server's folder holds: no way out of it, no devices, no links.
                archive.extractall(folder, filter="data")
            # To the end: only its last chunk says that the file is whole.
            stream.drain()
        (folder / "postmaster.pid").unlink(missing_ok=True)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)

    def _bring_log(self, pg_wal: Path) -> None:
        manifest = self.entry.manifest
        place = f"wal/{manifest.cluster}"
        destination, keyring = self.catalogue.destination, self.catalogue.keyring
        found = destination.names(place)
        state = self.catalogue.archive_state(manifest.cluster)
        is_behind = state is None or state.until < manifest.finished_at
        wanted = [
            name
            for name in found
            if name.endswith(".history") or (is_file(name) and name[8:24] >= manifest.wal_from[8:])
        ]
        for number, name in enumerate(wanted, start=1):
            if name.endswith(PARTIAL) and name.removesuffix(PARTIAL) in found:
                continue
            target = pg_wal / name.removesuffix(PARTIAL)
            if is_behind and target.exists():
                continue  # the backup brings more of it with it
            with destination.open(f"{place}/{name}") as file, target.open("wb") as out:
                for data in unseal(file, keyring, f"{place}/{name}"):
                    out.write(data)
                if not name.endswith(".history"):
                    out.truncate(manifest.wal_bytes)
            target.chmod(0o600)
            self.tell("Fetching the log", number, len(wanted))

    def _put_secrets(self) -> None:
        name = f"{self._folder}/{SECRETS}"
        if self.entry.manifest.part(SECRETS) is None:
            return
        with self.catalogue.destination.open(name) as file:
            text = read_all(file, self.catalogue.keyring, name)
        if self.entry.manifest.kind is Kind.LOGICAL:
            # The new server has a superuser of its own.
            told = json.loads(text)
            told.pop("postgres_password", None)
            text = json.dumps(told, indent=2).encode()
        path = self.data_dir / "secrets.json"
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)

    def _read_dump(self, server: EmbeddedPostgres) -> None:
        major = self.entry.manifest.server_version // 10_000
        destination, keyring = self.catalogue.destination, self.catalogue.keyring
        with self._timed("fetch"):
            name = f"{self._folder}/{ROLES}"
            with destination.open(name) as file:
                _make_roles(server.conninfo(), read_all(file, keyring, name).decode())
            name = f"{self._folder}/{DUMP}"
            part = self.entry.manifest.part(DUMP)
            program = find_program("pg_restore", self.pg_bin, major)
            address, env = without_password(server.conninfo())
            command = [str(program), f"--dbname={address}", "--exit-on-error", "--no-password"]
            done = 0
            with destination.open(name) as file, input_of(command, env) as program_reads:
                for data in unseal(file, keyring, name):
                    program_reads.write(data)
                    done += len(data)
                    self.tell("Restoring", done, part.plain_bytes if part else 0)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - began


def require_reachable(
    entry: Entry, state: ArchiveState | None, names: list[str], at: datetime | None
) -> None:
    """Raises NotValid where the log does not reach the point in time, and says what it reaches."""
    manifest = entry.manifest
    if at is None or manifest.kind is Kind.LOGICAL:
        return
    if at < manifest.finished_at:
        raise NotValid(f"The backup {manifest.id} was finished at {manifest.finished_at}.")
    if state is None or state.until < at:
        last = manifest.finished_at if state is None else max(state.until, manifest.finished_at)
        raise NotValid(
            f"The destination has everything up to {last.isoformat()} and nothing after it; "
            "leave --at out for the last moment that there is."
        )
    if not is_archived(names, manifest.wal_from, manifest.wal_bytes):
        raise NotValid(
            f"The log behind the backup {manifest.id} has a gap; "
            f"the last moment that it restores is {manifest.finished_at.isoformat()}."
        )


def require_room(data_dir: Path) -> None:
    """Raises ConfigurationError where there is data already: nothing is overwritten.

    What an earlier restore left half done is taken away.
    """
    is_left = (data_dir / UNFINISHED).exists()
    for name in ("postgres.json", "postgres"):
        path = data_dir / name
        if not path.exists():
            continue
        if not is_left:
            raise ConfigurationError(
                f"There is a database in {data_dir} already. Restore into another folder with "
                "--data-dir, or move this one away."
            )
        if name == "postgres.json":
            with suppress(ValueError, KeyError):
                remove_cluster(Path(json.loads(path.read_text())["data"]))
            path.unlink()
        else:
            remove_cluster(path)


def remove_cluster(cluster: Path) -> None:
    """Takes away a server that nobody wants, with whatever still runs on it."""
    stop_left_behind(cluster)
    shutil.rmtree(cluster, ignore_errors=True)


def newest_change(server: EmbeddedPostgres) -> datetime | None:
    """When the last thing was committed that was recovered, as the server's own log says it."""
    for line in reversed(server.log_tail(400).splitlines()):
        if "last completed transaction was at log time" in line:
            text = line.rpartition("log time ")[2].strip()
            with suppress(ValueError):
                return datetime.fromisoformat(text)
    return None


class _Stream:
    """An iterator of bytes, read as a file is."""

    def __init__(self, pieces: Iterator[bytes], on_read: Callable[[int], None]) -> None:
        self._pieces, self._on_read = pieces, on_read
        self._piece, self._at, self._done = b"", 0, 0

    def read(self, size: int) -> bytes:
        """Up to that many bytes; none at the end."""
        taken: list[bytes] = []
        while size > 0:
            if self._at == len(self._piece):
                self._piece, self._at = next(self._pieces, b""), 0
                if not self._piece:
                    break
            taken.append(self._piece[self._at : self._at + size])
            self._at += len(taken[-1])
            size -= len(taken[-1])
            self._done += len(taken[-1])
        self._on_read(self._done)
        return b"".join(taken)

    def drain(self) -> None:
        """Reads what is left."""
        while self.read(READ_BYTES):
            pass


def _make_roles(conninfo: str, statements: str) -> None:
    """Makes the roles that are not there; what is there stays as it is."""
    with psycopg.connect(conninfo, autocommit=True) as cx:
        for statement in statements.split(";\n"):
            lines = [line for line in statement.splitlines() if not line.startswith(("--", "\\"))]
            if text := "\n".join(lines).strip():
                try:
                    cx.execute(text.encode())
                except psycopg.errors.DuplicateObject:
                    continue
