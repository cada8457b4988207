"""The processes of a PostgreSQL server, found by the data that they work on."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

FAST_STOP_SECONDS: Final = 60.0
IMMEDIATE_STOP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05


def stop_left_behind(data: Path) -> None:
    """Ends whatever still runs on the data, and removes a lock file that nobody holds."""
    for process in processes_on(data):
        log.warning(
            "Stopping process %d, left behind on %s by an earlier run",
            process.pid,
            data,
            extra={"action": "postgres_take_over"},
        )
        if postmaster_says(data)[0] == process.pid:
            end_server(data, process.pid)
    for process in processes_on(data):
        # Its postmaster is gone: it can only finish by itself or be ended.
        with suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(IMMEDIATE_STOP_SECONDS)
    # Left by a killed server. Its number may meanwhile belong to another process (in a
    # container nearly always), which makes PostgreSQL refuse to start.
    (data / "postmaster.pid").unlink(missing_ok=True)


def end_server(data: Path, pid: int) -> None:
    """Stops a postmaster: politely (fast shutdown), at once, and by force, in this order."""
    steps = (
        (signal.SIGINT, FAST_STOP_SECONDS),
        (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS),
        (signal.SIGKILL, IMMEDIATE_STOP_SECONDS),
    )
    for number, patience in steps:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if _wait_for_end(pid, patience):
            break
        log.warning(
            "PostgreSQL did not stop within %d s of %s",
            patience,
            number.name,
            extra={"action": "postgres_stop"},
        )
    for process in processes_on(data):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def postmaster_says(data: Path) -> tuple[int, str]:
    """The process id and the status in postmaster.pid; (0, "") without one."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (OSError, ValueError, IndexError):
        return 0, ""


def processes_on(data: Path) -> Iterator[psutil.Process]:
    """Server processes whose working folder is the data: a server never leaves it."""
    for process in psutil.process_iter(["name"]):
        name = process.info["name"] or ""
        if not name.startswith(("postgres", "postmaster")):
            continue
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data.resolve():
                yield process


def _wait_for_end(pid: int, seconds: float) -> bool:
    """Whether the process ended in time; a zombie has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(POLL_SECONDS)
    return False
