"""What `make` relies on before there is a .venv, run on machines that are made up by their PATH."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"


class Machine:
    """A PATH with nothing on it but what is put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("mktemp", "tail", "rm", "chmod", "cat"):
            found = shutil.which(name)
            assert found is not None
            (folder / name).symlink_to(found)

    def has(self, name: str, script: str) -> Path:
        """Puts a program there."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def runs(self, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """One of our scripts on this machine."""
        return subprocess.run(
            ["/bin/sh", str(CI / script), *arguments],
            env={"PATH": str(self.folder), **env},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


OLD = 'if [ "$1" = --version ]; then echo "Python 3.9.2"; else exit 1; fi'
NEW = "exit 0"


def test_the_first_python_that_is_new_enough_is_taken(machine: Machine) -> None:
    machine.has("python3", OLD)
    wanted = machine.has("python3.12", NEW)
    result = machine.runs("find-python")
    assert (result.returncode, result.stdout.strip()) == (0, str(wanted))


def test_a_python_that_was_named_is_taken_or_refused(machine: Machine) -> None:
    machine.has("python3", NEW)
    old = machine.has("mine", OLD)
    result = machine.runs("find-python", str(old))
    assert result.returncode == 1
    assert f"too old: {old} (Python 3.9.2)" in result.stderr


def test_without_any_python_it_says_what_to_do(machine: Machine) -> None:
    result = machine.runs("find-python")
    assert result.returncode == 1
    assert "No Python >= 3.11 was found. Install one" in result.stderr
    assert "make PYTHON=" in result.stderr


def test_a_browser_that_is_there_is_enough(machine: Machine) -> None:
    machine.has("google-chrome", NEW)
    result = machine.runs("browser", CI="1")
    assert (result.returncode, result.stdout) == (0, "")


def test_root_installs_a_missing_browser(machine: Machine) -> None:
    machine.has("id", "echo 0")
    machine.has(
        "apt-get",
        f'case "$*" in *install*) echo "exit 0" > {machine.folder}/chromium; '
        f"chmod 755 {machine.folder}/chromium;; esac",
    )
    result = machine.runs("browser", CI="1")
    assert (result.returncode, result.stderr) == (0, "")
    assert os.access(machine.folder / "chromium", os.X_OK)


@pytest.mark.parametrize(
    ("env", "code", "said"),
    [
        ({"CI": "1"}, 1, "no Chromium for the browser tests"),
        ({}, 0, "not measured: the browser tests"),
    ],
)
@pytest.mark.parametrize("who", ["an ordinary user", "root, but apt-get fails"])
def test_a_missing_browser_is_an_error_in_ci_and_told_elsewhere(
    machine: Machine, who: str, env: dict[str, str], code: int, said: str
) -> None:
    machine.has("id", "echo 0" if who.startswith("root") else "echo 1000")
    if who.startswith("root"):
        machine.has("apt-get", "echo 'E: no network'; exit 100")
    result = machine.runs("browser", **env)
    assert result.returncode == code
    assert said in result.stdout + result.stderr
    if who.startswith("root"):
        assert "E: no network" in result.stderr
