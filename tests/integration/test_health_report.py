"""The health report over a real database: what it finds when something is broken on purpose."""

from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest

from tests.support.postgres import Database
from wedsync_apm.administration import store
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.health.audit import Subject, audit
from wedsync_apm.health.model import Line, Outcome, Verdict
from wedsync_apm.health.report import find_member, take_report
from wedsync_apm.types import Role


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    opened = await open_pool(database.api, name="test", min_size=1, max_size=2, wait=True)
    yield opened
    await opened.close()


@pytest.fixture
def furnished(database: Database) -> Database:
    """With an organization and its owner."""
    with store.connect(database.engine) as cx:
        organization = store.create_organization(
            cx, name="Studio", time_zone="Europe/London", vendor_type="florist"
        )
        store.add_member(cx, user_id=uuid4(), organization_id=organization, role=Role.OWNER)
    return database


async def _lines(pool: Pool, database: Database) -> dict[str, Line]:
    report = await take_report(pool, await find_member(database.engine))
    assert report.verdict is not Verdict.EXCELLENT or all(
        line.outcome is Outcome.PASSED for line in report.lines
    )
    return {line.key: line for line in report.lines}


async def test_a_sound_database_passes_all_that_needs_no_engine(
    pool: Pool, furnished: Database
) -> None:
    lines = await _lines(pool, furnished)
    not_passed = {k: line.reason for k, line in lines.items() if line.outcome is not Outcome.PASSED}
    # fsync is off in tests and no engine runs; a fresh clone was hardly read yet
    assert not_passed.keys() - {"settings", "jobs", "cache", "statements", "checkpoints"} == set()
    assert [line for line in lines.values() if line.value == "not measured"] == []
    assert lines["jobs"].outcome is Outcome.UNKNOWN
    assert lines["settings"].outcome is Outcome.FAILED
    assert all(line.statement and line.duration_ms > 0 for line in lines.values())


async def test_without_a_member_his_lines_are_unknown(pool: Pool, database: Database) -> None:
    lines = await _lines(pool, database)
    for key in ("query_wedding", "query_incidents", "query_rollups", "isolation", "wedding_day"):
        assert lines[key].outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("harm", "key"),
    [
        ("alter table apm_incidents no force row level security", "row_security"),
        (
            "alter table apm_partitions.apm_metrics_default disable row level security",
            "row_security",
        ),
        ("grant truncate on apm_alerts to authenticated", "grants"),
        ("grant select on apm_partitions.apm_metrics_default to anon", "grants"),
        ("create policy leaky on apm_alerts for select using (true)", "policies"),
        ("drop index idx_apm_alerts_active", "drift"),
        ("update apm_private.migrations set checksum = 'x'", "migrations"),
        ("grant execute on function is_wedding_day(uuid, date) to public", "functions"),
        (
            "create or replace function is_wedding_day("
            "organization_id uuid, check_date date default null) returns boolean"
            " language sql stable security definer set search_path = ''"
            " as 'select true'",
            "wedding_day",
        ),
    ],
)
async def test_harm_is_found(pool: Pool, furnished: Database, harm: str, key: str) -> None:
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        cx.execute(harm.encode())
    line = (await _lines(pool, furnished))[key]
    assert line.outcome is Outcome.FAILED, line
    assert line.reason


async def test_a_role_lifted_above_rls_is_found(pool: Pool, furnished: Database) -> None:
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        # Roles belong to the whole server, which other tests use too.
        cx.execute("grant apm_definer to authenticated")
        try:
            line = (await _lines(pool, furnished))["roles"]
        finally:
            cx.execute("revoke apm_definer from authenticated")
    assert line.outcome is Outcome.FAILED
    assert "authenticated may become apm_definer" in line.reason
    assert "apm_api may become apm_definer" in line.reason


async def test_a_question_that_fails_makes_its_line_unknown(
    pool: Pool, furnished: Database
) -> None:
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        cx.execute("drop extension pg_stat_statements")
    line = (await _lines(pool, furnished))["statements"]
    assert line.outcome is Outcome.UNKNOWN
    assert "pg_stat_statements" in line.reason


async def test_the_trial_wedding_is_not_kept(pool: Pool, furnished: Database) -> None:
    assert (await _lines(pool, furnished))["wedding_day"].outcome is Outcome.PASSED
    with psycopg.connect(furnished.owner) as cx:
        assert cx.execute("select count(*) from apm_weddings").fetchone() == (0,)


@pytest.mark.parametrize("subject", Subject)
async def test_audits_find_nothing_on_a_sound_database(
    pool: Pool, database: Database, subject: Subject
) -> None:
    found = await audit(pool, subject)
    assert found.fault == ""
    assert found.rows


async def test_audits_find_harm(pool: Pool, database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as cx:
        cx.execute("alter table apm_alerts disable row level security")
        cx.execute("grant truncate on apm_alerts to anon")
    assert "apm_alerts" in (await audit(pool, Subject.RLS)).fault
    assert "TRUNCATE" in (await audit(pool, Subject.PRIVILEGES)).fault
