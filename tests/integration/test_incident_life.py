"""Every action from every status, in any order: what is legal happens, the rest is refused."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import DictRow, dict_row

from tests.support.engine import AT, MINUTE
from tests.support.postgres import Database

LEGAL = {
    ("open", "acknowledge"): ("acknowledged", "acknowledged"),
    ("open", "investigate"): ("investigating", "investigating"),
    ("open", "resolve"): ("resolved", "resolved"),
    ("open", "close"): ("closed", "closed"),
    ("acknowledged", "investigate"): ("investigating", "investigating"),
    ("acknowledged", "resolve"): ("resolved", "resolved"),
    ("acknowledged", "close"): ("closed", "closed"),
    ("acknowledged", "open"): ("open", "expired"),
    ("investigating", "resolve"): ("resolved", "resolved"),
    ("investigating", "close"): ("closed", "closed"),
    ("investigating", "open"): ("open", "expired"),
    ("resolved", "open"): ("open", "reopened"),
    ("resolved", "close"): ("closed", "closed"),
    ("open", "merge"): ("closed", "merged"),
    ("acknowledged", "merge"): ("closed", "merged"),
    ("investigating", "merge"): ("closed", "merged"),
    ("resolved", "merge"): ("closed", "merged"),
}
TARGETS = {
    "acknowledge": "acknowledged",
    "investigate": "investigating",
    "resolve": "resolved",
    "close": "closed",
    "open": "open",
}
ACTIONS = st.lists(st.sampled_from([*TARGETS, "merge", "breach"]), max_size=12)

Cx = psycopg.Connection[DictRow]


def one(cx: Cx, statement: str, **values: Any) -> dict[str, Any]:
    row = cx.execute(statement, values).fetchone()
    assert row is not None
    return row


def timeline(cx: Cx, incident: UUID) -> list[dict[str, Any]]:
    found = cx.execute(
        "select id, at, kind, actor, message, detail from apm_incident_events "
        "where incident_id = %s order by id",
        (incident,),
    )
    return found.fetchall()


def do(cx: Cx, incident: UUID, survivor: UUID, action: str) -> None:
    """Raises what the database raises."""
    if action == "merge":
        cx.execute("select apm_merge_incident(%s, %s)", (incident, survivor))
    else:
        cx.execute(
            "update apm_incidents set status = %s where id = %s", (TARGETS[action], incident)
        )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_any_order_of_actions(database: Database, actions: list[str]) -> None:
    with psycopg.Connection[DictRow].connect(database.owner, row_factory=dict_row) as cx:
        live(cx, actions)
        cx.rollback()


def live(cx: Cx, actions: list[str]) -> None:
    organization, person = uuid4(), uuid4()
    cx.execute("insert into organizations (id, name) values (%s, 'A')", (organization,))
    cx.execute(
        "insert into apm_memberships (organization_id, user_id, role) values (%s, %s, 'MEMBER')",
        (organization, person),
    )
    cx.execute(
        "select set_config('request.jwt.claims', json_build_object('sub', %s::text, 'name', "
        "'Priya', 'role', 'authenticated')::text, true)",
        (person,),
    )
    opening = (
        "select apm_private.open_incident(%(o)s, %(key)s, 'Slow', 'critical', '{}', '{}', "
        "%(at)s) as id"
    )
    incident = one(cx, opening, o=organization, key="check:1:x", at=AT)["id"]
    survivor = one(cx, opening, o=organization, key="check:1:y", at=AT)["id"]
    status, kinds, repeats, is_merged = "open", ["opened"], 0, False
    before: list[dict[str, Any]] = timeline(cx, incident)
    generation = 1
    for minutes, action in enumerate(actions, start=1):
        at = AT + minutes * MINUTE
        cx.execute("select set_config('apm.at', %s, true)", (at.isoformat(),))
        if action == "breach":
            came = one(cx, opening, o=organization, key="check:1:x", at=at)["id"]
            if status == "closed" and not is_merged:
                assert came not in (incident, survivor), "what is closed stays closed"
                break
            assert came == (survivor if is_merged else incident), "nothing opens beside it"
            if not is_merged:
                repeats += 1
                if status == "resolved":
                    status, generation = "open", generation + 1
                    kinds.append("reopened")
        else:
            is_change = (status, action) in LEGAL
            is_same = TARGETS.get(action) == status
            if is_change or is_same:
                do(cx, incident, survivor, action)
            else:
                with pytest.raises(psycopg.DatabaseError) as refused, cx.transaction():
                    do(cx, incident, survivor, action)
                assert refused.value.sqlstate == "AP409", (status, action)
            if is_change:
                status, kind = LEGAL[status, action]
                is_merged = is_merged or action == "merge"
                kinds.append(kind)
                generation += 1
        row = one(cx, "select * from apm_incidents where id = %(id)s", id=incident)
        after = timeline(cx, incident)
        assert (row["status"], row["generation"], row["repeat_count"]) == (
            status,
            generation,
            repeats,
        )
        assert after[: len(before)] == before, "what stands in the timeline stays"
        assert [event["kind"] for event in after] == kinds
        assert [event["at"] for event in after] == sorted(event["at"] for event in after)
        is_held = status in ("acknowledged", "investigating")
        assert (row["ack_expires_at"] is not None) == is_held
        assert (row["next_update_at"] is not None) == (status == "open" or is_held)
        assert not is_held or row["ack_expires_at"] > at + timedelta(minutes=1)
        before = after
