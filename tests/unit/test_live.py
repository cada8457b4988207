import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from wedsync_apm.api import live
from wedsync_apm.api.live import QUEUE_EVENTS, TOPICS, Audience, Client, Hub, stream
from wedsync_apm.errors import RateLimited, Unauthorized

HERE, THERE = uuid4(), uuid4()
OURS = Audience(frozenset({HERE}))


def said(topic: str, organization_id: UUID | None, **more: Any) -> str:
    one = None if organization_id is None else str(organization_id)
    return json.dumps(
        {"organization_id": one, "topic": topic, "id": "x", "action": "insert", **more}
    )


def follow(hub: Hub, *, audience: Audience = OURS, **more: Any) -> AsyncIterator[bytes]:
    async def recheck() -> Audience:
        return audience

    wanted: dict[str, Any] = {
        "topics": TOPICS,
        "last_event_id": None,
        "ends_at": None,
        "recheck": recheck,
        **more,
    }
    return stream(hub, audience=audience, **wanted)


def fields(frame: bytes) -> dict[str, str]:
    lines = frame.decode().strip().split("\n")
    return dict(line.split(": ", 1) for line in lines)


async def begun(frames: AsyncIterator[bytes]) -> dict[str, str]:
    assert fields(await anext(frames)) == {"retry": "2000"}
    return fields(await anext(frames))


async def test_a_client_hears_its_own_organizations_only() -> None:
    hub = Hub()
    frames = follow(hub)
    assert (await begun(frames))["event"] == "hello"
    hub.hear("apm_live", said("incidents", THERE))
    hub.hear("apm_live", said("incidents", HERE))
    frame = fields(await anext(frames))
    assert frame["event"] == "incidents"
    assert json.loads(frame["data"])["organization_id"] == str(HERE)
    assert frame["id"] == hub.position()


async def test_topics_and_flushes_of_many() -> None:
    hub = Hub()
    frames = follow(hub, topics={"metrics"})
    await begun(frames)
    hub.hear("apm_live", said("incidents", HERE))
    hub.hear("apm_live", said("metrics", None, organization_ids=[str(THERE)]))
    hub.hear("apm_live", said("metrics", None, organization_ids=[str(THERE), str(HERE)]))
    hub.hear("apm_live", said("metrics", None, organization_ids=None))
    first, second = fields(await anext(frames)), fields(await anext(frames))
    assert [first["id"], second["id"]] == [f"{hub.boot}-3", f"{hub.boot}-4"]
    # Whose else they are is no business of the reader.
    assert str(THERE) not in first["data"]


async def test_an_operator_hears_incidents_of_all_but_no_more() -> None:
    operator = Audience(frozenset(), is_operator=True)
    hub = Hub()
    frames = follow(hub, audience=operator)
    await begun(frames)
    for topic in ("deliveries", "metrics", "incidents"):
        hub.hear("apm_live", said(topic, THERE))
    assert fields(await anext(frames))["event"] == "incidents"


async def test_what_was_missed_comes_first() -> None:
    hub = Hub()
    for _ in range(3):
        hub.hear("apm_live", said("incidents", HERE))
    frames = follow(hub, last_event_id=f"{hub.boot}-1")
    assert fields(await anext(frames)) == {"retry": "2000"}
    ids = [fields(await anext(frames))["id"] for _ in range(2)]
    assert ids == [f"{hub.boot}-2", f"{hub.boot}-3"]


@pytest.mark.parametrize("last", ["other-1", "nonsense", "", "-", "{boot}-99", "{boot}-x"])
async def test_whoever_is_lost_reads_everything_anew(last: str) -> None:
    hub = Hub()
    hub.hear("apm_live", said("incidents", HERE))
    frames = follow(hub, last_event_id=last.format(boot=hub.boot))
    assert (await begun(frames))["event"] == "resync"


async def test_too_long_away_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEPT_EVENTS", 5)
    hub = Hub()
    for _ in range(10):
        hub.hear("apm_live", said("incidents", HERE))
    assert (await begun(follow(hub, last_event_id=f"{hub.boot}-4")))["event"] == "resync"
    frames = follow(hub, last_event_id=f"{hub.boot}-5")
    assert fields(await anext(frames)) == {"retry": "2000"}
    assert fields(await anext(frames))["id"] == f"{hub.boot}-6"


async def test_after_a_gap_everybody_reads_anew() -> None:
    hub = Hub()
    frames = follow(hub)
    place = (await begun(frames))["id"]
    hub.forget()
    assert fields(await anext(frames))["event"] == "bye"
    with pytest.raises(StopAsyncIteration):
        await anext(frames)
    assert (await begun(follow(hub, last_event_id=place)))["event"] == "resync"


async def test_a_slow_reader_loses_its_place_and_holds_up_nobody() -> None:
    hub = Hub()
    slow, quick = Client(OURS, TOPICS), Client(OURS, TOPICS)
    with hub.join(slow), hub.join(quick):
        for number in range(QUEUE_EVENTS + 50):
            hub.hear("apm_live", said("incidents", HERE))
            found = quick.queue.get_nowait()
            assert found is not None
            assert found.number == number + 1
        assert slow.is_closed
        assert not quick.is_closed
        assert slow.queue.qsize() == QUEUE_EVENTS + 1


async def test_an_organization_has_a_limited_number_of_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "MOST_CLIENTS_OF_ONE_ORGANIZATION", 2)
    hub = Hub()
    with hub.join(Client(OURS, TOPICS)), hub.join(Client(OURS, TOPICS)):
        with pytest.raises(RateLimited), hub.join(Client(OURS, TOPICS)):
            pass
        with hub.join(Client(Audience(frozenset({THERE})), TOPICS)):
            pass


async def test_junk_on_the_channel_stops_nothing() -> None:
    hub = Hub()
    frames = follow(hub)
    await begun(frames)
    for junk in ("", "null", "[]", "{}", '{"topic": "incidents", "organization_id": "x"}'):
        hub.hear("apm_live", junk)
    hub.hear("apm_live", said("health", HERE))
    assert fields(await anext(frames))["event"] == "health"


async def test_a_quiet_stream_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.01)
    frames = follow(Hub())
    await begun(frames)
    assert (await anext(frames)).startswith(b":")


async def test_a_credential_that_is_no_longer_good_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "RECHECK_SECONDS", 0.01)

    async def refuse() -> Audience:
        raise Unauthorized

    frames = follow(Hub(), recheck=refuse)
    await begun(frames)
    async with asyncio.timeout(5):
        rest = [frame async for frame in frames]
    assert fields(rest[-1])["event"] == "bye"


async def test_a_membership_that_ends_ends_the_hearing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RECHECK_SECONDS", 0.01)

    async def elsewhere() -> Audience:
        return Audience(frozenset({THERE}))

    hub = Hub()
    frames = follow(hub, recheck=elsewhere)
    await begun(frames)
    await anext(frames)
    hub.hear("apm_live", said("incidents", HERE))
    hub.hear("apm_live", said("incidents", THERE))
    async with asyncio.timeout(5):
        while (frame := await anext(frames)).startswith(b":"):
            pass
    assert json.loads(fields(frame)["data"])["organization_id"] == str(THERE)


async def test_a_stream_ends_with_its_token() -> None:
    frames = follow(Hub(), ends_at=0.05, clock=asyncio.get_running_loop().time)
    async with asyncio.timeout(5):
        rest = [frame async for frame in frames]
    assert fields(rest[-1])["event"] == "bye"
