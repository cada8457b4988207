"""What the pages about protocols tell people to run does what they say."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.people import connect
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

PAGES = Path(__file__).parents[2] / "docs" / "protocols"
PROGRAMS = {"python": [sys.executable, "-c"], "sh": ["sh", "-c"]}


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


@pytest.mark.parametrize(
    ("page", "language", "samples"),
    [
        ("json", "python", 2),
        ("json", "sh", 0),  # the example's time is long past
        ("influx", "sh", 2),
        ("opentelemetry", "sh", 2),
    ],
)
async def test_the_example_is_taken(
    api: Running, database: Database, page: str, language: str, samples: int
) -> None:
    text = (PAGES / f"{page}.md").read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    process = await asyncio.create_subprocess_exec(
        *PROGRAMS[language],
        blocks[0].replace("http://127.0.0.1:8080", api.url),
        env=os.environ | {"KEY": api.world.keys["ingest"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    assert (b"lies more than 7 days back" in out) is (samples == 0)
    with connect(database.engine) as cx:
        row = cx.execute("select count(*) as n from apm_samples").fetchone()
    assert row == {"n": samples}
