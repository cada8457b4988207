"""A backup counts when it was finished, only for whoever has the key, and as it was written."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from wedsync_apm.backups.catalogue import Catalogue
from wedsync_apm.backups.destination import Destination, DestinationFailed
from wedsync_apm.backups.model import ArchiveState, Keeping, Kind, Manifest, Part, Proof
from wedsync_apm.backups.pruning import prune
from wedsync_apm.backups.sealed import BackupUnreadable
from wedsync_apm.errors import ConfigurationError, NotFound
from wedsync_apm.organizations.secrets import Keyring

KEYS: Final = Keyring(bytes(range(32)))
NOON: Final = datetime(2026, 6, 20, 12, tzinfo=UTC)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(Destination(tmp_path), KEYS)


def add(catalogue: Catalogue, number: int, *, days_ago: int = 0, wal: int = 1) -> Manifest:
    manifest = Manifest(
        id=f"20260620T120000Z-{number:06x}",
        kind=Kind.PHYSICAL,
        started_at=NOON - timedelta(days=days_ago, minutes=1),
        finished_at=NOON - timedelta(days=days_ago),
        product_version="1",
        server_version=180006,
        database="wedsync_apm",
        cluster="77",
        key_id=KEYS.key_id,
        wal_from=f"{1:08X}{0:08X}{wal:08X}",
        wal_bytes=16 * 1024 * 1024,
        parts=(Part("base.tar", "0" * 64, 4, 4),),
    )
    catalogue.destination.put(f"backups/{manifest.id}/base.tar", b"data")
    catalogue.add(manifest)
    return manifest


def test_what_was_added_is_listed_oldest_first(catalogue: Catalogue) -> None:
    newer, older = add(catalogue, 1), add(catalogue, 2, days_ago=3)
    assert [entry.manifest for entry in catalogue.entries()] == [older, newer]
    assert catalogue.find(newer.id).manifest == newer
    assert catalogue.choose(None).manifest == newer
    assert catalogue.choose(NOON - timedelta(days=1)).manifest == older
    with pytest.raises(NotFound):
        catalogue.choose(NOON - timedelta(days=4))
    with pytest.raises(NotFound):
        catalogue.find("../../etc/passwd")


def test_what_was_begun_and_not_finished_does_not_count(catalogue: Catalogue) -> None:
    whole = add(catalogue, 1)
    catalogue.destination.put("backups/20260620T120000Z-00000a/base.tar", b"data")
    assert [entry.manifest for entry in catalogue.entries()] == [whole]
    assert catalogue.remove_unfinished() == ["20260620T120000Z-00000a"]
    assert [entry.manifest for entry in catalogue.entries()] == [whole]


def test_a_file_that_is_missing_or_short_is_a_fault(catalogue: Catalogue, tmp_path: Path) -> None:
    older, newer = add(catalogue, 1, days_ago=1), add(catalogue, 2)
    (tmp_path / f"backups/{newer.id}/base.tar").write_bytes(b"dat")
    assert "base.tar" in catalogue.find(newer.id).fault
    assert catalogue.choose(None).manifest == older
    (tmp_path / f"backups/{newer.id}/base.tar").unlink()
    assert catalogue.find(newer.id).held.is_bad


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told["facts"].update(wal_from="000000010000000000000009"),
        lambda told: told.update(key_id="0" * 16),
        lambda told: told.pop("seal"),
        lambda told: told.update(seal="0" * 64),
    ],
)
def test_a_manifest_that_somebody_changed_is_refused(
    catalogue: Catalogue, tmp_path: Path, change: Callable[[dict[str, object]], object]
) -> None:
    manifest = add(catalogue, 1)
    path = tmp_path / f"backups/{manifest.id}/manifest.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    with pytest.raises(BackupUnreadable):
        catalogue.entries()


def test_a_manifest_cannot_stand_for_another_backup(catalogue: Catalogue, tmp_path: Path) -> None:
    one, other = add(catalogue, 1, days_ago=9), add(catalogue, 2)
    told = (tmp_path / f"backups/{one.id}/manifest.json").read_text()
    (tmp_path / f"backups/{other.id}/manifest.json").write_text(told)
    with pytest.raises(BackupUnreadable):
        catalogue.entries()


def test_another_key_reads_nothing(catalogue: Catalogue) -> None:
    add(catalogue, 1)
    with pytest.raises(BackupUnreadable, match=KEYS.key_id):
        Catalogue(catalogue.destination, Keyring(bytes(32))).entries()


def test_a_proof_is_remembered_and_a_bad_one_takes_the_backup_out(catalogue: Catalogue) -> None:
    older, newer = add(catalogue, 1, days_ago=1), add(catalogue, 2)
    good = Proof(older.id, NOON, True, (), {"fetch": 1.5, "recover": 2.0, "look": 1.0}, {"rows": 3})
    catalogue.add_proof(good)
    catalogue.add_proof(Proof(newer.id, NOON, False, ("t has 1 rows instead of 2",), {}))
    found = catalogue.find(older.id)
    assert found.proof == good
    assert found.proof.restore_seconds == 3.5
    assert catalogue.choose(None).manifest == older
    listed = json.loads(catalogue.destination.read("catalogue.json") or b"")["backups"]
    assert [backup["proof"]["is_good"] for backup in listed] == [True, False]


def test_how_far_the_log_has_come_is_remembered(catalogue: Catalogue) -> None:
    assert catalogue.archive_state("77") is None
    state = ArchiveState(NOON, "0/3000028", 1)
    catalogue.put_archive_state("77", state)
    assert catalogue.archive_state("77") == state


def test_pruning_takes_what_is_not_kept_and_the_log_that_nobody_needs(catalogue: Catalogue) -> None:
    backups = [add(catalogue, day, days_ago=day, wal=10 - day) for day in range(5)]
    for number in range(1, 12):
        catalogue.destination.put(f"wal/77/{1:08X}{0:08X}{number:08X}", b"log")
    catalogue.destination.put("wal/77/00000002.history", b"history")
    keeping = Keeping(daily=2, weekly=0, monthly=0)
    trial = prune(catalogue, keeping, is_trial=True)
    assert len(catalogue.entries()) == 5
    done = prune(catalogue, keeping)
    assert done == trial
    assert set(done.removed) == {backup.id for backup in backups[2:]}
    assert [entry.manifest for entry in catalogue.entries()] == [backups[1], backups[0]]
    left = {f"{1:08X}{0:08X}{number:08X}" for number in (9, 10, 11)}
    assert set(catalogue.destination.names("wal/77")) == {"00000002.history"} | left
    assert prune(catalogue, keeping).removed == ()


def test_two_never_change_a_destination_at_once(catalogue: Catalogue) -> None:
    other = Destination(catalogue.destination.root)
    with (
        catalogue.destination.alone(),
        pytest.raises(ConfigurationError, match="Another process"),
        other.alone(),
    ):
        pass


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    destination.put("a/b", b"first")

    def fail() -> None:
        with destination.create("a/b") as out:
            out.write(b"sec")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail()
    assert destination.read("a/b") == b"first"
    assert destination.names("a") == ["b"]
    # what a kill leaves does not count either
    (tmp_path / "a/c.part").write_bytes(b"half")
    assert destination.names("a") == ["b"]


def test_a_full_destination_is_said(tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(DestinationFailed, match="No space left on device"):
        destination.put("file", bytes(100_000))
    assert destination.read("file") is None


def test_no_name_leads_out_of_the_destination(tmp_path: Path) -> None:
    destination = Destination(tmp_path / "inside")
    for name in ("../outside", "a/../../outside", "/etc/passwd", "a//b", ""):
        with pytest.raises(DestinationFailed):
            destination.put(name, b"")
