"""A pooler in transaction mode: Debian's pgbouncer, where it lies or unpacked without root."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.ports import free_port
from wedsync_apm.db.binaries import run_as, server_user

PROGRAM: Final = Path("usr/sbin/pgbouncer")
CACHE: Final = Path(tempfile.gettempdir()) / f"wedsync-apm-pgbouncer-{os.geteuid()}"


def find_pgbouncer() -> tuple[str, dict[str, str]]:
    """The program and the environment that it needs.

    Where there is none it is unpacked from the distribution's package; a machine that has no such
    package measures nothing here, which in CI is an error.
    """
    installed = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if installed:
        return installed, {}
    if not (CACHE / PROGRAM).exists():
        try:
            _unpack()
        except (OSError, subprocess.CalledProcessError) as error:
            reason = f"no pgbouncer on this machine, and none could be unpacked: {error}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(f"not measured: {reason}")
    libraries = sorted({str(path.parent) for path in CACHE.rglob("lib*.so.*")})
    return str(CACHE / PROGRAM), {"LD_LIBRARY_PATH": ":".join(libraries)}


def _unpack() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        _run("apt-get", "download", "pgbouncer", cwd=folder)
        depends = _run("dpkg-deb", "-f", *map(str, folder.glob("pgbouncer_*.deb")), "Depends")
        names = [entry.split()[0] for entry in depends.replace("|", ",").split(",")]
        libraries = [n for n in names if n.startswith(("libc-ares", "libcares", "libevent"))]
        _run("apt-get", "download", *libraries, cwd=folder)
        target = folder / "unpacked"
        for package in folder.glob("*.deb"):
            _run("dpkg-deb", "-x", str(package), str(target))
        target.chmod(0o755)
        shutil.copytree(target, CACHE, symlinks=True, dirs_exist_ok=True)


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd)
    return done.stdout


@contextmanager
def pooler(port: int, folder: Path, passwords: Mapping[str, str]) -> Iterator[int]:
    """Its port on loopback, before the server on `port`; these logins share one connection each."""
    program, environment = find_pgbouncer()
    user = server_user()
    home = folder / "pgbouncer"
    home.mkdir(mode=0o700)
    own_port = free_port()
    (home / "users.txt").write_text(
        "".join(f'"{role}" "{password}"\n' for role, password in passwords.items())
    )
    (home / "pgbouncer.ini").write_text(
        f"""[databases]
* = host=127.0.0.1 port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {home}/users.txt
pool_mode = transaction
default_pool_size = 1
reserve_pool_size = 0
server_idle_timeout = 5
"""
    )
    if user is not None:
        for path in (home, *home.iterdir()):
            os.chown(path, user.uid, user.gid)
    arguments = run_as(user)
    arguments["env"] = {**arguments["env"], **environment}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(home / "pgbouncer.ini")], stdout=log, stderr=log, **arguments
        )
    try:
        _wait_until_open(own_port, process, home / "log")
        yield own_port
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"pgbouncer did not open its port: {log.read_text(errors='replace')}")
