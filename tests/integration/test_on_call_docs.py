"""What the page about being on call tells people to run does what it says."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_guard_docs import blocks, shell
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.escalation.schedules.model import Fault

PAGE = (Path(__file__).parents[2] / "docs" / "on-call.md").read_text()


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def test_the_examples_make_a_schedule_and_ask_it(api: Running) -> None:
    making, asking = blocks("on-call", "sh")
    people = {name.upper(): str(api.world.people[name]) for name in ("alice", "bob")}
    env = {"URL": api.url, "TOKEN": api.token("alice")} | people
    code, out = await shell(making, **env)
    assert code == 0, out
    assert json.loads(out[out.index("{") :])["layers"][1]["shift_days"] == 7
    for line in asking.strip().splitlines():
        code, out = await shell(line, **env)
        assert code == 0, out
    code, _ = await shell(making, **env | {"TOKEN": "wrong"})
    assert code != 0


async def test_the_page_names_what_there_is(api: Running) -> None:
    async with api.client() as anybody:
        paths = (await anybody.get("/openapi.json")).json()["paths"]
    ours = {path for path in paths if path.startswith("/api/v1/on-call")}
    named = {path.partition("?")[0] for path in re.findall(r"/api/v1/on-call[^`\"\s]*", PAGE)}
    assert named <= ours | {"/api/v1/on-call"}
    assert ours - named == {
        "/api/v1/on-call/schedules/{id}",
        "/api/v1/on-call/overrides/{id}",
        "/api/v1/on-call/temporary-schedules/{id}",
    }
    for fault in Fault:
        assert f"`{fault}`" in PAGE
