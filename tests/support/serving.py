"""A serving process inside a test, with two organizations and the people who belong to them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
import uvicorn
from litestar import Litestar
from litestar.datastructures import State

from tests.support.passwords import QUICK
from tests.support.postgres import Database
from wedsync_apm.administration import store as administration
from wedsync_apm.api.application import make_application, working
from wedsync_apm.api.lines import MOST_MESSAGE_BYTES, LiveSocket
from wedsync_apm.api.patience import PatientProtocol, Standing
from wedsync_apm.api.services import Services
from wedsync_apm.app import Composed, compose
from wedsync_apm.config import Settings, load_or_create_secret, load_settings
from wedsync_apm.types import KeyScope, OperatorRole, Role

PASSWORD = "a password for tests"
PASSWORD_HASH = QUICK.hash(PASSWORD)


@dataclass(frozen=True, slots=True)
class World:
    """Two organizations. `people` and `keys` are named for what they are."""

    here: UUID
    there: UUID
    people: Mapping[str, UUID]
    keys: Mapping[str, str] = field(repr=False)


def populate(database: Database) -> World:
    """alice owns `here`, bob is a member, vera a viewer; oscar owns `there`; carol is an admin of
    both; olga is the platform's operator on call; nora belongs nowhere."""
    with administration.connect(database.engine) as cx:
        here, there, platform = (
            administration.create_organization(
                cx, name=name, time_zone="Europe/London", vendor_type="florist"
            )
            for name in ("Hart Flowers", "Moss Photography", "Platform")
        )
        administration.set_platform(cx, platform)
        people = {
            name: administration.create_user(
                cx,
                email=f"{name}@example.org",
                display_name=name.title(),
                password_hash=PASSWORD_HASH,
            ).id
            for name in ("alice", "bob", "vera", "oscar", "carol", "olga", "nora")
        }
        for name, organization_id, role in (
            ("alice", here, Role.OWNER),
            ("bob", here, Role.MEMBER),
            ("vera", here, Role.VIEWER),
            ("carol", here, Role.ADMIN),
            ("oscar", there, Role.OWNER),
            ("carol", there, Role.ADMIN),
        ):
            administration.add_member(
                cx, user_id=people[name], organization_id=organization_id, role=role
            )
        administration.create_operator(
            cx, user_id=people["olga"], email="olga@example.org", role=OperatorRole.ONCALL
        )
        keys = {
            scope.value: administration.create_key(
                cx, name=f"{scope} key", scope=scope, organization_id=here
            ).secret
            for scope in KeyScope
        }
        keys["platform"] = administration.create_key(
            cx, name="platform key", scope=KeyScope.INGEST, organization_id=None
        ).secret
    return World(here, there, people, keys)


def settings_for(database: Database, folder: Path, **more: object) -> Settings:
    """The settings of a process on that database, its passwords among its secrets."""
    for role, password in database.passwords.items():
        load_or_create_secret(folder, f"{role}_password", partial(str, password))
    return load_settings({}, data_dir=folder, database_url=database.owner, **more)


@dataclass(frozen=True, slots=True)
class Running:
    """A process that answers at `url`."""

    url: str
    composed: Composed
    world: World

    def token(self, name: str) -> str:
        """A token of one of the people."""
        return self.composed.services.authenticator.tokens.issue(
            self.world.people[name],
            name=name.title(),
            email=f"{name}@example.org",
            generation=1,
        )

    def as_person(self, name: str) -> httpx.AsyncClient:
        """A client that is signed in."""
        return self.client({"authorization": f"Bearer {self.token(name)}"})

    def as_key(self, name: str) -> httpx.AsyncClient:
        """A client that sends a key."""
        return self.client({"x-api-key": self.world.keys[name]})

    def client(self, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        """A client with these headers."""
        # Given up before the server does after 5 s, so that no request meets a closing connection.
        return httpx.AsyncClient(
            base_url=self.url,
            headers=dict(headers or {}),
            timeout=30,
            limits=httpx.Limits(keepalive_expiry=2),
        )


_idle: Final[list[Litestar]] = []
"""Applications whose test is over. To make one takes longer than most tests: some 300 routes."""


@asynccontextmanager
async def composing(settings: Settings) -> AsyncIterator[Composed]:
    """As `compose` does it, but with an application that served an earlier test, if there is one:
    its routes are the same, and all that it works with is put in anew."""
    lent: list[Litestar] = []

    def lend(services: Services, *, state: dict[str, Any], **more: Any) -> Litestar:
        if _idle:
            application = _idle.pop()
            description = application.state["description"]
            application.state = State({"description": description, **working(services, state)})
        else:
            application = make_application(services, state=state, **more)
        lent.append(application)
        return application

    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("wedsync_apm.app.make_application", lend)
            composed = await stack.enter_async_context(compose(settings))
        yield composed
    _idle.extend(lent)


@asynccontextmanager
async def running(settings: Settings, world: World) -> AsyncIterator[Running]:
    """The real server on a free port, in this event loop."""
    async with composing(settings) as composed:
        # Named as TCP: asyncio switches Nagle's algorithm off (40 ms an answer) only where it is.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
            listening.bind(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            server = uvicorn.Server(
                uvicorn.Config(
                    composed.application,
                    lifespan="off",
                    log_config=None,
                    http=PatientProtocol,
                    ws=LiveSocket,
                    ws_per_message_deflate=False,
                    ws_max_size=MOST_MESSAGE_BYTES,
                    ws_ping_interval=None,
                    timeout_graceful_shutdown=1,
                )
            )
            server.server_state = Standing()
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup([listening])
            loop = asyncio.create_task(server.main_loop())
            try:
                yield Running(f"http://127.0.0.1:{port}", composed, world)
            finally:
                server.should_exit = True
                await composed.services.hub.drain()
                await loop
                await server.shutdown([listening])
