"""A folder that backups lie in: written so that a file is there whole, or not at all."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from wedsync_apm.errors import ConfigurationError, WedSyncError

_UNFINISHED: Final = ".part"


class DestinationFailed(WedSyncError):
    """The destination does not take a file, or does not give it."""

    title = "Backup destination failed"


class Destination:
    """A folder, on a disk or mounted from elsewhere. Names have `/` between their parts."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def __str__(self) -> str:
        return str(self.root)

    def prepare(self) -> None:
        """Makes the folder. Raises DestinationFailed."""
        with _told(self):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A new file under the name, there when the block ends and it has reached the disk.

        Nothing is left of it when the block fails; what a kill leaves has another name.
        """
        path = self._path(name)
        unfinished = path.with_name(path.name + _UNFINISHED)
        with _told(self):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as out:
                    yield out
                    out.flush()
                    os.fsync(out.fileno())
                unfinished.replace(path)
                _sync_folder(path.parent)
            except BaseException:
                with suppress(OSError):
                    unfinished.unlink()
                raise

    def put(self, name: str, data: bytes) -> None:
        """A small file at once."""
        with self.create(name) as out:
            out.write(data)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """The file, for reading. Raises DestinationFailed where there is none."""
        with _told(self), self._path(name).open("rb") as file:
            yield file

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        try:
            with _told(self):
                return self._path(name).read_bytes()
        except DestinationFailed as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                return None
            raise

    def names(self, folder: str) -> list[str]:
        """The names of what lies in the folder whole; none where there is no such folder."""
        with _told(self):
            try:
                found = sorted(os.listdir(self._path(folder)))
            except FileNotFoundError:
                return []
        return [name for name in found if not name.endswith(_UNFINISHED)]

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""
        try:
            return self._path(name).stat().st_size
        except OSError:
            return None

    def remove(self, name: str) -> None:
        """Takes a file, or a folder and all in it, away."""
        path = self._path(name)
        with _told(self):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else makes or takes away backups here meanwhile. Raises ConfigurationError."""
        self.prepare()
        with _told(self):
            lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigurationError(
                    f"Another process is making or removing backups in {self}; wait for it."
                ) from None
            yield
        finally:
            os.close(lock)

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if any(part in {"", ".", ".."} for part in parts):
            raise DestinationFailed(f"{name!r} is no name of a file in a backup.")
        return self.root.joinpath(*parts)


@contextmanager
def _told(destination: Destination) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise DestinationFailed(f"{destination}: {exc.strerror or exc}") from exc


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
