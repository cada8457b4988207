"""Weddings that stand only in the host's clients: who sees them, and that they agree with the calendar."""

from typing import Any

from tests.support.people import (
    MEMBER_A,
    OPERATOR,
    ORGANIZATION_A,
    ORGANIZATION_B,
    STRANGER,
    VIEWER_A,
    Connection,
    Person,
    acting_as,
    an_id,
    become,
)

SEEN = "select * from apm_client_weddings(array[%s, %s]::uuid[], current_date, current_date + 60)"


def seen_by(cx: Connection, person: Person) -> list[dict[str, Any]]:
    with acting_as(cx, person):
        return cx.execute(SEEN, (ORGANIZATION_A, ORGANIZATION_B)).fetchall()


def test_the_people_of_the_organization_see_its_booked_clients(cx: Connection) -> None:
    for person in (MEMBER_A, VIEWER_A):
        (row,) = seen_by(cx, person)
        assert row["organization_id"] == ORGANIZATION_A
        assert row["client_id"] == an_id("client of A")
        assert row["initials"] == "A & B"
        assert "Ann" not in str(row), "initials, never names"
        assert [one["phase"] for one in row["windows"]] == [
            "set_up",
            "ceremony",
            "reception",
            "tear_down",
        ]
    for person in (STRANGER, OPERATOR):
        assert seen_by(cx, person) == []


def test_only_booked_ones_without_a_wedding_of_ours(cx: Connection) -> None:
    with cx.transaction(force_rollback=True):
        cx.execute(
            "insert into apm_weddings (organization_id, client_id, wedding_date)"
            " values (%s, %s, current_date + 40)",
            (ORGANIZATION_A, an_id("client of A")),
        )
        assert seen_by(cx, MEMBER_A) == []
    with cx.transaction(force_rollback=True):
        cx.execute(
            "update clients set status = 'lead' where organization_id = %s", (ORGANIZATION_A,)
        )
        assert seen_by(cx, MEMBER_A) == []


def test_what_is_listed_is_a_wedding_day(cx: Connection) -> None:
    (row,) = seen_by(cx, MEMBER_A)
    become(cx, MEMBER_A)
    asked = cx.execute(
        "select is_wedding_day(%s, %s) as is_day,"
        " array(select phase from wedding_window_at(%s, %s::timestamptz + interval '1 minute')) as at",
        (ORGANIZATION_A, row["wedding_date"], ORGANIZATION_A, row["windows"][1]["starts_at"]),
    ).fetchone()
    assert asked == {"is_day": True, "at": ["ceremony"]}
