"""Takes a backup: counted, copied, counted again, and only then written into the catalogue."""

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from wedsync_apm import __version__
from wedsync_apm.backups import store
from wedsync_apm.backups.catalogue import BACKUPS, Catalogue
from wedsync_apm.backups.destination import Destination
from wedsync_apm.backups.model import Facts, Kind, Manifest, Part, facts_between
from wedsync_apm.backups.programs import (
    READ_BYTES,
    ProgramFailed,
    find_program,
    output_of,
    without_password,
)
from wedsync_apm.backups.sealed import Sealer, read_all
from wedsync_apm.backups.wal import bytes_of, file_of
from wedsync_apm.organizations.secrets import Keyring

BASE: Final = "base.tar"
DUMP: Final = "database.dump"
ROLES: Final = "roles.sql"
SECRETS: Final = "secrets.json"
FACTS: Final = "facts.json"
TAIL_BYTES: Final = 256 * 1024

Tell = Callable[[str, int, int], None]
"""What is being done, how many bytes of it are done, and of about how many (0: not known)."""


def tell_nobody(what: str, done: int, total: int) -> None:
    """For whoever is not watched."""


@dataclass(slots=True, kw_only=True)
class Taking:
    """One backup on its way to a destination."""

    conninfo: str
    """The owner's; a physical backup needs a superuser or the right of replication."""
    destination: Destination
    keyring: Keyring
    kind: Kind
    pg_bin: Path | None = None
    secrets_file: Path | None = None
    """DATA_DIR/secrets.json: without it nobody enters what is restored."""
    tell: Tell = tell_nobody
    _parts: list[Part] = field(default_factory=list)
    _folder: str = ""
    _wal_from: str = ""

    def run(self) -> Manifest:
        """Takes it. Whatever goes wrong on the way leaves nothing that counts.

        Raises ConfigurationError, DestinationFailed, ProgramFailed or DatabaseAway.
        """
        catalogue = Catalogue(self.destination, self.keyring)
        with self.destination.alone(), store.connect(self.conninfo) as cx:
            for left in catalogue.remove_unfinished():
                self.tell(f"Removed {left}, which was never finished", 0, 0)
            server = store.read_server(cx)
            backup_id = new_id(server.at)
            self._folder = f"{BACKUPS}/{backup_id}"
            self.tell("Counting", 0, 0)
            is_exact = self.kind is Kind.PHYSICAL
            before = store.count_all(cx, is_exact=is_exact)
            try:
                if self.kind is Kind.PHYSICAL:
                    self._copy_files(server)
                else:
                    self._dump(server)
                if self.secrets_file is not None and self.secrets_file.exists():
                    self._write(SECRETS, self.secrets_file.read_bytes())
                self.tell("Counting again", 0, 0)
                facts = facts_between(before, store.count_all(cx, is_exact=is_exact))
                self._write(FACTS, facts_text(facts))
            except BaseException:
                self.destination.remove(self._folder)
                raise
            manifest = Manifest(
                id=backup_id,
                kind=self.kind,
                started_at=server.at,
                finished_at=store.find_position(cx).at,
                product_version=__version__,
                server_version=server.version,
                database=server.database,
                cluster=server.cluster,
                key_id=self.keyring.key_id,
                wal_from=self._wal_from,
                wal_bytes=server.wal_bytes,
                parts=tuple(self._parts),
            )
            catalogue.add(manifest)
        return manifest

    def _copy_files(self, server: store.Server) -> None:
        program = find_program("pg_basebackup", self.pg_bin, server.major)
        address, env = without_password(self.conninfo)
        command = [
            str(program),
            f"--dbname={address}",
            "--pgdata=-",
            "--format=tar",
            # What was written meanwhile comes with it: it can be restored without the archive.
            "--wal-method=fetch",
            "--checkpoint=fast",
            "--no-password",
            "--label=wedsync-apm",
        ]
        with output_of(command, env) as source:
            tail = self._seal(BASE, source, server.bytes)
        self._wal_from = file_behind(tail, server.wal_bytes)

    def _dump(self, server: store.Server) -> None:
        address, env = without_password(self.conninfo)
        roles = find_program("pg_dumpall", self.pg_bin, server.major)
        command = [str(roles), f"--dbname={address}", "--roles-only", "--no-role-passwords"]
        with output_of([*command, "--no-password"], env) as source:
            self._seal(ROLES, source, 0)
        dump = find_program("pg_dump", self.pg_bin, server.major)
        command = [str(dump), f"--dbname={address}", "--format=custom", "--compress=0"]
        with output_of([*command, "--no-password"], env) as source:
            self._seal(DUMP, source, server.bytes)

    def _seal(self, name: str, source: IO[bytes], total: int) -> bytes:
        """Seals what is read; gives back the end of it."""
        tail = b""
        with self.destination.create(f"{self._folder}/{name}") as out:
            sealer = Sealer(out, self.keyring, f"{self._folder}/{name}")
            while data := source.read(READ_BYTES):
                sealer.write(data)
                tail = (tail + data)[-TAIL_BYTES:]
                self.tell(f"Copying {name}", sealer.plain_bytes, total)
            told = sealer.finish()
        self._parts.append(Part(name, told.sha256, told.bytes, told.plain_bytes))
        return tail

    def _write(self, name: str, data: bytes) -> None:
        with self.destination.create(f"{self._folder}/{name}") as out:
            sealer = Sealer(out, self.keyring, f"{self._folder}/{name}")
            sealer.write(data)
            told = sealer.finish()
        self._parts.append(Part(name, told.sha256, told.bytes, told.plain_bytes))


def copy_backup(
    manifest: Manifest,
    source: Destination,
    target: Destination,
    keyring: Keyring,
    tell: Tell = tell_nobody,
) -> None:
    """The same sealed files at another destination; the manifest last, there as here."""
    folder = f"{BACKUPS}/{manifest.id}"
    catalogue = Catalogue(target, keyring)
    with target.alone():
        catalogue.remove_unfinished()
        done = 0
        for part in manifest.parts:
            name = f"{folder}/{part.name}"
            with source.open(name) as file, target.create(name) as out:
                while data := file.read(READ_BYTES):
                    out.write(data)
                    done += len(data)
                    tell(f"Copying to {target}", done, manifest.bytes)
        catalogue.add(manifest)


def file_behind(tail: bytes, wal_bytes: int) -> str:
    """The first file of the log that a base backup does not bring with it, by the manifest of
    PostgreSQL's own that stands at its end: it switches to a new file as it ends."""
    ranges = re.findall(rb'"Timeline": (\d+), "Start-LSN": "[^"]+", "End-LSN": "([^"]+)"', tail)
    if not ranges:
        raise ProgramFailed("pg_basebackup did not say where its backup ends.")
    timeline, lsn = ranges[-1]
    return file_of(int(timeline), bytes_of(lsn.decode()) // wal_bytes + 1, wal_bytes)


def new_id(at: datetime) -> str:
    """The instant, and something that no other backup of that second has."""
    return f"{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def facts_text(facts: Facts) -> bytes:
    """What is kept beside the data, to compare with."""
    told = {"rows": facts.rows, "objects": facts.objects, "changing": facts.changing}
    return json.dumps(told, sort_keys=True).encode()


def read_facts(destination: Destination, keyring: Keyring, backup_id: str) -> Facts:
    """What the database held when the backup was taken."""
    name = f"{BACKUPS}/{backup_id}/{FACTS}"
    with destination.open(name) as file:
        told = json.loads(read_all(file, keyring, name))
    rows = {table: (least, most) for table, (least, most) in told["rows"].items()}
    return Facts(rows, told["objects"], tuple(told["changing"]))
