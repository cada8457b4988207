"""`serve` with several processes: one parent that takes no requests, and its forks that do.

1. The parent loads the code and opens the address. 2. It forks the processes, which share what was
loaded and the open address. 3. It looks after them: one that ends is started again from the same
memory, in milliseconds, while the others go on taking connections. 4. Asked to stop, it tells all
at once and waits for each.

The parent never has a thread of ours or an event loop: a fork would take over their locks and not
their work.
"""

import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn

from wedsync_apm import app
from wedsync_apm.app import BACKLOG, Shared, ingest_limits
from wedsync_apm.board import Board
from wedsync_apm.config import Settings
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.ingest.annotating import EVENTS_AT_ONCE, EVENTS_PER_SECOND
from wedsync_apm.ingest.shared_budget import SharedBudget
from wedsync_apm.supervise import (
    WRONG_CONFIGURATION,
    Child,
    Supervisor,
    end_with_parent,
    is_orphaned,
)
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

ADDRESS_SECONDS: Final = 10.0
"""For which an address may still be held by processes whose parent was killed."""


@dataclass(slots=True, kw_only=True)
class Fork(Child):
    """A process that goes on with what this one has loaded."""

    work: Callable[[], None]
    after: Callable[[], None]
    """Called here when it has ended."""
    _pid: int | None = None
    _code: int | None = None

    def launch(self) -> None:
        """Raises OSError when there can be no further process."""
        sys.stdout.flush()
        sys.stderr.flush()
        # Until it has handlers of its own a signal must find it as it begins, not as we are.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
        parent = os.getpid()
        try:
            pid = os.fork()
            if pid == 0:
                _live(self.work, parent, held)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        self._pid, self._code = pid, None

    def poll(self) -> int | None:
        if self._pid is not None and self._code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
                self.after()
        return self._code

    @property
    def pid(self) -> int | None:
        return self._pid if self._pid is not None and self.poll() is None else None


def serve(settings: Settings) -> None:
    """Serves with as many processes as the settings say, until SIGINT or SIGTERM.

    Raises ConfigurationError for settings that cannot work.
    """
    if settings.serve_processes == 1:
        app.serve(settings)
        return
    sockets = open_address(settings.host, settings.port)
    board = Board(settings.serve_processes)
    limits = ingest_limits(settings)
    samples = SharedBudget(limits.samples_per_second, limits.burst)
    events = SharedBudget(EVENTS_PER_SECOND, EVENTS_AT_ONCE)
    supervisor = Supervisor(log.warning, stops_together=True)
    # Pages that the collector does not write to stay shared.
    gc.collect()
    gc.freeze()
    for place in board.places:
        shared = Shared(sockets, board.seat(place.number), samples, events)
        role = f"serving process {place.number}"
        work = partial(app.serve, settings, shared)
        supervisor.children.append(Fork(role=role, work=work, after=place.leave))
    with supervisor.signals():
        try:
            for child in supervisor.children:
                child.start()
            supervisor.watch(lambda: _look(supervisor))
        finally:
            # What waits here would otherwise wait for nobody when the processes have gone.
            for one in sockets:
                one.close()
            supervisor.stop_all()


def _look(supervisor: Supervisor) -> None:
    if is_orphaned():
        supervisor.stop_requests += 1
    if any(child.poll() == WRONG_CONFIGURATION for child in supervisor.children):
        raise ConfigurationError("A serving process cannot work with these settings; see above.")


def open_address(host: str, port: int) -> list[socket.socket]:
    """Listens on every address of the host. Raises ConfigurationError when it cannot."""
    last = time.monotonic() + ADDRESS_SECONDS
    while True:
        try:
            return _open_address(host, port)
        except OSError as exc:
            if time.monotonic() > last or isinstance(exc, socket.gaierror):
                raise ConfigurationError(
                    f"Cannot listen on {host} port {port}: {exc.strerror or exc}."
                ) from exc
            time.sleep(0.1)


def _open_address(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
    )
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setblocking(False)
            one.bind(address)
            one.listen(BACKLOG)
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened


def _live(work: Callable[[], None], parent: int, mask: Iterable[int]) -> NoReturn:
    """In the fork: works, and ends without anything that the parent had in mind for its end."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ctrl-C reaches the parent alone
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        end_with_parent(parent)
        work()
        code = 0
    except ConfigurationError as exc:
        log.error("%s", exc.detail)
        code = WRONG_CONFIGURATION
    except BaseException:
        log.exception("A serving process failed", extra={"action": "serving_failed"})
    finally:
        logging.shutdown()
        os._exit(code)
