"""Live connections as scripts open them, to a serving process."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from websockets.sync.client import ClientConnection, connect

from tests.support.postgres import Database
from tests.support.serving import World, settings_for
from wedsync_apm.organizations.tokens import Tokens, load_tokens

PATIENCE = 40.0
"""Seconds that a message may take; how long it takes says how busy the machine is."""

Said = dict[str, Any]


class Socket:
    """A WebSocket that has subscribed."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def say(self, **message: Any) -> None:
        """Sends a message."""
        self.connection.send(json.dumps(message))

    def next(self, *kinds: str) -> Said:
        """The next message that is one of these kinds; others are passed over, but for a bye."""
        end = time.monotonic() + PATIENCE
        while True:
            # Heartbeats come all the time.
            message: Said = json.loads(self.connection.recv(timeout=end - time.monotonic()))
            if message["type"] in kinds or (not kinds and message["type"] != "heartbeat"):
                return message
            assert message["type"] != "bye", message


@contextmanager
def socket_to(
    url: str, token: str | None = None, *topics: str, headers: Said | None = None, **more: Any
) -> Iterator[Socket]:
    """A WebSocket; the first message is sent, and what comes is left to the test."""
    address = f"{url.replace('http', 'ws', 1)}/api/v1/live"
    origin = (headers or {}).get("origin")
    rest = {name: value for name, value in (headers or {}).items() if name != "origin"}
    with connect(
        address,
        origin=origin,
        additional_headers=rest,
        open_timeout=PATIENCE,
        close_timeout=5,
        ping_interval=None,
        compression=None,
        proxy=None,
    ) as connection:
        found = Socket(connection)
        found.say(
            type="subscribe", topics=list(topics), **({"token": token} if token else {}) | more
        )
        yield found


class Events:
    """An event stream, message by message."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer
        self.names: list[str] = []
        self.places: list[str] = []

    def next(self, *kinds: str) -> Said:
        """As of a socket."""
        end = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < end, "it did not come in time"
            lines: dict[str, str] = {}
            while line := self._answer.readline().decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                lines[name] = value
            if "data" not in lines:
                assert "retry" in lines, lines
                continue
            message: Said = json.loads(lines["data"])
            self.names.append(lines["event"])
            self.places.append(lines.get("id", ""))
            assert lines.get("id") == message.get("event_id")
            if message["type"] in kinds or (not kinds and message["type"] != "heartbeat"):
                return message
            assert message["type"] != "bye", message


@contextmanager
def stream_from(url: str, headers: Said, **query: str) -> Iterator[Events]:
    """An event stream that has begun."""
    with closing(asking(url)) as connection:
        connection.request("GET", f"/api/v1/events?{urlencode(query)}", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        with answer:
            yield Events(answer)


def asking(url: str) -> http.client.HTTPConnection:
    """A connection for plain requests."""
    where = urlsplit(url)
    return http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)


def tokens_of(database: Database, folder: Path) -> Tokens:
    """What signs the tokens of the process that has this data folder."""
    return load_tokens(settings_for(database, folder))


def token_of(tokens: Tokens, world: World, name: str, generation: int = 1) -> str:
    """A token of one of the people."""
    return tokens.issue(
        world.people[name],
        name=name.title(),
        email=f"{name}@example.org",
        generation=generation,
    )
