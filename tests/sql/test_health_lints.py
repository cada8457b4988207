"""One lint, one file, one section of the docs, one harm that it finds."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.sql.conftest import House
from tests.support.people import connect
from wedsync_apm.health.lint import EXPLAINED, findings_of, judge_lint, lints
from wedsync_apm.health.model import Outcome

DOCS: Final = Path(__file__).resolve().parents[2] / "docs" / "health-lints.md"
PARTITION: Final = "apm_partitions.apm_metrics_default"
RULES: Final = {lint.name: lint for lint in lints()}
SHAPE: Final = {
    "name", "title", "level", "facing", "categories", "description", "detail", "remediation",
    "metadata", "cache_key",
}  # fmt: skip

# lint -> (a harm that is rolled back, a word of what is found)
HARMS: Final[dict[str, list[tuple[str, str]]]] = {
    "rls_disabled": [
        ("alter table public.apm_alerts disable row level security", "apm_alerts"),
        ("alter table public.apm_metrics disable row level security", "apm_metrics"),
        (f"alter table {PARTITION} disable row level security", "a partition"),
    ],
    "rls_not_forced": [
        ("alter table public.apm_metrics no force row level security", "apm_metrics"),
        (f"alter table {PARTITION} no force row level security", "apm_metrics_default"),
    ],
    "rls_without_policy": [
        (
            "create table public.apm_extra (id int primary key); alter table public.apm_extra enable row level security",
            "apm_extra",
        )
    ],
    "policy_always_true": [
        ("alter policy apm_alerts_authenticated_select on public.apm_alerts using (true)", "authenticated"),
        ("create policy p on public.apm_metrics for insert to authenticated with check (true)", "apm_metrics"),
    ],
    "policy_without_role": [
        ("create policy p on public.apm_metrics for select using (level = 7)", "PUBLIC"),
        (f"create policy p on {PARTITION} for select using (true)", "apm_metrics_default"),
    ],
    "policy_for_anonymous": [
        ("create policy p on public.apm_alerts for select to anon using (is_active)", "anon"),
    ],
    "policy_asks_per_row": [
        (
            "create policy p on public.apm_metrics for select to authenticated "
            "using (organization_id = any (public.apm_current_organization_ids()))",
            "apm_metrics",
        ),
    ],
    "multiple_permissive_policies": [
        (
            "create policy p on public.apm_series for select to authenticated using (id = 0)",
            "apm_series",
        ),
    ],
    "definer_view": [("alter view public.apm_samples reset (security_invoker)", "apm_samples")],
    "function_search_path": [
        ("alter function public.is_wedding_day(uuid, date) reset search_path", "is_wedding_day"),
    ],
    "function_for_everybody": [
        ("grant execute on function public.is_wedding_day(uuid, date) to public", "PUBLIC"),
        ("grant execute on function public.aggregate_metrics(interval) to anon", "anon"),
    ],
    "granted_to_anonymous": [
        ("grant select on public.apm_alerts to anon", "SELECT on public.apm_alerts"),
        (f"grant select on {PARTITION} to public", "PUBLIC"),
        ("grant usage on sequence apm_private.series_ids to anon", "series_ids"),
    ],
    "granted_beside_rls": [
        (f"grant select on {PARTITION} to authenticated", "SELECT"),
        ("grant truncate on public.apm_metrics to authenticated", "TRUNCATE"),
        ("grant select on apm_private.job_runs to authenticated", "job_runs"),
    ],
    "open_default_privileges": [
        ("alter default privileges in schema apm_partitions grant select on tables to authenticated", "authenticated"),
    ],
    "open_schema": [
        ("grant usage on schema apm_partitions to authenticated", "USAGE"),
        ("grant create on schema apm_private to public", "CREATE"),
    ],
    "unindexed_foreign_key": [
        ("drop index apm_private.idx_apm_auditor_findings_organization", "organization_id"),
    ],
    "duplicate_index": [
        (
            "create index twin on public.apm_series (organization_id, service_name, metric_name)",
            "twin of public.apm_series",
        ),
        (
            'create index twin on public.apm_metrics (organization_id, "timestamp")',
            "twin of public.apm_metrics",
        ),
    ],
    "invalid_index": [
        (
            "update pg_index set indisvalid = false where indexrelid = 'public.idx_apm_series_organization_name'::regclass",
            "idx_apm_series_organization_name",
        ),
        ("create index lonely on only public.apm_metrics (ends_at)", "lonely"),
    ],
    "unused_index": [
        (
            "create index idle on apm_private.job_runs (detail); "
            "insert into apm_private.job_runs (job, started_at, finished_at, duration_ms, outcome, detail, failures_in_row) "
            "select md5(n::text), now(), now(), 0, 'ok', repeat(md5(n::text), 15), 0 from generate_series(1, 24000) as n",
            "idle",
        )
    ],
    "no_primary_key": [
        ("alter table apm_private.job_runs drop constraint job_runs_pkey", "job_runs"),
        ("alter table public.apm_metric_aggregations drop constraint apm_metric_aggregations_pkey", "apm_metric_aggregations"),
    ],
    "extension_in_public": [("create extension pg_trgm schema public", "pg_trgm")],
    "extension_outdated": [
        ("update pg_extension set extversion = '0.9' where extname = 'plpgsql'", "0.9")
    ],
    "disabled_trigger": [
        ("alter table public.apm_alerts disable trigger apm_alerts_keep_tenant", "apm_alerts_keep_tenant"),
    ],
    "constraint_not_valid": [
        ("alter table public.apm_alerts add constraint c check (threshold_value < 7) not valid", "apm_alerts"),
    ],
    "tenant_without_index": [
        ("alter table apm_private.job_runs add organization_id uuid", "job_runs"),
    ],
    "unlogged_table": [("alter table apm_private.job_runs set unlogged", "job_runs")],
    "partition_index_missing": [
        ("create index lonely on only public.apm_metrics (ends_at)", "lonely"),
    ],
    "type_blocks_upgrade": [("alter table public.apm_metrics add odd regproc", "odd")],
}  # fmt: skip


def test_rules_harms_and_docs_are_the_same_set() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert HARMS.keys() == RULES.keys()
    assert re.findall(r"^### (\d{4}) `(\w+)`", text, re.MULTILINE) == [
        (lint.number, lint.name) for lint in lints()
    ]
    for lint in lints():
        assert lint.title in text, lint.name
        assert lint.description in text, lint.name
    numbers = [int(lint.number) for lint in lints()]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    ("rule", "harm", "word"),
    [
        pytest.param(rule, harm, word, id=f"{rule}-{number}")
        for rule, harms in HARMS.items()
        for number, (harm, word) in enumerate(harms, start=1)
    ],
)
def test_a_harm_is_found(either: House, rule: str, harm: str, word: str) -> None:
    lint = RULES[rule]
    with connect(either.superuser) as cx:
        cx.execute("set local search_path = pg_catalog")
        before = findings_of(lint, cx.execute(lint.statement.encode()).fetchall())
        assert before == [] or lint.level == "INFO", before
        for statement in harm.split("; "):
            cx.execute(statement.encode())
        if rule == "unused_index":
            # As if the statistics were old: they are the server's own and begin with it.
            text = lint.statement.replace("interval '7 days'", "interval '0'")
            assert text != lint.statement
            rows = cx.execute(text.encode()).fetchall()
        else:
            rows = cx.execute(lint.statement.encode()).fetchall()
        found = findings_of(lint, rows)
        new = [one for one in found if one not in before]
        assert any(word in one["detail"] for one in new), found
        assert all(one.keys() == SHAPE for one in found)
        red = judge_lint(lint, rows).outcome is Outcome.FAILED
        assert red == (lint.level != "INFO")
        cx.rollback()


def test_what_is_explained_is_still_there(either: House) -> None:
    """An explanation of something that is gone would hide the next one of that name."""
    with connect(either.superuser) as cx:
        cx.execute("set local search_path = pg_catalog")
        found = {
            f"{lint.name}:{row['object']}"
            for lint in lints()
            for row in cx.execute(lint.statement.encode()).fetchall()
        }
        cx.rollback()
    assert EXPLAINED.keys() <= found
