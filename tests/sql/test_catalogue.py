"""What the catalogue must say about every object of ours, whichever migration made it."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.sql.conftest import House
from tests.support.people import Connection, connect
from tests.support.postgres import Database

SAFE_PATH: Final = "search_path=pg_catalog, pg_temp"
"""The temporary schema last: else a caller's own types would come before PostgreSQL's."""

RELATIONS = """
    select c.oid, n.nspname as schema, c.relname, n.nspname || '.' || c.relname as name, c.relkind,
        c.relowner, c.relacl, c.reloptions, c.relispartition
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('apm_private', 'apm_partitions') or (
        n.nspname = 'public' and (
            c.relname like 'apm\\_%' or c.relname in ('organizations', 'user_profiles', 'clients', 'service_health_checks')
        )
    )
"""
FUNCTIONS = """
    select p.oid::regprocedure::text as name, p.prosecdef, p.proconfig, pg_get_userbyid(p.proowner) as owner,
        coalesce((select array_agg(case a.grantee when 0 then 'PUBLIC' else pg_get_userbyid(a.grantee) end order by 1)
            from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
            where a.privilege_type = 'EXECUTE' and a.grantee <> p.proowner), '{}') as callers,
        n.nspname as schema, p.prokind
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname in ('apm_private', 'apm_partitions')
        or (n.nspname = 'public' and not exists (
            select from pg_depend as d where d.objid = p.oid and d.deptype = 'e'))
"""


@pytest.fixture
def cx(any_house: House) -> Iterator[Connection]:
    with connect(any_house.superuser) as cx:
        yield cx
        cx.rollback()


def rows(cx: Connection, statement: str, *parameters: Any) -> list[dict[str, Any]]:
    return cx.execute(statement, parameters or None).fetchall()


def test_nobody_but_the_owner_has_a_right_that_rls_does_not_cover(cx: Connection) -> None:
    found = rows(
        cx,
        f"""select r.name, a.privilege_type, a.grantee::regrole::text as grantee
        from ({RELATIONS}) as r
        cross join lateral aclexplode(r.relacl) as a
        where a.grantee <> r.relowner and r.relkind <> 'S'
            and a.privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')""",
    )
    assert found == []


def test_nobody_can_grant_on(cx: Connection) -> None:
    found = rows(
        cx,
        f"""select r.name, a.grantee::regrole::text as grantee from ({RELATIONS}) as r
        cross join lateral aclexplode(r.relacl) as a
        where a.is_grantable and a.grantee <> r.relowner""",
    )
    assert found == []


def test_sequences_are_closed_but_for_those_who_fill_them(cx: Connection) -> None:
    found = {
        (row["name"], row["grantee"])
        for row in rows(
            cx,
            f"""select r.name, case a.grantee when 0 then 'PUBLIC' else pg_get_userbyid(a.grantee) end as grantee
            from ({RELATIONS}) as r cross join lateral aclexplode(r.relacl) as a
            where r.relkind = 'S' and a.grantee <> r.relowner
                -- how far they have come is in the health report; to draw takes USAGE
                and not (a.grantee = 'apm_engine'::regrole and a.privilege_type = 'SELECT')""",
        )
    }
    assert found == {
        (f"apm_private.{name}", grantee)
        for name in ("series_ids", "block_ids")
        for grantee in ("apm_definer", "apm_writer")
    } | {("apm_private.block_ids", "apm_engine")}


def test_public_and_anonymous_may_call_nothing(cx: Connection) -> None:
    found = {
        row["name"]: row["callers"]
        for row in rows(cx, FUNCTIONS)
        if {"PUBLIC", "anon"} & set(row["callers"])
    }
    assert found == {}


def test_people_may_call_these_and_no_others(cx: Connection) -> None:
    """Every one is an endpoint on Supabase: a new one belongs in this list only after a look at it."""
    found = {row["name"] for row in rows(cx, FUNCTIONS) if "authenticated" in row["callers"]}
    assert found == {
        "aggregate_metrics(interval)",
        "apm_blocks_between(uuid,timestamp with time zone,timestamp with time zone,integer[],bigint)",
        "apm_columns_between(uuid,timestamp with time zone,timestamp with time zone,integer[],bigint)",
        "apm_client_weddings(uuid[],date,date)",
        "apm_calendar_habits(uuid)",
        "apm_current_organization_ids()",
        "apm_join_wedding(uuid,bytea,timestamp with time zone)",
        "apm_leave_wedding(uuid)",
        "apm_approve_change(uuid,text,text,timestamp with time zone,text,text)",
        "apm_change_guard_settings(jsonb)",
        "apm_end_guard_override(uuid,text,text)",
        "apm_freeze_approvals(timestamp with time zone,uuid,timestamp with time zone,integer,uuid)",
        "apm_freeze_calendar(timestamp with time zone,uuid)",
        "apm_freeze_weddings(timestamp with time zone,uuid)",
        "apm_guard_mode(timestamp with time zone,text)",
        "apm_guard_spans(timestamp with time zone,timestamp with time zone)",
        "apm_guard_overrides(timestamp with time zone,integer,uuid)",
        "apm_guard_settings()",
        "apm_override_guard_mode(text,text,timestamp with time zone,text,text)",
        "apm_withdraw_approval(uuid)",
        "apm_ask_readiness(uuid)",
        "apm_on_call(uuid,timestamp with time zone,timestamp with time zone)",
        "apm_on_call_facts(uuid,timestamp with time zone,timestamp with time zone)",
        "apm_on_call_weddings(uuid,date,date)",
        "apm_ladder_weddings(uuid,date,date)",
        "apm_preview_ladder(uuid,uuid,alert_severity,timestamp with time zone)",
        "apm_preview_incident(uuid,timestamp with time zone)",
        "apm_readiness_facts(uuid,timestamp with time zone)",
        "apm_contact_addresses(uuid[])",
        "apm_delivery_texts(uuid[])",
        "apm_drill_facts(uuid,timestamp with time zone)",
        "apm_start_drill(uuid,text,uuid)",
        "apm_backup_facts(timestamp with time zone)",
        "apm_list_backups()",
        "apm_list_backup_archives()",
        "apm_next_wedding_at(timestamp with time zone)",
        "apm_is_watched(uuid)",
        "apm_monitoring_default()",
        "apm_set_monitoring_default(text,text)",
        "apm_switch_monitoring(uuid[],text,text,text,boolean)",
        "apm_first_steps(uuid)",
        "apm_set_up(interval)",
        "apm_merge_incident(uuid,uuid,text)",
        "apm_update_incident(uuid,text,timestamp with time zone)",
        "apm_my_organizations()",
        "apm_check_windows(uuid,timestamp with time zone)",
        "apm_check_course(uuid,timestamp with time zone)",
        "apm_take_check_run(uuid,timestamp with time zone)",
        "apm_note_platform_read(text)",
        "apm_operator_role()",
        "apm_organization_ids_as(text)",
        "apm_platform_blocks(uuid[],timestamp with time zone,timestamp with time zone)",
        "apm_platform_series(uuid[],text[])",
        "apm_reveal_wedding(uuid,text)",
        "apm_role_in(uuid)",
        "apm_rollups_between(timestamp with time zone,timestamp with time zone,interval)",
        "apm_samples_between(timestamp with time zone,timestamp with time zone)",
        "apm_share_wedding(uuid,bytea,timestamp with time zone)",
        "apm_shared_weddings(uuid[])",
        "apm_wedding_phases(uuid,timestamp with time zone,timestamp with time zone)",
        "apm_wedding_windows_of(uuid[])",
        "apm_unrolled_between(uuid,interval,timestamp with time zone,timestamp with time zone)",
        "create_incident_from_alert(uuid,double precision,timestamp with time zone)",
        "apm_escalate_incident(uuid,timestamp with time zone)",
        "apm_silence_at(uuid,timestamp with time zone)",
        "apm_is_own(uuid)",
        "apm_holding_facts(uuid,timestamp with time zone)",
        "apm_approve_silence(uuid,timestamp with time zone)",
        "apm_expire_silence(uuid,timestamp with time zone)",
        "apm_maintenance_spans(uuid,timestamp with time zone,integer)",
        "apm_maintenance_at(uuid,timestamp with time zone)",
        "apm_approve_maintenance(uuid,timestamp with time zone)",
        "apm_refuse_maintenance(uuid,text,timestamp with time zone)",
        "apm_matched_now(uuid,jsonb)",
        "apm_weddings_in_the_way(uuid,timestamp with time zone,timestamp with time zone)",
        "apm_preview_maintenance(uuid,jsonb,timestamp with time zone,integer)",
        "apm_own_contact_ids()",
        "apm_start_verification(uuid,uuid,bytea)",
        "apm_verify_contact(uuid,bytea)",
        "apm_send_test(uuid)",
        "apm_rotate_contact_secret(uuid,bytea,text)",
        "apm_quiet_spans(uuid,timestamp with time zone)",
        "apm_incident_held_back_by(uuid,timestamp with time zone)",
        "apm_explain_route(uuid,timestamp with time zone)",
        "apm_set_heartbeat_token(uuid,bytea)",
        "apm_preview_status_page(uuid,timestamp with time zone)",
        "apm_count_status_subscribers(uuid)",
        "is_wedding_day(uuid,date)",
        "wedding_window_at(uuid,timestamp with time zone)",
    }


def test_definer_functions_have_a_safe_search_path_and_belong_to_the_definer(
    any_house: House, cx: Connection
) -> None:
    definers = [row for row in rows(cx, FUNCTIONS) if row["prosecdef"]]
    assert len(definers) > 20
    paths = {row["name"] for row in definers if SAFE_PATH not in (row["proconfig"] or [])}
    assert paths == set()
    strangers = {row["name"] for row in definers if row["owner"] != "apm_definer"}
    # They attach, drop and empty partitions, which only the tables' owner may.
    assert strangers == {
        "apm_private.make_partitions(timestamp with time zone)",
        "apm_private.drop_partitions(timestamp with time zone,timestamp with time zone)",
        "apm_private.shrink_partitions()",
    }


def test_every_function_has_a_fixed_search_path_unless_it_must_be_inlined(cx: Connection) -> None:
    loose = {
        row["name"] for row in rows(cx, FUNCTIONS) if SAFE_PATH not in (row["proconfig"] or [])
    }
    assert loose == {
        "apm_samples_between(timestamp with time zone,timestamp with time zone)",
        "apm_rollups_between(timestamp with time zone,timestamp with time zone,interval)",
    }


def test_views_ask_with_the_callers_rights(cx: Connection) -> None:
    views = [row for row in rows(cx, RELATIONS) if row["relkind"] == "v"]
    assert len(views) >= 4
    loose = [
        row["name"] for row in views if "security_invoker=true" not in (row["reloptions"] or [])
    ]
    assert loose == []


def test_policies_name_their_table_role_and_command(cx: Connection) -> None:
    policies = rows(
        cx,
        "select * from pg_policies where schemaname in ('public', 'apm_private', 'apm_partitions')",
    )
    assert [p["policyname"] for p in policies if "public" in p["roles"]] == []
    # The runner's own books are read and written by whoever migrates.
    odd = [
        p["policyname"]
        for p in policies
        if not p["policyname"].startswith(p["tablename"] + "_")
        or p["policyname"].rpartition("_")[2] not in ("select", "insert", "update", "delete", "all")
    ]
    assert odd == []
    assert [p["policyname"] for p in policies if "anon" in p["roles"]] == []


def test_policies_ask_who_is_calling_once_a_statement(cx: Connection) -> None:
    """Bare, the function may run for each row."""
    bare = [
        (p["tablename"], p["policyname"])
        for p in rows(cx, "select * from pg_policies where schemaname = 'public'")
        for text in (p["qual"] or "", p["with_check"] or "")
        if text.count("apm_current_organization_ids()")
        + text.count("apm_organization_ids_as(")
        + text.count("apm_operator_role()")
        + text.count("apm_own_contact_ids()")
        + text.count("uid()")
        + text.count("current_setting(")
        != text.count("( SELECT ")
    ]
    assert bare == []


def test_every_link_between_tenants_tables_carries_the_tenant(cx: Connection) -> None:
    links = rows(
        cx,
        """select k.conname, k.conrelid::regclass::text as child, k.confrelid::regclass::text as parent,
            (select array_agg(a.attname::text order by o.n) from unnest(k.conkey) with ordinality as o (attnum, n)
                join pg_attribute as a on a.attrelid = k.conrelid and a.attnum = o.attnum) as columns,
            (select array_agg(a.attname::text order by o.n) from unnest(k.confkey) with ordinality as o (attnum, n)
                join pg_attribute as a on a.attrelid = k.confrelid and a.attnum = o.attnum) as parents
        from pg_constraint as k
        join pg_class as c on c.oid = k.conrelid
        where k.contype = 'f' and k.conparentid = 0
            and c.relnamespace in ('public'::regnamespace, 'apm_private'::regnamespace)""",
    )
    assert len(links) > 20
    for link in links:
        if link["parent"] == "organizations":
            assert link["columns"] == ["organization_id"], link
        else:
            assert link["columns"][0] == link["parents"][0] == "organization_id", link
            assert len(link["columns"]) == 2, link


def test_every_link_has_an_index_to_follow_it_back(cx: Connection) -> None:
    """A deleted parent looks for its children: without an index, in every row of every tenant."""
    without = rows(
        cx,
        """select k.conname, k.conrelid::regclass::text as child
        from pg_constraint as k
        join pg_class as c on c.oid = k.conrelid
        where k.contype = 'f' and k.conparentid = 0 and c.relname <> 'platform'
            and c.relnamespace in ('public'::regnamespace, 'apm_private'::regnamespace)
            and not exists (
                select from pg_index as i
                where i.indrelid = k.conrelid
                    and (i.indkey::int2[])[0 : cardinality(k.conkey) - 1] @> k.conkey
            )""",
    )
    assert without == []


def test_keys_lead_with_the_tenant(cx: Connection) -> None:
    """A unique key without the tenant tells one tenant what another has, and cannot be distributed."""
    found = {
        row["key"]
        for row in rows(
            cx,
            f"""select i.indexrelid::regclass::text as key
            from pg_index as i
            join ({RELATIONS}) as r on r.oid = i.indrelid and r.schema = 'public'
            where i.indisunique
                and exists (select from pg_attribute as a
                    where a.attrelid = i.indrelid and a.attname = 'organization_id')
                and not exists (select from pg_attribute as a
                    where a.attrelid = i.indrelid and a.attname = 'organization_id' and a.attnum = i.indkey[0])""",
        )
    }
    assert found == {
        "apm_api_keys_pkey",  # a platform key has no tenant; ids are not chosen
        "apm_api_keys_key_hash_key",  # how a key is found before its tenant is known
        "apm_audit_log_pkey",  # the platform's own acts have no tenant; ids are not chosen
        "idx_apm_deliveries_provider_message",  # the provider's ids: no tenant writes them
        "apm_status_pages_slug_key",  # the address of a page that everybody may know
        "apm_memberships_user_organization_key",  # both columns are in it
        "clients_pkey",  # the host's
        "user_profiles_pkey",  # the host's
        "user_profiles_user_id_key",  # the host's
    }


def test_every_tenants_row_keeps_its_tenant(cx: Connection) -> None:
    without = {
        row["name"]
        for row in rows(
            cx,
            f"""select r.name from ({RELATIONS}) as r
            where r.relkind in ('r', 'p')
                and exists (select from pg_attribute as a
                    where a.attrelid = r.oid and a.attname = 'organization_id' and not a.attisdropped)
                and not exists (select from pg_trigger as t
                    where t.tgrelid = r.oid and t.tgfoid = 'apm_private.keep_tenant()'::regprocedure)""",
        )
    }
    # A person's profile may leave an organization and join another one; only the platform writes it.
    assert without == {"public.user_profiles"}


def test_there_is_as_much_as_was_promised(cx: Connection) -> None:
    def count(statement: str) -> int:
        return int(rows(cx, statement)[0]["n"])

    assert count("select count(*) as n from pg_policies where tablename like 'apm\\_%'") >= 23
    assert (
        count(
            "select count(*) as n from pg_indexes where schemaname = 'public' and indexname like 'idx\\_apm\\_%'"
        )
        >= 15
    )
    assert (
        count(
            "select count(*) as n from pg_proc where pronamespace = 'public'::regnamespace and proname in"
            " ('is_wedding_day', 'wedding_window_at', 'create_incident_from_alert', 'aggregate_metrics',"
            " 'apm_current_organization_ids')"
        )
        == 5
    )
    assert (
        count("select count(*) as n from pg_trigger where not tgisinternal and tgparentid = 0") >= 4
    )
    assert (
        count(
            "select count(*) as n from pg_views where schemaname = 'public' and viewname like 'apm\\_%'"
        )
        >= 2
    )


def test_contract_statement_on_tables_says_true_for_each(cx: Connection) -> None:
    found = rows(
        cx,
        "select schemaname, tablename, rowsecurity from pg_tables where tablename like 'apm_%' order by tablename",
    )
    assert len(found) > 40
    assert [row["tablename"] for row in found if not row["rowsecurity"]] == []
    policies = rows(
        cx,
        "select schemaname, tablename, policyname, cmd, roles from pg_policies"
        " where tablename like 'apm_%' order by tablename",
    )
    assert len(policies) > 60


def test_partitions_made_later_are_closed_too(clone: tuple[House, Database]) -> None:
    house, database = clone
    with connect(database.engine, autocommit=True) as engine:
        made = engine.execute(
            "select apm_private.make_partitions(now() + interval '40 days') as n"
        ).fetchone()
        assert made is not None
        assert made["n"] > 10
    with connect(house.superuser_of(database)) as cx:
        partitions = [
            row for row in rows(cx, RELATIONS) if row["relispartition"] and row["relkind"] == "r"
        ]
        assert len(partitions) > 30
        open_ = rows(
            cx,
            f"""select r.name from ({RELATIONS}) as r join pg_class as c on c.oid = r.oid
            where r.relispartition and r.relkind = 'r' and (
                not c.relrowsecurity or not c.relforcerowsecurity
                or exists (select from aclexplode(c.relacl) as a where a.grantee <> c.relowner)
                or c.relnamespace <> 'apm_partitions'::regnamespace
            )""",
        )
        assert open_ == []
