"""Everything public is in the docs."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from wedsync_apm.cli import make_app
from wedsync_apm.health.doctor import CODES

DOCS = Path(__file__).parents[2] / "docs"
README = DOCS.parent / "README.md"


def commands() -> list[str]:
    found: list[str] = []
    root: Any = typer.main.get_command(make_app())
    for name, command in root.commands.items():
        inner = getattr(command, "commands", {})
        found += [f"{name} {sub}" for sub in inner] or [name]
    return found


def test_every_command_is_in_the_docs_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z -]+)` \|", (DOCS / "commands.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(commands())


def test_every_finding_of_the_doctor_is_in_the_docs_and_no_other() -> None:
    rows = dict(
        re.findall(r"^\| `(APM-\w+)` \| (.+) \|$", (DOCS / "doctor.md").read_text(), re.MULTILINE)
    )
    assert rows == dict(CODES)


@pytest.mark.parametrize("page", [README, *sorted(DOCS.rglob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        # the screenshot is taken from a running product
        if not target.startswith(("http://", "https://")) and not target.endswith(".png"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
