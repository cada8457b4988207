"""DATA_DIR/runtime.json: how scripts and other commands find what runs here."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from wedsync_apm.errors import ConfigurationError

RUNTIME_FILE: Final = "runtime.json"
UNFINISHED: Final = "restore-unfinished"
"""In a data folder while it is being restored."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs on a data folder. The database's address carries a password: mode 0600."""

    url: str
    database_url: str = field(repr=False)
    data_dir: str
    pids: Mapping[str, int]
    version: str

    @property
    def is_alive(self) -> bool:
        """Whether any process that is named here still runs."""
        return any(is_running(pid) for pid in self.pids.values())


def require_restored(data_dir: Path) -> None:
    """Raises ConfigurationError where a restore was begun and not finished: what started there
    would tell people of the past."""
    if (data_dir / UNFINISHED).exists():
        raise ConfigurationError(
            f"A restore into {data_dir} was not finished. Run `wedsync-apm backup restore` again."
        )


def read_runtime(data_dir: Path) -> Runtime | None:
    """What was written down last; None without a file or with one that cannot be read."""
    try:
        content: dict[str, Any] = json.loads((data_dir / RUNTIME_FILE).read_text(encoding="utf-8"))
        return Runtime(
            url=content["url"],
            database_url=content["database_url"],
            data_dir=content["data_dir"],
            pids={str(role): int(pid) for role, pid in content["pids"].items()},
            version=content["version"],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_runtime(data_dir: Path, runtime: Runtime) -> None:
    """Replaces the file in one step, so that no reader sees half of it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / RUNTIME_FILE
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.unlink(missing_ok=True)
    content = asdict(runtime) | {"pids": dict(runtime.pids)}
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(content, out, indent=2)
    fresh.replace(path)


def remove_runtime(data_dir: Path) -> None:
    """Nothing runs here any more."""
    (data_dir / RUNTIME_FILE).unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be buried."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
