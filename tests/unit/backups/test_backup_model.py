"""What is kept, what is promised, what is safe where, and how a restored database is compared."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.backups.model import (
    Counted,
    Held,
    Keeping,
    Place,
    choose_kept,
    differences,
    facts_between,
    file_system_of,
    judge_places,
    objective_for,
)
from wedsync_apm.backups.wal import bytes_of, file_of, is_archived, is_file, number_of

NOON: Final = datetime(2026, 6, 20, 12, tzinfo=UTC)
SEGMENT: Final = 16 * 1024 * 1024

helds = st.lists(
    st.builds(
        Held,
        st.uuids().map(str),
        st.integers(0, 500 * 24).map(lambda hours: NOON - timedelta(hours=hours)),
        is_bad=st.booleans(),
        is_proven=st.booleans(),
    ),
    max_size=40,
    unique_by=lambda held: held.id,
)
keepings = st.builds(Keeping, st.integers(0, 8), st.integers(0, 6), st.integers(0, 13))


@given(helds, keepings)
def test_the_last_good_one_is_never_taken_away(held: list[Held], keeping: Keeping) -> None:
    kept = choose_kept(held, keeping)
    good = [one for one in held if not one.is_bad]
    if good:
        assert max(one.finished_at for one in good) in {
            one.finished_at for one in good if one.id in kept
        }
    assert bool(kept) == bool(held)
    assert kept.keys() <= {one.id for one in held}


@given(helds, keepings)
def test_no_more_is_kept_than_the_rules_say(held: list[Held], keeping: Keeping) -> None:
    good = [one.id for one in held if not one.is_bad]
    kept = [name for name in choose_kept(held, keeping) if name in good]
    assert len(kept) <= keeping.daily + keeping.weekly + keeping.monthly + 2


def test_days_weeks_and_months_keep_their_last_one() -> None:
    held = [Held(f"{day}", NOON - timedelta(days=day)) for day in range(60)]
    held += [Held("0 morning", NOON - timedelta(hours=6))]
    kept = choose_kept(held, Keeping(daily=2, weekly=3, monthly=2))
    # Saturday: today, yesterday; the weeks before end on Sundays; May ended twenty days ago
    assert kept == {
        "0": "the last good one",
        "1": "the last of the day 2026-06-19",
        "6": "the last of the week 2026-W24",
        "13": "the last of the week 2026-W23",
        "20": "the last of the month 2026-05",
    }


def test_a_bad_one_keeps_no_place_and_a_newer_bad_one_stays_to_be_looked_into() -> None:
    held = [
        Held("proven", NOON - timedelta(days=3), is_proven=True),
        Held("older bad", NOON - timedelta(days=2), is_bad=True),
        Held("good", NOON - timedelta(days=1)),
        Held("newer bad", NOON, is_bad=True),
    ]
    kept = choose_kept(held, Keeping(daily=1, weekly=0, monthly=0))
    assert set(kept) == {"good", "newer bad", "proven"}
    assert set(choose_kept([held[1]], Keeping(0, 0, 0))) == {"older bad"}


@pytest.mark.parametrize(
    ("hours", "loss", "restore"),
    [
        (0, 15, 30),
        (24, 15, 30),
        (25, 30, 60),
        (48, 30, 60),
        (7 * 24, 30, 120),
        (8 * 24, 60, 240),
        (31 * 24, 240, 240),
        (None, 240, 240),
    ],
)
def test_the_nearer_the_wedding_the_more_is_promised(
    hours: int | None, loss: int, restore: int
) -> None:
    told = objective_for(None if hours is None else timedelta(hours=hours))
    assert (told.loss, told.restore) == (timedelta(minutes=loss), timedelta(minutes=restore))


def test_3_2_1_holds_only_where_good_backups_lie() -> None:
    disk = Place("/mnt/disk", 2, is_remote=False, has_good_backup=True)
    nas = Place("/mnt/nas", 3, is_remote=True, has_good_backup=True)
    assert [rule.holds for rule in judge_places([disk, nas], 1)] == [True, True, True]
    assert [rule.holds for rule in judge_places([disk], 1)] == [False, True, False]
    assert [rule.holds for rule in judge_places([], 1)] == [False, False, False]
    same = Place("/var/backups", 1, is_remote=False, has_good_backup=True)
    assert [rule.holds for rule in judge_places([same], 1)] == [False, False, False]
    empty = Place("/mnt/nas", 3, is_remote=True, has_good_backup=False)
    gone = Place("/mnt/gone", None, is_remote=True, has_good_backup=True)
    rules = judge_places([disk, empty, gone], 1)
    assert [rule.holds for rule in rules] == [False, True, False]
    assert "/mnt/nas, /mnt/gone" in rules[0].reason


def test_the_file_system_of_a_path_is_that_of_the_innermost_mount() -> None:
    mounts = "\n".join(
        [
            "/dev/sda1 / ext4 rw 0 0",
            "tmpfs /mnt tmpfs rw 0 0",
            "nas:/b /mnt/nas nfs4 rw 0 0",
            "x /mnt/my\\040disk xfs rw 0 0",
        ]
    )
    assert file_system_of("/mnt/nas/backups", mounts) == "nfs4"
    assert file_system_of("/mnt/nasty", mounts) == "tmpfs"
    assert file_system_of("/mnt/my disk/b", mounts) == "xfs"
    assert file_system_of("/home", mounts) == "ext4"
    assert file_system_of("/home", "") == ""


def counted(
    rows: int, came: int = 0, went: int = 0, objects: Mapping[str, str] | None = None
) -> Counted:
    return Counted({"t": rows}, {"t": came}, {"t": went}, objects or {})


def test_a_table_that_rested_must_have_exactly_its_rows() -> None:
    facts = facts_between(counted(5, 9, 4, {"a": "1"}), counted(5, 9, 4, {"a": "1"}))
    assert differences(facts, counted(5, objects={"a": "1"})) == []
    assert differences(facts, counted(4, objects={"a": "1"})) == ["t has 4 rows instead of 5"]
    assert differences(facts, Counted({}, {}, {}, {"a": "1"})) == ["the table t is missing"]


def test_a_table_that_moved_may_have_what_it_had_meanwhile() -> None:
    facts = facts_between(counted(5, 10, 5), counted(7, 15, 8))
    assert facts.rows == {"t": (2, 12)}
    assert differences(facts, counted(12)) == []
    assert differences(facts, counted(13)) == ["t has 13 rows instead of 2 to 12"]


def test_an_object_that_is_another_or_missing_or_new_is_named() -> None:
    facts = facts_between(
        counted(1, objects={"policy p": "1", "function f": "2", "partition old": "3"}),
        counted(1, objects={"policy p": "1", "function f": "2", "partition new": "4"}),
    )
    assert facts.changing == ("partition new", "partition old")
    assert differences(facts, counted(1, objects={"policy p": "1", "function f": "2"})) == []
    found = counted(1, objects={"policy p": "x", "partition new": "4", "grant g": "5"})
    assert differences(facts, found) == [
        "function f is missing",
        "policy p is another",
        "grant g was not there",
    ]


def test_files_of_the_log_are_named_as_the_server_names_them() -> None:
    name = file_of(1, bytes_of("2/FF000028") // SEGMENT, SEGMENT)
    assert name == "0000000100000002000000FF"
    following = file_of(1, number_of(name, SEGMENT) + 1, SEGMENT)
    assert following == "000000010000000300000000"
    assert is_file(name)
    assert is_file(f"{name}.partial")
    assert not is_file("00000002.history")
    assert not is_file("state.json")


def test_a_gap_in_the_log_is_seen() -> None:
    names = [file_of(1, number, SEGMENT) for number in range(254, 260)]
    last = f"{names.pop()}.partial"
    assert is_archived([*names, last, "state.json"], names[0], SEGMENT)
    assert is_archived([*names, last], names[3], SEGMENT)
    assert not is_archived([*names[:2], *names[3:], last], names[0], SEGMENT)
    assert is_archived([*names[:2], *names[3:], last], names[3], SEGMENT)
    assert not is_archived(names[1:], names[0], SEGMENT)
    assert not is_archived([], names[0], SEGMENT)
    # another timeline's files close no gap
    assert not is_archived([names[0], f"00000002{names[1][8:]}", names[2]], names[0], SEGMENT)
