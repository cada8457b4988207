"""What an entry does to the calendar, and the plan of a day."""

import unicodedata
from datetime import date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.errors import NotValid
from wedsync_apm.weddings.imports.model import Action, Entry, Present, clean, judge
from wedsync_apm.weddings.model import (
    EARLIEST,
    LATEST,
    Phase,
    WeddingDraft,
    WeddingStatus,
    Window,
    find_faults,
    halved,
    plan_day,
    read_times,
)

DAY = date(2030, 6, 8)
JOINERS = "\u200c\u200d"
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1))  # noqa: DTZ001
LENGTHS = st.timedeltas(timedelta(minutes=1), timedelta(hours=20))


def entry(
    day: date = DAY,
    *,
    sequence: int = 0,
    status: WeddingStatus = WeddingStatus.BOOKED,
    names: str = "A & B",
    skipped: str | None = None,
) -> Entry:
    return Entry(
        place=1,
        external_uid="a",
        sequence=sequence,
        wedding_date=day,
        status=status,
        couple_names=names,
        skipped=skipped,
    )


def present(of: Entry, status: WeddingStatus = WeddingStatus.BOOKED) -> Present:
    return Present(
        sequence=of.sequence,
        content_hash=of.content_hash,
        wedding_date=of.wedding_date,
        status=status,
    )


CANCELLED = WeddingStatus.CANCELLED
HERE = entry(sequence=2)
CASES = [
    (entry(), None, Action.CREATED),
    (entry(status=CANCELLED), None, Action.SKIPPED),
    (entry(skipped="a lead"), None, Action.SKIPPED),
    (entry(skipped="a lead"), present(HERE), Action.SKIPPED),
    (entry(sequence=2), present(HERE), Action.UNCHANGED),
    # a new number for the same content is no change
    (entry(sequence=3), present(HERE), Action.UNCHANGED),
    (entry(sequence=1, names="C & D"), present(HERE), Action.SKIPPED),
    (entry(sequence=2, names="C & D"), present(HERE), Action.UPDATED),
    (entry(DAY + timedelta(days=1), sequence=2), present(HERE), Action.MOVED),
    (entry(sequence=3, status=CANCELLED), present(HERE), Action.CANCELLED),
    (entry(sequence=3, status=CANCELLED), present(HERE, CANCELLED), Action.UNCHANGED),
    # cancelled by a person here, and nothing new in the entry: it stays cancelled
    (entry(sequence=2), present(HERE, CANCELLED), Action.UNCHANGED),
]


@pytest.mark.parametrize(("said", "known", "action"), CASES)
def test_what_an_entry_does(said: Entry, known: Present | None, action: Action) -> None:
    found, reason = judge(said, known)
    assert found is action
    assert (reason is not None) is (action is Action.SKIPPED)


@given(MOMENTS, st.none() | LENGTHS, st.none() | LENGTHS)
def test_a_planned_day_is_four_phases_without_a_gap(
    ceremony: datetime, reception: timedelta | None, ends: timedelta | None
) -> None:
    planned = {
        "reception": None if reception is None else ceremony + reception,
        "ends": None if ends is None else ceremony + ends,
    }
    if reception is not None and ends is not None and ends <= reception:
        with pytest.raises(ValueError, match="follow upon each other"):
            plan_day(ceremony, **planned)
        return
    windows = plan_day(ceremony, **planned)
    assert [window.phase for window in windows] == list(Phase)
    assert all(window.starts_at < window.ends_at for window in windows)
    assert all(a.ends_at == b.starts_at for a, b in pairwise(windows))
    assert windows[1].starts_at == ceremony
    if ends is not None:
        assert windows[2].ends_at == ceremony + ends
    if reception is not None:
        assert windows[2].starts_at == ceremony + reception
    assert find_faults(WeddingDraft(ceremony.date(), windows=windows)) == []


def test_the_plan_of_one_o_clock_is_the_calendars_own() -> None:
    one = datetime(2030, 6, 8, 13)  # noqa: DTZ001
    midnight = one - timedelta(hours=13)
    assert [
        ((w.starts_at - midnight) / timedelta(hours=1), (w.ends_at - midnight) / timedelta(hours=1))
        for w in plan_day(one)
    ] == [(8, 13), (13, 16), (16, 24), (24, 26)]


def clock(text: str) -> time | None:
    return time.fromisoformat(text) if text else None


@pytest.mark.parametrize(
    ("times", "hours"),
    [
        (("14:30", "", ""), (14.5, 17.5, 24)),
        (("14:30", "18:00", "02:00"), (14.5, 18, 26)),
        (("22:00", "00:30", "04:00"), (22, 24.5, 28)),
        (("11:00", "", "02:00"), (11, 14, 26)),
        (("14:30", "", "16:00"), (14.5, 15.25, 16)),
        (("14:30", "22:00", ""), (14.5, 22, 26)),
    ],
)
def test_times_of_a_day_are_in_their_order(
    times: tuple[str, str, str], hours: tuple[float, float, float]
) -> None:
    windows, faults = read_times(DAY, *map(clock, times))
    assert faults == []
    midnight = datetime.combine(DAY, time())
    found = [(w.starts_at - midnight) / timedelta(hours=1) for w in windows[1:]]
    assert tuple(found) == hours
    words = halved(windows) if not times[1] else None
    assert (words is not None) is (times == ("14:30", "", "16:00")), words


@pytest.mark.parametrize(
    ("times", "fields"),
    [
        (("", "15:00", ""), ["reception"]),
        (("", "15:00", "23:00"), ["reception", "ends"]),
        (("14:30", "18:00", "16:00"), ["ends"]),
        (("14:30", "18:00", "18:00"), ["ends"]),
        (("15:00", "14:00", ""), ["reception"]),
        (("15:00", "15:00", ""), ["reception"]),
        (("15:00", "", "14:30"), ["ends"]),
        (("15:00", "14:00", "14:30"), ["reception", "ends"]),
        (("05:00", "", "04:00"), ["ends"]),
        (("22:00", "01:00", "00:30"), ["ends"]),
    ],
)
def test_times_that_contradict_each_other_are_told_and_never_guessed(
    times: tuple[str, str, str], fields: list[str]
) -> None:
    windows, faults = read_times(DAY, *map(clock, times))
    assert windows == ()
    assert [one.field for one in faults] == fields


@given(
    st.dates(EARLIEST, LATEST),
    st.dates(EARLIEST, LATEST),
    st.lists(st.integers(-2 * 24 * 60, 3 * 24 * 60), min_size=2, max_size=2, unique=True),
)
def test_a_wedding_that_moves_takes_its_clock_along(
    day: date, other: date, minutes: list[int]
) -> None:
    midnight = datetime.combine(day, time())
    starts, ends = (midnight + timedelta(minutes=m) for m in sorted(minutes))
    draft = WeddingDraft(day, windows=[Window(Phase.CEREMONY, starts, ends)])
    moved = draft.moved_to(other)
    (window,) = moved.windows
    assert (window.starts_at.time(), window.ends_at.time()) == (starts.time(), ends.time())
    assert window.starts_at.date() - other == starts.date() - day
    assert find_faults(moved) == find_faults(draft), "as near as it was"
    assert moved.moved_to(day) == draft


@pytest.mark.parametrize("day", [date(1989, 12, 31), date(2101, 1, 1), date.max, date.min])
def test_a_date_of_no_wedding_is_refused_by_name(day: date) -> None:
    (fault,) = find_faults(WeddingDraft(day))
    assert fault.field == "wedding_date"
    assert "1990 to 2100" in fault.reason
    with pytest.raises(NotValid) as caught:
        WeddingDraft(DAY, windows=plan_day(datetime.combine(DAY, time(13)))).moved_to(day)
    assert caught.value.errors == (fault,)


def test_a_phase_is_by_the_clock_or_by_instants_and_never_half() -> None:
    naive = datetime(2030, 6, 8, 13)  # noqa: DTZ001
    half = Window(Phase.CEREMONY, naive, naive.astimezone() + timedelta(hours=1))
    (fault,) = find_faults(WeddingDraft(DAY, windows=[half]))
    assert "offset" in fault.reason


@given(st.text())
def test_a_clean_text_is_one_line_and_stays_clean(text: str) -> None:
    plain = clean(text)
    assert plain == clean(plain)
    assert "\n" not in plain
    assert "\u202e" not in plain
    assert {unicodedata.category(c) for c in plain if c not in JOINERS}.isdisjoint({"Cc", "Cf"})


def test_joiners_are_part_of_a_name() -> None:
    maria = "\u0645\u06cc\u200c\u0631\u0648\u06cc\u0627"
    assert clean(maria) == maria
