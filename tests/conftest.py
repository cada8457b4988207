"""Fixtures that every kind of test shares."""

import gc
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

from tests.support.browser import require_browser
from tests.support.passwords import QUICK
from tests.support.postgres import (
    Database,
    PostgresServer,
    shelf_of_run,
    sweep_left_behind,
    throw_away_server,
)

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

_TESTS: Final = Path(__file__).parent
_LONGEST: Final = (
    "sql/test_schema_migrations.py",
    "acceptance/test_up.py",
    "sql/test_statements.py",
    "browser/test_preview_pages.py",
    "browser/test_pages.py",
    "acceptance/test_first_metric.py",
    "browser/test_accessibility.py",
    "browser/test_phone.py",
    "integration/test_ladders.py",
    "sql/test_migrate.py",
    "integration/test_engine_killed.py",
    "integration/test_evaluator_leases.py",
    "acceptance/test_soak.py",
    "integration/test_ingest_prometheus.py",
    "integration/test_live_and_preview.py",
)
"""The files that take most of a minute and more, the longest first."""
_KINDS: Final = ("acceptance", "browser", "integration", "sql", "unit")
"""The folders of tests, those with the longest files first."""


_of_run: Final = ExitStack()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Tidies up after a run that was killed, and makes the shelf; once, not in every worker."""
    if not hasattr(session.config, "workerinput"):
        sweep_left_behind()
        _of_run.enter_context(shelf_of_run())


def pytest_unconfigure() -> None:
    """What the run shared goes when its workers have gone."""
    _of_run.close()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: a test of running processes waits a third of its time."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else 2


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that the last ones do not leave a worker alone with them."""

    def turn(item: pytest.Item) -> tuple[int, int]:
        path = item.path.relative_to(_TESTS)
        place = _LONGEST.index(name) if (name := path.as_posix()) in _LONGEST else len(_LONGEST)
        return place, _KINDS.index(path.parts[0])

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """What thousands of collected tests hold is not looked through for rubbish again and again."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Nobody waits for the hash of a password, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wedsync_apm.organizations.passwords._HASHER", QUICK)
        yield


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Each client of HTTP reads all that a machine trusts: most of what many a test would do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
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
