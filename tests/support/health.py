"""A database that is well, and the health of it, measured with patience."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.postgres import Database, PostgresServer
from wedsync_apm.health import measure
from wedsync_apm.health.checks import SyncConnection

WELL = """
    insert into apm_private.job_runs
        (job, started_at, finished_at, duration_ms, outcome, detail, failures_in_row)
    values ('evaluate', now(), now(), 1, 'ok', '', 0)
    on conflict (job) do update set started_at = now();
    insert into apm_private.cursors (name, snapshot)
    select format('rollup %s 0', width), pg_current_snapshot()
    from unnest(array[60, 300, 3600, 86400]) as width
    on conflict (name) do update set updated_at = now();
"""
"""The engine runs and rolls up: what else a new database would be found wanting of."""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no fault of the database."""
    monkeypatch.setattr(measure, "STATEMENT_MS", 60_000)
    monkeypatch.setattr(measure, "ROUND_SECONDS", 240.0)


@contextmanager
def superuser_of(server: PostgresServer, database: Database) -> Iterator[SyncConnection]:
    """The superuser in that database; what is not committed is rolled back."""
    conninfo = server.embedded.conninfo(dbname=database.name)
    with psycopg.connect(conninfo, row_factory=dict_row) as cx:
        yield cx
        cx.rollback()
