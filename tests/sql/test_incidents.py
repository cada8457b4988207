"""Incidents: legal transitions only, a timeline that only grows, one ladder at a time, one incident at a time."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import House
from tests.support.people import (
    ADMIN_A,
    MEMBER_A,
    OPERATOR,
    ORGANIZATION_A,
    SERVICE,
    Connection,
    acting_as,
    an_id,
    be_oneself,
    become,
    connect,
    settle_two_organizations,
)
from tests.support.postgres import Database

RULE: Final = an_id("alert of A")
NOW: Final = datetime.now(UTC).replace(microsecond=0)

LEGAL: Final = {
    ("open", "acknowledged"): "acknowledged",
    ("open", "investigating"): "investigating",
    ("open", "resolved"): "resolved",
    ("open", "closed"): "closed",
    ("acknowledged", "open"): "expired",
    ("acknowledged", "investigating"): "investigating",
    ("acknowledged", "resolved"): "resolved",
    ("acknowledged", "closed"): "closed",
    ("investigating", "open"): "expired",
    ("investigating", "resolved"): "resolved",
    ("investigating", "closed"): "closed",
    ("resolved", "open"): "reopened",
    ("resolved", "closed"): "closed",
}
STATUSES: Final = ("open", "acknowledged", "investigating", "resolved", "closed")
WAY_TO: Final[dict[str, tuple[str, ...]]] = {
    "open": (),
    "acknowledged": ("acknowledged",),
    "investigating": ("investigating",),
    "resolved": ("resolved",),
    "closed": ("closed",),
}


@pytest.fixture
def in_a_hurry(cx: Connection) -> Iterator[Connection]:
    with cx.transaction(force_rollback=True):
        yield cx


def breach(cx: Connection, at: datetime = NOW, value: float = 900, rule: UUID = RULE) -> UUID:
    row = cx.execute(
        "select create_incident_from_alert(%s, %s, %s) as id", (rule, value, at)
    ).fetchone()
    assert row is not None
    return UUID(str(row["id"]))


def become_status(cx: Connection, incident: UUID, status: str, at: datetime | None = None) -> None:
    if at is not None:
        cx.execute("select set_config('apm.at', %s, true)", (at.isoformat(),))
    cx.execute("update apm_incidents set status = %s where id = %s", (status, incident))


def one(cx: Connection, statement: str, *parameters: Any) -> dict[str, Any]:
    row = cx.execute(statement, parameters).fetchone()
    assert row is not None
    return row


def incident(cx: Connection, incident_id: UUID) -> dict[str, Any]:
    return one(cx, "select * from apm_incidents where id = %s", incident_id)


def timeline(cx: Connection, incident_id: UUID) -> list[str]:
    rows = cx.execute(
        "select kind from apm_incident_events where incident_id = %s order by id", (incident_id,)
    )
    return [row["kind"] for row in rows]


def runs(cx: Connection, incident_id: UUID) -> list[tuple[int, str, str | None]]:
    rows = cx.execute(
        "select generation, state, stop_reason from apm_escalation_runs where incident_id = %s order by generation",
        (incident_id,),
    )
    return [(row["generation"], row["state"], row["stop_reason"]) for row in rows]


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("after", STATUSES)
def test_only_legal_changes_of_status(cx: Connection, before: str, after: str) -> None:
    with cx.transaction(force_rollback=True):
        opened = breach(cx)
        for step in WAY_TO[before]:
            become_status(cx, opened, step)
        was = incident(cx, opened)
        events = timeline(cx, opened)
        if before == after:
            become_status(cx, opened, after)
            assert incident(cx, opened)["generation"] == was["generation"]
            assert timeline(cx, opened) == events
        elif (before, after) in LEGAL:
            become_status(cx, opened, after)
            assert incident(cx, opened)["generation"] == was["generation"] + 1
            assert timeline(cx, opened) == [*events, LEGAL[before, after]]
        else:
            with pytest.raises(psycopg.DatabaseError) as caught, cx.transaction():
                become_status(cx, opened, after)
            assert (caught.value.sqlstate, caught.value.diag.constraint_name) == (
                "AP409",
                "apm_incidents_transition",
            )


def test_each_change_is_stamped_with_who_and_when(in_a_hurry: Connection) -> None:
    cx = in_a_hurry
    opened = breach(cx)
    later = NOW + timedelta(minutes=3)
    become(cx, MEMBER_A)
    become_status(cx, opened, "acknowledged", later)
    row = incident(cx, opened)
    assert (row["acknowledged_at"], row["acknowledged_by"], row["acknowledged_by_name"]) == (
        later,
        MEMBER_A.id,
        MEMBER_A.name,
    )
    be_oneself(cx)
    become_status(cx, opened, "resolved", later + timedelta(minutes=1))
    row = incident(cx, opened)
    assert (row["resolved_at"], row["resolved_by"]) == (later + timedelta(minutes=1), None)
    become_status(cx, opened, "open", later + timedelta(minutes=2))
    row = incident(cx, opened)
    assert (row["acknowledged_at"], row["resolved_at"], row["reopened_at"]) == (
        None,
        None,
        later + timedelta(minutes=2),
    )
    events = cx.execute(
        "select kind, actor, at from apm_incident_events where incident_id = %s order by id",
        (opened,),
    ).fetchall()
    assert [(e["kind"], e["at"]) for e in events] == [
        ("opened", NOW),
        ("acknowledged", later),
        ("resolved", later + timedelta(minutes=1)),
        ("reopened", later + timedelta(minutes=2)),
    ]
    assert events[1]["actor"] == MEMBER_A.name


def test_the_timeline_only_grows(own: tuple[House, Database]) -> None:
    house, database = own
    settle_two_organizations(house.superuser_of(database))
    with connect(database.engine) as engine, pytest.raises(psycopg.errors.InsufficientPrivilege):
        engine.execute("update apm_incident_events set message = 'rewritten'")
    with connect(house.superuser_of(database)) as cx:
        for person in (ADMIN_A, OPERATOR, SERVICE):
            with acting_as(cx, person), pytest.raises(psycopg.errors.InsufficientPrivilege):
                cx.execute("update apm_incident_events set message = 'rewritten'")
        for person in (ADMIN_A, OPERATOR):
            with acting_as(cx, person), pytest.raises(psycopg.errors.InsufficientPrivilege):
                cx.execute("delete from apm_incident_events")
        with acting_as(cx, MEMBER_A):
            add = "insert into apm_incident_events (organization_id, incident_id, kind, actor_id, actor) values (%s, %s, %s, %s, %s)"
            mine = (ORGANIZATION_A, an_id("incident of A"))
            cx.execute(add, (*mine, "note", MEMBER_A.id, MEMBER_A.name))
            for kind, actor, name in (
                ("acknowledged", MEMBER_A.id, MEMBER_A.name),
                ("note", ADMIN_A.id, MEMBER_A.name),
                ("note", MEMBER_A.id, ADMIN_A.name),
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), cx.transaction():
                    cx.execute(add, (*mine, kind, actor, name))


@pytest.mark.parametrize("role", ["dba", "auditor"])
def test_of_the_operators_only_the_one_on_call_acts(own: tuple[House, Database], role: str) -> None:
    house, database = own
    settle_two_organizations(house.superuser_of(database))
    note = "insert into apm_incident_events (organization_id, incident_id, kind, actor_id, actor) values (%s, %s, 'note', %s, %s)"
    mine = (ORGANIZATION_A, an_id("incident of A"), OPERATOR.id, OPERATOR.name)
    rename = "update apm_incidents set title = 'Slow' where id = %s"
    incident = (an_id("incident of A"),)
    with connect(house.superuser_of(database)) as cx:
        with acting_as(cx, OPERATOR):
            assert cx.execute(rename, incident).rowcount == 1
            cx.execute(note, mine)
        cx.execute("update apm_operators set role = %s where user_id = %s", (role, OPERATOR.id))
        with acting_as(cx, OPERATOR):
            assert one(cx, "select count(*) as n from apm_incidents where id = %s", *incident)["n"]
            assert cx.execute(rename, incident).rowcount == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege), cx.transaction():
                cx.execute(note, mine)
            with pytest.raises(psycopg.Error) as refused, cx.transaction():
                cx.execute("select apm_escalate_incident(%s)", incident)
            assert refused.value.sqlstate == "AP403"


def test_people_cannot_write_the_times_or_the_generation(cx: Connection) -> None:
    for column in (
        "acknowledged_at",
        "acknowledged_by",
        "resolved_at",
        "generation",
        "detected_at",
        "was_wedding_day",
        "dedup_key",
    ):
        with acting_as(cx, ADMIN_A), pytest.raises(psycopg.errors.InsufficientPrivilege):
            cx.execute(f"update apm_incidents set {column} = {column}")


def test_a_ladder_is_climbed_from_opening_to_the_first_hand(in_a_hurry: Connection) -> None:
    cx = in_a_hurry
    opened = breach(cx)
    assert runs(cx, opened) == [(1, "running", None)]
    run = one(cx, "select * from apm_escalation_runs where incident_id = %s", opened)
    assert (run["policy_id"], run["next_at"], run["next_step"]) == (an_id("policy of A"), NOW, 0)
    assert run["steps"][0]["contact_method_ids"] == [str(an_id("contact of A"))]
    become_status(cx, opened, "acknowledged")
    assert runs(cx, opened) == [(1, "stopped", "acknowledged")]
    become_status(cx, opened, "investigating")
    assert runs(cx, opened) == [(1, "stopped", "acknowledged")]
    become_status(cx, opened, "open")
    assert runs(cx, opened) == [(1, "stopped", "acknowledged"), (4, "running", None)]
    become_status(cx, opened, "resolved")
    become_status(cx, opened, "open")
    assert [state for _, state, _ in runs(cx, opened)] == ["stopped", "stopped", "running"]
    become_status(cx, opened, "closed")
    assert {state for _, state, _ in runs(cx, opened)} == {"stopped"}


def test_a_ladder_that_changes_meanwhile_counts_for_the_next_incident(
    in_a_hurry: Connection,
) -> None:
    cx = in_a_hurry
    opened = breach(cx)
    before = one(cx, "select steps from apm_escalation_runs where incident_id = %s", opened)
    cx.execute(
        "update apm_escalation_steps set delay = '1 hour' where organization_id = %s",
        (ORGANIZATION_A,),
    )
    assert one(cx, "select steps from apm_escalation_runs where incident_id = %s", opened) == before


def test_a_breach_again_is_the_same_incident(in_a_hurry: Connection) -> None:
    cx = in_a_hurry
    opened = breach(cx, value=900)
    assert breach(cx, NOW + timedelta(minutes=1), 950) == opened
    row = incident(cx, opened)
    assert (row["repeat_count"], row["metric_value"], row["last_seen_at"]) == (
        1,
        950,
        NOW + timedelta(minutes=1),
    )
    assert timeline(cx, opened) == ["opened"]
    rule = one(
        cx,
        "select trigger_count, last_triggered_at from apm_alerts where organization_id = %s and id = %s",
        ORGANIZATION_A,
        RULE,
    )
    assert rule == {"trigger_count": 1, "last_triggered_at": NOW}


def test_within_half_an_hour_it_opens_again_and_later_a_new_one_does(
    in_a_hurry: Connection,
) -> None:
    cx = in_a_hurry
    first = breach(cx)
    become_status(cx, first, "resolved", NOW + timedelta(minutes=5))
    assert breach(cx, NOW + timedelta(minutes=34, seconds=59)) == first
    assert incident(cx, first)["status"] == "open"
    become_status(cx, first, "resolved", NOW + timedelta(minutes=40))
    second = breach(cx, NOW + timedelta(minutes=70))
    assert second != first
    assert (incident(cx, first)["status"], incident(cx, second)["status"]) == ("closed", "open")
    assert timeline(cx, first) == ["opened", "resolved", "reopened", "resolved", "closed"]
    become_status(cx, second, "closed", NOW + timedelta(minutes=71))
    third = breach(cx, NOW + timedelta(minutes=72))
    assert third not in (first, second)


def test_a_wedding_raises_what_a_breach_means(in_a_hurry: Connection) -> None:
    cx = in_a_hurry
    cx.execute(
        "update apm_alerts set wedding_day_threshold_value = 200, wedding_day_severity = 'critical' where organization_id = %s",
        (ORGANIZATION_A,),
    )
    ordinary = incident(cx, breach(cx))
    assert (
        ordinary["severity"],
        ordinary["priority"],
        ordinary["threshold_value"],
        ordinary["was_wedding_day"],
    ) == (
        "warning",
        "medium",
        500,
        False,
    )
    become_status(cx, ordinary["id"], "resolved", NOW + timedelta(minutes=1))
    wedding = one(
        cx,
        "insert into apm_weddings (organization_id, couple_initials, wedding_date, time_zone)"
        " values (%s, 'E & F', (%s at time zone 'UTC')::date, 'UTC') returning id",
        ORGANIZATION_A,
        NOW,
    )
    cx.execute(
        "insert into apm_wedding_windows (organization_id, wedding_id, phase, span) values (%s, %s, 'ceremony', tstzrange(%s, %s))",
        (ORGANIZATION_A, wedding["id"], NOW - timedelta(minutes=30), NOW + timedelta(minutes=45)),
    )
    again = incident(cx, breach(cx, NOW + timedelta(minutes=2)))
    assert again["id"] == ordinary["id"]
    assert (again["severity"], again["was_wedding_day"], again["wedding_phase"]) == (
        "critical",
        True,
        "ceremony",
    )
    become_status(cx, again["id"], "closed", NOW + timedelta(minutes=3))
    fresh = incident(cx, breach(cx, NOW + timedelta(minutes=4)))
    assert (fresh["priority"], fresh["threshold_value"], fresh["threshold_source"]) == (
        "critical",
        200,
        "wedding_value",
    )
    [affected] = fresh["affected_weddings"]
    assert (affected["initials"], affected["phase"], affected["wedding_id"]) == (
        "E & F",
        "ceremony",
        str(wedding["id"]),
    )
    assert datetime.fromisoformat(affected["next_milestone_at"]) == NOW + timedelta(minutes=45)


def test_two_breaches_at_once_open_one_incident(own: tuple[House, Database]) -> None:
    house, database = own
    settle_two_organizations(house.superuser_of(database))
    found: list[UUID] = []
    barrier = threading.Barrier(6)

    def rush() -> None:
        with connect(database.engine) as cx:
            barrier.wait()
            found.append(breach(cx))
            cx.commit()

    threads = [threading.Thread(target=rush) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    with connect(house.superuser_of(database)) as cx:
        row = incident(cx, found[0])
        assert row["repeat_count"] == 5
        assert runs(cx, found[0]) == [(1, "running", None)]


def test_the_second_waits_for_the_first_and_then_finds_its_incident(
    own: tuple[House, Database],
) -> None:
    house, database = own
    settle_two_organizations(house.superuser_of(database))
    with connect(database.engine) as first, connect(database.engine, autocommit=True) as second:
        opened = breach(first)
        with pytest.raises(psycopg.errors.QueryCanceled):
            second.execute("set statement_timeout = '200ms'")
            breach(second)
        first.commit()
        assert breach(second) == opened
        # By hand, around the function: the index itself allows one live incident.
        with pytest.raises(psycopg.errors.UniqueViolation):
            second.execute(
                "insert into apm_incidents (organization_id, title, severity, priority, dedup_key, detected_at, last_seen_at)"
                " select organization_id, title, severity, priority, dedup_key, now(), now() from apm_incidents where id = %s",
                (opened,),
            )


def test_a_rule_may_go_and_its_incidents_stay(in_a_hurry: Connection) -> None:
    cx = in_a_hurry
    opened = breach(cx)
    cx.execute("delete from apm_alerts where organization_id = %s", (ORGANIZATION_A,))
    row = incident(cx, opened)
    assert (row["alert_id"], row["organization_id"]) == (None, ORGANIZATION_A)


def test_one_tap_acknowledges_once_and_only_what_it_was_sent_for(
    own: tuple[House, Database],
) -> None:
    house, database = own
    settle_two_organizations(house.superuser_of(database))
    tap = "select apm_private.use_acknowledge_link(%s, %s) as r"
    first, second, stale = (sha256(name).digest() for name in (b"1", b"2", b"3"))
    with (
        connect(database.engine, autocommit=True) as engine,
        connect(database.api, autocommit=True) as api,
    ):
        opened = breach(engine)
        for token, expires in ((first, 60), (second, 60), (stale, -1)):
            engine.execute(
                "insert into apm_private.acknowledge_links (token_hash, organization_id, incident_id, generation, receiver, expires_at)"
                " values (%s, %s, %s, 1, 'Priya', %s)",
                (token, ORGANIZATION_A, opened, NOW + timedelta(minutes=expires)),
            )
        assert one(api, tap, sha256(b"unknown").digest(), NOW) == {"r": "unknown"}
        assert one(api, tap, stale, NOW) == {"r": "expired"}
        assert one(api, tap, first, NOW) == {"r": "acknowledged"}
        assert one(api, tap, first, NOW) == {"r": "used"}
        assert one(api, tap, second, NOW) == {"r": "acknowledged"}
        row = incident(engine, opened)
        assert (row["acknowledged_by_name"], row["acknowledged_by"]) == ("Priya", None)
        assert timeline(engine, opened) == ["opened", "acknowledged"]
        # It came again: whoever held it before must be told anew, and an old link takes it from nobody.
        become_status(engine, opened, "resolved")
        become_status(engine, opened, "open")
        assert one(api, tap, second, NOW) == {"r": "expired"}
        assert incident(engine, opened)["status"] == "open"


def test_what_happens_is_told_live_and_without_content(own: tuple[House, Database]) -> None:
    house, database = own
    settle_two_organizations(house.superuser_of(database))
    with psycopg.connect(database.owner, autocommit=True) as listening:
        listening.execute("listen apm_live")
        with connect(database.engine) as engine:
            opened = breach(engine)
            engine.commit()
        heard = [n.payload for n in listening.notifies(timeout=60, stop_after=1)]
    assert len(heard) == 1
    assert str(opened) in heard[0]
    assert "slow" not in heard[0]


def test_secrets_of_rows_do_not_enter_the_audit_log(in_a_hurry: Connection) -> None:
    cx = in_a_hurry
    become(cx, ADMIN_A)
    cx.execute(
        "insert into apm_configurations (organization_id, provider, name, config, secret_ciphertext)"
        " values (%s, 'newrelic', 'x', %s, 'sealed-bytes'::bytea)",
        (ORGANIZATION_A, Jsonb({"region": "eu"})),
    )
    entry = one(
        cx,
        "select * from apm_audit_log where object_type = 'apm_configurations' order by id desc limit 1",
    )
    assert (entry["action"], entry["actor"], entry["actor_id"]) == (
        "insert",
        ADMIN_A.name,
        ADMIN_A.id,
    )
    assert entry["new_values"]["config"] == {"region": "eu"}
    assert "secret_ciphertext" not in entry["new_values"]
