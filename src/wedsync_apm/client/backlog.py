"""What waits to be sent, oldest first: in segment files on disk, or in memory.

Batches are appended to the current segment and synced before they count as kept. A segment is
removed when everything in it has been settled; which of its batches were is not written down, so a
process that is killed sends at most one segment again, which changes nothing on the server.

A batch that cannot be written (the disk is full) waits in memory instead. Over a limit the oldest
goes: batch by batch in memory, a whole segment on disk, as nothing less frees a byte.
"""

import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wedsync_apm.client import journal
from wedsync_apm.client.folder import Folder, sync_folder
from wedsync_apm.client.samples import Packed

log = logging.getLogger("wedsync_apm.client")

SEGMENT_BYTES: Final = 1024 * 1024
MOST_ENTRIES: Final = 100_000
"""What is known of a batch on disk takes memory, too."""
ADOPT_SECONDS: Final = 60.0


@dataclass(eq=False, slots=True)
class Segment:
    """A file and how many of its batches still wait."""

    path: Path
    descriptor: int | None = None
    """While it is appended to."""
    size: int = 0
    waiting: int = 0


@dataclass(eq=False, slots=True)
class Entry:
    """One batch that waits, in a segment or in memory."""

    number: int
    count: int
    size: int
    segment: Segment | None = None
    offset: int = 0
    batch: Packed | None = None


class Backlog:
    """For one thread that appends, one that sends, and any that wait."""

    def __init__(
        self,
        folder: Folder | None,
        *,
        most_memory_bytes: int,
        most_disk_bytes: int,
        on_drop: Callable[[int, str], None],
    ) -> None:
        self._folder = folder
        self._most_memory_bytes, self._most_disk_bytes = most_memory_bytes, most_disk_bytes
        self._segment_bytes = max(64 * 1024, min(SEGMENT_BYTES, most_disk_bytes // 16))
        self._on_drop = on_drop
        self._changed = threading.Condition(threading.Lock())
        self._entries: deque[Entry] = deque()
        self._segments: deque[Segment] = deque()
        self._sending: tuple[Entry, ...] = ()
        self._memory_bytes = self._disk_bytes = 0
        self._last_number = 0
        self._is_open = self._is_failing = False
        self._adopt_at = 0.0

    def open(self) -> None:
        """Takes a slot and finds what an earlier process left there; once."""
        with self._changed:
            if self._is_open:
                return
            self._is_open = True
            if self._folder is None:
                return
            try:
                self._folder.open()
                for path in self._folder.segments():
                    self._take_in_if_readable(path)
                for name, size in self._folder.strangers():
                    log.warning(
                        "%d bytes that were queued with another key wait in %s; they are sent with"
                        " the present one if you name it: previous_keys=[%r]",
                        size,
                        self._folder.path.parent.parent / name,
                        name,
                    )
            except OSError as exc:
                self._fail(exc)
                self._folder.close()
                self._folder = None
            self._make_room()

    @property
    def instance(self) -> str | None:
        """The slot's name; None without a folder."""
        return self._folder.instance if self._folder is not None else None

    @property
    def is_on_disk(self) -> bool:
        """Whether nothing that waits would be lost if the process ended now."""
        return self._memory_bytes == 0

    def waiting(self) -> tuple[int, int]:
        """How many samples wait, and their bytes; takes no lock."""
        count = sum(entry.count for entry in tuple(self._entries))
        return count, self._memory_bytes + self._disk_bytes

    def append(self, *batches: Packed) -> None:
        """Keeps batches, on disk if it can be: then with one sync for all of them."""
        with self._changed:
            entries = [
                Entry(number, batch.count, len(batch.body), batch=batch)
                for number, batch in enumerate(batches, self._last_number + 1)
            ]
            self._last_number += len(entries)
            if self._folder is not None:
                try:
                    self._write(entries, batches, self._folder)
                    self._is_failing = False
                except OSError as exc:
                    self._fail(exc)
            self._memory_bytes += sum(entry.size for entry in entries if entry.segment is None)
            self._entries += entries
            self._make_room()
            self._changed.notify_all()

    def first(
        self, most_samples: int, seconds: float, is_stopping: Callable[[], bool]
    ) -> tuple[Entry, ...]:
        """The oldest batches, as many as have so many samples together but at least one; waits for
        it, or for `wake`. They are not dropped until `settle` or `put_back`."""
        with self._changed:
            if not self._entries:
                self._adopt()
            if not self._entries and not is_stopping():
                self._changed.wait(seconds)
            chosen: list[Entry] = []
            for entry in self._entries:
                most_samples -= entry.count
                if chosen and most_samples < 0:
                    break
                chosen.append(entry)
            self._sending = tuple(chosen)
            return self._sending

    def put_back(self) -> None:
        """What `first` gave waits again."""
        with self._changed:
            self._sending = ()

    def read(self, entry: Entry) -> Packed | None:
        """The batch itself; None if it is not on disk any more as it was, and then it is dropped.

        Raises OSError where another try may help: the program has too many files open.
        """
        if entry.batch is not None:
            return entry.batch
        assert entry.segment is not None  # noqa: S101 - one of the two holds it
        try:
            with entry.segment.path.open("rb") as file:
                file.seek(entry.offset)
                if (found := journal.read(file)) is not None:
                    return found[0]
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE):
                raise
        log.error("%s could not be read back", entry.segment.path)
        self.settle(entry)
        self._on_drop(entry.count, "unreadable")
        return None

    def settle(self, *entries: Entry) -> None:
        """These need not be kept any longer."""
        with self._changed:
            self._sending = tuple(entry for entry in self._sending if entry not in entries)
            for entry in entries:
                self._entries.remove(entry)
                self._release(entry)
            self._changed.notify_all()

    def wait_settled(self, until: float, is_enough: Callable[[], bool] = lambda: False) -> bool:
        """Waits until nothing waits of what has been appended so far, or `until` (monotonic), or
        until `is_enough` says so at a change; gives whether nothing waits."""
        with self._changed:
            last = self._last_number
            while (is_waiting := any(e.number <= last for e in self._entries)) and not is_enough():
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            return not is_waiting

    def wake(self) -> None:
        """Makes whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> int:
        """Gives the slot back; how many samples are lost because they waited in memory only."""
        with self._changed:
            for segment in self._segments:
                _close(segment)
            if self._folder is not None:
                self._folder.close()
            return sum(entry.count for entry in self._entries if entry.segment is None)

    def abandon(self) -> None:
        """In a forked child: lets go of what belongs to the parent, without a lock or a write."""
        for segment in list(self._segments):
            _close(segment)
        if self._folder is not None:
            self._folder.close()

    def _write(self, entries: list[Entry], batches: Sequence[Packed], folder: Folder) -> None:
        segment, descriptor = self._current(folder)
        records = [journal.encode(batch) for batch in batches]
        offset = os.fstat(descriptor).st_size
        try:
            rest = memoryview(b"".join(records))
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except BaseException:
            # Whatever half of it is there now would hide a record that came after it.
            _close(segment)
            with suppress(OSError):
                os.truncate(segment.path, offset)
            self._remove_if_done(segment)
            raise
        for entry, record in zip(entries, records, strict=True):
            entry.segment, entry.offset, entry.batch = segment, offset, None
            entry.size = len(record)
            offset += len(record)
            segment.size = offset
            segment.waiting += 1
            self._disk_bytes += len(record)

    def _current(self, folder: Folder) -> tuple[Segment, int]:
        for segment in self._segments:
            if segment.descriptor is not None:
                if segment.size < self._segment_bytes:
                    return segment, segment.descriptor
                _close(segment)
        path = folder.next_path()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        segment = Segment(path, descriptor)
        self._segments.append(segment)
        sync_folder(path.parent)
        return segment, descriptor

    def _take_in_if_readable(self, path: Path) -> None:
        try:
            self._take_in(path)
        except OSError as exc:
            log.error("What an earlier process left in %s cannot be read: %s", path, exc)

    def _take_in(self, path: Path) -> None:
        """Lists what is in a file that an earlier process wrote. Raises OSError."""
        segment = Segment(path)
        with path.open("rb") as file:
            for found in journal.scan(file):
                self._last_number += 1
                size = found.end - found.offset
                entry = Entry(self._last_number, found.count, size, segment, found.offset)
                self._entries.append(entry)
                segment.waiting += 1
                segment.size = found.end
            torn = os.fstat(file.fileno()).st_size - segment.size
        if torn:
            log.warning("The last %d bytes of %s were not written whole", torn, path)
        self._disk_bytes += segment.size
        self._segments.append(segment)
        self._remove_if_done(segment)

    def _adopt(self) -> None:
        if self._folder is None or not self._is_open or time.monotonic() < self._adopt_at:
            return
        self._adopt_at = time.monotonic() + ADOPT_SECONDS
        try:
            for path in self._folder.adopt(self._most_disk_bytes - self._disk_bytes):
                self._take_in_if_readable(path)
        except OSError as exc:
            log.warning("What other processes left in the queue was not found: %s", exc)

    def _make_room(self) -> None:
        while self._memory_bytes > self._most_memory_bytes:
            entry = next((e for e in self._entries if e.batch and e not in self._sending), None)
            if entry is None:
                break
            self._drop(entry)
        while self._disk_bytes > self._most_disk_bytes or len(self._entries) > MOST_ENTRIES:
            held = [entry.segment for entry in self._sending]
            segment = next(
                (s for s in self._segments if s.descriptor is None and s not in held), None
            )
            if segment is None:
                break
            for entry in [e for e in self._entries if e.segment is segment]:
                self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        self._entries.remove(entry)
        self._release(entry)
        self._on_drop(entry.count, "queue_full")

    def _release(self, entry: Entry) -> None:
        if entry.segment is None:
            self._memory_bytes -= entry.size
        else:
            entry.segment.waiting -= 1
            self._remove_if_done(entry.segment)

    def _remove_if_done(self, segment: Segment) -> None:
        if segment.waiting == 0 and segment in self._segments:
            _close(segment)
            self._segments.remove(segment)
            self._disk_bytes -= segment.size
            with suppress(OSError):
                segment.path.unlink()

    def _fail(self, exc: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            log.error("The queue on disk cannot be used, samples wait in memory: %s", exc)


def _close(segment: Segment) -> None:
    if segment.descriptor is not None:
        with suppress(OSError):
            os.close(segment.descriptor)
        segment.descriptor = None
