"""What the page on health checks says works as it says."""

import json
import re
from pathlib import Path

from tests.support.postgres import Database
from tests.support.serving import populate, running, settings_for
from wedsync_apm.checks.model import share_words
from wedsync_apm.checks.templates import TEMPLATES

PAGE = (Path(__file__).parents[2] / "docs" / "health-checks.md").read_text()
EXAMPLE = re.compile(r"```http\n(?P<method>GET|POST) (?P<path>\S+)\n(?P<body>.*?)```", re.DOTALL)


def test_the_catalogue_is_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert dict(rows) == {
        one.key: " | ".join(
            (
                one.display_name,
                f"{one.response_time_threshold_ms / 1000:g} s",
                share_words(one.error_rate_threshold),
                f"{one.availability_threshold:g} %",
                "yes" if one.is_shared else "your address",
            )
        )
        for one in TEMPLATES.values()
    }


async def test_every_example_works(database: Database, tmp_path: Path) -> None:
    examples = list(EXAMPLE.finditer(PAGE))
    assert len(examples) == PAGE.count("```http")
    async with (
        running(settings_for(database, tmp_path), populate(database)) as process,
        process.as_person("alice") as client,
    ):
        made = ""
        for one in examples:
            answer = await client.request(
                one["method"],
                one["path"].replace("{id}", made),
                json=json.loads(one["body"]) if one["body"].strip() else None,
            )
            assert answer.is_success, (one[0], answer.text)
            made = answer.json().get("id", made)
