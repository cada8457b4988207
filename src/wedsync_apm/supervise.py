"""The supervisor: our processes as its children, from their first start to their last stop.

What is promised:

1. Children die with the supervisor, whatever ends it: they ask the kernel for a signal at its
   death and look for it themselves; the database is stopped by a guard that waits for the end of
   a pipe, which closes even when the supervisor is killed.
2. They are stopped in the reverse of the order in which they were started; a second Ctrl-C stops
   them at once.
3. A child that ends by itself is started again, later each time, and it is said.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from wedsync_apm.errors import ConfigurationError, WedSyncError
from wedsync_apm.runtime import is_running, read_runtime
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

SUPERVISOR: Final = "WEDSYNC_SUPERVISOR_PID"
"""Set for the children: whom to follow. Not one of the product's settings."""
STOP_SECONDS: Final = 15.0
STEADY_SECONDS: Final = 60.0
"""A child that ran for so long starts with the shortest delay again."""
LONGEST_DELAY_SECONDS: Final = 30.0
LARGEST_LOG_BYTES: Final = 16 * 1024 * 1024
_TICK_SECONDS: Final = 0.1
WRONG_CONFIGURATION: Final = 2
"""What a process ends with that cannot work with its settings."""
_PR_SET_PDEATHSIG: Final = 1


class ChildFailed(WedSyncError):
    """A process did not come up."""

    title = "Start failed"


def restart_delay(failures: int) -> float:
    """Seconds before a child is started again after its first, second, … failure in a row."""
    return float(min(0.5 * 2 ** (failures - 1), LONGEST_DELAY_SECONDS))


@dataclass(slots=True, kw_only=True)
class Child(ABC):
    """A process below this one, as often as it is started."""

    role: str
    started_at: float = 0.0
    failures: int = 0
    restart_at: float | None = None

    def start(self) -> None:
        """Starts it, at first or again."""
        self.launch()
        self.started_at = time.monotonic()
        self.restart_at = None

    @abstractmethod
    def launch(self) -> None:
        """Makes the process."""

    @abstractmethod
    def poll(self) -> int | None:
        """What it has ended with, or minus the signal; None while it runs, or was not started."""

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """None while it does not run."""

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Sends a signal, if it still runs."""
        if (pid := self.pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log; empty when it has none of its own."""
        return ""


@dataclass(slots=True, kw_only=True)
class Program(Child):
    """A command of ours. It writes to its own log, or where the supervisor writes."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    log_path: Path | None
    is_held: bool = False
    """Started, it loads its code and then waits until it is let go: see `await_go`."""
    process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """In a process group of its own: Ctrl-C reaches the supervisor alone."""
        output = self._open_log()
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                [sys.executable, "-m", "wedsync_apm", *self.arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT if output is not None else None,
                env={**os.environ, **self.environment, SUPERVISOR: str(os.getpid())},
                process_group=0,
            )
        finally:
            if output is not None:
                os.close(output)
        if not self.is_held:
            self.let_go()

    def poll(self) -> int | None:
        return self.process.poll() if self.process else None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.poll() is None else None

    def let_go(self) -> None:
        """What it needs is there; from now on it starts without waiting."""
        self.is_held = False
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def log_tail(self, lines: int = 15) -> str:
        if self.log_path is None:
            return ""
        with suppress(OSError):
            text = self.log_path.read_bytes()[-16384:].decode(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def _open_log(self) -> int | None:
        if self.log_path is None:
            return None
        with suppress(FileNotFoundError):
            if self.log_path.stat().st_size > LARGEST_LOG_BYTES:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))
        return os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


@dataclass(slots=True)
class Supervisor:
    """Children in the order of their start, and what people asked for by signals."""

    say: Callable[[str], None]
    on_change: Callable[[], None] = lambda: None
    on_hurry: Callable[[], None] = lambda: None
    """Called at the second request to stop, besides killing the children."""
    stops_together: bool = False
    """Whether the children are told to stop at once, and not one after the other."""
    children: list[Child] = field(default_factory=list)
    stop_requests: int = 0
    _interrupts: bool = False

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Turns SIGINT, SIGTERM and SIGHUP into requests to stop, as long as the block runs."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before: dict[int, Any] = {n: signal.signal(n, self._on_signal) for n in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within the block a request to stop raises KeyboardInterrupt: start-up may be given up."""
        if self.stop_requests:
            raise KeyboardInterrupt
        self._interrupts = True
        try:
            yield
        finally:
            self._interrupts = False

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop_requests += 1
        if self.stop_requests == 1 and self._interrupts:
            self._interrupts = False
            raise KeyboardInterrupt
        if self.stop_requests > 1:
            for child in self.children:
                child.stop(signal.SIGKILL)
            self.on_hurry()

    def start(self, child: Child) -> None:
        """Starts a child and keeps it."""
        self.children.append(child)
        child.start()
        self.on_change()

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float, patience: str) -> None:
        """Waits for readiness while watching the children.

        Raises ChildFailed when a child cannot be started for its configuration, fails for the
        fifth time, or nothing is ready in time.
        """
        deadline = time.monotonic() + seconds
        while not is_ready():
            self.look_after()
            for child in self.children:
                code = child.poll()
                if code == WRONG_CONFIGURATION or child.failures >= 5:
                    raise ChildFailed(
                        f"{child.role} ended with {code} while starting:\n{child.log_tail()}"
                    )
            if time.monotonic() > deadline:
                raise ChildFailed(f"{patience} did not answer within {seconds:.0f} s.")
            time.sleep(_TICK_SECONDS)

    def look_after(self) -> None:
        """Starts again whatever ended by itself, when its time has come."""
        now = time.monotonic()
        for child in self.children:
            if child.restart_at is not None:
                if now >= child.restart_at:
                    child.start()
                    self.on_change()
                continue
            code = child.poll()
            if code is None:
                continue
            ran = now - child.started_at
            child.failures = 1 if ran > STEADY_SECONDS else child.failures + 1
            delay = restart_delay(child.failures)
            child.restart_at = now + delay
            self.say(
                f"{child.role} ended with {code} after {ran:.0f} s; "
                f"starting it again in {delay:g} s"
            )
            if tail := child.log_tail(5):
                self.say("  " + tail.replace("\n", "\n  "))
            self.on_change()

    def watch(self, each: Callable[[], None]) -> None:
        """Looks after the children, and calls `each`, until somebody asks to stop."""
        while not self.stop_requests:
            self.look_after()
            each()
            time.sleep(_TICK_SECONDS)

    def stop_all(self) -> None:
        """Stops the children in reverse order and waits for each."""
        for child in self.children if self.stops_together else ():
            child.stop(self._last_signal)
        for child in reversed(self.children):
            child.restart_at = None
            if not self.stops_together or self.stop_requests > 1:
                child.stop(self._last_signal)
            deadline = time.monotonic() + STOP_SECONDS
            while child.pid is not None:
                if time.monotonic() > deadline:
                    self.say(f"{child.role} did not stop within {STOP_SECONDS:.0f} s; killing it")
                    child.stop(signal.SIGKILL)
                    deadline = float("inf")
                time.sleep(0.02)
            self.on_change()
        self.children.clear()

    @property
    def _last_signal(self) -> signal.Signals:
        return signal.SIGKILL if self.stop_requests > 1 else signal.SIGTERM


class Guard:
    """Stops a process when we are gone: a shell that waits for the end of a pipe only we hold."""

    def __init__(self) -> None:
        self._shell: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The shell's process id; None while nothing is guarded."""
        return self._shell.pid if self._shell and self._shell.poll() is None else None

    def watch(self, pid: int) -> None:
        """From now on, PostgreSQL's "fast shutdown" (SIGINT) goes to that process at our death."""
        self.release()
        self._shell = subprocess.Popen(  # noqa: S603 - a fixed script and a number
            ["/bin/sh", "-c", 'read _; kill -INT "$0"', str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def release(self) -> None:
        """Ends the shell without harm to what it guarded."""
        if self._shell is not None:
            self._shell.kill()
            self._shell.wait()
            if self._shell.stdin:
                self._shell.stdin.close()
            self._shell = None


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Holds the data folder for this supervisor. Raises ConfigurationError naming the other one."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(data_dir / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            runtime = read_runtime(data_dir)
            where = f" at {runtime.url}" if runtime else ""
            raise ConfigurationError(
                f"wedsync-apm runs on {data_dir} already: process {other}{where}. Stop it with "
                f"Ctrl-C in its terminal or `kill {other}`, or choose another --data-dir."
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield
    finally:
        os.close(lock)


def await_go() -> None:
    """In a child: waits until the supervisor lets it go, or is gone."""
    if os.environ.get(SUPERVISOR):
        sys.stdin.buffer.read()


def follow_supervisor() -> None:
    """In a child: end when the supervisor ends. Without a supervisor nothing happens."""
    supervisor = _supervisor()
    if supervisor is not None:
        _end_with(supervisor)


def end_with_parent(parent: int) -> None:
    """In a fork: end when the process ends that it was forked from."""
    _end_with(parent)


def ask_for_end() -> None:
    """In a child that must have no threads: asks for a signal at the supervisor's death. Systems
    without one, and a supervisor that has died already, are for `is_orphaned`."""
    if _supervisor() is not None:
        _ask_kernel()


def is_orphaned() -> bool:
    """Whether there was a supervisor that is gone."""
    supervisor = _supervisor()
    return supervisor is not None and os.getppid() != supervisor


def _supervisor() -> int | None:
    text = os.environ.get(SUPERVISOR, "")
    return int(text) if text.isdigit() else None


def _ask_kernel() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_with(parent: int) -> None:
    _ask_kernel()
    # Also for other systems, for a parent that died before the line above, and for a child that
    # does not end in time.
    threading.Thread(target=_watch, args=(parent,), name="follow-parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent and is_running(parent):
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(1)
