"""What the pages about the freeze and about readiness tell people to run does what they say."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.test_freeze import add_wedding, calm_the_week
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.administration import store as administration
from wedsync_apm.types import KeyScope
from wedsync_apm.weddings.guard.model import Emergency, GuardMode

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


async def shell(script: str, **env: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        script,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_a_pipeline_stops_on_a_wedding_day_by_each_of_the_examples(
    api: Running, database: Database
) -> None:
    calm_the_week(database)
    with administration.connect(database.engine) as cx:
        key = administration.create_key(
            cx, name="pipeline", scope=KeyScope.READ, organization_id=None
        ).secret
    command, curl = blocks("guard-modes", "sh")
    [workflow] = blocks("guard-modes", "yaml")
    step = re.search(r"^  run: (.+)$", workflow, re.MULTILINE)
    assert step is not None
    env = {"KEY": key, "URL": api.url}
    step_env = {"WEDSYNC_APM_PUBLIC_URL": api.url, "WEDSYNC_APM_API_KEY": key}
    assert set(step_env) == set(re.findall(r"^    (\w+): ", workflow, re.MULTILINE))
    for script, variables in ((command, env), (curl, env), (step[1], step_env)):
        code, out = await shell(script, **variables)
        assert code == 0, out
    add_wedding(database, api.world.here, datetime.now(UTC).date().isoformat())
    for script, variables in ((command, env), (curl, env), (step[1], step_env)):
        code, out = await shell(script, **variables)
        assert code == 1, out
    for script in (command, curl):
        assert (await shell(script, **env | {"KEY": "wrong"}))[0] != 0


async def test_the_readiness_of_the_example_is_read(api: Running, database: Database) -> None:
    add_wedding(database, api.world.here, datetime.now(UTC).date().isoformat())
    with psycopg.connect(database.owner) as cx:
        row = cx.execute("select id from apm_weddings").fetchone()
    assert row is not None
    [script] = blocks("readiness", "sh")
    code, out = await shell(
        script, KEY=api.world.keys["read"], URL=api.url, WEDDING=str(row[0]), PROGRESS=""
    )
    assert code == 0
    shown: dict[str, Any] = json.loads(out[out.index("{") :])
    [example] = blocks("readiness", "json")
    assert set(json.loads(example)) == set(shown)
    assert set(json.loads(example)["lines"][0]) == set(shown["lines"][0])
    keys = re.findall(r"^\| `(\w+)` \|", (DOCS / "readiness.md").read_text(), re.MULTILINE)[1:]
    assert keys == [line["key"] for line in shown["lines"]]


async def test_the_page_names_what_there_is(api: Running) -> None:
    text = (DOCS / "guard-modes.md").read_text()
    for word in (*GuardMode, *Emergency):
        assert f"`{word}`" in text, word
    async with api.as_person("vera") as vera:
        settings = (await vera.get("/api/v1/guard-mode/settings")).json()
    table = text[text.index("| Setting |") :]
    named = {
        name
        for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert named == settings.keys() - {"updated_at"}
    for name in ("freeze_from", "freeze_until", "enhanced_from", "maximum_until", "time_zone"):
        assert f"`{settings[name]}`" in table, name
