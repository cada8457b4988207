"""A healthy database, one thing broken at a time: exactly that line turns red."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support.health import WELL, patient, superuser_of
from tests.support.postgres import Database, PostgresServer, throw_away_server
from wedsync_apm.health.checks import Check, SyncConnection, checks
from wedsync_apm.health.measure import NOT_MEASURED, measure
from wedsync_apm.health.model import Line, Outcome, Report, Verdict
from wedsync_apm.health.versions import statement_for

__all__ = ["patient"]

PARTITION: Final = "apm_partitions.apm_metrics_default"
# How long a statement takes says how busy the machine is; a new database was hardly read yet.
PATIENT: Final = {"slow_statements": 1e9, "cache_hit": 0}
UNKNOWN_WHEN_NEW: Final = frozenset({"cache_hit"})

ARRAYS: Final = (
    "series_ids", "sample_counts", "sum_values", "min_values", "max_values", "last_values", "p50",
    "p95", "p99",
)  # fmt: skip
LATE_ROW: Final = {
    "organization_id": "00000000-0000-4000-8000-00000000000a",
    "time_bucket": "1999-01-01T00:00:00Z",
    "bucket_width": "1 hour",
    "sketches": ["\\x"],
    "is_wedding_day": False,
    "updated_at": "1999-01-01T00:00:00Z",
    **{name: [1] for name in ARRAYS},
}

# what is broken -> (statements of the superuser, rolled back; the one line that turns red)
BREAKAGES: Final[dict[str, tuple[str, str]]] = {
    "RLS off on a partition": (f"alter table {PARTITION} disable row level security", "rls_disabled"),
    "RLS off on a table": ("alter table public.apm_alerts disable row level security", "rls_disabled"),
    "RLS off on a partitioned table": ("alter table public.apm_metrics disable row level security", "rls_disabled"),
    "RLS no longer forced": ("alter table public.apm_metrics no force row level security", "rls_not_forced"),
    "an index dropped": ("drop index public.idx_apm_alerts_active", "drift"),
    "a constraint dropped": ("alter table public.apm_alerts drop constraint apm_alerts_clear_side", "drift"),
    "a column added by hand": ("alter table public.apm_alerts add note text", "drift"),
    "a policy dropped": ("drop policy apm_alerts_authenticated_delete on public.apm_alerts", "drift"),
    "a policy loosened": ("alter policy apm_alerts_authenticated_select on public.apm_alerts using (true)", "policy_always_true"),
    "a policy for everybody": ("create policy p on public.apm_alerts for select using (is_active)", "policy_without_role"),
    "a policy for anonymous callers": ("create policy p on public.apm_alerts for select to anon using (is_active)", "policy_for_anonymous"),
    "a policy that asks for each row": (
        "create policy p on public.apm_alerts for select to authenticated using (organization_id = any (public.apm_current_organization_ids()))",
        "policy_asks_per_row",
    ),
    "a view with its owner's rights": ("alter view public.apm_samples reset (security_invoker)", "definer_view"),
    "a function's search path loosened": ("alter function public.is_wedding_day(uuid, date) reset search_path", "function_search_path"),
    "a function for everybody": ("grant execute on function public.is_wedding_day(uuid, date) to public", "function_for_everybody"),
    "a grant to anon": ("grant select on public.apm_alerts to anon", "granted_to_anonymous"),
    "a partition granted to members": (f"grant select on {PARTITION} to authenticated", "granted_beside_rls"),
    "TRUNCATE granted to members": ("grant truncate on public.apm_alerts to authenticated", "granted_beside_rls"),
    "later partitions given away": ("alter default privileges in schema apm_partitions grant select on tables to anon", "open_default_privileges"),
    "the partitions' schema opened": ("grant usage on schema apm_partitions to authenticated", "open_schema"),
    "a role lifted above RLS": ("grant apm_definer to authenticated", "roles"),
    "an index not valid": (
        "update pg_index set indisvalid = false where indexrelid = 'public.idx_apm_alerts_active'::regclass",
        "invalid_index",
    ),
    "an index twice": ("create index twin on public.apm_series (organization_id, service_name, metric_name)", "duplicate_index"),
    "a trigger disabled": ("alter table public.apm_alerts disable trigger apm_alerts_keep_tenant", "disabled_trigger"),
    "a constraint not checked": ("alter table public.apm_alerts add constraint c check (threshold_value < 7) not valid", "constraint_not_valid"),
    "a table that a crash empties": ("alter table apm_private.job_runs set unlogged", "unlogged_table"),
    "an extension in public": ("create extension pg_trgm schema public", "extension_in_public"),
    "an extension behind its files": ("update pg_extension set extversion = '0.9' where extname = 'plpgsql'", "extension_outdated"),
    "the statistics' extension missing": ("drop extension pg_stat_statements", "slow_statements"),
    "a migration changed": ("update apm_private.migrations set checksum = 'x' where version = (select min(version) from apm_private.migrations)", "migrations"),
    "a migration of another release": (
        "insert into apm_private.migrations (version, name, checksum, execution_ms) values ('20990101000000', 'x', 'x', 0)",
        "migrations",
    ),
    "a stale rollup": ("delete from apm_private.cursors where name = 'rollup 300 0'; "
        "insert into apm_private.cursors values ('rollup 300 0', pg_current_snapshot(), now() - interval '1 day')", "rollups"),
    "a job that fails": ("update apm_private.job_runs set outcome = 'failed', detail = 'no', failures_in_row = 3", "jobs"),
    "an engine that stands still": ("update apm_private.job_runs set started_at = now() - interval '1 hour'", "jobs"),
    "partitions not made ahead": (
        "do $$ declare part regclass; begin for part in select i.inhrelid::regclass from pg_inherits as i join pg_class as c on c.oid = i.inhrelid "
        "where i.inhparent = 'public.apm_metrics'::regclass and c.relname > 'apm_metrics_' || to_char(now() at time zone 'UTC', 'YYYYMMDD') "
        "and c.relname ~ '\\d$' loop execute format('drop table %s', part); end loop; end $$",
        "partitions_ahead",
    ),
    "a sequence nearly full": (
        "alter sequence apm_private.series_ids maxvalue 100 restart with 95; select nextval('apm_private.series_ids')",
        "sequences",
    ),
    "a disk that fills up": (
        "insert into apm_private.health_sizes values (now() - interval '2 hours', 1000000000, 50000000000, '{}'), "
        "(now(), 2000000000, 49000000000, '{}')",
        "growth",
    ),
    "watching that costs too much": (
        "insert into apm_private.health_lines values ('slow', 0, '', '', '', 'passed', '', '', '', '', null, '', '[]', now(), 9000, 60)",
        "watching_processor",
    ),
    "the right to look taken away": ("revoke pg_monitor from apm_engine", "right_to_look"),
    "an acknowledged sample that a power cut loses": ("set local synchronous_commit = off", "settings"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Patient:
    """The database that everything is done to, and put back."""

    server: PostgresServer
    database: Database

    def measure(self, every: tuple[Check, ...] | None = None) -> dict[str, Line]:
        """Over a connection of its own."""
        with psycopg.connect(self.database.engine, row_factory=dict_row) as cx:
            return {line.key: line for line in measure(cx, every or checks(PATIENT))}


@pytest.fixture(scope="module")
def healthy() -> Iterator[Patient]:
    options = {"wal_level": "replica", "max_wal_senders": "2", "max_connections": "30"}
    with throw_away_server(options=options) as server, server.clone() as database:
        with psycopg.connect(server.superuser, autocommit=True) as cx:
            # The other tests' servers do without, which is a finding of its own.
            for name in ("fsync", "full_page_writes"):
                cx.execute(f"alter system set {name} = on".encode())
            cx.execute("select pg_reload_conf(), pg_stat_reset_shared('checkpointer')")
        with superuser_of(server, database) as cx:
            cx.execute(WELL)
            cx.commit()
        yield Patient(server, database)


@pytest.fixture(autouse=True)
def as_patient(patient: None) -> None:
    """Every test here waits."""


@pytest.fixture
def cx(healthy: Patient) -> Iterator[SyncConnection]:
    with superuser_of(healthy.server, healthy.database) as cx:
        # Hours may lie between, on a busy machine.
        cx.execute(WELL)
        yield cx


def _as_engine(cx: SyncConnection) -> dict[str, Line]:
    cx.execute("set local role apm_engine")
    return {line.key: line for line in measure(cx, checks(PATIENT))}


def _red(lines: dict[str, Line]) -> dict[str, str]:
    return {
        key: f"{line.value}: {line.reason}"
        for key, line in lines.items()
        if line.outcome is Outcome.FAILED
    }


def _verdict(lines: dict[str, Line]) -> Verdict:
    return Report(next(iter(lines.values())).measured_at, "", "", "", tuple(lines.values())).verdict


def test_a_healthy_database_has_no_red_line(cx: SyncConnection) -> None:
    lines = _as_engine(cx)
    assert _red(lines) == {}
    unknown = {key for key, line in lines.items() if line.outcome is Outcome.UNKNOWN}
    assert unknown <= UNKNOWN_WHEN_NEW
    assert all(
        line.statement and line.remedy for key, line in lines.items() if line.expected != "measured"
    )


@pytest.mark.parametrize("what", BREAKAGES)
def test_exactly_that_line_turns_red(cx: SyncConnection, what: str) -> None:
    harm, key = BREAKAGES[what]
    for statement in [harm] if "$$" in harm else harm.split("; "):
        cx.execute(statement.encode())
    lines = _as_engine(cx)
    assert _red(lines).keys() == {key}, _red(lines)
    assert lines[key].reason
    assert lines[key].remedy
    assert _verdict(lines) is Verdict.NEEDS_ATTENTION


def test_without_the_right_to_look_what_needs_it_is_not_called_well(cx: SyncConnection) -> None:
    cx.execute("revoke pg_monitor from apm_engine")
    lines = _as_engine(cx)
    assert lines["long_transactions"].outcome is Outcome.UNKNOWN
    assert "pg_monitor" in lines["long_transactions"].reason


def test_a_collector_that_fails_is_a_red_line(healthy: Patient) -> None:
    every = tuple(
        replace(check, statement=lambda _: "select no_such_column from pg_stat_activity")
        if check.key == "connections"
        else check
        for check in checks(PATIENT)
    )
    lines = healthy.measure(every)
    assert _red(lines).keys() == {"connections"}
    assert lines["connections"].value == NOT_MEASURED
    assert "no_such_column" in lines["connections"].reason


def test_rows_of_another_shape_are_a_red_line(healthy: Patient) -> None:
    every = tuple(
        replace(check, statement=lambda _: "select 1 as subject") if check.key == "slots" else check
        for check in checks(PATIENT)
        if check.key in {"slots", "wal"}
    )
    lines = healthy.measure(every)
    assert _red(lines).keys() == {"slots"}
    assert lines["slots"].value == NOT_MEASURED


def test_a_collector_that_takes_too_long_is_cut_off(
    healthy: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wedsync_apm.health.measure.STATEMENT_MS", 50)
    slow = next(check for check in checks(PATIENT) if check.key == "wal")
    lines = healthy.measure((replace(slow, statement=lambda _: "select pg_sleep(60)"),))
    assert "statement timeout" in lines["wal"].reason


# What needs other sessions, or must be committed: how it comes about, and how it ends.


def _session(patient: Patient, stack: ExitStack, login: str = "superuser") -> SyncConnection:
    if login == "superuser":
        return stack.enter_context(superuser_of(patient.server, patient.database))
    cx = psycopg.connect(patient.database.login(login), row_factory=dict_row)
    return stack.enter_context(contextlib.closing(cx))


def _idle(patient: Patient, stack: ExitStack) -> None:
    _session(patient, stack).execute("select 1")


def _lock_queue(patient: Patient, stack: ExitStack) -> None:
    # A lock of nothing: nobody else may come to wait for it.
    holder = _session(patient, stack)
    holder.execute("select pg_advisory_lock(7)")
    holder.commit()
    conninfo = patient.server.embedded.conninfo(dbname=patient.database.name)
    waiter = stack.enter_context(contextlib.closing(psycopg.connect(conninfo, autocommit=True)))
    waiter.pgconn.send_query(b"select pg_advisory_lock(7)")


def _full_pool(patient: Patient, stack: ExitStack) -> None:
    for _ in range(22):
        _session(patient, stack).autocommit = True


def _own_sessions(patient: Patient, stack: ExitStack) -> None:
    for _ in range(18):
        _session(patient, stack, "apm_api")


def _stuck_slot(patient: Patient, stack: ExitStack) -> None:
    cx = _session(patient, stack)
    cx.execute("select pg_create_physical_replication_slot('stuck', true)")
    cx.commit()
    cx.autocommit = True
    stack.callback(cx.execute, "select pg_drop_replication_slot('stuck')")
    cx.execute("select pg_switch_wal(), pg_logical_emit_message(false, 'a', repeat('b', 100000))")
    cx.execute("select pg_switch_wal()")


def _setting(patient: Patient, stack: ExitStack) -> None:
    cx = _session(patient, stack)
    cx.autocommit = True
    name = patient.database.name
    cx.execute(f"alter database {name} set enable_indexscan = off".encode())
    stack.callback(cx.execute, f"alter database {name} reset enable_indexscan".encode())


def _checkpoints(patient: Patient, stack: ExitStack) -> None:
    cx = _session(patient, stack)
    cx.autocommit = True
    stack.callback(cx.execute, "select pg_stat_reset_shared('checkpointer')")
    for _ in range(12):
        cx.execute("checkpoint")


def _dead_rows(patient: Patient, stack: ExitStack) -> None:
    cx = _session(patient, stack)
    cx.autocommit = True
    stack.callback(cx.execute, "vacuum apm_private.flushes")
    cx.execute(
        "insert into apm_private.flushes (organization_ids, earliest, latest) "
        "select '{}', '{}', '{}' from generate_series(1, 12000)"
    )
    cx.execute("delete from apm_private.flushes")
    cx.execute("select pg_stat_force_next_flush()")


def _bloat(patient: Patient, stack: ExitStack) -> None:
    cx = _session(patient, stack)
    cx.autocommit = True
    stack.callback(cx.execute, "truncate apm_private.flushes")
    cx.execute(
        "insert into apm_private.flushes (organization_ids, earliest, latest) "
        "select array_fill(gen_random_uuid(), array[40]), array_fill(now(), array[40]), "
        "array_fill(now(), array[40]) from generate_series(1, 9000)"
    )
    cx.execute("delete from apm_private.flushes where ctid < '(1500,1)'")
    cx.execute("vacuum (analyze) apm_private.flushes")


def _nothing(patient: Patient, stack: ExitStack) -> None:
    """The age is as it is; the limit comes near."""


def _late_rows(patient: Patient, stack: ExitStack) -> None:
    cx = _session(patient, stack)
    cx.autocommit = True
    partition = "apm_partitions.apm_metric_aggregations_default"
    stack.callback(cx.execute, f"truncate {partition}".encode())
    cx.execute(
        f"insert into {partition} select r.* from jsonb_populate_record("
        "null::public.apm_metric_aggregations, %s) as r",
        (Jsonb(LATE_ROW),),
    )


# what -> (how, the line, limits that stand in so that nobody waits for minutes)
LIVE: Final[dict[str, tuple[Callable[[Patient, ExitStack], None], str, dict[str, float]]]] = {
    "a session idle in a transaction": (_idle, "idle_in_transaction", {"idle_in_transaction": 0}),
    "a transaction that lasts": (_idle, "long_transactions", {"long_transactions": 0}),
    "a lock queue": (_lock_queue, "blocking", {"blocking": 0}),
    "a full connection pool": (_full_pool, "connections", {}),
    "too many connections of ours": (_own_sessions, "own_connections", {}),
    "a stuck replication slot": (_stuck_slot, "slots", {"slots": 1}),
    "a setting that harms": (_setting, "settings_worth_changing", {}),
    "checkpoints that come too early": (_checkpoints, "checkpoints", {}),
    "rows in the default partition": (_late_rows, "default_partitions", {}),
    "dead rows": (_dead_rows, "dead_rows", {}),
    "a table that is mostly air": (_bloat, "bloat", {}),
    "transaction ids near their end": (_nothing, "wraparound", {"wraparound": 0}),
}


@pytest.mark.parametrize("what", LIVE)
def test_exactly_that_line_turns_red_while_it_lasts(healthy: Patient, what: str) -> None:
    bring_about, key, limits = LIVE[what]
    every = checks(PATIENT | limits)
    with superuser_of(healthy.server, healthy.database) as cx:
        cx.execute(WELL)
        cx.commit()
    if limits and bring_about is not _nothing:
        assert _red(healthy.measure(every)) == {}
    with ExitStack() as stack:
        bring_about(healthy, stack)
        lines = healthy.measure(every)
        for _ in range(20):
            # A session that has just been told to wait may not wait yet.
            if _red(lines):
                break
            lines = healthy.measure(every)
    assert _red(lines).keys() == {key}, _red(lines)


def test_there_are_enough_of_them() -> None:
    assert len(BREAKAGES) + len(LIVE) >= 25


def test_older_words_are_no_silent_gap(healthy: Patient) -> None:
    """Words for PostgreSQL 15 on this server: a red line, not a green one."""
    every = tuple(
        replace(check, statement=lambda _: statement_for("checkpoints", 15))
        for check in checks(PATIENT)
        if check.key == "checkpoints"
    )
    assert healthy.measure(every)["checkpoints"].value == NOT_MEASURED
