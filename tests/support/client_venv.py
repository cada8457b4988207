"""Client libraries that cannot live beside ours: each set in a virtual environment of its own."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from benchmarks.peers import in_ci

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = ROOT / ".data" / "clients"
"""Git-ignored; an environment that was made once is used until its lock file changes."""


def client_python(name: str) -> Path:
    """The Python that has what `requirements/clients-<name>.txt` locks.

    Where it cannot be made the test is skipped as not measured; in CI that is an error.
    """
    lock = ROOT / "requirements" / f"clients-{name}.txt"
    version = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{version}"
    python = folder / "bin" / "python"
    if not python.exists():
        problem = _make(folder, lock)
        if problem and in_ci():
            raise AssertionError(problem)
        if problem:
            pytest.skip(f"not measured: {problem}")
    return python


def _make(folder: Path, lock: Path) -> str:
    """Makes the environment; what is wrong if it cannot be made."""
    uv = Path(sys.executable).with_name("uv")
    # Aside, and moved when it is whole: several workers may make it at a time.
    aside = folder.with_name(f"{folder.name}.{uuid4().hex}")
    try:
        commands: tuple[list[str | Path], ...] = (
            [uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, aside],
            [uv, "pip", "install", "--quiet", "--require-hashes", "-r", lock],
        )
        for command in commands:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                env=os.environ | {"VIRTUAL_ENV": str(aside)},
            )
            if done.returncode:
                return f"the clients of {lock.name} could not be installed: {done.stderr[-500:]}"
        try:
            aside.rename(folder)
        except OSError:
            if not (folder / "bin" / "python").exists():
                raise
        return ""
    finally:
        shutil.rmtree(aside, ignore_errors=True)
