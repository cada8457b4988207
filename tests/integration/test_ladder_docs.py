"""What the page about ladders tells people to run does what it says."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_guard_docs import blocks, shell
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.api.ladders import EscalationStep
from wedsync_apm.types import EscalationLevel

PAGE = (Path(__file__).parents[2] / "docs" / "ladders.md").read_text()


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def test_the_example_makes_a_ladder(api: Running) -> None:
    (making,) = blocks("ladders", "sh")
    people = {name.upper(): str(api.world.people[name]) for name in ("alice", "bob")}
    env = {"URL": api.url, "TOKEN": api.token("alice")} | people
    code, out = await shell(making, **env)
    assert code == 0, out
    made = json.loads(out[out.index("{") :])
    assert [step["level"] for step in made["steps"]] == ["team_lead", "manager", "director"]
    assert made["steps"][2]["hours"]["zone"] == "organization"


async def test_the_page_names_what_there_is(api: Running) -> None:
    async with api.client() as anybody:
        paths = (await anybody.get("/openapi.json")).json()["paths"]
    for path in (
        "/api/v1/escalation-policies/preview",
        "/api/v1/escalation-policies/{id}/preview",
        "/api/v1/incidents/{id}/escalation",
    ):
        assert path in paths
        assert path in PAGE
    for name in EscalationStep.__struct_fields__:
        assert f"`{name}`" in PAGE
    for level in EscalationLevel:
        assert f"`{level}`" in PAGE
