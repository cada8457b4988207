"""`serve` as a process of its own, on a port that stays the same through kills and restarts."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from tests.support.people import connect
from tests.support.ports import free_port
from tests.support.postgres import Database
from wedsync_apm.config import PREFIX, load_or_create_secret


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Returns when the condition holds; fails when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.02)


@dataclass
class ServeProcess:
    """Not started yet; `settings` are the product's, by their names without the prefix."""

    database: Database
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        for role, password in self.database.passwords.items():
            load_or_create_secret(self.folder, f"{role}_password", partial(str, password))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What all its lives have said."""
        return (self.folder / "serve.log").read_text()

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "not started"
        return self.process

    def start(self) -> None:
        """And waits until it answers."""
        command = [sys.executable, "-m", "wedsync_apm", "serve", "--port", str(self.port)]
        command += ["--data-dir", str(self.folder), "--database-url", self.database.owner]
        own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        own |= {f"{PREFIX}{name}": value for name, value in self.settings.items()}
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=own)
        until(self.is_up)

    def kill(self) -> None:
        """Without a warning."""
        self.running.kill()
        self.running.wait(60)

    def end(self) -> None:
        """However it stands: nothing of it is left."""
        if self.process is not None and self.process.poll() is None:
            left = self.forks()
            self.kill()
            for fork in left:
                with suppress(psutil.NoSuchProcess):
                    fork.kill()

    def terminate(self) -> None:
        """Asks it to end; it does so in its own time."""
        self.running.send_signal(signal.SIGTERM)

    def forks(self) -> list[psutil.Process]:
        """The serving processes below it, where there are several."""
        return psutil.Process(self.running.pid).children()

    def stored(self) -> list[float]:
        """The values of all samples in the database, in no order."""
        with connect(self.database.engine) as cx:
            rows = cx.execute("select metric_value from apm_samples").fetchall()
        return [row["metric_value"] for row in rows]

    def telemetry(self) -> dict[str, float]:
        """What `/metrics` says, by name and labels as they stand there."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:  # noqa: S310
            text = answer.read().decode()
        found = re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def is_up(self) -> bool:
        """Whether somebody answers there; fails when the process has ended."""
        assert self.running.poll() is None, self.log
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=5):  # noqa: S310
            return True
        return False
