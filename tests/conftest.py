"""Fixtures that every kind of test shares."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.browser import require_browser
from tests.support.postgres import Database, PostgresServer, sweep_left_behind, throw_away_server

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Tidies up after a run that was killed; once, not in every worker."""
    if not hasattr(session.config, "workerinput"):
        sweep_left_behind()


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> Iterator[None]:
    """No test may talk to another machine from Python: it would not run twice the same way."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0])
            try:
                is_local = ipaddress.ip_address(host.partition("%")[0]).is_loopback
            except ValueError:
                is_local = host == "localhost"
            if not is_local:
                raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """This worker's server; the superuser migrates its template."""
    with throw_away_server() as running:
        yield running


@pytest.fixture(scope="session")
def plain_owner_server() -> Iterator[PostgresServer]:
    """A second server, whose databases belong to an owner who is no superuser."""
    with throw_away_server(owner="apm_owner") as running:
        yield running


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    """A fresh, migrated database."""
    with server.clone() as cloned:
        yield cloned


@pytest.fixture(params=["superuser", "plain_owner"])
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A fresh database, once migrated by a superuser and once by an owner who is none."""
    name = "server" if request.param == "superuser" else "plain_owner_server"
    running: PostgresServer = request.getfixturevalue(name)
    with running.clone() as cloned:
        yield cloned


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The machine's Chromium; without one an error in CI, and "not measured" elsewhere."""
    return require_browser()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """No browser test passes by being skipped in silence."""
    if item.get_closest_marker("browser"):
        require_browser()
