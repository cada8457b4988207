"""Commands load what they need, and no other command's code."""

import json
import subprocess
import sys

import pytest

from wedsync_apm.cli import COMMANDS

LOADED = """
import json, sys
from wedsync_apm.cli import make_app
make_app([sys.argv[1]])
print(json.dumps(sorted(name.partition(".")[0] for name in sys.modules)))
"""


@pytest.mark.parametrize(
    ("command", "spared"),
    [
        ("up", {"litestar", "numpy", "jinja2", "httpx", "msgspec", "argon2"}),
        ("serve", {"litestar", "numpy", "jinja2", "httpx"}),
        ("work", {"litestar", "numpy", "jinja2", "httpx"}),
    ],
)
def test_what_runs_for_days_holds_no_code_of_others(command: str, spared: set[str]) -> None:
    out = subprocess.run(
        [sys.executable, "-c", LOADED, command], check=True, capture_output=True, text=True
    ).stdout
    loaded = set(json.loads(out))
    assert "typer" in loaded
    assert not loaded & spared


def test_the_whole_list_is_shown_and_an_unknown_command_refused() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wedsync_apm", *arguments],
            check=False,
            capture_output=True,
            text=True,
        )

    shown = run("--help")
    assert shown.returncode == 0
    assert all(f"\n  {name} " in shown.stdout for name in COMMANDS)
    assert run("nonsense").returncode == 2
    assert run("up", "--nonsense").returncode == 2
