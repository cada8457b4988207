"""What docs/silences.md and docs/heartbeats.md show works as it is written."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / name for name in ("silences.md", "heartbeats.md")]


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


def examples() -> list[tuple[str, dict[str, Any]]]:
    found = [
        (path, json.loads(text))
        for page in PAGES
        for path, text in re.findall(r"```http\nPOST (\S+)\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    assert len(found) == 6
    return found


async def test_every_request_of_the_pages_is_taken(api: Running) -> None:
    async with api.as_person("alice") as alice:
        for path, body in examples():
            if path == "/api/v1/silences":
                # The page's day is past by the time that somebody reads it.
                body["ends_at"] = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            answer = await alice.post(path, json=body)
            assert answer.status_code == 201, (path, answer.text)


async def test_the_pings_of_the_page_arrive(api: Running, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("not measured: no curl")
    (block,) = re.findall(r"```sh\n(.*?)```", PAGES[1].read_text(), re.DOTALL)
    async with api.as_person("alice") as alice:
        made = (await alice.post("/api/v1/heartbeats", json={"name": "x", "period": "1d"})).json()
        states = []
        for line in block.strip().splitlines():
            command = line.partition(" #")[0].replace("my-job", "false")
            url = f"{api.url}/api/v1/heartbeats/{made['token']}"
            await _sh(command, url, tmp_path)
            states.append((await alice.get(f"/api/v1/heartbeats/{made['id']}")).json()["state"])
    assert states == ["up", "started", "down", "down"]


async def _sh(command: str, url: str, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", command, env={"URL": url, "PATH": "/usr/bin:/bin"}, cwd=folder
    )
    assert await asyncio.wait_for(process.wait(), 60) == 0


def test_every_difference_has_its_test() -> None:
    named = re.findall(r"^\|.*`(test_\w+)` \|$", PAGES[0].read_text(), re.MULTILINE)
    written = "\n".join(
        path.read_text()
        for folder in ("integration", "sql")
        for path in (ROOT / "tests" / folder).glob("test_*.py")
    )
    assert len(named) == 11
    assert [name for name in named if f"def {name}(" not in written] == []
