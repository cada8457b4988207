"""What the writer says beside the samples."""

import json
from typing import Any, cast
from uuid import UUID

import pytest

from wedsync_apm.errors import DatabaseAway, FieldError
from wedsync_apm.ingest import store
from wedsync_apm.ingest.asides import MOST_NAMED, Announcements, RefusalCounts
from wedsync_apm.ingest.model import Refusal, Rejections

A = UUID(int=1)
NOWHERE = cast(store.Connection, None)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The organizations of each announcement."""
    said: list[Any] = []

    async def hear(cx: store.Connection, event: str) -> None:
        said.append(json.loads(event)["organization_ids"])

    monkeypatch.setattr(store, "announce_flushes", hear)
    return said


async def test_the_first_announcement_is_to_all_and_later_ones_name(told: list[Any]) -> None:
    announcements = Announcements()
    assert announcements.add(["a"])
    assert announcements.due_in == 0
    assert not announcements.add(["b"])
    await announcements.say(NOWHERE)
    assert not announcements.is_waiting
    assert announcements.due_in > 0
    assert announcements.add(["c"])
    announcements.add(["d", "c"])
    await announcements.say(NOWHERE)
    assert [told[0], sorted(told[1])] == [None, ["c", "d"]]


async def test_too_many_names_or_one_that_was_not_heard_mean_any(told: list[Any]) -> None:
    announcements = Announcements()
    await announcements.say(NOWHERE)
    announcements.add(str(n) for n in range(MOST_NAMED + 1))
    await announcements.say(NOWHERE)
    announcements.add(["a"])
    await announcements.say(NOWHERE)
    announcements.keep()
    assert announcements.is_waiting
    await announcements.say(NOWHERE)
    assert told == [None, None, ["a"], None]


def refused(count: int, example: str) -> Rejections:
    rejections = Rejections(1)
    rejections.add("invalid", FieldError("f", example), A, count)
    return rejections


async def test_refusals_that_were_not_heard_are_added_to_those_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[dict[tuple[UUID, str, str], Refusal]] = []

    async def away(cx: store.Connection, refusals: object) -> None:
        raise DatabaseAway("gone")

    async def hear(cx: store.Connection, refusals: dict[tuple[UUID, str, str], Refusal]) -> None:
        heard.append(dict(refusals))

    counts = RefusalCounts()
    assert counts.add("api", refused(2, "first"))
    assert not counts.add("api", refused(3, "second"))
    monkeypatch.setattr(store, "count_refusals", away)
    with pytest.raises(DatabaseAway):
        await counts.say(NOWHERE)
    assert counts.add("api", refused(4, "third"))
    counts.keep()
    monkeypatch.setattr(store, "count_refusals", hear)
    await counts.say(NOWHERE)
    ((key, refusal),) = heard[0].items()
    assert key == (A, "api", "invalid")
    assert refusal.count == 9
    assert "third" in refusal.example
    assert not counts.is_waiting
    counts.keep()
    assert not counts.is_waiting
