"""What is thought about backups: which are kept, what is promised, and what is safe where."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

PROVEN_FOR: Final = timedelta(days=7)
"""A restore tells of the present for so long: one is rehearsed every week."""


class Kind(StrEnum):
    """How a backup was taken."""

    PHYSICAL = "physical"
    """The server's files: with the archived log it restores any moment after it."""
    LOGICAL = "logical"
    """One database as statements: it restores the moment at which it was taken, on any server."""


@dataclass(frozen=True, slots=True)
class Part:
    """One sealed file of a backup."""

    name: str
    sha256: str
    bytes: int
    plain_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup consists of. It is written last: without it there is no backup."""

    id: str
    kind: Kind
    started_at: datetime
    finished_at: datetime
    product_version: str
    server_version: int
    database: str
    cluster: str
    """The server's system identifier: the archive of its log stands under it."""
    key_id: str
    wal_from: str = ""
    """The first file of the log that is needed; empty where none is."""
    wal_bytes: int = 0
    """How long one file of the log is."""
    parts: tuple[Part, ...] = ()

    @property
    def bytes(self) -> int:
        """At the destination."""
        return sum(part.bytes for part in self.parts)

    @property
    def plain_bytes(self) -> int:
        """Before it was compressed."""
        return sum(part.plain_bytes for part in self.parts)

    def part(self, ending: str) -> Part | None:
        """The part whose name ends so."""
        return next((part for part in self.parts if part.name.endswith(ending)), None)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database held while the backup was taken, to compare a restored one with.

    Of each table the least and the most rows that it may have had at the end, as it was counted at
    both ends and every row that came or went between: of a table that rested, exactly one number.
    Of the catalogue a digest of each object that was the same at both ends.
    """

    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)
    changing: tuple[str, ...] = ()
    """Objects that were made, changed or dropped meanwhile: they may be either."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows by table, with the rows that came and went since the server began to count."""

    rows: Mapping[str, int]
    came: Mapping[str, int]
    went: Mapping[str, int]
    objects: Mapping[str, str]


def facts_between(before: Counted, after: Counted) -> Facts:
    """What may be found in a backup that was taken between the two."""
    rows = {}
    for table in before.rows.keys() & after.rows.keys():
        first, last = before.rows[table], after.rows[table]
        came = max(after.came.get(table, 0) - before.came.get(table, 0), 0)
        went = max(after.went.get(table, 0) - before.went.get(table, 0), 0)
        rows[table] = (max(min(first, last) - went, 0), max(first, last) + came)
    same = {
        name: digest for name, digest in before.objects.items() if after.objects.get(name) == digest
    }
    seen = before.objects.keys() | after.objects.keys()
    return Facts(rows, same, tuple(sorted(seen - same.keys())))


def differences(facts: Facts, found: Counted) -> list[str]:
    """How a restored database differs from what was recorded, in words; empty if it does not."""
    told = []
    for table, (least, most) in sorted(facts.rows.items()):
        rows = found.rows.get(table)
        if rows is None:
            told.append(f"the table {table} is missing")
        elif not least <= rows <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            told.append(f"{table} has {rows} rows instead of {wanted}")
    for name, digest in sorted(facts.objects.items()):
        if name not in found.objects:
            told.append(f"{name} is missing")
        elif found.objects[name] != digest:
            told.append(f"{name} is another")
    known = facts.objects.keys() | set(facts.changing)
    told += [f"{name} was not there" for name in sorted(found.objects.keys() - known)]
    return told


def kinds_of(objects: Iterable[str]) -> dict[str, int]:
    """How many objects there are of each kind, which is the first word of their names."""
    counts: dict[str, int] = {}
    for name in objects:
        kind = name.partition(" ")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of restoring a backup into a server of its own."""

    backup_id: str
    at: datetime
    is_good: bool
    faults: tuple[str, ...]
    seconds: Mapping[str, float]
    """How long fetching, recovering and looking took; together what a restore takes."""
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def restore_seconds(self) -> float:
        """Until a server answered again."""
        return self.seconds.get("fetch", 0.0) + self.seconds.get("recover", 0.0)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How many days, weeks and months keep their last backup."""

    daily: int = 7
    weekly: int = 5
    monthly: int = 12


@dataclass(frozen=True, slots=True)
class Held:
    """A backup for the rules of retention."""

    id: str
    finished_at: datetime
    is_bad: bool = False
    """A rehearsal has failed on it."""
    is_proven: bool = False


def choose_kept(held: Sequence[Held], keeping: Keeping) -> dict[str, str]:
    """Which backups are kept, and why; the others may go.

    The last good one is always kept, and the last that was restored in earnest or rehearsal. Days,
    weeks and months are those that have a good backup, so that a long pause loses nothing. What is
    bad keeps no place, and a bad one that is newer than every good one stays to be looked into.
    """
    newest_first = sorted(held, key=lambda one: one.finished_at, reverse=True)
    good = [one for one in newest_first if not one.is_bad]
    kept: dict[str, str] = {}
    if good:
        kept[good[0].id] = "the last good one"
    elif newest_first:
        kept[newest_first[0].id] = "the last one, though it is bad"
    for one in newest_first:
        if one.is_bad and good and one.finished_at > good[0].finished_at:
            kept[one.id] = "bad, and newer than the last good one"
    if proven := next((one for one in good if one.is_proven), None):
        kept.setdefault(proven.id, "the last that was proven by restoring it")
    for number, form, word in (
        (keeping.daily, "%Y-%m-%d", "day"),
        (keeping.weekly, "%G-W%V", "week"),
        (keeping.monthly, "%Y-%m", "month"),
    ):
        seen: set[str] = set()
        for one in good:
            span = one.finished_at.astimezone(UTC).strftime(form)
            if span not in seen and len(seen) < number:
                seen.add(span)
                kept.setdefault(one.id, f"the last of the {word} {span}")
    return kept


@dataclass(frozen=True, slots=True)
class Objective:
    """What is promised: at most so much lost, and at most so long until all runs again."""

    because: str
    loss: timedelta
    restore: timedelta


_OBJECTIVES: Final = tuple(
    (
        timedelta(hours=hours),
        Objective(f"a wedding within {words}", timedelta(minutes=loss), timedelta(minutes=restore)),
    )
    for hours, words, loss, restore in (
        (24, "24 hours", 15, 30),
        (48, "48 hours", 30, 60),
        (7 * 24, "7 days", 30, 120),
        (30 * 24, "30 days", 60, 240),
    )
)
_ORDINARY: Final = Objective("no wedding within 30 days", timedelta(hours=4), timedelta(hours=4))


def objective_for(until_wedding: timedelta | None) -> Objective:
    """What is promised while the next wedding is that far away; None where none is known of."""
    if until_wedding is None:
        return _ORDINARY
    return next((told for nearer, told in _OBJECTIVES if until_wedding <= nearer), _ORDINARY)


@dataclass(frozen=True, slots=True)
class Place:
    """A destination, as far as its file system tells."""

    path: str
    device: int | None
    """None where it cannot be reached."""
    is_remote: bool
    """Whether another machine holds it."""
    has_good_backup: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """One figure of 3-2-1."""

    number: str
    holds: bool
    reason: str


def judge_places(places: Sequence[Place], device: int) -> tuple[Rule, ...]:
    """Which of three copies, two media, one elsewhere holds; `device` is the database's own."""
    good = [place for place in places if place.device is not None and place.has_good_backup]
    copies = 1 + len(good)
    media = {device, *(place.device for place in good)}
    remote = [place for place in good if place.is_remote]
    missing = [place.path for place in places if place not in good]
    without = f" No good backup in {', '.join(missing)}." if missing else ""
    return (
        Rule(
            "3 copies",
            copies >= 3,
            f"{copies}: the database and {len(good)} of {len(places)} destinations.{without}",
        ),
        Rule(
            "2 media",
            len(media) >= 2,
            f"{len(media)} file systems." if len(media) > 1 else "All on one file system.",
        ),
        Rule(
            "1 off-site",
            bool(remote),
            f"{remote[0].path} is on another machine."
            if remote
            else "No destination with a good backup is on another machine.",
        ),
    )


REMOTE_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.rclone"}
    | {
        "fuse.s3fs",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.gcsfuse",
        "fuse.mount-s3",
        "afs",
        "davfs",
    }
)


def file_system_of(path: str, mounts: str) -> str:
    """The kind of file system that holds the path, by the lines of /proc/mounts; empty if unknown.

    A later mount over the same folder hides the earlier one.
    """
    best, found = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, found = len(point), fields[2]
    return found


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """How far the log has come into an archive: everything committed by `until` is there."""

    until: datetime
    lsn: str
    timeline: int
    error: str = ""
    failing_since: datetime | None = None


def manifest_from(told: Mapping[str, Any]) -> Manifest:
    """The manifest that was written as JSON."""
    return Manifest(
        **{
            **told,
            "kind": Kind(told["kind"]),
            "started_at": datetime.fromisoformat(told["started_at"]),
            "finished_at": datetime.fromisoformat(told["finished_at"]),
            "parts": tuple(Part(**part) for part in told["parts"]),
        }
    )
