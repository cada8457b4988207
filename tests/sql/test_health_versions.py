"""The collectors and lints run on every version that is supported."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.sql.conftest import Houses
from tests.support.postgres import Database, throw_away_server
from tests.support.postgres_versions import RELEASES, programs_of
from wedsync_apm.health.checks import SyncConnection, checks
from wedsync_apm.health.measure import NOT_MEASURED, measure
from wedsync_apm.health.model import Outcome
from wedsync_apm.health.store import measure_now, measure_round
from wedsync_apm.health.thresholds import THRESHOLDS
from wedsync_apm.health.versions import statement_for

VERSIONS = (15, 16, 17, 18)


@pytest.fixture(scope="module", params=VERSIONS)
def version_and_database(
    request: pytest.FixtureRequest, houses: Houses
) -> Iterator[tuple[int, Database]]:
    version = request.param
    if version in RELEASES:
        with throw_away_server(pg_bin=programs_of(version)) as server, server.clone() as database:
            yield version, database
    else:
        with houses.get(f"{version}-superuser").server.clone() as database:
            yield version, database


def _connect(conninfo: str) -> SyncConnection:
    return psycopg.connect(conninfo, row_factory=dict_row)


def test_every_line_is_measured(version_and_database: tuple[int, Database]) -> None:
    version, database = version_and_database
    with _connect(database.engine) as cx:
        assert cx.info.server_version // 10000 == version
    measure_round(database.engine)  # so that there is history to ask about
    lines = measure_now(database.engine)
    assert len(lines) == len(checks())
    assert {line.key: line.reason for line in lines if line.value == NOT_MEASURED} == {}
    # Nothing runs here but this, and tests do without fsync.
    red = {line.key: line.reason for line in lines if line.outcome is Outcome.FAILED}
    assert red.keys() <= {"settings", "cache_hit", "checkpoints"}, red
    thresholds = {one.key for one in THRESHOLDS}
    for line in lines:
        if line.key in thresholds:
            assert all({"subject", "figure"} <= row.keys() for row in line.rows), line.key


def test_words_of_another_version_make_their_line_red_and_no_other(
    version_and_database: tuple[int, Database],
) -> None:
    """A column that the server does not have is never a green line, nor a missing one."""
    version, database = version_and_database
    foreign = 15 if version >= 17 else 17
    every = tuple(
        replace(check, statement=lambda _: statement_for("checkpoints", foreign))
        if check.key == "checkpoints"
        else check
        for check in checks()
        if check.key in {"checkpoints", "connections", "rls_disabled"}
    )
    with _connect(database.engine) as cx:
        lines = {line.key: line for line in measure(cx, every)}
    assert lines["checkpoints"].outcome is Outcome.FAILED
    assert lines["checkpoints"].value == NOT_MEASURED
    assert "does not exist" in lines["checkpoints"].reason
    assert lines["connections"].outcome is Outcome.PASSED
    assert lines["rls_disabled"].outcome is Outcome.PASSED
