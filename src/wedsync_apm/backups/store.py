"""What a backup asks the server, and what is written down of it in the database."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from wedsync_apm.backups.catalogue import Entry
from wedsync_apm.backups.model import Counted, Place
from wedsync_apm.db.fingerprint import OwnerConnection, take_fingerprint
from wedsync_apm.db.migrate import known_creations
from wedsync_apm.db.pool import Connection, wrap_database_errors
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

SLOT: Final = "wedsync_apm_archive"
_COUNT: Final = sql.SQL("select count(*) as n from only {}")


@dataclass(frozen=True, slots=True)
class Server:
    """A server as it is now."""

    version: int
    database: str
    cluster: str
    timeline: int
    lsn: str
    wal_file: str
    wal_bytes: int
    bytes: int
    at: datetime

    @property
    def major(self) -> int:
        """The version by which its files and programs are chosen."""
        return self.version // 10_000


@dataclass(frozen=True, slots=True)
class Position:
    """Everything that was committed by `at` stands in the log before `bytes`."""

    at: datetime
    lsn: str
    wal_file: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Slot:
    """The server's promise to keep its log."""

    active_pid: int | None
    wal_status: str | None
    restart_lsn: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """How much a restored database was kept from doing."""

    messages: int
    ladders: int
    heartbeats: int
    drills: int


@contextmanager
def connect(conninfo: str) -> Iterator[OwnerConnection]:
    """A connection of its own, each statement its own transaction. Raises DatabaseAway."""
    with (
        wrap_database_errors(),
        psycopg.Connection[DictRow].connect(
            conninfo,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=10,
            prepare_threshold=None,
            application_name="wedsync-apm/backup",
        ) as cx,
    ):
        yield cx


def read_server(cx: OwnerConnection) -> Server:
    """Which server this is."""
    row = cx.execute(Q.read_server).fetchone()
    return Server(**(row or {}))


def find_position(cx: OwnerConnection) -> Position:
    """Up to where its log is on the disk."""
    row = cx.execute(Q.find_position).fetchone()
    return Position(**(row or {}))


def count_all(cx: OwnerConnection, *, is_exact: bool = True) -> Counted:
    """Every row and every object of ours, at one instant. Ask as the owner, whom RLS lets pass.

    Not exactly, an object is what its words are, in any order: a server that was told it anew by a
    dump writes brackets and lists of roles otherwise than the first one did.
    """
    cx.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with cx.transaction():
        cx.execute(Q.prepare_count)
        tables = cx.execute(Q.list_counted_tables).fetchall()
        rows, came, went = {}, {}, {}
        for table in tables:
            name = f"{table['schema_name']}.{table['table_name']}"
            place = sql.Identifier(table["schema_name"], table["table_name"])
            counted = cx.execute(_COUNT.format(place)).fetchone()
            rows[name] = int(counted["n"]) if counted else 0
            came[name], went[name] = int(table["came"]), int(table["went"])
        objects = take_fingerprint(cx, known_creations())
        for line in cx.execute(Q.list_partition_definitions):
            objects[line["object"]] = line["definition"]
    digests = {
        name: sha256((text if is_exact else words_of(text)).encode()).hexdigest()[:32]
        for name, text in objects.items()
    }
    return Counted(rows, came, went, digests)


def words_of(definition: str) -> str:
    """The words of a definition, sorted; the owner's own rights are the same unsaid."""
    words = re.findall(r"[^\s(),]+", definition)
    return " ".join(sorted(word for word in words if not re.fullmatch(r"\{(\w+)=UC/\1\}", word)))


def find_slot(cx: OwnerConnection) -> Slot | None:
    """The archive's slot; None where there is none."""
    row = cx.execute(Q.find_slot, {"slot": SLOT}).fetchone()
    return Slot(**row) if row else None


def make_slot(cx: OwnerConnection) -> None:
    """From here on the server keeps its log."""
    cx.execute(Q.make_slot, {"slot": SLOT})


def drop_slot(cx: OwnerConnection) -> None:
    """It keeps nothing any more; nobody may be reading."""
    cx.execute(Q.drop_slot, {"slot": SLOT})


def end_reader(cx: OwnerConnection) -> None:
    """Ends whoever reads the slot."""
    cx.execute(Q.end_reader, {"slot": SLOT})


def find_written(cx: OwnerConnection) -> int | None:
    """Up to where the reader has written the log; None while nobody reads it."""
    row = cx.execute(Q.find_written, {"slot": SLOT}).fetchone()
    return int(row["bytes"]) if row else None


def record_entries(cx: OwnerConnection, destination: str, entries: Sequence[Entry]) -> None:
    """Makes the table say what is at the destination."""
    with cx.transaction():
        for entry in entries:
            manifest, proof = entry.manifest, entry.proof
            faults = [entry.fault] if entry.fault else []
            cx.execute(
                Q.record_backup,
                {
                    "destination": destination,
                    "id": manifest.id,
                    "kind": manifest.kind,
                    "started_at": manifest.started_at,
                    "finished_at": manifest.finished_at,
                    "stored_bytes": manifest.bytes,
                    "plain_bytes": manifest.plain_bytes,
                    "error": entry.fault,
                    "proven_at": proof.at if proof else None,
                    "is_proven": (proof.is_good and not entry.fault) if proof else None,
                    "restore_seconds": proof.restore_seconds if proof else None,
                    "faults": [*faults, *(proof.faults if proof else ())][:100],
                },
            )
        ids = [entry.manifest.id for entry in entries]
        cx.execute(Q.forget_backups, {"destination": destination, "ids": ids})


def record_failure(
    cx: OwnerConnection,
    destination: str,
    *,
    backup_id: str,
    kind: str,
    started_at: datetime,
    why: str,
) -> None:
    """Says that a backup was begun and did not come about."""
    cx.execute(
        Q.record_backup,
        {
            "destination": destination,
            "id": backup_id,
            "kind": kind,
            "started_at": started_at,
            "finished_at": None,
            "stored_bytes": 0,
            "plain_bytes": 0,
            "error": why or "unknown",
            "proven_at": None,
            "is_proven": None,
            "restore_seconds": None,
            "faults": [],
        },
    )


def record_archive(
    cx: OwnerConnection, destination: str, kept_until: datetime | None, error: str = ""
) -> None:
    """Says how far the log has come to a destination."""
    cx.execute(
        Q.record_archive,
        {"destination": destination, "kept_until": kept_until, "error": error},
    )


def settle_restore(
    cx: OwnerConnection, backup_id: str, wanted_at: datetime | None, at: datetime
) -> Settled:
    """Before any process of ours begins on a restored database."""
    row = cx.execute(
        Q.settle_restore, {"backup_id": backup_id, "wanted_at": wanted_at, "at": at}
    ).fetchone()
    return Settled(**(row or {}))


def record_place(cx: OwnerConnection, place: Place, device: int) -> None:
    """Says what kind of place a destination is; `device` is the database's own."""
    cx.execute(
        Q.record_place,
        {
            "destination": place.path,
            "is_remote": place.is_remote,
            "is_same_device": place.device is None or place.device == device,
        },
    )


@dataclass(frozen=True, slots=True)
class Overview:
    """What an operator may see."""

    backups: Sequence[dict[str, Any]]
    archives: Sequence[dict[str, Any]]
    until_wedding: timedelta | None
    at: datetime


async def read_overview(cx: Connection) -> Overview:
    """As the caller, who sees something only as an operator."""
    backups = await (await cx.execute(Q.list_backups)).fetchall()
    archives = await (await cx.execute(Q.list_archives)).fetchall()
    row = await (await cx.execute(Q.show_next_wedding)).fetchone()
    assert row is not None  # noqa: S101 - a statement without a table has one row
    until = row["next_at"] - row["at"] if row["next_at"] else None
    return Overview(backups, archives, until, row["at"])
