"""The health report over a real database: what it finds when something is broken on purpose."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest

from tests.support.health import patient
from tests.support.postgres import Database
from wedsync_apm.administration import store
from wedsync_apm.bootstrap import OWN_RULES
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.health.audit import Subject, audit
from wedsync_apm.health.checks import checks
from wedsync_apm.health.measure import NOT_MEASURED
from wedsync_apm.health.model import Line, Outcome, Verdict
from wedsync_apm.health.report import find_member, read_report, take_report
from wedsync_apm.health.store import measure_round, read_lines
from wedsync_apm.health.versions import statement_for
from wedsync_apm.rules.model import Operator
from wedsync_apm.selfwatch.collect import DatabaseReader
from wedsync_apm.types import Role

__all__ = ["patient"]

pytestmark = pytest.mark.usefixtures("patient")


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
    report = await take_report(database.engine, pool, await find_member(database.engine))
    assert report.verdict is not Verdict.EXCELLENT or all(
        line.outcome is Outcome.PASSED for line in report.lines
    )
    return {line.key: line for line in report.lines}


async def test_a_sound_database_passes_all_that_needs_no_engine(
    pool: Pool, furnished: Database
) -> None:
    lines = await _lines(pool, furnished)
    not_passed = {k: line.reason for k, line in lines.items() if line.outcome is not Outcome.PASSED}
    # fsync is off in tests and no engine runs; a fresh clone was hardly read yet; the statements
    # and checkpoints are those of all tests on this server
    of_tests = {"settings", "jobs", "cache_hit", "slow_statements", "checkpoints"}
    assert not_passed.keys() - of_tests == set()
    assert [line for line in lines.values() if line.value == NOT_MEASURED] == []
    assert lines["jobs"].outcome is Outcome.UNKNOWN
    assert lines["settings"].outcome is Outcome.FAILED
    assert all(line.statement and line.duration_ms > 0 for line in lines.values())


async def test_without_a_member_his_lines_are_unknown(pool: Pool, database: Database) -> None:
    lines = await _lines(pool, database)
    for key in ("query_wedding", "query_incidents", "query_rollups", "isolation", "wedding_day"):
        assert lines[key].outcome is Outcome.UNKNOWN


async def test_harm_in_the_functions_is_found(pool: Pool, furnished: Database) -> None:
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        cx.execute(
            "create or replace function is_wedding_day("
            "organization_id uuid, check_date date default null) returns boolean"
            " language sql stable security definer set search_path = ''"
            " as 'select true'"
        )
    line = (await _lines(pool, furnished))["wedding_day"]
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


async def test_the_page_shows_what_the_engine_measured_last(
    pool: Pool, furnished: Database
) -> None:
    before = await read_report(pool, None)
    assert [line.value for line in before.lines if line.key == "engine"] == ["nothing measured yet"]
    assert before.verdict is not Verdict.EXCELLENT

    await asyncio.to_thread(measure_round, furnished.engine)
    lines = {line.key: line for line in (await read_report(pool, None)).lines}
    assert lines.keys() > {check.key for check in checks()}
    assert lines["settings"].failing_since == lines["settings"].measured_at
    assert lines["settings"].remedy

    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        cx.execute("alter table apm_alerts no force row level security")
        cx.execute("update apm_private.health_lines set measured_at = measured_at - interval '1 h'")
    await asyncio.to_thread(measure_round, furnished.engine)
    later = {line.key: line for line in (await read_report(pool, None)).lines}
    assert later["rls_not_forced"].outcome is Outcome.FAILED
    assert later["rls_not_forced"].rows[0]["name"] == "rls_not_forced"
    since = later["settings"].failing_since
    assert since is not None
    assert since < later["settings"].measured_at


async def test_what_was_measured_long_ago_is_not_known(pool: Pool, furnished: Database) -> None:
    await asyncio.to_thread(measure_round, furnished.engine)
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        cx.execute("update apm_private.health_lines set measured_at = now() - interval '2 hours'")
    stored = {line.key: line for line in await read_lines(pool)}
    assert {line.outcome for line in stored.values()} == {Outcome.UNKNOWN}
    assert "does not measure" in stored["tables"].reason


async def test_a_round_measures_only_what_is_due(furnished: Database) -> None:
    assert f"{len(checks())} lines" in await asyncio.to_thread(measure_round, furnished.engine)
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        cx.execute("update apm_private.health_lines set measured_at = now()")
        cx.execute(
            "update apm_private.health_lines set measured_at = now() - interval '1 day' "
            "where key = 'blocking'"
        )
    assert (await asyncio.to_thread(measure_round, furnished.engine)).startswith("1 lines")


async def test_statements_are_told_by_what_they_cost_since(furnished: Database) -> None:
    """Counters are never reset; a snapshot is where they are counted from."""
    # of another shape: names alone make no other statement
    rare, often = "select 41 as rarely_asked", "select 42 as often_asked, 43 as too"
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        for _ in range(5):
            cx.execute(rare)
    await asyncio.to_thread(measure_round, furnished.engine)
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        for _ in range(7):
            cx.execute(often)
        reset = cx.execute("select stats_reset from extensions.pg_stat_statements_info").fetchone()
        statement = statement_for("slow_statements", 18).replace("limit 20", "limit 5000")
        cx.execute("set search_path = pg_catalog, extensions")
        found = cx.execute(statement.encode()).fetchall()
        again = cx.execute("select stats_reset from extensions.pg_stat_statements_info").fetchone()
    asked = {row[0]: row[2] for row in found if "_asked" in row[0]}
    assert asked == {"select $1 as often_asked, $2 as too": 7}
    assert reset == again


async def test_sizes_are_kept_by_the_hour_and_then_by_the_day(furnished: Database) -> None:
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        cx.execute(
            "insert into apm_private.health_sizes select at, 1, 2, '{}' from generate_series("
            "date_trunc('day', now()) - interval '401 days', date_trunc('day', now())"
            " - interval '1 day', interval '6 hours') as at"
        )
    await asyncio.to_thread(measure_round, furnished.engine)
    await asyncio.to_thread(measure_round, furnished.engine)
    with psycopg.connect(furnished.owner) as cx:
        found = cx.execute(
            "select count(*) from apm_private.health_sizes"
            " where measured_at < now() - interval '3 days'"
        ).fetchone()
        newest = cx.execute(
            "select count(*) from apm_private.health_sizes where database_bytes > 1"
        ).fetchone()
    assert found is not None
    assert 390 <= found[0] <= 400
    assert newest == (1,)


async def test_self_watch_sends_what_a_rule_looks_at(furnished: Database) -> None:
    """From a red line to a firing rule: the figures, and the platform's own rule over them."""
    with psycopg.connect(furnished.owner, autocommit=True) as cx:
        cx.execute("alter table apm_alerts no force row level security")
    await asyncio.to_thread(measure_round, furnished.engine)
    reader = DatabaseReader(furnished.engine)
    figures = list(reader.read_health())
    reader.close()
    red = {f.tags["line"] for f in figures if f.metric == "line_red" and f.value > 0}
    assert "rls_not_forced" in red
    assert "rls_disabled" not in red
    rule = next(one for one in OWN_RULES if one.metric_pattern == "database_health.line_red")
    assert rule.group_by == ("line",)
    assert rule.comparison_operator is Operator.ABOVE
    assert rule.threshold_value == 0
    assert {f"{f.service}.{f.metric}" for f in figures} >= {
        "database_health.line_red",
        "database_health.since_measured_seconds",
        "database_health.red_lines",
    }


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
