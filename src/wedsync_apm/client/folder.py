"""Where the queue lies on disk: a folder per key, in it one per process, each with a lock.

    queue_dir/<fingerprint of the key>/<slot>/lock, 000000000001.seg, …

What one key queued is never sent with another: the keys may be those of two organizations. A
process takes the lowest slot that nobody has locked, and with it what a process before it left
there. Other slots whose processes have ended are emptied into its own by renaming their files. The
kernel gives a lock back when its process ends, however it ends. Lock files stay: to remove one that
another process is just opening would give the same slot to both.
"""

import hashlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

MOST_SLOTS: Final = 1_000
SUFFIX: Final = ".seg"
_FINGERPRINT_LENGTH: Final = 16


def fingerprint(key: str) -> str:
    """Names a key without giving it away; a fingerprint is its own."""
    is_one = len(key) == _FINGERPRINT_LENGTH and all(c in "0123456789abcdef" for c in key)
    return key if is_one else hashlib.sha256(key.encode()).hexdigest()[:_FINGERPRINT_LENGTH]


def check_supported() -> None:
    """Raises ValueError where files cannot be locked as we need it."""
    if sys.platform == "win32":
        raise ValueError("queue_dir needs the file locks of Linux, macOS or another Unix")


class Folder:
    """This process' slot, from `open` to `close`; not for several threads at once."""

    def __init__(self, queue_dir: str | os.PathLike[str], key: str, older: Sequence[str]) -> None:
        self._root = Path(queue_dir).absolute()
        self._own = self._root / fingerprint(key)
        self._older = tuple(self._root / fingerprint(one) for one in older)
        self._lock: int | None = None
        self._next = 1
        self.path = self._own

    def open(self) -> None:
        """Takes a slot. Raises OSError."""
        self._own.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(MOST_SLOTS):
            slot = self._own / f"{number:03}"
            slot.mkdir(mode=0o700, exist_ok=True)
            self._lock = _lock(slot)
            if self._lock is not None:
                self.path = slot
                numbers = [int(path.stem) for path in _segments(slot)]
                self._next = max(numbers, default=0) + 1
                return
        raise OSError(f"{MOST_SLOTS} processes use {self._own} already")

    def close(self) -> None:
        """Gives the slot back to whoever comes next."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def instance(self) -> str:
        """Names the slot among all of all machines; the next process to take it has the same."""
        place = hashlib.sha256(os.fsencode(self._own)).hexdigest()[:6]
        return f"{socket.gethostname()}-{place}-{self.path.name}"

    def segments(self) -> list[Path]:
        """The files of the slot, oldest first."""
        return _segments(self.path)

    def next_path(self) -> Path:
        """A name that no file has yet."""
        path = self.path / f"{self._next:012}{SUFFIX}"
        self._next += 1
        return path

    def adopt(self, room: int) -> list[Path]:
        """Moves here what ended processes have left, up to `room` bytes, and names it.

        Raises OSError; what it moved by then is found by the next `segments`.
        """
        moved: list[Path] = []
        for slot in self._slots():
            with _locked(slot) as is_ours:
                for path in _segments(slot) if is_ours else ():
                    size = path.stat().st_size
                    if size > room:
                        return moved
                    target = self.next_path()
                    path.rename(target)
                    moved.append(target)
                    room -= size
        return moved

    def strangers(self) -> list[tuple[str, int]]:
        """Other keys that have something waiting in the same folder, and how many bytes."""
        known = {self._own, *self._older}
        found = []
        for folder in sorted(self._root.iterdir()):
            if folder not in known and folder.is_dir():
                size = sum(path.stat().st_size for path in folder.glob(f"*/*{SUFFIX}"))
                if size:
                    found.append((folder.name, size))
        return found

    def _slots(self) -> Iterator[Path]:
        for folder in (self._own, *self._older):
            if folder.is_dir():
                yield from (slot for slot in sorted(folder.iterdir()) if slot != self.path)


def sync_folder(path: Path) -> None:
    """So that a file's name is on disk, too. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _segments(slot: Path) -> list[Path]:
    return sorted(path for path in slot.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def _lock(slot: Path) -> int | None:
    """The descriptor that holds the slot; None if another process has it. Raises OSError."""
    descriptor = os.open(slot / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # Of the open file, not of the process: two clients of one process exclude each other, too.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _locked(slot: Path) -> Iterator[bool]:
    descriptor = None
    with suppress(OSError):
        descriptor = _lock(slot)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)
