"""The examples of docs/weddings.md do what the page says."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.sql.test_wedding_phases import PRECEDENCE
from tests.support.postgres import Database
from tests.support.serving import populate, running, settings_for

PAGE: Final = (Path(__file__).parents[2] / "docs" / "weddings.md").read_text()


def block(language: str) -> bytes:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found).encode()


@pytest.mark.parametrize(
    ("language", "content_type", "actions"),
    [
        ("ics", "text/calendar", ["created", "created"]),
        ("csv", "text/csv", ["created", "created", "skipped"]),
    ],
)
async def test_the_example_is_imported(
    database: Database, tmp_path: Path, language: str, content_type: str, actions: list[str]
) -> None:
    async with (
        running(settings_for(database, tmp_path), populate(database)) as api,
        api.as_person("alice") as alice,
    ):
        answer = await alice.post(
            "/api/v1/weddings/import",
            content=block(language),
            headers={"content-type": content_type},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        report = answer.json()
        assert [one["action"] for one in report["items"]] == actions
        assert report["faults"] == []
        first = (await alice.get(f"/api/v1/weddings/{report['items'][0]['wedding_id']}")).json()
        starts = {one["phase"]: one["starts_local"][11:16] for one in first["windows"]}
        assert (starts["ceremony"], first["time_zone"]) == ("14:30", "Europe/Rome")


def test_the_phases_are_the_calendars() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d) \|$", PAGE, re.MULTILINE)
    assert [name for name, _ in sorted(rows, key=lambda row: row[1])] == list(PRECEDENCE)
