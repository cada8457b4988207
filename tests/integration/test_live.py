"""Live connections to a serving process of its own, over real sockets."""

import json
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.live import (
    PATIENCE,
    Events,
    Socket,
    asking,
    socket_to,
    stream_from,
    token_of,
    tokens_of,
)
from tests.support.people import connect
from tests.support.postgres import Database, PostgresServer
from tests.support.serve_process import ServeProcess, until
from tests.support.serving import World, populate
from wedsync_apm.organizations.tokens import Tokens

pytestmark = pytest.mark.timeout(120)

MOST_OF_ONE = 8


@dataclass(frozen=True, slots=True)
class House:
    """A serving process, and its database as an administrator has it."""

    serving: ServeProcess
    world: World
    tokens: Tokens
    database: Database

    @property
    def url(self) -> str:
        return self.serving.url

    def token(self, name: str) -> str:
        return token_of(self.tokens, self.world, name)

    def execute(self, statement: str, **values: Any) -> Any:
        """As the engine."""
        with connect(self.database.engine) as cx:
            return cx.execute(statement, values)

    def as_owner(self, statement: str) -> None:
        with psycopg.connect(self.database.owner, autocommit=True) as cx:
            cx.execute(statement.encode())

    def incident(self, owner: UUID, title: str = "Slow") -> str:
        """A new one; gives back its id."""
        with connect(self.database.engine) as cx:
            row = cx.execute(
                "insert into apm_incidents (organization_id, title, severity, priority, dedup_key,"
                " detected_at, last_seen_at) values (%(owner)s, %(title)s, 'warning', 'medium',"
                " gen_random_uuid()::text, now(), now()) returning id",
                {"owner": owner, "title": title},
            ).fetchone()
        assert row is not None
        return str(row["id"])

    def override_guard_mode(self) -> None:
        """For a minute."""
        self.execute(
            "insert into apm_private.guard_overrides (mode, reason, starts_at, ends_at,"
            " created_by_name) values ('enhanced', 'a test', now(), now() + interval '1 minute',"
            " 'Olga')"
        )

    def ask(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
        with closing(asking(self.url)) as connection:
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            with connection.getresponse() as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None

    def figure(self, name: str) -> float:
        return self.serving.telemetry().get(f"wedsync_apm_live_{name}", 0.0)


@pytest.fixture(scope="module")
def house(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Of all that leave it as it was."""
    with opened(server, tmp_path_factory.mktemp("live")) as found:
        yield found


@pytest.fixture
def own_house(server: PostgresServer, tmp_path: Path) -> Iterator[House]:
    """Of one that does not."""
    with opened(server, tmp_path) as found:
        yield found


@contextmanager
def opened(server: PostgresServer, folder: Path) -> Iterator[House]:
    with server.clone() as database:
        world = populate(database)
        serving = ServeProcess(
            database,
            folder,
            {"MAX_LIVE_CONNECTIONS_PER_PERSON": str(MOST_OF_ONE), "SERVE_PROCESSES": "1"},
        )
        serving.start()
        try:
            until(lambda: serving.telemetry().get("wedsync_apm_live_listening") == 1)
            yield House(serving, world, tokens_of(database, folder), database)
        finally:
            serving.end()


def refused(house: House, **more: Any) -> tuple[int, str]:
    """The code and the reason with which a connection is ended."""
    with socket_to(house.url, **more) as found:
        return ended(found)


def ended(found: Socket | Events) -> tuple[int, str]:
    said = found.next("bye")
    if isinstance(found, Socket):
        with pytest.raises(ConnectionClosed) as closed:
            found.connection.recv(timeout=PATIENCE)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (said["code"], said["reason"])
    return said["code"], said["reason"]


def test_an_incident_is_heard_by_those_whose_it_is_in_both_ways(house: House) -> None:
    bearer = {"authorization": f"Bearer {house.token('vera')}"}
    cookie = {"cookie": f"wedsync_session={house.token('bob')}"}
    page = cookie | {"origin": house.url}
    with (
        socket_to(house.url, house.token("bob"), "incidents") as bob,
        socket_to(house.url, house.token("oscar")) as oscar,
        socket_to(house.url, None, "incidents", headers=page) as browser,
        socket_to(house.url, None, "incidents", headers=bearer) as vera,
        socket_to(house.url, house.world.keys["read"], "incidents") as script,
        stream_from(house.url, cookie, topics="incidents") as stream,
    ):
        hearing = (bob, browser, vera, script, stream)
        for one in (*hearing, oscar):
            assert one.next()["type"] == "hello"
        made = house.incident(house.world.here)
        messages = [one.next() for one in hearing]
        assert messages[0] == {
            "type": "event",
            "event_id": messages[0]["event_id"],
            "topic": "incidents",
            "id": made,
            "action": "insert",
            "organization_id": str(house.world.here),
        }
        assert all(one == messages[0] for one in messages)
        assert stream.names == ["hello", "incidents"]
        theirs = house.incident(house.world.there)
        assert oscar.next()["id"] == theirs


def test_the_examples_of_the_docs_work(house: House) -> None:
    page = (Path(__file__).parents[2] / "docs" / "live.md").read_text()
    script, command = (
        re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
        for kind in ("python", "sh")
    )
    own = os.environ | {"URL": house.url, "KEY": house.token("bob")}
    for started in (
        [sys.executable, "-u", "-c", script],
        ["bash", "-c", f"exec {command}"],
    ):
        with subprocess.Popen(started, env=own, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            try:
                lines = (line for line in running.stdout if '"type"' in line)
                assert '"hello"' in next(lines)
                made = house.incident(house.world.here)
                assert made in next(lines)
            finally:
                running.kill()


def test_a_change_of_guard_mode_is_for_everybody(house: House) -> None:
    with (
        socket_to(house.url, house.token("bob"), "guard") as bob,
        socket_to(house.url, house.token("oscar"), "guard") as oscar,
    ):
        bob.next("hello"), oscar.next("hello")
        house.override_guard_mode()
        for one in (bob, oscar):
            said = one.next("event")
            assert (said["topic"], said["id"], said["organization_id"]) == ("guard", None, None)


def test_samples_are_told_of_with_what_is_new_in_a_metric(house: House) -> None:
    def send(metric_name: str) -> None:
        sample = {"service_name": "form", "metric_name": metric_name, "value": 2.5}
        with closing(asking(house.url)) as sender:
            sender.request(
                "POST",
                "/api/v1/metrics",
                json.dumps({"samples": [sample | {"tags": {"a": "b"}}]}),
                {"x-api-key": house.world.keys["admin"], "content-type": "application/json"},
            )
            assert sender.getresponse().status == 202

    with socket_to(house.url, house.token("bob"), "metrics") as bob:
        # The first word of a process is to all, of whatever was committed before it.
        bob.next("hello")
        send("size")
        assert bob.next("event")["topic"] == "metrics"
    with (
        socket_to(house.url, house.token("bob"), "metrics", "metric:form.time") as bob,
        socket_to(house.url, house.token("oscar"), "metrics", "metric:form.time", "guard") as oscar,
    ):
        bob.next("hello"), oscar.next("hello")
        send("time")
        said = [bob.next("event"), bob.next("event")]
        assert [one["topic"] for one in said] == ["metrics", "metric:form.time"]
        (series,) = said[1]["series"]
        assert (series["value"], series["tags"]["a"]) == (2.5, "b")
        # What comes next to the other tenant is something else: of the samples he was told nothing.
        house.override_guard_mode()
        assert oscar.next("event")["topic"] == "guard"


@pytest.mark.parametrize("way", ["socket", "stream"])
def test_who_was_away_goes_on_where_he_was(house: House, way: str) -> None:
    with ExitStack() as stack:

        def follow(place: str | None = None) -> Socket | Events:
            if way == "socket":
                more: dict[str, Any] = {"last_event_id": place} if place else {}
                return stack.enter_context(
                    socket_to(house.url, house.token("bob"), "incidents", **more)
                )
            headers = {"authorization": f"Bearer {house.token('bob')}"}
            headers |= {"last-event-id": place} if place else {}
            return stack.enter_context(stream_from(house.url, headers, topics="incidents"))

        first = follow()
        place = first.next("hello")["event_id"]
        made = [house.incident(house.world.here) for _ in range(3)]
        assert [first.next("event")["id"] for _ in made] == made
        again = follow(place)
        assert again.next()["resumed"] is True
        assert [again.next("event")["id"] for _ in made] == made
        assert follow("0123456789abcdef").next()["type"] == "resync"


def test_another_sites_page_is_refused_before_anything_is_read(house: House) -> None:
    cookie = {"cookie": f"wedsync_session={house.token('bob')}"}
    for headers in (
        cookie | {"origin": "https://evil.example"},
        {"origin": "https://evil.example"},
        cookie | {"origin": "null"},
    ):
        with pytest.raises(InvalidStatus) as found, socket_to(house.url, headers=headers):
            pass
        assert found.value.response.status_code == 403
        assert json.loads(found.value.response.body)["title"] == "Not allowed"
    # A cookie without an Origin is no browser's handshake.
    assert refused(house, headers=cookie)[0] == 4401
    for headers in (
        cookie | {"origin": "https://evil.example"},
        cookie | {"sec-fetch-site": "cross-site"},
    ):
        with closing(asking(house.url)) as connection:
            connection.request("GET", "/api/v1/events", headers=headers)
            assert connection.getresponse().status == 403


def test_whoever_may_hear_nothing_is_told_why(house: House) -> None:
    world = house.world
    assert refused(house, token="no token at all")[0] == 4401
    assert refused(house)[0] == 4401
    assert refused(house, token=world.keys["ingest"])[0] == 4403
    assert refused(house, token=house.token("nora"))[0] == 4403
    wrong = str(world.there)
    assert refused(house, token=house.token("bob"), organization_id=wrong)[0] == 4403
    with socket_to(house.url, house.token("bob"), "weather") as found:
        assert ended(found)[0] == 4400
    statuses = []
    for path, headers in (
        ("/api/v1/events", {}),
        ("/api/v1/events", {"x-api-key": world.keys["ingest"]}),
        ("/api/v1/events?topics=weather", {"x-api-key": world.keys["read"]}),
        ("/api/v1/events?organization_id=x", {"x-api-key": world.keys["read"]}),
        (f"/api/v1/events?organization_id={world.there}", {"x-api-key": world.keys["read"]}),
        ("/api/v1/live", {"x-api-key": world.keys["read"]}),
    ):
        with closing(asking(house.url)) as connection:
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as answer:
                assert answer.headers["content-type"] == "application/problem+json"
                statuses.append(answer.status)
    assert statuses == [401, 403, 422, 422, 401, 404]


def test_a_revoked_key_a_lost_membership_and_an_expired_token_end_it_at_once(
    own_house: House,
) -> None:
    house = own_house
    world = house.world
    expired = house.tokens.issue(
        world.people["vera"], name="Vera", email="vera@example.org", generation=1, seconds=3
    )
    with (
        socket_to(house.url, world.keys["read"]) as script,
        socket_to(house.url, house.token("carol")) as carol,
        socket_to(house.url, expired) as vera,
        stream_from(house.url, {"x-api-key": world.keys["read"]}) as stream,
    ):
        for one in (script, carol, vera, stream):
            one.next("hello")
        _, keys = house.ask("GET", "/api/v1/api-keys", house.token("alice"))
        key = next(one for one in keys["items"] if one["name"] == "read key")
        assert house.ask("DELETE", f"/api/v1/api-keys/{key['id']}", house.token("alice"))[0] == 204
        assert ended(script)[0] == 4401
        assert ended(stream)[0] == 4401
        house.execute(
            "delete from apm_memberships where user_id = %(user)s and organization_id = %(owner)s",
            user=world.people["carol"],
            owner=world.there,
        )
        house.incident(world.there)
        assert carol.next()["organization_ids"] == [str(world.here)]
        made = house.incident(world.here)
        assert carol.next("event")["id"] == made
        house.execute(
            "update apm_private.users set token_generation = 2 where id = %(id)s",
            id=world.people["carol"],
        )
        assert ended(carol)[0] == 4401
        assert ended(vera)[0] == 4401


def test_more_than_so_many_are_refused_and_counted_where_people_see_it(house: House) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_OF_ONE):
            one = stack.enter_context(socket_to(house.url, house.token("oscar"), "guard"))
            one.next("hello")
        assert refused(house, token=house.token("oscar"))[0] == 4430
        with closing(asking(house.url)) as connection:
            headers = {"authorization": f"Bearer {house.token('oscar')}"}
            connection.request("GET", "/api/v1/events", headers=headers)
            answer = connection.getresponse()
            assert (answer.status, answer.headers["retry-after"]) == (429, "30")

    def seen() -> bool:
        found = house.execute(
            "select refused_count from apm_refusals where organization_id = %(owner)s"
            " and source = 'live'",
            owner=house.world.there,
        )
        return found is not None

    until(seen)
    with connect(house.database.engine) as cx:
        until(
            lambda: (
                (
                    cx.execute(
                        "select coalesce(sum(refused_count), 0) as n from apm_refusals"
                        " where source = 'live'"
                    ).fetchone()
                    or {}
                ).get("n")
                == 2
            )
        )


def test_messages_that_are_none_and_too_many_end_it(house: House) -> None:
    with socket_to(house.url, house.token("bob")) as bob:
        bob.next("hello")
        bob.say(type="unsubscribe", topics=["health"])
        assert "health" not in bob.next("hello")["topics"]
        bob.say(type="subscribe", topics=["metric:a.b"], token=house.token("bob"))
        assert "metric:a.b" in bob.next("hello")["topics"]
        bob.say(type="subscribe", token=house.token("oscar"))
        assert ended(bob)[0] == 4401
    for text in ("{", "[]", '{"type":"dance"}', '{"type":"subscribe","topics":3}'):
        with socket_to(house.url, house.token("bob")) as bob:
            bob.next("hello")
            bob.connection.send(text)
            assert ended(bob)[0] == 4400
    with socket_to(house.url, house.token("bob")) as bob:
        bob.next("hello")
        bob.connection.send("x" * 20_000)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                bob.connection.recv(timeout=PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with socket_to(house.url, house.token("bob")) as bob:
        bob.next("hello")
        for _ in range(61):
            bob.say(type="unsubscribe", topics=[])
        assert ended(bob)[0] == 4431


def test_who_does_not_read_is_cut_and_nobody_waits_for_him(house: House) -> None:
    """He is told why behind what he did not read; others hear at once meanwhile."""
    with closing(socket.socket()) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(PATIENCE)
        deaf.connect(("127.0.0.1", house.serving.port))
        deaf.sendall(
            b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        _read_until(deaf, b"\r\n\r\n")
        said = {"type": "subscribe", "topics": ["incidents"], "token": house.token("bob")}
        text = json.dumps(said).encode()
        deaf.sendall(struct.pack("!BBH4x", 0x81, 0xFE, len(text)) + text)
        _read_until(deaf, b'"hello"')
        was = house.figure('ended_total{why="slow"}')
        with socket_to(house.url, house.token("oscar"), "incidents") as oscar:
            oscar.next("hello")
            told = 0
            while house.figure('ended_total{why="slow"}') == was:
                told += 1
                assert told < 200, "he is still there"
                house.execute(
                    "select pg_notify('apm_live', json_build_object('topic', 'incidents',"
                    " 'organization_id', %(owner)s::uuid, 'id', n, 'xid', n)::text)"
                    " from (select gen_random_uuid() as n from generate_series(1, 200)) as n",
                    owner=house.world.here,
                )
            house.incident(house.world.there)
            assert oscar.next("event")["topic"] == "incidents"
        until(lambda: _is_cut(deaf))


def _read_until(one: socket.socket, wanted: bytes) -> None:
    found = b""
    while wanted not in found:
        more = one.recv(4096)
        assert more, found
        found += more


def _is_cut(one: socket.socket) -> bool:
    try:
        return not one.recv(65536)
    except ConnectionError:
        return True


def test_a_cut_listener_makes_everybody_read_anew(house: House) -> None:
    with (
        socket_to(house.url, house.token("bob")) as bob,
        stream_from(house.url, {"authorization": f"Bearer {house.token('oscar')}"}) as oscar,
    ):
        bob.next("hello"), oscar.next("hello")
        house.as_owner(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where query in ('listen \"apm_live\"', 'select') and datname = current_database()"
        )
        for one in (bob, oscar):
            assert one.next("paused")
            assert one.next("resync")
        made = house.incident(house.world.here)
        assert bob.next("event")["id"] == made


def test_a_restart_of_the_database_is_outlived(house: House, server: PostgresServer) -> None:
    with socket_to(house.url, house.token("bob"), "incidents") as bob:
        bob.next("hello")
        server.embedded.stop()
        assert bob.next("paused")
        server.embedded.start()
        assert bob.next("resync")
        made = house.incident(house.world.here)
        assert bob.next("event")["id"] == made


def test_at_the_end_each_is_told_to_come_again_and_when(own_house: House) -> None:
    house = own_house
    with (
        socket_to(house.url, house.token("bob")) as bob,
        stream_from(house.url, {"authorization": f"Bearer {house.token('oscar')}"}) as oscar,
        closing(asking(house.url)) as idle,
    ):
        bob.next("hello"), oscar.next("hello")
        idle.connect()
        house.serving.terminate()
        for one in (bob, oscar):
            said = one.next("bye")
            assert said["code"] == 1012
            assert said["retry_ms"] >= 500
        with pytest.raises(ConnectionClosed) as closed:
            bob.connection.recv(timeout=PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert house.serving.running.wait(60) == 0
