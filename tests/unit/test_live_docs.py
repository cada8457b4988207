"""docs/live.md says what the code does."""

import re
from pathlib import Path

from wedsync_apm.live.model import KEPT_EVENTS, METRIC, MOST_MISSED, TOPICS, End
from wedsync_apm.live.roster import HEARTBEAT_SECONDS

PAGE = (Path(__file__).parents[2] / "docs" / "live.md").read_text()


def rows(heading: str) -> list[str]:
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `?([\w:.]+)`? \|", table, re.MULTILINE)


def test_every_topic_and_close_code_is_there_and_no_other() -> None:
    assert set(rows("topic")) == TOPICS | {f"{METRIC}service.name"}
    assert {int(code) for code in rows("close code")} == {end.code for end in End} | {1009}


def test_every_message_is_there() -> None:
    assert rows("`type`") == ["hello", "event", "heartbeat", "paused", "resync", "bye"]


def test_the_figures_are_those_of_the_code() -> None:
    assert f"every {HEARTBEAT_SECONDS} seconds" in PAGE
    assert f"{KEPT_EVENTS:,} events" in PAGE
    assert f"more than {MOST_MISSED} events" in PAGE
