"""`backup`: taken, listed, proven, restored and taken away."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from wedsync_apm.backups import store
from wedsync_apm.backups.archive import Archive, keep_archiving
from wedsync_apm.backups.catalogue import Catalogue, Entry
from wedsync_apm.backups.destination import Destination
from wedsync_apm.backups.model import Keeping, Kind
from wedsync_apm.backups.places import judge_destinations
from wedsync_apm.backups.proving import Rehearsal, failed_lines, prove
from wedsync_apm.backups.pruning import prune
from wedsync_apm.backups.restoring import (
    Restoring,
    newest_change,
    require_reachable,
    require_room,
)
from wedsync_apm.backups.routine import Routine
from wedsync_apm.clock import utcnow
from wedsync_apm.commands.common import (
    AsJson,
    DatabaseUrl,
    DataDir,
    Progress,
    emit,
    group,
    owner_conninfo,
    print_json,
    print_table,
    reached,
    say,
    settings_for,
)
from wedsync_apm.config import Settings, load_settings, stored_secret
from wedsync_apm.errors import ConfigurationError, NotValid
from wedsync_apm.organizations.secrets import Keyring, keyring_of, load_keyring
from wedsync_apm.runtime import UNFINISHED
from wedsync_apm.supervise import SUPERVISOR, follow_supervisor
from wedsync_apm.telemetry import configure_logging

app = group("Backups: taken, proven by restoring them, and given back.")

BAR: Final = 24
MEGABYTE: Final = 1024 * 1024

To = Annotated[
    list[Path] | None,
    typer.Option(
        "--to",
        help="Folder to write to; may be repeated. [WEDSYNC_APM_BACKUP_TO]",
        show_default=False,
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Folder to read from. [the first of WEDSYNC_APM_BACKUP_TO]",
        show_default=False,
    ),
]
BackupId = Annotated[
    str | None,
    typer.Option("--id", help="Which backup. [the newest good one]", show_default=False),
]


@app.command("create")
def create(
    *,
    to: To = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--kind", help="[physical for our own server, else logical]", show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take a backup now."""
    settings = settings_for(data_dir, database_url)
    destinations = _destinations(settings, to)
    if kind is None:
        is_ours = load_settings(data_dir=data_dir, database_url=database_url).database_url is None
        kind = Kind.PHYSICAL if is_ours else Kind.LOGICAL
    with _progress() as progress, reached(settings):
        manifest = Routine(
            conninfo=owner_conninfo(settings),
            destinations=destinations,
            keyring=load_keyring(settings),
            data_dir=settings.data_dir,
            pg_bin=settings.pg_bin,
            tell=progress.tell,
        ).take(kind)
    facts = asdict(manifest) | {"destinations": [str(one) for one in destinations]}
    took = (manifest.finished_at - manifest.started_at).total_seconds()
    emit(
        facts | {"bytes": manifest.bytes, "plain_bytes": manifest.plain_bytes, "seconds": took},
        as_json=as_json,
        text=f"{manifest.id}: {_size(manifest.plain_bytes)} became {_size(manifest.bytes)} in "
        f"{took:.1f} s, in {', '.join(map(str, destinations))}",
    )
    if settings.master_key is None:
        sys.stderr.write(
            f"The master key is in {settings.data_dir}/secrets.json only. Without it this backup "
            "cannot be opened: `wedsync-apm backup key --out FILE`, and keep the file elsewhere.\n"
        )


@app.command("list")
def show(
    *,
    source: From = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the backups of every destination, and which of 3-2-1 holds; exit 1 if one does not."""
    settings = load_settings(data_dir=data_dir)
    destinations = _destinations(settings, [source] if source else None)
    keyring = keyring_of(settings)
    found = [(one, Catalogue(one, keyring).entries()) for one in destinations]
    rules = judge_destinations(found, settings.data_dir)
    if as_json:
        listed = [
            asdict(entry.manifest)
            | {"bytes": entry.manifest.bytes, "plain_bytes": entry.manifest.plain_bytes}
            | {"proof": entry.proof, "fault": entry.fault, "destination": str(destination)}
            for destination, entries in found
            for entry in entries
        ]
        print_json({"backups": listed, "rules": rules})
    else:
        print_table([_row(place, entry) for place, entries in found for entry in entries])
        say()
        for rule in rules:
            say(f"{'holds' if rule.holds else 'MISSING':8} {rule.number}: {rule.reason}")
    if not all(rule.holds for rule in rules):
        raise SystemExit(1)


@app.command("verify")
def verify(
    *,
    source: From = None,
    backup_id: BackupId = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into a server of its own, compare and audit it; exit 1 if it is not good."""
    settings = load_settings(data_dir=data_dir)
    destination = _destinations(settings, [source] if source else None)[0]
    catalogue = Catalogue(destination, keyring_of(settings))
    entry = catalogue.find(backup_id) if backup_id else catalogue.choose(None)
    with _progress() as progress:
        found = prove(
            catalogue,
            entry,
            scratch=settings.data_dir / "rehearsal",
            at=utcnow(),
            pg_bin=settings.pg_bin,
            tell=progress.tell,
        )
    _record(settings, data_dir, destination, catalogue)
    _tell_proof(found, as_json)
    if not found.proof.is_good:
        raise SystemExit(1)


@app.command("restore")
def restore(
    *,
    source: From = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", help="Point in time, as RFC 3339. [the last there is]", show_default=False
        ),
    ] = None,
    backup_id: BackupId = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="File that `backup key` wrote.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Restore into an empty data folder, from the destination and the master key alone."""
    settings = load_settings(data_dir=data_dir)
    destination = _destinations(settings, [source] if source else None)[0]
    keyring = _read_key(key_file) if key_file else keyring_of(settings)
    catalogue = Catalogue(destination, keyring)
    wanted = _read_at(at)
    entry = catalogue.find(backup_id) if backup_id else catalogue.choose(wanted)
    cluster = entry.manifest.cluster
    state = catalogue.archive_state(cluster)
    require_reachable(entry, state, destination.names(f"wal/{cluster}"), wanted)
    require_room(settings.data_dir)
    began = utcnow()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    marker = settings.data_dir / UNFINISHED
    marker.touch(mode=0o600)
    with _progress() as progress:
        restoring = Restoring(
            catalogue=catalogue,
            entry=entry,
            data_dir=settings.data_dir,
            at=wanted,
            pg_bin=settings.pg_bin,
            tell=progress.tell,
        )
        with restoring.running() as server:
            newest = newest_change(server)
            with store.connect(server.conninfo()) as cx:
                settled = store.settle_restore(cx, entry.manifest.id, wanted, utcnow())
                store.record_entries(cx, str(destination), catalogue.entries())
    marker.unlink()
    took = (utcnow() - began).total_seconds()
    facts = {
        "backup": entry.manifest.id,
        "data_dir": settings.data_dir,
        "wanted_at": wanted,
        "newest_change_at": newest,
        "archived_until": state.until if state else None,
        "seconds": took,
        "steps": restoring.seconds,
        "not_sent": asdict(settled),
    }
    emit(
        facts,
        as_json=as_json,
        text=f"{settings.data_dir} has {entry.manifest.id}"
        f"{f' as of {newest.isoformat()}' if newest else ''} after {took:.1f} s.\n"
        f"Not sent, because it was due in the past: {settled.messages} messages. "
        f"{settled.ladders} open incidents call their ladder once more.\n"
        f"Start it with `wedsync-apm up --data-dir {settings.data_dir}`, and take a backup then.",
    )


@app.command("prune")
def take_away(
    *,
    source: From = None,
    is_trial: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be taken away.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take away what the rules do not keep; never the last good backup."""
    settings = load_settings(data_dir=data_dir)
    told = []
    for destination in _destinations(settings, [source] if source else None):
        catalogue = Catalogue(destination, keyring_of(settings))
        done = prune(catalogue, _keeping(settings), is_trial=is_trial)
        if not is_trial:
            _record(settings, data_dir, destination, catalogue)
        told.append({"destination": str(destination), **asdict(done)})
    verb = "would take away" if is_trial else "took away"
    lines = [
        f"{one['destination']}: {verb} {len(one['removed'])} backups and {one['log_files']} files "
        f"of the log; {len(one['kept'])} stay"
        for one in told
    ]
    emit(told, as_json=as_json, text="\n".join(lines))


@app.command("key")
def write_key(
    *,
    out: Annotated[Path, typer.Option("--out", help="New file, for a safe place elsewhere.")],
    data_dir: DataDir = None,
) -> None:
    """Write the master key to a file: without it no backup opens, and no stored secret."""
    settings = load_settings(data_dir=data_dir)
    text = stored_secret(settings.data_dir, "master_key")
    if text is None:
        raise ConfigurationError(
            f"There is no master key in {settings.data_dir}: it comes from WEDSYNC_APM_MASTER_KEY, "
            "and should be kept where that comes from."
        )
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise ConfigurationError(f"{out} cannot be made: {exc.strerror}") from exc
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
    say(f"The master key is in {out}. Keep it away from this machine and from the backups.")


@app.command("archive")
def archive(*, to: To = None, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Carry the log to the destinations until stopped, and take backups as they are due."""
    follow_supervisor()
    settings = settings_for(data_dir, database_url)
    configure_logging(settings.log_format)
    destinations = _destinations(settings, to)
    keyring = load_keyring(settings)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    conninfo = owner_conninfo(settings)
    routine = Routine(
        conninfo=conninfo,
        destinations=destinations,
        keyring=keyring,
        data_dir=settings.data_dir,
        pg_bin=settings.pg_bin,
        every_hours=settings.backup_every_hours,
        keeping=_keeping(settings),
    )
    carried = Archive(
        conninfo, settings.data_dir / "wal-spool", destinations, keyring, settings.pg_bin
    )
    if not os.environ.get(SUPERVISOR):
        say(f"Archiving to {', '.join(map(str, destinations))}. Ctrl-C stops it.")
    keep_archiving(carried, stopping.is_set, routine.take_if_due)


class _Bar:
    """How far something has come, on a terminal."""

    def __init__(self) -> None:
        self._progress = Progress()

    def tell(self, what: str, done: int, total: int) -> None:
        """What is being done, and how much of it is done."""
        if total <= 0:
            self._progress.step(what)
            return
        full = min(BAR * done // total, BAR)
        amount = f"{_size(done)} of {_size(total)}" if total > 100_000 else f"{done} of {total}"
        self._progress.step(f"{what} [{'#' * full}{'.' * (BAR - full)}] {amount}")

    def stop(self) -> None:
        """Nothing moves any more."""
        self._progress.stop()


@contextmanager
def _progress() -> Iterator[_Bar]:
    bar = _Bar()
    try:
        yield bar
    finally:
        bar.stop()


def _destinations(settings: Settings, named: Sequence[Path] | None) -> list[Destination]:
    folders = list(named or settings.backup_to)
    if not folders:
        raise ConfigurationError(
            "No destination is named: give --to or --from, or set WEDSYNC_APM_BACKUP_TO."
        )
    inside = [one for one in folders if one.absolute().is_relative_to(settings.data_dir.absolute())]
    if inside:
        raise ConfigurationError(
            f"{inside[0]} lies in the data folder: what takes that away, takes the backup with it."
        )
    return [Destination(folder) for folder in folders]


def _keeping(settings: Settings) -> Keeping:
    return Keeping(
        settings.backup_keep_daily, settings.backup_keep_weekly, settings.backup_keep_monthly
    )


def _row(destination: Destination, entry: Entry) -> dict[str, Any]:
    manifest, proof = entry.manifest, entry.proof
    state = entry.fault or "not proven"
    if proof is not None and not entry.fault:
        state = f"proven {proof.at:%Y-%m-%d %H:%M}" if proof.is_good else proof.faults[0]
    return {
        "id": manifest.id,
        "kind": manifest.kind.value,
        "finished_at": manifest.finished_at.isoformat(timespec="seconds"),
        "size": _size(manifest.bytes),
        "of": _size(manifest.plain_bytes),
        "restore_seconds": f"{proof.restore_seconds:.1f}" if proof else None,
        "state": state,
        "destination": str(destination),
    }


def _tell_proof(found: Rehearsal, as_json: bool) -> None:
    proof = found.proof
    lines = failed_lines(found.report)
    if as_json:
        print_json(asdict(proof) | {"restore_seconds": proof.restore_seconds, "health": lines})
        return
    steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in proof.seconds.items())
    say(f"{proof.backup_id} {'is good' if proof.is_good else 'IS NOT GOOD'}: {steps}")
    if proof.counts:
        say("  " + ", ".join(f"{count} {what}" for what, count in proof.counts.items()))
    for fault in proof.faults:
        say(f"  {fault}")
    for line in lines:
        say(f"  health report, {line['key']}: {line['value']} ({line['reason']})")


def _record(
    settings: Settings, data_dir: Path | None, destination: Destination, catalogue: Catalogue
) -> None:
    """In the database, where one runs: a destination can also be looked at without."""
    with suppress(ConfigurationError):
        running = settings_for(data_dir)
        with reached(running), store.connect(owner_conninfo(running)) as cx:
            store.record_entries(cx, str(destination), catalogue.entries())


def _read_key(path: Path) -> Keyring:
    try:
        return keyring_of(load_settings({"WEDSYNC_APM_MASTER_KEY_FILE": str(path)}))
    except ConfigurationError as exc:
        raise ConfigurationError(f"--key-file: {exc.detail}") from exc


def _read_at(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise NotValid(f"--at is {text!r}; write it like 2026-06-20T14:30:00+02:00.")
    if at.astimezone(UTC) > utcnow():
        raise NotValid(f"--at {text} lies in the future.")
    return at


def _size(count: int) -> str:
    megabytes = count / MEGABYTE
    return f"{megabytes:.1f} MB" if megabytes < 1024 else f"{megabytes / 1024:.2f} GB"
