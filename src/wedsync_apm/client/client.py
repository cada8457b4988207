"""What a program calls: recording is quick and raises nothing, two threads do the rest."""

import atexit
import logging
import os
import queue
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from wedsync_apm.client.backlog import Backlog
from wedsync_apm.client.folder import Folder, check_supported
from wedsync_apm.client.recorder import Recorder
from wedsync_apm.client.samples import Sample, SeriesTable, check_names, pack
from wedsync_apm.client.sender import Rejection, Sender
from wedsync_apm.client.timer import Timer
from wedsync_apm.client.transport import Transport

log = logging.getLogger("wedsync_apm.client")
T = TypeVar("T")

MOST_BODY_BYTES: Final = 4 * 1024 * 1024
LEAST_DISK_BYTES: Final = 1024 * 1024
SYNCED_TOGETHER: Final = 16
"""Batches of one flush that are written to disk at once."""

_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Stats:
    """Samples since the start of the process; `waiting` has those that an earlier one left, too.
    Those with which the client tells what it dropped are samples like any other.

    `dropped` counts by reason: buffer_full, queue_full, too_many_series, too_fast, invalid,
    unreadable, failed, closed. `problem` is why the last request failed, None if it did not.
    """

    sent: int
    rejected: int
    dropped: Mapping[str, int]
    waiting: int
    waiting_bytes: int
    problem: str | None


class Client:
    """Sends samples of one organization; for any number of threads. See the package's docstring.

    `tags` go onto every sample. `queue_dir` is a folder of one's own, which processes may share.
    `flush_interval` is in seconds: what is younger is lost if the process is killed. Limits:
    `max_batch` samples in a request; `max_buffered` samples until the next flush;
    `max_memory_bytes` and `max_disk_bytes` (of each process) while the server is away. `timeout`
    is in seconds, of each step of a request. `exit_timeout`: how long the end of the program may
    be held up to send the rest. `on_rejected` is called in the background for each sample that
    the server refuses for good, as far as it names them. `previous_keys` are keys, or the names of
    their folders in `queue_dir`, whose samples are to be sent with this key.

    Raises ValueError for arguments that cannot be; later nothing raises.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        service_name: str,
        tags: Mapping[str, str] | None = None,
        queue_dir: str | os.PathLike[str] | None = None,
        flush_interval: float = 10.0,
        max_batch: int = 1_000,
        max_buffered: int = 50_000,
        max_memory_bytes: int = 8 * 1024 * 1024,
        max_disk_bytes: int = 64 * 1024 * 1024,
        timeout: float = 10.0,
        exit_timeout: float = 5.0,
        on_rejected: Callable[[Rejection], None] | None = None,
        previous_keys: Sequence[str] = (),
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if queue_dir is not None:
            check_supported()
        if flush_interval <= 0 or timeout <= 0 or not 0 < max_batch <= 100_000:
            raise ValueError("flush_interval, timeout and max_batch (to 100,000) must be positive")
        self._tags = {str(key): str(value) for key, value in (tags or {}).items()}
        check_names(service_name, "metric", self._tags.items())
        if max_disk_bytes < LEAST_DISK_BYTES or max_memory_bytes < 1 or max_buffered < 1:
            raise ValueError(f"max_disk_bytes must be at least {LEAST_DISK_BYTES}, others positive")
        Transport(url, api_key, timeout)
        self._service_name = service_name
        self._queue_dir, self._keys = queue_dir, (api_key, *previous_keys)
        self._flush_interval, self._max_batch = flush_interval, max_batch
        self._max_buffered, self._exit_timeout = max_buffered, exit_timeout
        self._max_memory_bytes, self._max_disk_bytes = max_memory_bytes, max_disk_bytes
        self._url, self._timeout, self._tls = url, timeout, ssl_context
        self._on_rejected = on_rejected
        self._is_closed = False
        self._begin()
        _clients.add(self)
        atexit.register(_close_at_exit, weakref.ref(self))

    def _begin(self) -> None:
        """The state of one process."""
        # Re-entrant, as a signal handler or a finalizer may record while its thread is recording.
        self._starting = threading.RLock()
        self._cutting = threading.Lock()
        # Of its kind the only one that a signal handler may put into.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._recorder = Recorder(
            SeriesTable(self._service_name, self._tags),
            self._max_buffered,
            self._max_batch,
            partial(self._wake.put, None),
        )
        if self._is_closed:
            self._recorder.close()
        self._threads: tuple[threading.Thread, ...] = ()
        self._is_started = False
        folder = None
        if self._queue_dir is not None:
            folder = Folder(self._queue_dir, self._keys[0], self._keys[1:])
        self._backlog = Backlog(
            folder,
            most_memory_bytes=self._max_memory_bytes,
            most_disk_bytes=self._max_disk_bytes,
            on_drop=self._recorder.drop,
        )
        transport = Transport(self._url, self._keys[0], self._timeout, self._tls)
        self._sender = Sender(
            self._backlog, transport, self._on_rejected, self._max_batch, MOST_BODY_BYTES
        )

    def gauge(
        self,
        name: str,
        value: float,
        *,
        tags: Mapping[str, object] | None = None,
        unit: str | None = None,
        at: datetime | float | None = None,
        service_name: str | None = None,
    ) -> None:
        """Records a value as it is now, or as it was `at` a time (a datetime with a time zone, or
        seconds since 1970). Two values of one series at the same given `at` are one: the last."""
        self._start()
        self._recorder.sample(
            "gauge", name, value, at=at, tags=tags, unit=unit, service_name=service_name
        )

    def count(
        self,
        name: str,
        by: float = 1.0,
        *,
        tags: Mapping[str, object] | None = None,
        unit: str | None = None,
        service_name: str | None = None,
    ) -> None:
        """Adds to a counter, of which every flush sends the total since this process began: read it
        as `rate`. Each process counts in a series of its own, told apart by the tag `instance`."""
        self._start()
        self._recorder.count(name, by, tags=tags, unit=unit, service_name=service_name)

    def timing(
        self,
        name: str,
        milliseconds: float,
        *,
        tags: Mapping[str, object] | None = None,
        at: datetime | float | None = None,
        service_name: str | None = None,
    ) -> None:
        """Records how long something took, in milliseconds."""
        self._start()
        self._recorder.sample(
            "timer", name, milliseconds, at=at, tags=tags, unit="ms", service_name=service_name
        )

    def timer(
        self,
        name: str,
        *,
        tags: Mapping[str, object] | None = None,
        service_name: str | None = None,
    ) -> Timer:
        """Times a block (`with`) or every call of a function (`@`), which may be a coroutine's."""
        return Timer(lambda took: self.timing(name, took, tags=tags, service_name=service_name))

    def flush(self, timeout: float = 5.0) -> bool:
        """Puts what was recorded into the queue and waits up to `timeout` seconds until the server
        has answered for it. False if something waits still; it goes on being sent."""
        return _undisturbed(partial(self._flush, timeout), otherwise=False)

    def stats(self) -> Stats:
        """Where the samples are."""
        waiting, waiting_bytes = self._backlog.waiting()
        tally = self._sender.tally
        return Stats(
            sent=tally.sent,
            rejected=tally.rejected,
            dropped=self._recorder.dropped(),
            waiting=waiting + len(self._recorder),
            waiting_bytes=waiting_bytes,
            problem=tally.problem,
        )

    def close(self, timeout: float | None = None) -> None:
        """Sends the rest for at most `timeout` seconds (`exit_timeout` if None) and ends. What is
        on disk then is sent by the next process; one failed try is enough to leave it there."""
        seconds = self._exit_timeout if timeout is None else timeout
        _undisturbed(partial(self._close, seconds), otherwise=None)

    def _flush(self, timeout: float) -> bool:
        until = time.monotonic() + timeout
        self._start()
        if not self._is_closed:
            self._cut()
            self._sender.hurry()
        return self._backlog.wait_settled(until)

    def _close(self, timeout: float) -> None:
        with self._starting:
            if self._is_closed:
                return
            self._is_closed = True
        self._recorder.close()
        until = time.monotonic() + timeout
        if not self._is_started:
            return
        self._cut()
        tried = self._sender.attempts
        self._sender.hurry()
        if self._threads:
            self._backlog.wait_settled(until, lambda: self._can_leave(tried))
        self._sender.stop()
        self._wake.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        # A thread that is still at it would use a slot that belongs to another process by then.
        if not any(thread.is_alive() for thread in self._threads):
            lost = self._backlog.close()
            if lost:
                log.warning("%d samples that waited in memory are lost", lost)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._url!r}, service_name={self._service_name!r})"

    def _start(self) -> None:
        with self._starting:
            if self._is_started or self._is_closed:
                return
            self._is_started = True
            try:
                for name, loop in (("writer", self._write), ("sender", self._sender.run)):
                    thread = threading.Thread(target=loop, name=f"wedsync-apm-{name}", daemon=True)
                    thread.start()
                    self._threads += (thread,)
            except RuntimeError as exc:
                # The machine has no more, or the interpreter ends; a later process may send it.
                log.error("Samples are kept and not sent: %s", exc)

    def _write(self) -> None:
        """The loop of the thread that puts what was recorded into the queue."""
        due = time.monotonic() + self._flush_interval
        while not self._is_closed:
            with suppress(queue.Empty):
                self._wake.get(timeout=max(0.0, due - time.monotonic()))
            now = time.monotonic()
            if len(self._recorder) >= self._max_batch or now >= due:
                due = now + self._flush_interval
                self._cut()

    def _cut(self) -> None:
        """Everything recorded until now becomes batches in the queue."""
        with self._cutting:
            samples: deque[Sample] = deque()
            kept = 0
            try:
                self._backlog.open()
                instance = self._backlog.instance or f"{socket.gethostname()}:{os.getpid()}"
                samples = self._recorder.take(instance)
                batches = pack(samples, self._max_batch, MOST_BODY_BYTES)
                while group := tuple(islice(batches, SYNCED_TOGETHER)):
                    self._backlog.append(*group)
                    kept += sum(batch.count for batch in group)
            except Exception:
                log.exception("Samples could not be put into the queue")
                self._recorder.drop(len(samples) - kept, "failed")

    def _can_leave(self, tried: int) -> bool:
        """Whether the server is away, and what waits is safe on disk."""
        is_away = self._sender.attempts > tried or self._sender.is_held_back
        return is_away and self._backlog.is_on_disk


def _undisturbed(work: Callable[[], T], otherwise: T) -> T:
    """Does it in a thread. Signal handlers run in the main thread, between any two steps: one that
    flushes would wait for a lock that the main thread holds, one that raises would leave it so."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the machine has no more threads
        return work()
    thread.join()
    return results[0] if results else otherwise


def _close_at_exit(reference: "weakref.ref[Client]") -> None:
    client = reference()
    if client is not None:
        client._close(client._exit_timeout)  # no thread can be started any more


def _after_fork_in_child() -> None:
    # The threads are the parent's, and so is what they were about to send. A lock may have been
    # held by one of them at that moment, so everything is made anew.
    for client in list(_clients):
        client._backlog.abandon()
        client._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
