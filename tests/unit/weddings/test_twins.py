"""One wedding twice in the calendar: what is taken for the same, and what never is."""

from datetime import date
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.weddings.twins import find_twins

DAY = date(2027, 6, 19)


def wedding(number: int, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": UUID(int=number),
        "organization_id": UUID(int=1),
        "client_id": None,
        "wedding_date": DAY,
        "couple_initials": "A & R",
        "couple_names": None,
        "venue_name": None,
        "status": "booked",
        "is_host_row": False,
    }
    return values | changes


def client(number: int, **changes: Any) -> dict[str, Any]:
    return wedding(number, **({"is_host_row": True, "client_id": UUID(int=number)} | changes))


def pairs(*rows: dict[str, Any]) -> list[tuple[int, int, bool]]:
    return [(t.wedding_id.int, t.client_id.int, t.is_sure) for t in find_twins(rows)]


def test_couple_and_venue_of_one_day_are_one_wedding() -> None:
    barn = {"venue_name": "The Barn, Oxford"}
    assert pairs(wedding(1, venue_name="the barn"), client(2, **barn)) == [(1, 2, True)]
    turned = wedding(1, couple_initials="R & A", venue_name="The Barn,  Oxford")
    assert pairs(turned, client(2, **barn)) == [(1, 2, True)]


def test_full_names_say_it_without_a_venue() -> None:
    names = {"couple_names": "Ruth Bell and Amara Cole"}
    assert pairs(wedding(1, couple_names="Amara Cole & Ruth Bell"), client(2, **names)) == [
        (1, 2, True)
    ]


def test_initials_alone_are_only_offered() -> None:
    assert pairs(wedding(1), client(2)) == [(1, 2, False)]
    assert pairs(wedding(1, venue_name="The Barn"), client(2)) == [(1, 2, False)]


def test_what_differs_is_another_wedding() -> None:
    assert pairs(wedding(1, venue_name="The Barn"), client(2, venue_name="Villa Cora")) == []
    assert pairs(wedding(1, wedding_date=date(2027, 6, 20)), client(2)) == []
    assert pairs(wedding(1, couple_initials="A & S"), client(2)) == []
    assert pairs(wedding(1, couple_initials="A"), client(2, couple_initials="A")) == []
    assert pairs(wedding(1, organization_id=UUID(int=9)), client(2)) == []
    # a barn is no barnacle
    assert pairs(wedding(1, venue_name="Barn"), client(2, venue_name="Barnacle Inn")) == []


def test_linked_and_cancelled_weddings_have_no_twin() -> None:
    assert pairs(wedding(1, client_id=UUID(int=2)), client(2)) == []
    assert pairs(wedding(1, status="cancelled"), client(2)) == []


def test_where_two_could_be_meant_none_is_sure() -> None:
    barn = {"venue_name": "The Barn"}
    assert pairs(wedding(1, **barn), client(2, **barn), client(3, **barn)) == [
        (1, 2, False),
        (1, 3, False),
    ]


rows = st.lists(
    st.builds(
        lambda number, is_client, letters, venue, day: (client if is_client else wedding)(
            number, couple_initials=letters, venue_name=venue, wedding_date=day
        ),
        st.integers(1, 1000),
        st.booleans(),
        st.sampled_from(["A & R", "R & A", "A", "", "É & Ö"]),
        st.sampled_from([None, "", "The Barn", "Barn", "!!"]),
        st.sampled_from([DAY, date(2027, 6, 26)]),
    ),
    max_size=8,
    unique_by=lambda row: row["id"],
)


@given(rows)
def test_nobody_is_hidden_twice_and_days_never_mix(found: list[dict[str, Any]]) -> None:
    by_id = {row["id"]: row for row in found}
    sure = [twin for twin in find_twins(found) if twin.is_sure]
    assert len({t.wedding_id for t in sure}) == len({t.client_id for t in sure}) == len(sure)
    for twin in find_twins(found):
        ours, theirs = by_id[twin.wedding_id], by_id[twin.client_id]
        assert ours["wedding_date"] == theirs["wedding_date"]
        assert theirs["is_host_row"]
        assert not ours["is_host_row"]
