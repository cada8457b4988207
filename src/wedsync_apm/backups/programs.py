"""PostgreSQL's own programs that make and read backups, found and started without a password in
sight of others."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from wedsync_apm.db.binaries import find_binaries
from wedsync_apm.errors import ConfigurationError, WedSyncError

READ_BYTES: Final = 1024 * 1024


class ProgramFailed(WedSyncError):
    """A program of PostgreSQL ended with an error."""

    title = "Backup program failed"


def find_program(name: str, pg_bin: Path | None, version: int) -> Path:
    """The program, of a release that can speak with a server of that major version.

    Raises ConfigurationError where there is none: a backup is never quietly something else.
    """
    folders = []
    try:
        folders.append(find_binaries(pg_bin, version).folder)
    except ConfigurationError:
        # A dump may also be made by a newer release.
        folders.append(find_binaries(pg_bin).folder)
    if (on_path := shutil.which(name)) is not None:
        folders.append(Path(on_path).resolve().parent)
    seen = []
    for folder in folders:
        path = folder / name
        if not os.access(path, os.X_OK):
            seen.append(f"{folder} has none")
        elif (found := _version_of(path)) < version:
            seen.append(f"{path} is of version {found}")
        else:
            return path
    raise ConfigurationError(
        f"There is no {name} for a server of version {version} here ({'; '.join(seen)}). Install "
        "PostgreSQL's client programs, or name their folder with WEDSYNC_APM_PG_BIN."
    )


def without_password(conninfo: str, **others: Any) -> tuple[str, dict[str, str]]:
    """The address without its password, and the environment that has it."""
    parts = conninfo_to_dict(conninfo)
    password = parts.pop("password", None)
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
    if password:
        env["PGPASSWORD"] = str(password)
    return make_conninfo(**{**parts, **others}), env


@contextmanager
def output_of(command: Sequence[str], env: dict[str, str]) -> Iterator[IO[bytes]]:
    """What the program writes; the block reads it to its end.

    Raises ProgramFailed with the program's last words when it ends with an error.
    """
    with _started(command, env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        yield process.stdout


@contextmanager
def input_of(command: Sequence[str], env: dict[str, str]) -> Iterator[IO[bytes]]:
    """What the program reads; it ends when the block has ended. Raises ProgramFailed."""
    with _started(command, env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None  # noqa: S101 - asked for above
        yield process.stdin
        process.stdin.close()


@contextmanager
def _started(
    command: Sequence[str], env: dict[str, str], **streams: Any
) -> Iterator[subprocess.Popen[bytes]]:
    # Into a file: nobody reads its words while its other stream is read.
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(command, env=env, stderr=words, **streams)  # noqa: S603
        try:
            yield process
        except BaseException as exc:
            process.kill()
            process.wait()
            if isinstance(exc, BrokenPipeError):
                raise _failure(command, process, words) from exc
            raise
        finally:
            for stream in (process.stdout, process.stdin):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
        if process.wait() != 0:
            raise _failure(command, process, words)


def _failure(
    command: Sequence[str], process: subprocess.Popen[bytes], words: IO[bytes]
) -> ProgramFailed:
    words.seek(0)
    said = " ".join(words.read().decode(errors="replace").split())[-1000:]
    return ProgramFailed(f"{Path(command[0]).name} ended with {process.returncode}: {said}")


def _version_of(program: Path) -> int:
    said = subprocess.run(  # noqa: S603 - a program that was found in a folder of PostgreSQL's
        [str(program), "--version"], capture_output=True, text=True, check=False
    ).stdout
    match = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(match[1]) if match else 0
