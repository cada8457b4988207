"""A server with data is backed up, killed and removed, and given back to a point in time."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.integration.test_guard_docs import blocks, shell
from tests.support.postgres import TEMPLATE, PostgresServer, throw_away_folder, throw_away_server
from wedsync_apm.backups import store
from wedsync_apm.backups.archive import Archive
from wedsync_apm.backups.catalogue import Catalogue
from wedsync_apm.backups.destination import Destination, DestinationFailed
from wedsync_apm.backups.model import Counted, Kind, Manifest
from wedsync_apm.backups.proving import prove
from wedsync_apm.backups.restoring import Restoring, require_reachable, require_room
from wedsync_apm.backups.routine import Routine
from wedsync_apm.backups.sealed import BackupUnreadable
from wedsync_apm.backups.taking import Taking
from wedsync_apm.clock import utcnow
from wedsync_apm.config import load_or_create_secret
from wedsync_apm.db.embedded import DATABASE, EmbeddedPostgres
from wedsync_apm.errors import ConfigurationError, NotValid
from wedsync_apm.organizations.secrets import Keyring
from wedsync_apm.runtime import UNFINISHED, Runtime, require_restored, write_runtime

KEYS: Final = Keyring(bytes(range(32)))
REPLICATING: Final = {"wal_level": "replica", "max_wal_senders": "5"}
QUICK: Final = {"fsync": "off", "shared_buffers": "32MB", "autovacuum": "off"}

Rows = list[dict[str, Any]]


@dataclass(slots=True)
class House:
    """A server of our schema that is archived, and everything that is needed to lose it."""

    server: PostgresServer
    archive: Archive
    destination: Destination
    folder: Path

    @property
    def conninfo(self) -> str:
        return self.server.embedded.conninfo()

    @property
    def data_dir(self) -> Path:
        return self.server.embedded.data_dir

    def routine(self) -> Routine:
        return Routine(
            conninfo=self.conninfo,
            destinations=[self.destination],
            keyring=KEYS,
            data_dir=self.data_dir,
        )

    def ask(self, statement: str, *values: object) -> Rows:
        with psycopg.connect(self.conninfo, autocommit=True, row_factory=dict_row) as cx:
            cursor = cx.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def count(self) -> Counted:
        with store.connect(self.conninfo) as cx:
            return store.count_all(cx)


@contextmanager
def house() -> Iterator[House]:
    with throw_away_server(options=REPLICATING) as server, throw_away_folder() as folder:
        with server.clone():  # makes the template where the shelf has none
            pass
        server.drop_database(DATABASE)
        server.create_database(template=TEMPLATE, name=DATABASE)
        destination = Destination(folder / "kept")
        archive = Archive(server.embedded.conninfo(), folder / "spool", [destination], KEYS)
        try:
            yield House(server, archive, destination, folder)
        finally:
            archive.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[House]:
    with house() as made:
        yield made


@pytest.fixture(scope="module")
def backup(shared: House) -> Manifest:
    """One that nobody changes."""
    return shared.routine().take(Kind.PHYSICAL)


def instant(house: House) -> datetime:
    """A moment between two commits."""
    time.sleep(0.05)
    (row,) = house.ask("select clock_timestamp() as at")
    time.sleep(0.05)
    at: datetime = row["at"]
    return at


def settle_trouble(house: House) -> None:
    """An open incident on a ladder whose call has not gone out, and a message that waits."""
    house.ask(
        "insert into organizations (id, name) values "
        "('a0000000-0000-0000-0000-000000000001', 'Rose Barn')"
    )
    house.ask(
        "insert into apm_contact_methods (organization_id, name, channel, address, verified_at) "
        "values ('a0000000-0000-0000-0000-000000000001', 'Ann', 'email', 'ann@example.org', now())"
    )
    house.ask(
        "insert into apm_incidents (organization_id, title, severity, priority, dedup_key, "
        "detected_at, last_seen_at) values ('a0000000-0000-0000-0000-000000000001', 'Slow form', "
        "'critical', 'high', 'test', now(), now())"
    )


async def test_what_was_lost_is_given_back_by_the_lines_of_the_docs() -> None:
    text = "\n".join(blocks("backups", "sh"))
    lines = {
        match[1]: match[0]
        for match in re.finditer(r"^wedsync-apm backup (\w+).*$", text, re.MULTILINE)
    }
    with house() as lived:
        env = {
            "DESTINATION": str(lived.destination),
            "DATA_DIR": str(lived.data_dir),
            "NEW_DATA_DIR": str(lived.folder / "back"),
            "HOME": str(lived.folder),
        }
        settle_trouble(lived)
        lived.ask("create table public.kept (n int, at timestamptz default clock_timestamp())")
        secret = base64.b64encode(bytes(range(32))).decode()
        load_or_create_secret(lived.data_dir, "master_key", lambda: secret)
        write_runtime(
            lived.data_dir,
            Runtime(
                "http://127.0.0.1",
                lived.server.embedded.conninfo(tcp=True),
                str(lived.data_dir),
                {"postgres": lived.server.embedded.pid or 0},
                "test",
            ),
        )
        assert lived.archive.run_once() == {str(lived.destination): ""}
        key = f"cd {lived.folder} && "
        code, out = await shell(key + lines["key"], **env)
        assert code == 0, out
        code, out = await shell(f"{lines['create']} --json", **env)
        assert code == 0, out
        assert "keep the file elsewhere" in out
        lived.ask("insert into public.kept values (1)")
        wanted = instant(lived)
        counted = lived.count()
        lived.ask("insert into public.kept values (2)")
        lived.archive.run_once()
        code, out = await shell(f"{lines['verify']} --json", **env)
        assert code == 0, out
        proof = json.loads(out)
        assert proof["faults"] == []
        assert proof["counts"]["policy"] > 100
        assert proof["counts"]["partition"] > 10
        assert proof["counts"]["log files"] >= 1
        (facts,) = lived.ask("select * from apm_private.backup_facts(now())")
        assert facts["is_last_proof_good"] is True
        assert facts["proven_at"] == datetime.fromisoformat(proof["at"])
        # one destination on this machine is no 3-2-1
        code, out = await shell(lines["list"], **env)
        assert code == 1
        assert re.search(r"MISSING +3 copies", out)
        assert re.search(r"MISSING +1 off-site", out)
        code, out = await shell(lines["prune"], **env)
        assert (code, "would take away 0 backups" in out) == (0, True)
        (last,) = lived.ask("select clock_timestamp() as at")

        pid = lived.server.embedded.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        lived.archive.close()
        lived.server.embedded.stop()
        shutil.rmtree(lived.data_dir)

        catalogue = Catalogue(lived.destination, KEYS)
        entry = catalogue.choose(None)
        state = catalogue.archive_state(entry.manifest.cluster)
        assert state is not None
        names = lived.destination.names(f"wal/{entry.manifest.cluster}")
        with pytest.raises(NotValid, match="nothing after it"):
            require_reachable(entry, state, names, last["at"] + timedelta(minutes=1))
        code, out = await shell(f"{key}{lines['restore']} --json --at {wanted.isoformat()}", **env)
        assert code == 0, out
        told = json.loads(out)
        assert told["not_sent"]["messages"] == 0
        assert datetime.fromisoformat(told["newest_change_at"]) <= wanted
        require_restored(lived.folder / "back")
        secrets = json.loads((lived.folder / "back/secrets.json").read_text())
        assert secrets["master_key"] == secret
        with (
            EmbeddedPostgres(lived.folder / "back", options=QUICK) as server,
            store.connect(server.conninfo()) as cx,
        ):
            assert cx.execute("select n from public.kept").fetchall() == [{"n": 1}]
            found = store.count_all(cx)
            assert found.objects == counted.objects
            written = dict.fromkeys(BOOKS, 1)
            assert {**found.rows, **written} == {**counted.rows, **written}
            check_that_nothing_old_goes_out(cx, entry.manifest.id)


BOOKS: Final = (
    "apm_private.backups",
    "apm_private.backup_archives",
    "apm_private.restores",
)
"""What the restore itself writes down."""


def check_that_nothing_old_goes_out(cx: psycopg.Connection[dict[str, Any]], backup: str) -> None:
    later = utcnow() + timedelta(days=2)
    cx.execute(
        "insert into apm_deliveries (organization_id, incident_id, contact_method_id, channel, "
        "kind, reason, recipient, idempotency_key, due_at, created_at, generation) "
        "select i.organization_id, i.id, c.id, 'email', 'page', 'first', '{}', 'page', now(), "
        "now(), i.generation from apm_incidents i join apm_contact_methods c "
        "on c.organization_id = i.organization_id"
    )
    cx.execute("update apm_escalation_runs set next_step = 1, next_at = now() + interval '1 hour'")
    cx.execute(
        "insert into apm_deliveries (organization_id, channel, kind, reason, recipient, "
        "idempotency_key, due_at) select organization_id, 'email', 'test', 'test', '{}', 'future', "
        "%s from apm_contact_methods",
        (later + timedelta(days=1),),
    )
    settled = store.settle_restore(cx, backup, None, later)
    assert (settled.messages, settled.ladders) == (1, 1)
    rows = cx.execute(
        "select kind, state, state_reason, idempotency_key from apm_deliveries order by kind"
    ).fetchall()
    page, future = rows
    assert page["state"] == "expired"
    assert page["state_reason"].startswith("not sent after a restore: it was due at ")
    assert page["idempotency_key"] != "page"
    assert future["state"] == "pending"
    (run,) = cx.execute("select next_step, next_at, state from apm_escalation_runs").fetchall()
    # the rung whose call did not go out, once
    assert (run["next_step"], run["next_at"], run["state"]) == (0, later, "running")
    (told,) = cx.execute(
        "select message from apm_incident_events where actor = 'restore'"
    ).fetchall()
    assert told["message"] == page["state_reason"]
    again = store.settle_restore(cx, backup, None, later)
    assert again.messages == 0
    assert cx.execute("select next_step from apm_escalation_runs").fetchall() == [{"next_step": 0}]


def test_what_was_taken_out_behind_our_back_is_found(
    shared: House, backup: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.count_all

    def loosened(cx: Any, *, is_exact: bool = True) -> Counted:
        cx.execute("drop policy apm_alerts_authenticated_select on public.apm_alerts")
        cx.execute("alter table public.apm_incidents no force row level security")
        return real(cx, is_exact=is_exact)

    catalogue = Catalogue(shared.destination, KEYS)
    monkeypatch.setattr("wedsync_apm.backups.store.count_all", loosened)
    found = prove(
        catalogue, catalogue.find(backup.id), scratch=shared.folder / "scratch", at=utcnow()
    )
    assert not found.proof.is_good
    told = "\n".join(found.proof.faults)
    assert "apm_alerts.apm_alerts_authenticated_select is missing" in told
    assert "table public.apm_incidents is another" in told
    assert "audit rls" in told
    assert catalogue.find(backup.id).held.is_bad
    shared.routine().record()
    (facts,) = shared.ask("select * from apm_private.backup_facts(now())")
    assert facts["is_last_proof_good"] is False


def test_another_key_restores_nothing(shared: House, backup: Manifest) -> None:
    with pytest.raises(BackupUnreadable, match=KEYS.key_id):
        Catalogue(shared.destination, Keyring(bytes(32))).find(backup.id)
    catalogue = Catalogue(shared.destination, KEYS)
    restoring = Restoring(
        catalogue=catalogue, entry=catalogue.find(backup.id), data_dir=shared.folder / "other"
    )
    catalogue.keyring = Keyring(bytes(32))
    with pytest.raises(BackupUnreadable), restoring.running():
        pass
    assert not (shared.folder / "other/secrets.json").exists()


_TAKE: Final = """
import sys
from pathlib import Path
from wedsync_apm.backups.destination import Destination
from wedsync_apm.backups.model import Kind
from wedsync_apm.backups.taking import Taking
from wedsync_apm.organizations.secrets import Keyring
def tell(what, done, total):
    if done:
        print(what, flush=True)
        sys.stdin.read()
Taking(conninfo=sys.argv[1], destination=Destination(Path(sys.argv[2])),
    keyring=Keyring(bytes(range(32))), kind=Kind.PHYSICAL, tell=tell).run()
"""


def test_a_kill_in_the_middle_leaves_nothing_that_counts(shared: House) -> None:
    destination = Destination(shared.folder / "killed")
    child = subprocess.Popen(
        [sys.executable, "-c", _TAKE, shared.conninfo, str(destination)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith(b"Copying base.tar")
    child.kill()
    child.wait()
    child.stdout.close()
    if child.stdin:
        child.stdin.close()
    catalogue = Catalogue(destination, KEYS)
    assert catalogue.entries() == []
    assert len(destination.names("backups")) == 1
    manifest = Taking(
        conninfo=shared.conninfo, destination=destination, keyring=KEYS, kind=Kind.PHYSICAL
    ).run()
    # what the kill left is gone, and no lock was left either
    assert destination.names("backups") == [manifest.id]


class Full(Destination):
    """A disk that has no room any more."""

    def _path(self, name: str) -> Path:
        path = super()._path(name)
        if not name.endswith(".json"):
            path.parent.mkdir(parents=True, exist_ok=True)
            full = path.with_name(f"{path.name}.part")
            if not full.is_symlink():
                full.symlink_to("/dev/full")
        return path


def test_a_full_destination_is_an_alarm_and_no_crash(shared: House) -> None:
    full = Full(shared.folder / "full")
    routine = shared.routine()
    routine.destinations = [full]
    with pytest.raises(DestinationFailed, match="No space left"):
        routine.take(Kind.PHYSICAL)
    assert Catalogue(full, KEYS).entries() == []
    (row,) = shared.ask("select * from apm_private.backups where destination = %s", str(full))
    assert row["finished_at"] is None
    assert "No space left" in row["error"]
    archive = Archive(shared.conninfo, shared.folder / "spool2", [full], KEYS)
    try:
        assert "No space left" in archive.run_once()[str(full)]
        (row,) = shared.ask(
            "select * from apm_private.backup_archives where destination = %s", str(full)
        )
        assert "No space left" in row["error"]
        assert row["failing_since"] is not None
        assert row["kept_until"] is None
        # as soon as there is room again, everything that was kept by the server goes on
        archive.destinations = [Destination(full.root)]
        for left in full.root.rglob("*.part"):
            left.unlink()
        assert archive.run_once() == {str(full): ""}
        (row,) = shared.ask(
            "select * from apm_private.backup_archives where destination = %s", str(full)
        )
        assert (row["error"], row["failing_since"]) == ("", None)
    finally:
        archive.close()


def test_a_dump_gives_back_the_same_database(shared: House) -> None:
    try:
        manifest = shared.routine().take(Kind.LOGICAL)
    except ConfigurationError as exc:
        pytest.skip(f"not measured: {exc.detail}")
    catalogue = Catalogue(shared.destination, KEYS)
    found = prove(
        catalogue, catalogue.find(manifest.id), scratch=shared.folder / "scratch", at=utcnow()
    )
    assert found.proof.faults == ()


def test_a_folder_with_data_is_never_restored_over(tmp_path: Path) -> None:
    require_room(tmp_path)
    (tmp_path / "postgres").mkdir()
    with pytest.raises(ConfigurationError, match="There is a database"):
        require_room(tmp_path)
    # but what a restore left half done is taken away by the next one, and nothing starts on it
    (tmp_path / UNFINISHED).touch()
    with pytest.raises(ConfigurationError, match="was not finished"):
        require_restored(tmp_path)
    require_room(tmp_path)
    assert not (tmp_path / "postgres").exists()


def test_the_routine_takes_a_backup_when_one_is_due(shared: House) -> None:
    routine = shared.routine()
    routine.destinations = [Destination(shared.folder / "routine")]
    catalogue = Catalogue(routine.destinations[0], KEYS)
    routine.take_if_due()
    assert len(catalogue.entries()) == 1
    routine.take_if_due()
    assert len(catalogue.entries()) == 1
    assert catalogue.entries()[0].manifest.finished_at <= datetime.now(UTC) + timedelta(minutes=1)
