"""Carries the server's log to the destinations, as it is written.

`pg_receivewal` streams the log into a spool folder; every few seconds what is new goes on, sealed:
whole files for good, the one that is being written as far as it has come. So at most some seconds
of work are in one place only, and no file is filled up for the archive's sake.

The server keeps its log for us by a slot. When a destination fails the stream is ended, so that the
spool cannot fill the disk, and the slot keeps the log, up to `max_slot_wal_keep_size`; whatever
happens is written down and tried again. A slot that was lost is made anew, and a new backup is
wanted then, because the log has a gap.
"""

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from wedsync_apm.backups import store
from wedsync_apm.backups.catalogue import Catalogue
from wedsync_apm.backups.destination import Destination
from wedsync_apm.backups.model import ArchiveState
from wedsync_apm.backups.programs import find_program, without_password
from wedsync_apm.backups.sealed import Sealer
from wedsync_apm.backups.wal import PARTIAL, is_file, number_of
from wedsync_apm.db.fingerprint import OwnerConnection
from wedsync_apm.errors import DatabaseAway, WedSyncError
from wedsync_apm.organizations.secrets import Keyring
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

SHIP_SECONDS: Final = 10.0
WAIT_FOR_WRITE_SECONDS: Final = 20.0


@dataclass(slots=True)
class Archive:
    """One server's log on its way; `run_once` is a round, `close` ends the stream."""

    conninfo: str
    spool: Path
    destinations: Sequence[Destination]
    keyring: Keyring
    pg_bin: Path | None = None
    _stream: "subprocess.Popen[bytes] | None" = None
    _shipped: dict[tuple[str, str], int] = field(default_factory=dict)
    """By destination and file: how many bytes of it are there."""
    _failing: dict[str, datetime] = field(default_factory=dict)

    def run_once(self) -> dict[str, str]:
        """One round. What is wrong, by destination; raises DatabaseAway and ConfigurationError."""
        with store.connect(self.conninfo) as cx:
            server = store.read_server(cx)
            if self._stream is None or self._stream.poll() is not None:
                self._open_stream(cx, server)
            position = store.find_position(cx)
            self._await_written(cx, position)
            faults = {
                str(destination): self._ship(cx, server, position, destination)
                for destination in self.destinations
            }
            if any(faults.values()):
                # The server's slot keeps the log meanwhile; the spool must not grow.
                self.close()
            else:
                self._tidy(position)
        return faults

    def close(self) -> None:
        """Ends the stream; the slot goes on keeping the log."""
        if self._stream is not None:
            self._stream.terminate()
            try:
                self._stream.wait(10)
            except subprocess.TimeoutExpired:
                self._stream.kill()
                self._stream.wait()
            self._stream = None

    def _open_stream(self, cx: OwnerConnection, server: store.Server) -> None:
        self.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = self.spool / "cluster"
        if not marker.exists() or marker.read_text() != server.cluster:
            # Of a server that is no longer the one: its log would not fit.
            for left in self.spool.iterdir():
                left.unlink()
            marker.write_text(server.cluster)
        slot = store.find_slot(cx)
        if slot is not None and slot.active_pid is not None:
            store.end_reader(cx)
            deadline = time.monotonic() + WAIT_FOR_WRITE_SECONDS
            while slot is not None and slot.active_pid is not None:
                if time.monotonic() > deadline:
                    raise DatabaseAway("Somebody else reads the server's log for an archive.")
                time.sleep(0.1)
                slot = store.find_slot(cx)
        if slot is not None and slot.wal_status == "lost":
            log.error(
                "The server has thrown away log that was not archived: a new backup is needed",
                extra={"action": "backup_gap"},
            )
            store.drop_slot(cx)
            slot = None
        if slot is None:
            for left in self.spool.glob("0*"):
                left.unlink()
            store.make_slot(cx)
        program = find_program("pg_receivewal", self.pg_bin, server.major)
        address, env = without_password(self.conninfo)
        self._stream = subprocess.Popen(  # noqa: S603 - PostgreSQL's program, our arguments
            [
                str(program),
                f"--dbname={address}",
                f"--directory={self.spool}",
                f"--slot={store.SLOT}",
                "--status-interval=1",
                "--no-loop",
                "--no-password",
            ],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def _await_written(self, cx: OwnerConnection, position: store.Position) -> None:
        """Until what was committed before this round lies in the spool."""
        deadline = time.monotonic() + WAIT_FOR_WRITE_SECONDS
        while (store.find_written(cx) or 0) < position.bytes:
            if self._stream is None or self._stream.poll() is not None:
                raise DatabaseAway("pg_receivewal has ended; it is started again.")
            if time.monotonic() > deadline:
                raise DatabaseAway("pg_receivewal does not keep up with the server.")
            time.sleep(0.05)

    def _ship(
        self,
        cx: OwnerConnection,
        server: store.Server,
        position: store.Position,
        destination: Destination,
    ) -> str:
        """Brings everything up to the position there; what was wrong, or nothing."""
        catalogue = Catalogue(destination, self.keyring)
        name, error = str(destination), ""
        try:
            destination.prepare()
            for path in sorted(self.spool.glob("0*")):
                self._ship_file(path, server, position, destination)
            state = ArchiveState(position.at, position.lsn, server.timeline)
            catalogue.put_archive_state(server.cluster, state)
            self._failing.pop(name, None)
        except WedSyncError as exc:
            error = exc.detail
            if name not in self._failing:
                log.error(
                    "The archive in %s fails: %s", name, error, extra={"action": "backup_archive"}
                )
            self._failing.setdefault(name, position.at)
        store.record_archive(cx, name, None if error else position.at, error)
        return error

    def _ship_file(
        self,
        path: Path,
        server: store.Server,
        position: store.Position,
        destination: Destination,
    ) -> None:
        is_partial = path.name.endswith(PARTIAL)
        file_name = path.name.removesuffix(PARTIAL)
        length = path.stat().st_size
        if is_partial:
            # What lies behind the position is not known to be whole, and nobody waits for it.
            begins = number_of(file_name, server.wal_bytes) * server.wal_bytes
            length = min(max(position.bytes - begins, 0), server.wal_bytes)
            if file_name[:8] != position.wal_file[:8]:
                length = server.wal_bytes
        key = (str(destination), path.name)
        if self._shipped.get(key) == length:
            return
        target = f"wal/{server.cluster}/{path.name}"
        if not is_partial and destination.size(target) is not None and key in self._shipped:
            return
        with path.open("rb") as source, destination.create(target) as out:
            sealer = Sealer(out, self.keyring, target)
            left = length
            while left and (data := source.read(min(left, 1024 * 1024))):
                sealer.write(data)
                left -= len(data)
            sealer.finish()
        self._shipped[key] = length
        if not is_partial:
            destination.remove(f"{target}{PARTIAL}")
            self._shipped.pop((str(destination), f"{path.name}{PARTIAL}"), None)

    def _tidy(self, position: store.Position) -> None:
        """What every destination has need not lie here."""
        for path in self.spool.glob("0*"):
            is_there = all((str(one), path.name) in self._shipped for one in self.destinations)
            # The stream has gone on to the next file: it never opens this one again.
            is_behind = is_file(path.name) and path.name < position.wal_file[:24]
            if is_there and is_behind and not path.name.endswith(PARTIAL):
                path.unlink()
                for one in self.destinations:
                    self._shipped.pop((str(one), path.name), None)


def keep_archiving(
    archive: Archive, is_stopping: Callable[[], bool], each: Callable[[], None] = lambda: None
) -> None:
    """Rounds until it is asked to stop, and a last one then; what fails is tried again."""
    try:
        while True:
            is_last = is_stopping()
            began = time.monotonic()
            try:
                archive.run_once()
                if not is_last:
                    each()
            except WedSyncError as exc:
                log.warning(
                    "The archive waits: %s", exc.detail, extra={"action": "backup_archive_waits"}
                )
            if is_last:
                return
            while not is_stopping() and time.monotonic() - began < SHIP_SECONDS:
                time.sleep(0.2)
    finally:
        with suppress(OSError):
            archive.close()
