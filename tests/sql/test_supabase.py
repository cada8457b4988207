"""On a database prepared as Supabase prepares it, with a pooler in transaction mode before it."""

import asyncio
import json

import psycopg
import pytest

from tests.sql.conftest import SUPABASES, House, Houses
from tests.support.people import (
    ADMIN_A,
    MEMBER_A,
    MEMBER_B,
    ORGANIZATION_A,
    ORGANIZATION_B,
    acting_as,
    connect,
)
from wedsync_apm.db import migrate
from wedsync_apm.db.pool import open_pool
from wedsync_apm.db.tenant import Actor, tenant_tx


@pytest.fixture(params=SUPABASES)
def supabase(request: pytest.FixtureRequest, houses: Houses) -> House:
    return houses.get(request.param)


def test_it_is_what_it_pretends_to_be(supabase: House) -> None:
    """Who migrates is no superuser, auth belongs to others, and the pooler shares connections."""
    with connect(supabase.database.owner) as owner:
        row = owner.execute(
            "select rolname, rolsuper, rolbypassrls, rolcreaterole,"
            " (select pg_get_userbyid(proowner) from pg_proc where oid = 'auth.uid()'::regprocedure) as auth,"
            " (select extnamespace::regnamespace::text from pg_extension where extname = 'pg_stat_statements') as extensions,"
            " (select count(*) from pg_default_acl) > 0 as has_defaults"
            " from pg_roles where rolname = current_user"
        ).fetchone()
        assert row == {
            "rolname": "postgres",
            "rolsuper": False,
            "rolbypassrls": True,
            "rolcreaterole": True,
            "auth": "supabase_auth_admin",
            "extensions": "extensions",
            "has_defaults": True,
        }
        owner.execute("create table public.left_open (id serial)")
        open_ = owner.execute(
            "select has_table_privilege('anon', 'public.left_open', 'truncate') as truncate"
        ).fetchone()
        assert open_ == {"truncate": True}, "default privileges hand out everything"
        owner.rollback()
    api = supabase.database.api
    with connect(api, autocommit=True) as one, connect(api, autocommit=True) as other:
        who = "select pg_backend_pid() as pid"
        assert one.execute(who).fetchone() == other.execute(who).fetchone()


def test_it_is_migrated_and_stays_so(supabase: House) -> None:
    owner = supabase.database.owner
    assert {s.state for s in migrate.status(owner)} == {"applied"}
    assert migrate.up(owner) == ()
    assert not migrate.verify(owner)
    with connect(supabase.superuser) as cx:
        untouched = cx.execute(
            "select count(*) as n from pg_proc where pronamespace = 'auth'::regnamespace"
            " and proowner <> 'supabase_auth_admin'::regrole"
        ).fetchone()
        assert untouched == {"n": 0}


async def test_tenants_enter_through_the_pooler_without_meeting(supabase: House) -> None:
    """Many requests of two tenants over one shared connection, at the same time."""
    pool = await open_pool(supabase.database.api, name="test", min_size=1, max_size=6, wait=True)

    async def visit(person_id: int) -> None:
        person, theirs = (MEMBER_A, ORGANIZATION_A) if person_id % 2 else (MEMBER_B, ORGANIZATION_B)
        async with tenant_tx(pool, Actor("authenticated", person.id)) as cx:
            await cx.execute("select pg_sleep(0.001)")
            rows = await (
                await cx.execute("select distinct organization_id from apm_incidents")
            ).fetchall()
            assert rows == [{"organization_id": theirs}]

    async with pool:
        await asyncio.gather(*(visit(n) for n in range(60)))


def test_live_events_come_by_the_direct_address(supabase: House) -> None:
    with (
        psycopg.connect(supabase.database.owner, autocommit=True) as listening,
        connect(supabase.database.api) as api,
    ):
        listening.execute("listen apm_live")
        with acting_as(api, ADMIN_A, keeping=True):
            api.execute("update service_health_checks set status = status")
        heard = [json.loads(n.payload) for n in listening.notifies(timeout=60, stop_after=1)]
    assert [(h["organization_id"], h["topic"], h["action"]) for h in heard] == [
        (str(ORGANIZATION_A), "health", "update")
    ]
