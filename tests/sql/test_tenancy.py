"""Nothing of one organization can be tied to, moved to or guessed from another one."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.sql.conftest import House
from tests.sql.rls_matrix import TENANT_TABLES
from tests.support.people import (
    ADMIN_A,
    ADMIN_KEY_A,
    ADMIN_OF_BOTH,
    FORMER_MEMBER_A,
    MEMBER_A,
    MEMBER_B,
    MEMBER_OF_BOTH,
    NO_ORGANIZATION,
    OPERATOR,
    ORGANIZATION_A,
    ORGANIZATION_B,
    OWNER_B,
    SERVICE,
    STRANGER,
    VIEWER_A,
    Connection,
    Person,
    acting_as,
    an_id,
    be_oneself,
    become,
    connect,
)

LINKS: Final = """
    select k.conrelid::regclass::text as child, k.confrelid::regclass::text as parent,
        (select a.attname::text from pg_attribute as a where a.attrelid = k.conrelid and a.attnum = k.conkey[2]) as link,
        (select a.attname::text from pg_attribute as a where a.attrelid = k.confrelid and a.attnum = k.confkey[2]) as target
    from pg_constraint as k
    join pg_class as c on c.oid = k.conrelid
    where k.contype = 'f' and k.conparentid = 0 and cardinality(k.conkey) = 2
        and c.relnamespace in ('public'::regnamespace, 'apm_private'::regnamespace)
"""
OTHERS: Final = (ORGANIZATION_B, NO_ORGANIZATION, None)
"""Another's organization, one that does not exist, and none: all must look the same."""


@pytest.fixture
def superuser(any_house: House) -> Iterator[Connection]:
    with connect(any_house.superuser) as cx:
        yield cx
        cx.rollback()


@pytest.fixture
def door(any_house: House) -> Iterator[Connection]:
    with connect(any_house.database.api) as cx:
        yield cx
        cx.rollback()


def answer(cx: Connection, person: Person, statement: str, *parameters: Any) -> object:
    """What the person gets: the rows, or the error's code and words without the ids in them."""
    with acting_as(cx, person):
        try:
            with cx.transaction():
                return cx.execute(statement, parameters).fetchall()
        except psycopg.Error as error:
            words = str(error.diag.message_primary)
            for parameter in parameters:
                words = words.replace(str(parameter), "<id>")
            return error.sqlstate, words


OF_THE_ENGINE = """
    insert into apm_private.channel_events
        (organization_id, source, source_event_id, incident_id, outcome, received_at)
    select organization_id, 'slack', 'one', id, 'acknowledged', now() from apm_incidents
    where organization_id = %(a)s limit 1;
    insert into apm_private.notification_group_members (organization_id, group_id, incident_id)
    select g.organization_id, g.id, i.id from apm_notification_groups as g
    join apm_incidents as i using (organization_id) where g.organization_id = %(a)s limit 1;
    insert into apm_private.drill_links (token_hash, organization_id, delivery_id)
    select sha256('one'), organization_id, id from apm_deliveries
    where organization_id = %(a)s limit 1;
    insert into apm_private.throttle_buckets
        (organization_id, contact_method_id, seconds, lane, tokens, filled_at)
    select organization_id, id, 60, 'all', 1, now() from apm_contact_methods
    where organization_id = %(a)s limit 1;
"""


def test_no_row_can_be_linked_to_another_tenants_row(superuser: Connection) -> None:
    """Tried for every link there is, with all rights: the schema refuses, not the policies."""
    with psycopg.ClientCursor(superuser) as several:
        several.execute(OF_THE_ENGINE, {"a": ORGANIZATION_A})
    links = superuser.execute(LINKS).fetchall()
    assert len(links) >= 14
    tried = 0
    for link in links:
        child, parent = sql.SQL(link["child"]), sql.SQL(link["parent"])
        find = sql.SQL("select {} as id from {} where organization_id = %s limit 1")
        theirs = superuser.execute(
            find.format(sql.Identifier(link["target"]), parent), (ORGANIZATION_B,)
        ).fetchone()
        assert theirs is not None, link
        update = sql.SQL("update {} set {} = %s where organization_id = %s").format(
            child, sql.Identifier(link["link"])
        )
        errors = []
        for target in (theirs["id"], uuid4()):
            with superuser.transaction(force_rollback=True):
                try:
                    changed = superuser.execute(update, (target, ORGANIZATION_A)).rowcount
                except psycopg.errors.ForeignKeyViolation as error:
                    errors.append((error.sqlstate, error.diag.constraint_name))
                else:
                    # Only a table without rows of A gets here; the matrix sees that there are some.
                    assert changed == 0, link
        if errors:
            tried += 1
            assert errors[0] == errors[1], link
    assert tried >= len(links) - 3  # no link, no code and no address of a heartbeat was given out


def test_a_link_to_another_tenant_and_to_nothing_fail_alike(superuser: Connection) -> None:
    """An admin of A alone, and one of both, who may even see B's rule."""
    statement = (
        "insert into apm_incidents"
        " (organization_id, alert_id, title, severity, priority, dedup_key, detected_at, last_seen_at)"
        " values (%s, %s, 't', 'info', 'low', 'd', now(), now())"
    )
    for person in (ADMIN_A, ADMIN_OF_BOTH):
        theirs, nothing = (
            answer(superuser, person, statement, ORGANIZATION_A, alert)
            for alert in (an_id("alert of B"), uuid4())
        )
        assert theirs == nothing
        assert isinstance(theirs, tuple)
        assert theirs[0] == "23503"


def test_nobody_chooses_an_id_that_could_collide(superuser: Connection) -> None:
    for alert in (an_id("alert of B"), uuid4()):
        outcome = answer(
            superuser,
            ADMIN_A,
            "insert into apm_alerts"
            " (organization_id, id, alert_name, metric_pattern, comparison_operator, threshold_value)"
            " values (%s, %s, 'x', 'a.b', '>', 1)",
            ORGANIZATION_A,
            alert,
        )
        assert isinstance(outcome, tuple)
        assert outcome[0] == "42501"
    # Where an id may be chosen (a secret is sealed for it first), another tenant's is as good as any.
    for configuration in (an_id("configuration of B"), uuid4()):
        with superuser.transaction(force_rollback=True):
            become(superuser, ADMIN_A)
            superuser.execute(
                "insert into apm_configurations (organization_id, id, provider, name)"
                " values (%s, %s, 'custom', 'mine')",
                (ORGANIZATION_A, configuration),
            )


def test_a_key_names_its_maker_whatever_its_maker_writes(superuser: Connection) -> None:
    """Else whoever asks by the key could be the second person who says yes."""
    with superuser.transaction(force_rollback=True):
        become(superuser, ADMIN_A)
        row = superuser.execute(
            "insert into apm_api_keys (organization_id, name, scope, key_hash, prefix, created_by)"
            " values (%s, 'x', 'admin', decode(repeat('cd', 32), 'hex'), 'apm_', %s)"
            " returning id, created_by",
            (ORGANIZATION_A, OWNER_B.id),
        ).fetchone()
        assert row is not None
        assert row["created_by"] == ADMIN_A.id
        own = superuser.execute("select apm_is_own(%s) as own", (row["id"],)).fetchone()
        become(superuser, OWNER_B)
        others = superuser.execute("select apm_is_own(%s) as own", (row["id"],)).fetchone()
        assert (own, others) == ({"own": True}, {"own": False})


def test_a_key_cannot_be_made_to_pass_for_a_person(superuser: Connection) -> None:
    outcome = answer(
        superuser,
        ADMIN_A,
        "insert into apm_api_keys (id, organization_id, name, scope, key_hash, prefix)"
        " values (%s, %s, 'x', 'admin', decode(repeat('cd', 32), 'hex'), 'apm_')",
        OWNER_B.id,
        ORGANIZATION_A,
    )
    assert isinstance(outcome, tuple)
    assert outcome[0] == "42501"
    # And were there one with a person's id, it would open the key's organization and not the person's.
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            "insert into apm_api_keys (id, organization_id, name, scope, key_hash, prefix)"
            " values (%s, %s, 'x', 'admin', decode(repeat('cd', 32), 'hex'), 'apm_')",
            (OPERATOR.id, ORGANIZATION_A),
        )
        become(superuser, Person(OPERATOR.name, kind="key"))
        row = superuser.execute(
            "select apm_current_organization_ids() as ids, apm_operator_role() as operator"
        ).fetchone()
        assert row == {"ids": [ORGANIZATION_A], "operator": None}
        become(superuser, OPERATOR)
        row = superuser.execute(
            "select apm_current_organization_ids() as ids, apm_operator_role() as operator"
        ).fetchone()
        assert row == {"ids": [], "operator": "oncall"}


def test_revoked_is_for_good(superuser: Connection) -> None:
    with superuser.transaction(force_rollback=True):
        become(superuser, ADMIN_A)
        changed = superuser.execute(
            "update apm_api_keys set revoked_at = null where name = 'revoked key of A'"
        )
        assert changed.rowcount == 0
        changed = superuser.execute(
            "update apm_api_keys set revoked_at = now() where name = 'seeded key'"
        )
        assert changed.rowcount == 1


def test_no_admin_makes_himself_owner(superuser: Connection) -> None:
    for statement in (
        "update apm_memberships set role = 'OWNER' where user_id = %s and organization_id = %s",
        "insert into apm_memberships (user_id, organization_id, role) values (%s, %s, 'OWNER')",
    ):
        for person in (ADMIN_A, ADMIN_OF_BOTH, ADMIN_KEY_A):
            with superuser.transaction(force_rollback=True):
                become(superuser, person)
                with suppress(psycopg.errors.InsufficientPrivilege), superuser.transaction():
                    superuser.execute(statement, (person.id, ORGANIZATION_A))
                role = superuser.execute(
                    "select apm_role_in(%s) as role", (ORGANIZATION_A,)
                ).fetchone()
                assert role == {"role": "ADMIN"}, person.name


@pytest.mark.parametrize("person", [ADMIN_OF_BOTH, SERVICE], ids=lambda person: person.name)
def test_no_row_moves_to_another_organization(superuser: Connection, person: Person) -> None:
    for table in TENANT_TABLES:
        if table == "public.organizations":
            continue
        statement = sql.SQL("update {} set organization_id = %s where organization_id = %s").format(
            sql.Identifier(*table.split("."))
        )
        if table == "public.user_profiles" and person is SERVICE:
            continue  # the platform moves people
        with superuser.transaction(force_rollback=True):
            become(superuser, person)
            with pytest.raises(psycopg.Error) as caught:
                superuser.execute(statement, (ORGANIZATION_B, ORGANIZATION_A))
            assert caught.value.sqlstate in ("42501", "AP002"), table


def test_not_even_an_administrator_moves_a_row(superuser: Connection) -> None:
    for table in TENANT_TABLES.keys() - {"public.organizations", "public.user_profiles"}:
        with superuser.transaction(force_rollback=True), pytest.raises(psycopg.Error) as caught:
            superuser.execute(
                sql.SQL("update {} set organization_id = %s where organization_id = %s").format(
                    sql.Identifier(*table.split("."))
                ),
                (ORGANIZATION_B, ORGANIZATION_A),
            )
        assert caught.value.sqlstate == "AP002", table


@pytest.mark.parametrize(
    "claims",
    [
        "",
        "{}",
        '{"sub": null}',
        '{"sub": ""}',
        '{"role": "service_role"}',
        "[]",
        "null",
        '"x"',
        "7",
    ],
)
def test_claims_that_name_nobody_open_nothing(door: Connection, claims: str) -> None:
    with door.transaction(force_rollback=True):
        door.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('role', 'authenticated', true)",
            (claims,),
        )
        row = door.execute(
            "select apm_current_organization_ids() as ids, apm_operator_role() as operator,"
            " apm_role_in(%s) as role, is_wedding_day(%s, current_date) as wedding",
            (ORGANIZATION_A, ORGANIZATION_A),
        ).fetchone()
        assert row == {"ids": [], "operator": None, "role": None, "wedding": None}
        assert door.execute("select count(*) as n from apm_incidents").fetchone() == {"n": 0}


@pytest.mark.parametrize("claims", ["not json", "{", '{"sub": "1 or true"}', '{"sub": 7}'])
def test_claims_that_cannot_be_read_are_an_error(door: Connection, claims: str) -> None:
    with door.transaction(force_rollback=True):
        door.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('role', 'authenticated', true)",
            (claims,),
        )
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            door.execute("select count(*) as n from apm_incidents")


def test_nothing_is_left_for_the_next_transaction(door: Connection) -> None:
    with acting_as(door, MEMBER_A, keeping=True):
        assert door.execute("select count(*) as n from apm_alerts").fetchone() == {"n": 1}
    with door.transaction(force_rollback=True):
        row = door.execute(
            "select current_user as who, current_setting('request.jwt.claims', true) as claims"
        ).fetchone()
        assert row == {"who": "apm_api", "claims": ""}
        door.execute("select set_config('role', 'authenticated', true)")
        assert door.execute("select count(*) as n from apm_alerts").fetchone() == {"n": 0}


def test_functions_tell_the_same_of_another_organization_and_of_none(door: Connection) -> None:
    for person in (MEMBER_A, VIEWER_A, FORMER_MEMBER_A, STRANGER, OPERATOR):
        for statement, expected in (
            ("select is_wedding_day(%s::uuid, current_date + 30) as v", [{"v": None}]),
            ("select is_wedding_day(%s::uuid) as v", [{"v": None}]),
            ("select apm_role_in(%s::uuid) as v", [{"v": None}]),
            (
                "select * from apm_client_weddings(array[%s::uuid], current_date, current_date + 90)",
                [],
            ),
            ("select * from wedding_window_at(%s::uuid, now() + interval '30 days')", []),
            ("select * from apm_client_weddings(array[%s::uuid], '-infinity', 'infinity')", []),
        ):
            for organization_id in OTHERS:
                assert answer(door, person, statement, organization_id) == expected, person.name
    # And they do answer for one's own.
    own = answer(
        door, MEMBER_A, "select is_wedding_day(%s::uuid, current_date + 30) as v", ORGANIZATION_A
    )
    assert own == [{"v": True}]
    assert answer(door, VIEWER_A, "select apm_role_in(%s::uuid) as v", ORGANIZATION_A) == [
        {"v": "VIEWER"}
    ]


def test_a_rule_of_others_is_unknown(door: Connection) -> None:
    statement = "select create_incident_from_alert(%s::uuid, 1)"
    expected = ("AP404", "there is no alert rule <id>")
    for person in (MEMBER_A, STRANGER, OPERATOR):
        for rule in (an_id("alert of B"), uuid4()):
            assert answer(door, person, statement, rule) == expected, person.name
    assert answer(door, VIEWER_A, statement, an_id("alert of A")) == expected
    assert isinstance(answer(door, MEMBER_A, statement, an_id("alert of A")), list)
    null = answer(door, MEMBER_A, statement, None)
    assert isinstance(null, tuple)
    assert null[0] == "AP404"


def test_samples_go_into_ones_own_organization_alone(door: Connection) -> None:
    statement = (
        "insert into apm_samples (organization_id, metric_name, metric_value, timestamp)"
        " values (%s::uuid, 'm', 1, now()) returning 1 as stored"
    )
    refused = {answer(door, ADMIN_A, statement, other) for other in OTHERS}
    assert refused == {
        ("42501", 'new row violates row-level security policy for view "apm_samples"')
    }
    assert answer(door, ADMIN_A, statement, ORGANIZATION_A) == [{"stored": 1}]
    assert answer(door, ADMIN_OF_BOTH, statement, ORGANIZATION_B) == [{"stored": 1}]
    for person in (MEMBER_A, VIEWER_A, MEMBER_B, MEMBER_OF_BOTH):
        outcome = answer(door, person, statement, ORGANIZATION_A)
        assert isinstance(outcome, tuple), person.name
        assert outcome[0] == "42501"


def test_a_members_rollup_touches_his_own_organizations(superuser: Connection) -> None:
    def buckets() -> dict[UUID, int]:
        return {
            row["organization_id"]: row["n"]
            for row in superuser.execute(
                "select organization_id, count(*) as n from apm_metric_aggregations"
                " where bucket_width = '5 minutes' group by organization_id"
            )
        }

    for person, whose in (
        (MEMBER_A, {ORGANIZATION_A}),
        (MEMBER_OF_BOTH, {ORGANIZATION_A, ORGANIZATION_B}),
        (STRANGER, set()),
    ):
        with superuser.transaction(force_rollback=True):
            assert buckets() == {}
            become(superuser, person)
            superuser.execute("select aggregate_metrics('5 minutes'::interval)")
            be_oneself(superuser)
            assert buckets().keys() == whose, person.name
            moved = superuser.execute("select count(*) as n from apm_private.cursors").fetchone()
            assert moved == {"n": 0}


def test_a_members_access_ends_with_his_membership(superuser: Connection, door: Connection) -> None:
    with superuser.transaction(force_rollback=True):
        become(superuser, MEMBER_OF_BOTH)
        both = superuser.execute("select apm_current_organization_ids() as ids").fetchone()
        assert both is not None
        assert set(both["ids"]) == {ORGANIZATION_A, ORGANIZATION_B}
        be_oneself(superuser)
        superuser.execute("delete from apm_memberships where user_id = %s", (MEMBER_OF_BOTH.id,))
        become(superuser, MEMBER_OF_BOTH)
        left = superuser.execute("select apm_current_organization_ids() as ids").fetchone()
        assert left == {"ids": [ORGANIZATION_A]}


def test_an_organization_can_be_erased_whole(superuser: Connection) -> None:
    """Links on the way do not hold it back; the trail of what was done stays, without an organization's names."""
    with superuser.transaction(force_rollback=True):
        superuser.execute("delete from organizations where id = %s", (ORGANIZATION_A,))
        for table in TENANT_TABLES.keys() - {
            "public.organizations",
            "public.apm_audit_log",
            "public.apm_metrics",
            "public.apm_metric_aggregations",
        }:
            row = superuser.execute(
                sql.SQL("select count(*) as n from {} where organization_id = %s").format(
                    sql.Identifier(*table.split("."))
                ),
                (ORGANIZATION_A,),
            ).fetchone()
            assert row == {"n": 0}, table
        others = superuser.execute(
            "select count(*) as n from apm_incidents where organization_id = %s", (ORGANIZATION_B,)
        ).fetchone()
        assert others == {"n": 1}


def test_secrets_and_hashes_are_not_readable(door: Connection) -> None:
    for statement in (
        "select key_hash from apm_api_keys",
        "select secret_ciphertext from apm_configurations",
        "select secret_ciphertext from apm_contact_methods",
    ):
        outcome = answer(door, ADMIN_A, statement)
        assert isinstance(outcome, tuple), statement
        assert outcome[0] == "42501"


@pytest.mark.parametrize(
    "name", ["timestamptz", "bytea", "uuid", "jsonb", "text", "tstzrange", "interval", "int4"]
)
def test_a_callers_own_types_run_nothing_with_the_definers_rights(
    door: Connection, name: str
) -> None:
    """A temporary type of a known name whose CHECK tells who ran it."""
    told: list[str] = []
    door.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
    with acting_as(door, MEMBER_A):
        door.execute(
            "create function pg_temp.tell() returns boolean language plpgsql as"
            " $$ begin raise notice 'ran as %', current_user; return true; end $$"
        )
        door.execute(
            sql.SQL("create domain pg_temp.{0} as pg_catalog.{0} check (pg_temp.tell())").format(
                sql.Identifier(name)
            )
        )
        for statement in (
            "select aggregate_metrics('5 minutes')",
            "select count(*) from apm_incidents",
            "select is_wedding_day(pg_catalog.text '{a}'::pg_catalog.uuid)",
            "select * from wedding_window_at('{a}'::pg_catalog.uuid)",
            "select * from apm_client_weddings(array['{a}'::pg_catalog.uuid], '-infinity', 'infinity')",
            "select create_incident_from_alert('{alert}'::pg_catalog.uuid, 1)",
            "update apm_incidents set status = 'resolved'",
        ):
            door.execute(statement.format(a=ORGANIZATION_A, alert=an_id("alert of A")).encode())
    assert "ran as apm_definer" not in told
