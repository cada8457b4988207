"""What `up` prepares once, as its supervisor asks for it.

It is done by a process of its own (`preparing`), for what a process has once loaded it keeps, and a
supervisor lives for months. The two speak in lines of JSON over the other's standard input and
output. Nothing of it goes through an argument or the environment: an owner's password is in it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from wedsync_apm.errors import ConfigurationError, WedSyncError
from wedsync_apm.organizations.demo import DemoLogin
from wedsync_apm.supervise import SUPERVISOR, ChildFailed

STOP_SECONDS: Final = 10.0
"""For a migration under way to be taken back."""


@dataclass(frozen=True, slots=True)
class Task:
    """What can begin before the database runs."""

    data_dir: str
    with_demo: bool
    log_format: str
    log_level: int


@dataclass(frozen=True, slots=True)
class Place:
    """The database as its owner enters it, and where the pages will be."""

    database_url: str = field(repr=False)
    direct_url: str | None = field(repr=False)
    url: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """The demo's logins, if there is one; and whether nobody can sign in."""

    people: tuple[DemoLogin, ...]
    is_unpeopled: bool

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """As `asdict` and JSON left it."""
        people = tuple(DemoLogin(**person) for person in content["people"])
        return cls(people, content["is_unpeopled"])


class Preparation:
    """The process that prepares, from its start to its end."""

    def __init__(self, task: Task) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wedsync_apm.preparing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, SUPERVISOR: str(os.getpid())},
            process_group=0,
        )
        self._tell(task)

    def prepare_platform(self, place: Place) -> str:
        """Brings schema and passwords up to date, and furnishes the platform's own organization.

        Gives back the key that self-watch writes with. Raises ConfigurationError for what the
        operator must change, ChildFailed when it ends without a word.
        """
        self._tell(place)
        return str(self._hear()["key"])

    def prepare_people(self) -> Prepared:
        """Waits for the demo, if there is to be one. Raises as the platform's preparation does."""
        prepared = Prepared.read(self._hear())
        self._await_end()
        return prepared

    def stop(self) -> None:
        """Breaks off what is under way, which leaves the database as it was or done."""
        self._process.terminate()
        self._await_end()

    def kill(self) -> None:
        """Does not wait for anything to be taken back; the database does it by itself."""
        self._process.kill()

    def _await_end(self) -> None:
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _tell(self, message: Task | Place) -> None:
        if self._process.stdin is not None:
            # Should it be gone, there will be no answer either, and that is told.
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(asdict(message)).encode() + b"\n")
                self._process.stdin.flush()

    def _hear(self) -> Mapping[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise ChildFailed(f"The preparation ended with {self._process.wait()} in the middle.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self._await_end()
            kind = ConfigurationError if answer["is_configuration"] else WedSyncError
            raise kind(answer["error"])
        return answer
