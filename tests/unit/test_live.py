"""What is kept for those who come back, how messages are framed, and who hears what."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame as WebSocketFrame
from websockets.streams import StreamReader

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import Pool
from wedsync_apm.errors import DatabaseAway
from wedsync_apm.live import hub as hub_module
from wedsync_apm.live import roster as roster_module
from wedsync_apm.live.client import Client
from wedsync_apm.live.fanout import AT_ONCE, Fanout
from wedsync_apm.live.hub import Hub
from wedsync_apm.live.model import (
    MOST_MISSED,
    MOST_TOPICS,
    TOPICS,
    End,
    Frame,
    Kept,
    Standing,
    as_chunk,
    fault_in_topics,
    name_event,
)
from wedsync_apm.live.store import Subject
from wedsync_apm.organizations.model import Identity

_IDS = UUID("6f1f3b0e-8f3a-4b5e-9d53-0d6c1a7e5a11")
ORGANIZATIONS = [uuid5(_IDS, f"organization {number}") for number in range(4)]
PEOPLE = [uuid5(_IDS, f"person {number}") for number in range(4)]
HERE, THERE = ORGANIZATIONS[:2]
NOWHERE = cast(Pool, None)


def said(topic: str, organization_id: UUID | None, number: int = 0, **more: Any) -> str:
    owner = None if organization_id is None else str(organization_id)
    return json.dumps(
        {"organization_id": owner, "topic": topic, "id": None, "action": "insert", "xid": number}
        | more
    )


# Frames.


@given(st.text(max_size=200) | st.sampled_from([120, 65_300, 65_600]).map("x".__mul__))
def test_a_message_is_framed_as_both_standards_say(text: str) -> None:
    frame = Frame("event", "id", {"topic": "metric:a.b", "id": text})
    reader = StreamReader()
    reader.feed_data(frame.websocket)
    parsing = WebSocketFrame.parse(reader.read_exact, mask=False, max_size=None, extensions=[])
    with pytest.raises(StopIteration) as done:
        next(parsing)
    found: WebSocketFrame = done.value.value
    message = json.loads(bytes(found.data))
    assert found.fin
    assert message == {
        "type": "event",
        "event_id": "id",
        "topic": "metric:a.b",
        "id": text,
    }
    size, _, rest = frame.chunk.partition(b"\r\n")
    body = rest[: int(size, 16)]
    assert rest[len(body) :] == b"\r\n"
    lines = body.decode().split("\n")
    assert lines[:2] == ["id: id", "event: metric"]
    assert lines[3:] == ["", ""]
    assert json.loads(lines[2].removeprefix("data: ")) == message


def test_an_empty_chunk_is_none_that_ends_the_answer() -> None:
    assert as_chunk(b"abc") == b"3\r\nabc\r\n"


@pytest.mark.parametrize(
    ("topics", "is_good"),
    [
        (["incidents", "metric:api.latency"], True),
        ([f"metric:api.{number}" for number in range(MOST_TOPICS)], True),
        ([f"metric:api.{number}" for number in range(MOST_TOPICS + 1)], False),
        (["metric:api"], False),
        (["metric:.latency"], False),
        (["metric:" + "a." * 1100], False),
        (["weather"], False),
        ([""], False),
    ],
)
def test_topics_that_there_are(topics: list[str], is_good: bool) -> None:
    assert (fault_in_topics(topics) is None) is is_good


# What is kept.


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(TOPICS)), st.sampled_from([*ORGANIZATIONS, None])),
        max_size=60,
    ),
    st.integers(0, 60),
    st.sets(st.sampled_from(ORGANIZATIONS)),
    st.booleans(),
)
def test_what_was_missed_is_what_a_look_at_everything_finds(
    events: list[tuple[str, UUID | None]], back: int, own: set[UUID], is_operator: bool
) -> None:
    kept = Kept(most=40)
    topics = {"incidents", "deliveries", "guard"}
    places = [kept.place]
    made = []
    for number, (topic, owner) in enumerate(events):
        made.append(kept.add(f"event {number}", topic, owner, {"topic": topic}))
        places.append(kept.place)
    at = max(len(events) - back, 0)
    place = kept.find(places[at])
    found = None if place is None else kept.since(place, topics, own, is_operator=is_operator)
    if found is None:
        assert len(events) - at >= 40
        return
    assert found == [
        event
        for event in made[at:]
        if event.topic in topics
        and (
            event.organization_id in own
            or event.organization_id is None
            or (is_operator and event.topic in {"incidents", "health"})
        )
    ]


def test_a_place_is_unknown_after_a_gap_and_too_much_is_not_sent() -> None:
    kept = Kept()
    before = kept.place
    kept.add("one", "incidents", HERE, {"topic": "incidents"})
    assert kept.find("one") is not None
    assert kept.find("two") is None
    kept.forget()
    assert kept.find(before) is None
    assert kept.find("one") is None
    start = kept.find(kept.place)
    assert start is not None
    for number in range(MOST_MISSED + 1):
        found = kept.since(start, TOPICS, [HERE])
        assert found is not None
        assert len(found) == number
        kept.add(f"event {number}", "incidents", HERE, {"topic": "incidents"})
    assert kept.since(start, TOPICS, [HERE]) is None
    assert kept.since(start, TOPICS, [THERE]) == []


def test_an_event_has_one_name_in_every_process_and_tells_nothing() -> None:
    payload = said("incidents", HERE, 7)
    assert name_event(payload) == name_event(payload) != name_event(said("incidents", HERE, 8))
    assert len(name_event(payload)) == 16


# Who hears what.


class Recorder:
    """A line that keeps what it was given; one that is full says so."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.messages: list[dict[str, Any]] = []
        self.ended: End | None = None
        self.retry_ms: int | None = None
        self._room = room

    def push(self, frame: Frame) -> bool:
        assert self.ended is None
        _, _, rest = frame.chunk.partition(b"data: ")
        self.messages.append(json.loads(rest.partition(b"\n")[0]))
        return len(self.messages) < self._room

    def end(self, end: End, retry_ms: int | None = None) -> None:
        self.ended, self.retry_ms = end, retry_ms

    @property
    def events(self) -> list[dict[str, Any]]:
        return [one for one in self.messages if one["type"] == "event"]

    @property
    def kinds(self) -> list[str]:
        return [one["type"] for one in self.messages]


class Members:
    """Stands in for the database: who belongs where, as of the moment of the question."""

    def __init__(self) -> None:
        self.of: dict[UUID, set[UUID]] = {person: set() for person in PEOPLE}
        self.generations = dict.fromkeys(PEOPLE, 1)
        self.operators: set[UUID] = set()
        self.is_away = False
        self.turns = 1

    async def find_standings(
        self, pool: Pool, subjects: Collection[Subject]
    ) -> dict[Subject, Standing]:
        if self.is_away:
            raise DatabaseAway
        found = {
            (kind, person): Standing(
                frozenset(self.of[person]),
                person in self.operators,
                self.generations[person],
                None,
            )
            for kind, person in subjects
        }
        for _ in range(self.turns):
            await asyncio.sleep(0)
        return found


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> Members:
    found = Members()
    monkeypatch.setattr(hub_module, "find_standings", found.find_standings)
    return found


@asynccontextmanager
async def listening(**limits: int) -> AsyncIterator[Hub]:
    """A hub whose database only speaks when the test does."""
    bounds = {"per_organization": 100, "per_person": 20} | limits
    hub = Hub(NOWHERE, **bounds)  # type: ignore[arg-type]
    tasks = [asyncio.create_task(work) for work in (hub._review(), hub._fanout.run())]
    hub._note_state(True)
    try:
        yield hub
    finally:
        for task in tasks:
            task.cancel()
        for done in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(done, Exception):
                raise done


def identity(person: UUID, generation: int = 1, **more: Any) -> Identity:
    return Identity(subject=person, kind="user", name="Somebody", generation=generation, **more)


async def joined(
    stack: ExitStack,
    hub: Hub,
    who: Identity,
    topics: Collection[str] = TOPICS,
    *,
    place: str | None = None,
    wanted: UUID | None = None,
    line: Recorder | None = None,
) -> tuple[Recorder, Client]:
    line = line or Recorder()
    client = stack.enter_context(hub.join(line, who, topics))
    await hub.settle(client, place, wanted)
    return line, client


async def turn(times: int = 6) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


ALICE, BOB = PEOPLE[:2]


async def test_a_client_hears_its_own_organizations_and_topics_only(members: Members) -> None:
    members.of[ALICE] = {HERE}
    async with listening() as hub:
        with ExitStack() as stack:
            line, _ = await joined(stack, hub, identity(ALICE), {"incidents"})
            hub.hear("", said("incidents", THERE, 1))
            hub.hear("", said("health", HERE, 2))
            hub.hear("", said("incidents", HERE, 3))
            hub.hear("", said("access", None, subject="no uuid"))
            hub.hear("", "no JSON")
            hub.hear("", said("weather", HERE, 4))
            hub.hear("", said("incidents", None, 5))
            await turn()
            assert [one["organization_id"] for one in line.events] == [str(HERE), None]
            assert line.kinds == ["hello", "event", "event"]
            assert line.messages[0]["organization_ids"] == [str(HERE)]
            assert line.events[-1]["event_id"] == hub.place


async def test_an_operator_hears_incidents_and_health_of_everybody(members: Members) -> None:
    members.operators.add(ALICE)
    async with listening() as hub:
        with ExitStack() as stack:
            line, _ = await joined(stack, hub, identity(ALICE))
            for topic in ("incidents", "health", "deliveries"):
                hub.hear("", said(topic, THERE, 1))
            assert [one["topic"] for one in line.events] == ["incidents", "health"]


async def test_another_organization_is_as_if_there_were_none(members: Members) -> None:
    members.of[ALICE] = {HERE}
    async with listening() as hub:
        with ExitStack() as stack:
            for wanted in (THERE, uuid5(_IDS, "none")):
                line, client = await joined(stack, hub, identity(ALICE), wanted=wanted)
                assert (line.ended, client.is_gone, line.messages) == (End.FORBIDDEN, True, [])


async def test_who_was_away_hears_what_he_missed_or_that_he_did(members: Members) -> None:
    members.of[ALICE] = {HERE}
    async with listening() as hub:
        with ExitStack() as stack:
            line, _client = await joined(stack, hub, identity(ALICE), {"incidents"})
            place = line.messages[0]["event_id"]
            for number in range(3):
                hub.hear("", said("incidents", (HERE, THERE)[number % 2], number))
            again, _ = await joined(stack, hub, identity(ALICE), {"incidents"}, place=place)
            assert again.kinds == ["hello", "event", "event"]
            assert again.messages[0]["resumed"] is True
            assert again.events == line.events
            unknown, _ = await joined(stack, hub, identity(ALICE), place="ffff")
            assert unknown.kinds == ["resync"]


async def test_one_whose_membership_ends_hears_nothing_that_comes_after(members: Members) -> None:
    members.of[ALICE] = {HERE, THERE}
    members.turns = 3
    async with listening() as hub:
        with ExitStack() as stack:
            line, _client = await joined(stack, hub, identity(ALICE))
            members.of[ALICE] = {HERE}
            hub.hear("", said("access", None, subject=str(ALICE)))
            hub.hear("", said("incidents", THERE, 1))  # the answer is not there yet
            hub.hear("", said("incidents", HERE, 2))
            assert line.kinds == ["hello"]
            await turn(12)
            assert line.kinds == ["hello", "resync"]
            assert line.messages[-1]["organization_ids"] == [str(HERE)]
            members.of[ALICE] = set()
            hub.hear("", said("access", None, subject=str(ALICE)))
            await turn(12)
            assert line.ended is End.FORBIDDEN
            assert hub.crowds() == {}


async def test_a_change_that_takes_nothing_away_costs_no_event(members: Members) -> None:
    members.of[ALICE] = {HERE}
    async with listening() as hub:
        with ExitStack() as stack:
            line, _ = await joined(stack, hub, identity(ALICE))
            hub.hear("", said("access", None, subject=str(ALICE)))
            hub.hear("", said("incidents", HERE, 1))
            await turn()
            assert line.kinds == ["hello", "event"]


async def test_a_new_password_and_the_end_of_a_token_end_the_connection(members: Members) -> None:
    members.of[ALICE] = {HERE}
    async with listening() as hub:
        with ExitStack() as stack:
            old, _ = await joined(stack, hub, identity(ALICE))
            members.generations[ALICE] = 2
            hub.hear("", said("access", None, subject=str(ALICE)))
            await turn()
            assert old.ended is End.SESSION
            soon = identity(ALICE, 2, expires_at=utcnow() + timedelta(seconds=2))
            line, _client = await joined(stack, hub, soon)
            assert line.kinds == ["hello"]
            renewed, renewing = await joined(stack, hub, soon)
            hub.renew(renewing, identity(ALICE, 2, expires_at=utcnow() + timedelta(hours=1)))
            async with asyncio.timeout(60):
                while line.ended is None:
                    await asyncio.sleep(0.01)
            assert line.ended is End.SESSION
            assert renewed.ended is None


async def test_while_nothing_is_heard_clients_are_told_and_after_it_all_read_anew(
    members: Members,
) -> None:
    members.of[ALICE] = {HERE}
    async with listening() as hub:
        with ExitStack() as stack:
            line, _ = await joined(stack, hub, identity(ALICE))
            place = hub.place
            hub._note_state(False)
            assert line.kinds == ["hello", "paused"]
            assert hub.place == ""
            late = asyncio.create_task(joined(stack, hub, identity(ALICE), place=place))
            await turn(20)
            assert not late.done()
            hub._note_state(True)
            late_line, _ = await late
            await turn()
            assert line.kinds == ["hello", "paused", "resync"]
            assert late_line.kinds == ["resync"]


async def test_where_the_database_does_not_say_it_one_waits_or_goes(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ASK_AGAIN_SECONDS", 0.01)
    members.of[ALICE] = {HERE}
    members.is_away = True
    async with listening() as hub:
        with ExitStack() as stack:
            waiting = asyncio.create_task(joined(stack, hub, identity(ALICE)))
            await asyncio.sleep(0.05)
            members.is_away = False
            line, _ = await waiting
            assert line.kinds == ["hello"]
            members.is_away = True
            monkeypatch.setattr(hub_module, "SETTLE_SECONDS", 0.05)
            line, _ = await joined(stack, hub, identity(ALICE))
            assert line.ended is End.AWAY
            assert line.retry_ms is not None


async def test_a_place_is_known_in_every_process_that_has_heard_it(members: Members) -> None:
    members.of[ALICE] = {HERE}
    async with listening() as one, listening() as other:
        for number in range(3):
            for hub in (one, other):
                hub.hear("", said("incidents", HERE, number))
        with ExitStack() as stack:
            line, _ = await joined(stack, one, identity(ALICE))
            place = line.messages[0]["event_id"]
            for hub in (one, other):
                hub.hear("", said("incidents", HERE, 3))
            again, _ = await joined(stack, other, identity(ALICE), place=place)
            assert again.messages[0]["resumed"] is True
            assert again.events == line.events


async def test_heartbeats_come_and_what_nothing_told_of_is_found_in_time(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (hub_module, roster_module):
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(hub_module, "REVIEW_ROUNDS", 1)
    members.of[ALICE] = {HERE}
    async with listening() as hub:
        beat = asyncio.create_task(hub._beat())
        with ExitStack() as stack:
            line, _ = await joined(stack, hub, identity(ALICE))
            async with asyncio.timeout(60):
                while "heartbeat" not in line.kinds:
                    await asyncio.sleep(0.01)
                assert line.messages[-1]["event_id"] == hub.place
                members.of[ALICE] = set()  # in a host's own table, which says nothing
                while line.ended is None:
                    await asyncio.sleep(0.01)
            assert line.ended is End.FORBIDDEN
        beat.cancel()


async def test_limits_hold_and_who_leaves_makes_room(members: Members) -> None:
    members.of[ALICE] = members.of[BOB] = {HERE}
    async with listening(per_organization=3, per_person=2) as hub:
        with ExitStack() as stack:
            await joined(stack, hub, identity(ALICE))
            with ExitStack() as short:
                await joined(short, hub, identity(ALICE))
                line, _ = await joined(stack, hub, identity(ALICE))
                assert line.ended is End.PERSON_FULL
                await joined(short, hub, identity(BOB))
                line, _ = await joined(stack, hub, identity(BOB))
                assert line.ended is End.ORGANIZATION_FULL
            await joined(stack, hub, identity(BOB))
            assert hub.crowds() == {HERE: 2}
        assert hub.crowds() == {}
        assert {reason for _, reason in hub._refused} == {
            End.PERSON_FULL.reason,
            End.ORGANIZATION_FULL.reason,
        }


async def test_connections_elsewhere_count_too(members: Members) -> None:
    members.of[ALICE] = {HERE}
    async with listening(per_organization=3) as hub:
        hub._elsewhere = lambda organization_id: 3
        with ExitStack() as stack:
            line, _ = await joined(stack, hub, identity(ALICE))
            assert line.ended is End.ORGANIZATION_FULL


async def test_a_slow_reader_goes_and_nobody_waits_for_him(members: Members) -> None:
    members.of[ALICE] = members.of[BOB] = {HERE}
    async with listening() as hub:
        with ExitStack() as stack:
            slow, _ = await joined(stack, hub, identity(ALICE), line=Recorder(room=3))
            quick, _ = await joined(stack, hub, identity(BOB))
            for number in range(10):
                hub.hear("", said("incidents", HERE, number))
            assert slow.ended is End.SLOW
            assert len(quick.events) == 10


async def test_at_the_end_each_is_told_when_to_come_back(members: Members) -> None:
    members.of[ALICE] = {HERE}
    async with listening() as hub:
        with ExitStack() as stack:
            line, _ = await joined(stack, hub, identity(ALICE))
            await hub.drain()
            assert line.ended is End.RESTART
            assert line.retry_ms is not None
            assert line.retry_ms >= 500
            late, _ = await joined(stack, hub, identity(ALICE))
            assert late.ended is End.RESTART


async def test_topics_change_while_it_stands(members: Members) -> None:
    members.of[ALICE] = {HERE}
    async with listening() as hub:
        with ExitStack() as stack:
            line, client = await joined(stack, hub, identity(ALICE), {"incidents"})
            hub.subscribe(client, {"health"})
            hub.hear("", said("incidents", HERE, 1))
            hub.hear("", said("health", HERE, 2))
            assert [one["topic"] for one in line.events] == ["health"]


async def test_what_many_hear_goes_in_pieces_and_in_order() -> None:
    lines = [Recorder() for _ in range(5 * AT_ONCE)]
    clients = [Client(line, identity(ALICE), TOPICS, 0) for line in lines]
    slow: list[Client] = []
    fanout = Fanout(slow.append)
    work = asyncio.create_task(fanout.run())
    first, second = (
        Frame("event", str(number), {"topic": "guard"}, number=number) for number in (1, 2)
    )
    fanout.give(first, clients)
    await turn(3)
    reached = sum(bool(line.messages) for line in lines)
    assert 0 < reached < len(lines)
    # Who gets something newer gets what he waits for before it.
    last = next(one for one in clients if not one.line.messages)  # type: ignore[attr-defined]
    fanout.give(second, [last])
    assert [one["event_id"] for one in last.line.messages] == ["1", "2"]  # type: ignore[attr-defined]
    gone = next(one for one in clients if not one.line.messages)  # type: ignore[attr-defined]
    assert fanout.withdraw(gone) == 1
    await turn(20)
    assert gone.line.messages == []  # type: ignore[attr-defined]
    assert sum(len(line.messages) for line in lines) == len(lines)
    work.cancel()


# All of it at once, in any order.


class Play:
    """People come, go, gain and lose access, and events happen, while the database answers late."""

    def __init__(self, hub: Hub, members: Members, stack: ExitStack, seed: int) -> None:
        self.hub, self.members, self.stack = hub, members, stack
        self.chance = random.Random(seed)  # noqa: S311 no secret
        self.is_listening = True
        self.number = 0
        self.log: list[tuple[str, UUID | None, str, dict[UUID, set[UUID]]]] = []
        self.places: list[tuple[str, int]] = [(hub.place, 0)]
        self.readers: list[Reader] = []
        self.tasks: list[asyncio.Task[Any]] = []

    async def step(self) -> None:
        kind = self.chance.choices(
            ("join", "leave", "event", "access", "password", "cut", "turn"),
            (20, 12, 40, 12, 2, 1, 20),
        )[0]
        await getattr(self, kind)()

    async def join(self) -> None:
        person = self.chance.choice(PEOPLE)
        topics = frozenset(self.chance.sample(["incidents", "health", "deliveries"], 2))
        place = self.chance.choice([None, *self.places[-5:]])
        self.readers.append(Reader(self, person, topics, place))

    async def leave(self) -> None:
        if self.readers:
            await self.readers.pop(self.chance.randrange(len(self.readers))).leave()

    async def event(self) -> None:
        self.number += 1
        topic = self.chance.choice(["incidents", "health", "deliveries"])
        owner = self.chance.choice([*ORGANIZATIONS, *ORGANIZATIONS, None])
        payload = said(topic, owner, self.number)
        belonged = {person: set(own) for person, own in self.members.of.items()}
        self.log.append((name_event(payload), owner, topic, belonged))
        if self.is_listening:
            self.hub.hear("", payload)
            self.places.append((self.hub.place, len(self.log)))

    async def access(self) -> None:
        person = self.chance.choice(PEOPLE)
        if self.chance.random() < 0.5:  # else another role, which takes nothing away
            self.members.of[person] ^= {self.chance.choice(ORGANIZATIONS)}
        if self.is_listening:
            self.hub.hear("", said("access", None, subject=str(person)))

    async def password(self) -> None:
        person = self.chance.choice(PEOPLE)
        self.members.generations[person] += 1
        if self.is_listening:
            self.hub.hear("", said("access", None, subject=str(person)))

    async def cut(self) -> None:
        self.is_listening = not self.is_listening
        self.hub._note_state(self.is_listening)
        if self.is_listening:
            self.places.append((self.hub.place, len(self.log)))

    async def turn(self) -> None:
        self.members.turns = self.chance.randrange(4)
        await turn(self.chance.randrange(1, 8))

    async def finish(self) -> None:
        if not self.is_listening:
            await self.cut()
        self.members.turns = 1
        await turn(40)
        for reader in self.readers:
            reader.check()
            await reader.leave()


class Reader(Recorder):
    """One connection, which looks at each event as it comes."""

    def __init__(
        self, play: Play, person: UUID, topics: frozenset[str], place: tuple[str, int] | None
    ) -> None:
        super().__init__()
        self.play, self.person, self.topics, self.place = play, person, topics, place
        self.task = asyncio.create_task(self._hold())

    async def _hold(self) -> None:
        who = identity(self.person, self.play.members.generations[self.person])
        with self.play.hub.join(self, who, self.topics) as client:
            await self.play.hub.settle(client, self.place and self.place[0], None)
            await asyncio.get_running_loop().create_future()

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def push(self, frame: Frame) -> bool:
        super().push(frame)
        message = self.messages[-1]
        if message["type"] == "event":
            at = next(
                number for number, one in enumerate(self.play.log) if one[0] == message["event_id"]
            )
            _, owner, topic, belonged = self.play.log[at]
            assert topic in self.topics
            if owner is not None:
                now = self.play.members.of[self.person]
                assert owner in belonged[self.person] | now, "another tenant's event"
            earlier = [one["at"] for one in self.events[:-1]]
            assert not earlier or earlier[-1] < at, "twice, or in another order"
            message["at"] = at
        return True

    def check(self) -> None:
        """Nothing is missing since the last time that everything was to be read anew."""
        greetings = [n for n, kind in enumerate(self.kinds) if kind in ("hello", "resync")]
        if self.ended is not None or not greetings:
            return
        greeting = self.messages[greetings[-1]]
        own = self.play.members.of[self.person]
        assert set(greeting["organization_ids"]) == {str(one) for one in own}
        begin = next(
            (n + 1 for n, one in enumerate(self.play.log) if one[0] == greeting["event_id"]),
            next((n for place, n in self.play.places if place == greeting["event_id"]), None),
        )
        if greeting["type"] == "hello" and greeting["resumed"]:
            assert self.place is not None
            begin = self.place[1]
        assert begin is not None
        expected = [
            n
            for n, (_, owner, topic, _) in enumerate(self.play.log)
            if n >= begin and topic in self.topics and (owner is None or owner in own)
        ]
        heard = [one["at"] for one in self.events]
        assert [n for n in heard if n >= begin] == expected


async def _play(members: Members, seed: int, steps: int) -> Play:
    members.of = {person: {ORGANIZATIONS[n]} for n, person in enumerate(PEOPLE)}
    async with listening() as hub:
        with ExitStack() as stack:
            play = Play(hub, members, stack, seed)
            for _ in range(steps):
                await play.step()
            await play.finish()
            assert hub.crowds() == {}
            assert not len(hub._roster)
            return play


async def test_ten_thousand_changes_in_any_order_lose_nothing_and_leak_nothing(
    members: Members,
) -> None:
    heard = 0
    for seed in range(40):
        play = await _play(members, seed, 250)
        heard += sum(len(reader.events) for reader in play.readers)
    assert heard > 1_000


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 120))
def test_nor_does_any_other_order(seed: int, steps: int) -> None:
    found = Members()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_module, "find_standings", found.find_standings)
        asyncio.run(_play(found, seed, steps))
