"""Takes backups when they are due, keeps what the rules keep, and writes down what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from wedsync_apm.backups import store
from wedsync_apm.backups.catalogue import Catalogue
from wedsync_apm.backups.destination import Destination, DestinationFailed
from wedsync_apm.backups.model import Keeping, Kind, Manifest
from wedsync_apm.backups.places import device_of, look_at
from wedsync_apm.backups.pruning import prune
from wedsync_apm.backups.taking import Taking, Tell, copy_backup, new_id, tell_nobody
from wedsync_apm.backups.wal import is_archived
from wedsync_apm.errors import WedSyncError
from wedsync_apm.organizations.secrets import Keyring
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

AGAIN: Final = timedelta(minutes=15)
"""After one that failed, until the next is tried."""


@dataclass(slots=True, kw_only=True)
class Routine:
    """The backups of one server at its destinations, the first of which is written first."""

    conninfo: str
    destinations: list[Destination]
    keyring: Keyring
    data_dir: Path
    pg_bin: Path | None = None
    tell: Tell = tell_nobody
    every_hours: int = 24
    keeping: Keeping = field(default_factory=Keeping)
    _failed_at: datetime | None = None

    def take(self, kind: Kind) -> Manifest:
        """Takes one now and copies it on; a failure is written down, and raised."""
        first, *others = self.destinations
        with self._told(first, kind):
            manifest = Taking(
                conninfo=self.conninfo,
                destination=first,
                keyring=self.keyring,
                kind=kind,
                pg_bin=self.pg_bin,
                secrets_file=self.data_dir / "secrets.json",
                tell=self.tell,
            ).run()
        try:
            for other in others:
                with self._told(other, kind):
                    copy_backup(manifest, first, other, self.keyring, self.tell)
        finally:
            self.record()
        return manifest

    @contextmanager
    def _told(self, destination: Destination, kind: Kind) -> Iterator[None]:
        """Writes a failure down, too."""
        with store.connect(self.conninfo) as cx:
            began = store.find_position(cx).at
        try:
            yield
        except WedSyncError as exc:
            with store.connect(self.conninfo) as cx:
                store.record_failure(
                    cx,
                    str(destination),
                    backup_id=new_id(began),
                    kind=kind,
                    started_at=began,
                    why=exc.detail,
                )
            raise

    def record(self) -> None:
        """Makes the database say what lies at the destinations."""
        with store.connect(self.conninfo) as cx:
            for destination in self.destinations:
                with suppress(DestinationFailed):
                    entries = Catalogue(destination, self.keyring).entries()
                    store.record_entries(cx, str(destination), entries)
                    place = look_at(destination.root, has_good_backup=bool(entries))
                    store.record_place(cx, place, device_of(self.data_dir))

    def take_if_due(self) -> None:
        """A backup when the last one is old, is of another life of the server, or has lost the
        log behind it; then what the rules do not keep is taken away."""
        with store.connect(self.conninfo) as cx:
            server = store.read_server(cx)
        if self._failed_at is not None and server.at - self._failed_at < AGAIN:
            return
        if not self._is_due(server):
            return
        self._failed_at = server.at
        manifest = self.take(Kind.PHYSICAL)
        self._failed_at = None
        log.info(
            "Took the backup %s, %d bytes",
            manifest.id,
            manifest.bytes,
            extra={"action": "backup_taken", "backup": manifest.id},
        )
        for destination in self.destinations:
            prune(Catalogue(destination, self.keyring), self.keeping)
        self.record()

    def _is_due(self, server: store.Server) -> bool:
        catalogue = Catalogue(self.destinations[0], self.keyring)
        fitting = [
            entry.manifest
            for entry in catalogue.entries()
            if entry.manifest.cluster == server.cluster
            and entry.manifest.kind is Kind.PHYSICAL
            and not entry.held.is_bad
            and int(entry.manifest.wal_from[:8], 16) == server.timeline
        ]
        if not fitting:
            return True
        newest = fitting[-1]
        if server.at - newest.finished_at >= timedelta(hours=self.every_hours):
            return True
        names = self.destinations[0].names(f"wal/{server.cluster}")
        return server.wal_file > newest.wal_from and not is_archived(
            names, newest.wal_from, newest.wal_bytes
        )
